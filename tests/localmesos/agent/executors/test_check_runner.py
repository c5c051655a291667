"""Checks, health checks and task groups: what the recorded stories do not show, or show only slowly."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from t2notebook.localmesos.checks.checker import Checker, News, fault
from tests.localmesos.client import Framework, Json, agent_address, request, resources, task
from tests.localmesos.conftest import executor_info

Make = Callable[..., Framework]
TIMES = {"delay_seconds": 0, "interval_seconds": 0.1, "timeout_seconds": 2, "consecutive_failures": 2}


def health(**more: Any) -> Json:
    info = {
        **TIMES,
        "grace_period_seconds": 5.0,
        "type": "COMMAND",
        "command": {"shell": True, "value": "true"},
    }
    return {**info, **more}


def reason(kind: str) -> str:
    return f"REASON_TASK_{kind}_STATUS_UPDATED"


def test_a_health_check_tells_of_the_first_success_and_of_every_failure() -> None:
    checker, told = Checker(health(), health=True, now=0.0), reason("HEALTH_CHECK")
    assert checker.result(1, 1.0) is None, "within the grace period"
    assert checker.result(0, 1.1) == News(told, healthy=True)
    assert checker.result(0, 1.2) is None
    assert checker.result(1, 1.3) == News(told, healthy=False)
    assert checker.result(0, 1.4) == News(told, healthy=True)
    assert checker.result(1, 1.5) == News(told, healthy=False)
    assert checker.result(None, 1.6) == News(told, healthy=False, kill=True)


def test_the_grace_period_ends() -> None:
    checker = Checker(health(grace_period_seconds=1.0), health=True, now=0.0)
    assert checker.result(1, 0.9) is None
    assert checker.result(1, 1.1) == News(reason("HEALTH_CHECK"), healthy=False)


def test_a_check_tells_of_changes() -> None:
    info = {**TIMES, "type": "HTTP", "http": {"port": 1}}
    checker = Checker(info, health=False, now=0.0)
    assert checker.result(None, 0.0) is None
    news = checker.result(200, 0.0)
    assert news is not None and news.check_status == {"type": "HTTP", "http": {"status_code": 200}}
    assert checker.result(200, 0.0) is None
    assert checker.result(500, 0.0) is not None


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({}, "HealthCheck must specify 'type'"),
        ({"type": "TCP"}, "Expecting 'tcp' to be set for TCP health check"),
        (
            {"type": "HTTP", "http": {"port": 1, "path": "x"}},
            "The path 'x' of HTTP health check must start with '/'",
        ),
        (
            {"type": "COMMAND", "command": {"shell": True}},
            "Command health check must contain 'shell command'",
        ),
        (health(interval_seconds=-1.0), "Expecting 'interval_seconds' to be non-negative"),
    ],
)
def test_a_wrong_health_check_is_named(info: Json, text: str) -> None:
    assert fault(info, health=True) == text


def test_an_unhealthy_task_is_killed(framework: Make) -> None:
    one = framework()
    check = health(command={"shell": True, "value": "test ! -e bad"}, grace_period_seconds=0.0)
    one.run("sleep 0.4; touch bad; sleep 1000", health_check=check)
    one.until("TASK_RUNNING")
    healths = []
    while (status := one.update())["state"] == "TASK_RUNNING":
        healths.append(status["healthy"])
    assert healths == [True, False, False]
    assert (status["state"], status["healthy"]) == ("TASK_KILLED", False)


def test_a_port_is_checked(framework: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        one = framework()
        one.run("sleep 1000", check={**TIMES, "type": "TCP", "tcp": {"port": port}})
        assert one.until("TASK_RUNNING")["check_status"] == {"type": "TCP", "tcp": {}}
        assert one.update()["check_status"] == {"type": "TCP", "tcp": {"succeeded": True}}
    assert one.update()["check_status"] == {"type": "TCP", "tcp": {"succeeded": False}}


def test_a_page_is_checked(framework: Make, master: str) -> None:
    one = framework()
    port = int(master.rsplit(":", 1)[1])
    one.run("sleep 1000", health_check=health(type="HTTP", http={"port": port, "path": "/version"}))
    one.until("TASK_RUNNING")
    assert one.update()["healthy"] is True


# Task groups


def group(
    one: Framework, offer: Json, commands: dict[str, str], executor: Json | None = None, **more: Any
) -> None:
    info = executor or {
        "type": "DEFAULT",
        "executor_id": {"value": "group"},
        "resources": resources(cpus=0.1, mem=32, disk=32),
    }
    tasks = [task(name, offer, command, **more) for name, command in commands.items()]
    operation = {"type": "LAUNCH_GROUP", "launch_group": {"executor": info, "task_group": {"tasks": tasks}}}
    filters = {"refuse_seconds": 0}
    one.call("ACCEPT", {"offer_ids": [offer["id"]], "operations": [operation], "filters": filters})


def ends(one: Framework, count: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while len(found) < count:
        status = one.update()
        if status["state"] not in ("TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"):
            found[status["task_id"]["value"]] = status["state"]
    return found


def test_a_failed_task_takes_its_group_with_it(framework: Make) -> None:
    one = framework()
    group(one, one.offers()[0], {"a": "sleep 0.2; exit 1", "b": "sleep 1000"})
    assert ends(one, 2) == {"a": "TASK_FAILED", "b": "TASK_KILLED"}
    assert one.stream.next("FAILURE")["failure"]["status"] == 0


def test_a_finished_task_does_not(framework: Make) -> None:
    one = framework()
    group(one, one.offers()[0], {"a": "true", "b": "sleep 0.5"})
    assert ends(one, 2) == {"a": "TASK_FINISHED", "b": "TASK_FINISHED"}


def test_each_task_of_a_group_has_a_sandbox(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    group(one, offer, {"a": "echo one; sleep 1000", "b": "echo two; sleep 1000"})
    for _ in range(2):
        one.until("TASK_RUNNING")
    base = f"/frameworks/{one.id}/executors/group/runs/latest/tasks"
    for name, text in (("a", "one\n"), ("b", "two\n")):
        path = f"/files/read?path={base}/{name}/stdout&offset=0"
        deadline = time.monotonic() + 10.0  # a task runs before its shell has written
        while (read := request(agent_address(offer), "GET", path).json()["data"]) != text:
            assert time.monotonic() < deadline, read
            time.sleep(0.02)


def test_a_custom_executor_gets_the_group_whole(framework: Make) -> None:
    one = framework()
    info = executor_info("ex", resources=resources(cpus=0.1, mem=64, disk=32))
    offer = one.offers()[0]
    group(one, offer, {"a": "x", "b": "y"}, executor=info)
    # The tests' executor knows no LAUNCH_GROUP: the group stays with it, in one event.
    one.call("SHUTDOWN", {"executor_id": {"value": "ex"}, "agent_id": offer["agent_id"]})
    assert set(ends(one, 2).values()) == {"TASK_FAILED"}


def test_an_operation_that_is_no_launch_is_refused_with_feedback(framework: Make) -> None:
    one = framework()
    operation = {"type": "RESERVE", "id": {"value": "op"}, "reserve": {"resources": resources(cpus=1)}}
    one.call("ACCEPT", {"offer_ids": [one.offers()[0]["id"]], "operations": [operation]})
    status = one.stream.next("UPDATE_OPERATION_STATUS")["update_operation_status"]["status"]
    assert (status["operation_id"], status["state"]) == ({"value": "op"}, "OPERATION_ERROR")
