"""A framework on pymesos, in the way of its own example: a custom executor, messages, a kill. argv: MASTER."""

import sys
from os.path import abspath, dirname, join

from addict import Dict
from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data


def resources(**amounts):
    return [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in amounts.items()]


def say(*words):
    print(*words, flush=True)


class Shepherd(Scheduler):
    def __init__(self, executor):
        self.executor = executor
        self.launched = False
        self.ended = set()

    def registered(self, driver, framework_id, master_info):
        say("registered", master_info.version)
        driver.suppressOffers()
        driver.reviveOffers()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if self.launched:
                driver.declineOffer(offer.id, {"refuse_seconds": 60})
                continue
            self.launched = True
            tasks = []
            for name in ("ends", "killed"):
                task = Dict()
                task.task_id.value = task.name = name
                task.agent_id.value = offer.agent_id.value
                task.executor = self.executor
                task.data = encode_data(f"for {name}".encode())
                task.resources = resources(cpus=0.1, mem=16)
                tasks.append(task)
            driver.launchTasks(offer.id, tasks, {"refuse_seconds": 60})

    def statusUpdate(self, driver, update):
        say(update.task_id.value, update.state)
        if (update.task_id.value, update.state) == ("killed", "TASK_RUNNING"):
            if update.get("reason") == "REASON_RECONCILIATION":
                driver.killTask(update.task_id)
            else:
                driver.reconcileTasks([{"task_id": update.task_id, "agent_id": update.agent_id}])
        elif update.state == "TASK_RUNNING":
            driver.sendFrameworkMessage(self.executor.executor_id, update.agent_id, encode_data(b"end"))
        elif update.state in ("TASK_FINISHED", "TASK_KILLED"):
            self.ended.add(update.task_id.value)
            if len(self.ended) == 2:
                driver.stop()

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        say("message", decode_data(message).decode())


def main(master):
    executor = Dict()
    executor.executor_id.value = executor.name = "PymesosExecutor"
    executor.command.value = f"{sys.executable} {abspath(join(dirname(__file__), 'pymesos_executor.py'))}"
    executor.resources = resources(cpus=0.1, mem=64)
    framework = Dict(user="root", name="pymesos", hostname="localhost")
    driver = MesosSchedulerDriver(Shepherd(executor), framework, master, use_addict=True)
    driver.run()


if __name__ == "__main__":
    main(sys.argv[1])
