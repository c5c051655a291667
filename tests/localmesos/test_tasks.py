"""Tasks on a real cluster: commands, executors, updates, killing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.localmesos.client import Framework, encoded, resources, task
from tests.localmesos.conftest import executor_info

Make = Callable[..., Framework]


@pytest.mark.parametrize(
    ("command", "state", "message"),
    [
        ("exit 0", "TASK_FINISHED", "Command exited with status 0"),
        ("exit 3", "TASK_FAILED", "Command exited with status 3"),
        ("kill -SEGV $$", "TASK_FAILED", "Command terminated with signal Segmentation fault"),
        (
            {"shell": False, "value": "/no/such/prog", "arguments": ["x"]},
            "TASK_FAILED",
            "Command exited with status 1",
        ),
        ({"shell": False, "value": "/bin/echo", "arguments": ["echo", "a b"]}, "TASK_FINISHED", None),
    ],
)
def test_command_task_ends_as_its_command_does(
    framework: Make, command: object, state: str, message: str
) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, command)])  # type: ignore[arg-type]
    assert one.update()["state"] == "TASK_STARTING"
    assert one.update()["state"] == "TASK_RUNNING"
    status = one.update()
    assert status["state"] == state
    assert message is None or status["message"].startswith(message)
    assert status["source"] == "SOURCE_EXECUTOR"


def test_warm_executor_is_used_again(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    info = executor_info()
    one.accept(offer, [task("first", offer, executor=info, data=encoded("finish"))])
    one.until("TASK_FINISHED", "first")
    offers = one.offers()
    while True:
        again = [found for found in offers if found.get("executor_ids") == [{"value": "ex"}]]
        if again:
            break
        offers += one.offers()
    begun = time.monotonic()
    one.accept(again[-1], [task("second", again[-1], executor=info, data=encoded("run"))])
    status = one.until("TASK_RUNNING", "second")
    assert time.monotonic() - begun < 1.0
    assert status["container_status"]["executor_pid"] > 0
    one.call("KILL", {"task_id": {"value": "second"}})
    one.until("TASK_KILLED", "second")
    one.call("SHUTDOWN", {"executor_id": {"value": "ex"}, "agent_id": offer["agent_id"]})
    failure = one.stream.next("FAILURE")["failure"]
    assert failure == {"agent_id": offer["agent_id"], "executor_id": {"value": "ex"}, "status": 0}
    _ = resources
