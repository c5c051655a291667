"""Frameworks on a real cluster: offers, filters, failover, teardown, bad clients, the operator's view."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.common import processes
from tests.busy import longer
from tests.localmesos.client import Connection, Framework, Stream, request, summary, task
from tests.localmesos.conftest import executor_info

Make = Callable[..., Framework]


def test_offers_say_what_there_is(framework: Make) -> None:
    offers = framework().offers(2)
    assert {offer["attributes"][0]["text"]["value"] for offer in offers} == {"r1", "r2"}
    assert all(summary(offer) == {"cpus": 4.0, "mem": 4096.0, "disk": 10240.0} for offer in offers)
    ports = {offer["resources"][0]["ranges"]["range"][0]["begin"] for offer in offers}
    assert ports == {31000, 32000}


def test_decline_revive_suppress(framework: Make) -> None:
    one = framework()
    offers = one.offers(2)
    one.decline(offers, 1000)
    one.stream.none("OFFERS", 1.5)
    begun = time.monotonic()
    one.call("REVIVE")
    offers = one.offers(2)
    assert time.monotonic() - begun < longer(0.5)
    one.call("SUPPRESS")
    one.decline(offers, 0)
    one.stream.none("OFFERS", 1.5)
    one.call("REVIVE")
    one.offers(2)


def test_suppressed_from_the_start(framework: Make) -> None:
    one = framework(suppressed=True)
    one.stream.none("OFFERS", 1.2)
    one.call("REVIVE", {"roles": ["*"]})
    one.offers(2)


def test_two_frameworks_share(framework: Make) -> None:
    one = framework(name="one")
    one.decline(one.offers(2), 0)
    two = framework(name="two")
    found = [*one.offers(), *two.offers()]
    assert len({offer["agent_id"]["value"] for offer in found}) == 2


def test_who_subscribes_again_hears_at_once_of_what_ended_meanwhile(framework: Make) -> None:
    """Mesos's agents repeat at a failover what nobody has acknowledged; else it took 10 s (Slave::updateFramework)."""
    one = framework(failover_timeout=60)
    offer = one.offers(2)[0]
    one.accept(offer, [task("t", offer, command="sleep 0.5")])
    one.until("TASK_RUNNING", "t")
    one.close()
    time.sleep(1.5)
    begun = time.monotonic()
    two = framework(failover_timeout=60, framework_id=one.id)
    status = two.until("TASK_FINISHED", "t")
    assert time.monotonic() - begun < 5
    assert status["source"] == "SOURCE_EXECUTOR"
    assert status["uuid"]


def test_failover_keeps_tasks_and_executors(framework: Make) -> None:
    one = framework(failover_timeout=60)
    offer = one.offers(2)[0]
    one.accept(offer, [task("t", offer, executor=executor_info(), data="cnVu")])
    pid = one.until("TASK_RUNNING", "t")["container_status"]["executor_pid"]
    two = framework(failover_timeout=60, framework_id=one.id)
    assert one.stream.next("ERROR")["error"]["message"] == "Framework failed over"
    one.stream.end()
    assert one.call("REVIVE", expect=400).text.startswith("The stream ID '")
    two.call("RECONCILE", {"tasks": []})
    assert two.update()["message"] == "Reconciliation: Latest task state"
    assert processes.alive(pid)
    two.close()
    deadline = time.monotonic() + 5
    while request(one.master, "GET", f"/frameworks?framework_id={one.id}").json()["frameworks"][0][
        "connected"
    ]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    two.calls = None
    assert two.call("REVIVE", expect=403).text == "Framework is not subscribed"
    two.close()
    three = framework(failover_timeout=60, framework_id=one.id)
    offers = three.offers(2)
    assert [found.get("executor_ids") for found in offers].count([{"value": "ex"}]) == 1
    three.call("TEARDOWN")
    three.stream.end()
    deadline = time.monotonic() + 5
    while processes.alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert three.call("REVIVE", expect=400).text == "Framework cannot be found"
    removed = Framework(one.master, framework_id=one.id)
    assert removed.stream.next("ERROR")["error"]["message"] == "Framework has been removed"
    removed.stream.end()
    removed.close()


def test_half_closed_stream_is_a_lost_one(framework: Make) -> None:
    one = framework(failover_timeout=0)
    one.stream.connection.socket.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 5
    while request(one.master, "GET", f"/frameworks?framework_id={one.id}").json()["frameworks"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_update_framework(framework: Make) -> None:
    one = framework()
    info = {**one.info, "id": {"value": one.id}, "name": "renamed", "roles": ["*", "extra"]}
    assert one.call("UPDATE_FRAMEWORK", {"framework_info": info}, expect=200).body == b""
    shown = request(one.master, "GET", f"/frameworks?framework_id={one.id}").json()["frameworks"][0]
    assert (shown["name"], shown["roles"]) == ("renamed", ["*", "extra"])
    bad = one.call("UPDATE_FRAMEWORK", {"framework_info": {**info, "user": "nobody"}}, expect=400).text
    assert bad == (
        "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported; "
        "attempted to update from 'root' to 'nobody'"
    )


def test_unacknowledged_update_holds_back_the_next(framework: Make) -> None:
    one = framework()
    one.run("true")
    first = one.update(acknowledge=False)
    assert first["state"] == "TASK_STARTING"
    one.stream.none("UPDATE", 0.5)
    one.call("RECONCILE", {"tasks": []})
    assert one.update()["state"] == "TASK_STARTING"
    one.acknowledge(first)
    one.until("TASK_FINISHED")


def test_operations_out_of_scope_are_refused(framework: Make) -> None:
    """An operation without an id gets no feedback, and the launch beside it goes on."""
    one = framework()
    offer = one.offers()[0]
    reserve = {"type": "RESERVE", "reserve": {"resources": []}}
    launch = {"type": "LAUNCH", "launch": {"task_infos": [task("beside", offer, "true")]}}
    one.call("ACCEPT", {"offer_ids": [offer["id"]], "operations": [reserve, launch]})
    one.until("TASK_FINISHED", "beside")
    assert not [event for event in one.stream.events if event["type"] == "UPDATE_OPERATION_STATUS"]


def test_a_group_without_disk_is_refused(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    group = {
        "type": "LAUNCH_GROUP",
        "launch_group": {"executor": executor_info(), "task_group": {"tasks": [task("g", offer, "true")]}},
    }
    one.call("ACCEPT", {"offer_ids": [offer["id"]], "operations": [group]})
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_ERROR", "REASON_TASK_GROUP_INVALID")
    assert status["message"] == "Executor 'ex' uses no disk"


def test_operator_view(framework: Make, cluster: LocalMesos) -> None:
    one = framework(name="seen")
    one.run("sleep 100", "visible")
    one.until("TASK_RUNNING")
    state = request(cluster.master, "GET", "/state").json()
    assert "visible" in [item["id"] for found in state["frameworks"] for item in found["tasks"]]
    metrics = request(cluster.master, "GET", "/metrics/snapshot").json()
    assert metrics["master/tasks_running"] >= 1
    assert metrics["master/cpus_total"] == 8.0
    gone = request(cluster.master, "POST", "/master/teardown", f"frameworkId={one.id}".encode())
    assert (gone.status, gone.body) == (200, b"")
    one.stream.end()
    completed = request(cluster.master, "GET", "/state").json()["completed_frameworks"]
    tasks = next(f["completed_tasks"] for f in completed if f["id"] == one.id)
    assert [(t["id"], t["state"]) for t in tasks] == [("visible", "TASK_KILLED")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /api/v1/scheduler HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET " + b"x" * 70_000,
        b"\r\n\r\n\r\nGET / HTTP/9\r\n\r\n",
    ],
)
def test_nonsense_gets_an_error_and_hurts_nobody(master: str, data: bytes) -> None:
    connection = Connection(master)
    connection.socket.sendall(data)
    try:
        connection.socket.shutdown(socket.SHUT_WR)
        while connection.fill():
            pass
    except OSError:
        pass
    assert b"Traceback" not in connection.buffer
    assert not connection.buffer or connection.buffer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    connection.close()
    assert request(master, "GET", "/health").status == 200


def test_slow_client_gets_its_answer(master: str) -> None:
    connection = Connection(master)
    body = json.dumps({"type": "GET_HEALTH"}).encode()
    wire = (
        b"POST /api/v1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    for begin in range(0, len(wire), 16):
        connection.socket.sendall(wire[begin : begin + 16])
        time.sleep(0.005)
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.answer().json()["get_health"] == {"healthy": True}
    connection.close()


def test_stranger_cannot_pose_as_an_agent(master: str) -> None:
    assert request(master, "POST", "/localmesos/link", b"").status == 403


def test_executor_calls_of_strangers(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    address = offer["url"]["address"]
    call = {
        "type": "SUBSCRIBE",
        "subscribe": {},
        "executor_id": {"value": "x"},
        "framework_id": {"value": "y"},
    }
    answer = request(f"{address['ip']}:{address['port']}", "POST", "/api/v1/executor", call)
    assert (answer.status, answer.text) == (400, "Framework cannot be found")


def test_stopped_agent_is_unreachable_and_comes_back() -> None:
    from t2notebook.localmesos.cluster.local_mesos import cluster_arguments
    from t2notebook.localmesos.cluster.spawn import Spawned, end

    spawned = Spawned([*cluster_arguments(agents=1, cpus=2, mem=512), "--agent-timeout", "1.5"])
    line = spawned.wait()
    try:
        one = Framework(line["master"]).subscribed()
        one.run("sleep 100")
        one.until("TASK_RUNNING")
        one.offers()
        os.kill(line["pids"]["agent1"], signal.SIGSTOP)
        status = one.update()
        assert status["state"] == "TASK_UNREACHABLE"
        one.stream.next("RESCIND")
        one.stream.next("FAILURE")
        os.kill(line["pids"]["agent1"], signal.SIGCONT)
        status = one.update()
        assert (status["state"], status["reason"]) == ("TASK_RUNNING", "REASON_AGENT_REREGISTERED")
        one.offers()
        one.call("KILL", {"task_id": {"value": "task"}})
        one.until("TASK_KILLED")
        one.close()
    finally:
        end(spawned.process)


def test_heartbeat_comes_at_once(master: str) -> None:
    info = {"user": "root", "name": "beat"}
    stream = Stream(master, "/api/v1/scheduler", {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
    stream.next("SUBSCRIBED")
    stream.next("HEARTBEAT", 1.0)
    stream.close()
