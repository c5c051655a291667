"""A scheduler on mesoshttp: runs one task, prints its states. Arguments: the master's URL."""

import logging
import sys
import threading

from mesoshttp.client import MesosClient

logging.basicConfig(level=logging.WARNING)
client = MesosClient(
    mesos_urls=[sys.argv[1]], frameworkName="mesoshttp", frameworkUser="root", max_reconnect=1
)
client.verify = False
launched = []
done = threading.Event()


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def offers(found):
    for offer in found:
        if launched:
            offer.decline()
            continue
        launched.append(offer)
        agent = offer.get_offer()["agent_id"]
        task = {"name": "hello", "task_id": {"value": "hello"}, "agent_id": agent}
        task["resources"] = [scalar("cpus", 0.1), scalar("mem", 32)]
        task["command"] = {"value": "echo hello"}
        offer.accept([task])


def update(status):
    state = status["status"]["state"]
    print(state, flush=True)
    if state in ("TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_LOST"):
        done.set()


client.on(MesosClient.SUBSCRIBED, lambda driver: print("SUBSCRIBED", flush=True))
client.on(MesosClient.OFFERS, offers)
client.on(MesosClient.UPDATE, update)
threading.Thread(target=client.register, daemon=True).start()
done.wait(30)
client.get_driver().tearDown()
