"""A kill is written down before anybody hears of it: an agent that dies in between must not let the task live."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos.agent.agent import Agent
from t2notebook.localmesos.agent.containerizer.paths import AgentIdentity
from t2notebook.localmesos.common.record_log import Checkpoint

Json = dict[str, Any]


class Timer:
    def when(self) -> float:
        return 0.0

    def cancel(self) -> None:
        pass


class World:
    """A runtime in which nothing happens by itself; `on_send` sees each message to the master as it goes out."""

    def __init__(self) -> None:
        self.launched: list[Json] = []
        self.signals: list[str] = []
        self.on_send: Callable[[Json], None] = lambda message: None

    def send(self, message: Json) -> None:
        self.on_send(message)

    def launch(self, request: Json) -> None:
        self.launched.append(request)

    def signal(self, container_id: str, signum: int) -> None:
        self.signals.append(container_id)

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> Any:
        return Timer()

    def now(self) -> float:
        return 0.0

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


def resources(**amounts: float) -> list[Json]:
    return [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in amounts.items()]


def run_task() -> Json:
    info: Json = {"task_id": {"value": "t"}, "name": "t", "agent_id": {"value": "S0"}}
    return {**info, "resources": resources(cpus=1, mem=32), "command": {"value": "sleep 1000"}}


FRAMEWORK = {
    "user": getpass.getuser(),
    "name": "f",
    "checkpoint": True,
    "capabilities": [{"type": "TASK_KILLING_STATE"}],
}


@pytest.mark.parametrize("grouped", [False, True], ids=["command", "group"])
def test_what_is_killed_is_written_down_first(tmp_path: Path, grouped: bool) -> None:
    world, path = World(), str(tmp_path / "agent.jsonl")
    store = Checkpoint(path)
    agent = Agent(AgentIdentity("S0", "127.0.0.1", 5051, str(tmp_path)), {}, world, checkpoint=store)  # type: ignore[arg-type]
    head = {"framework_id": "f", "framework": FRAMEWORK, "role": "*", "new_executor": True}
    if grouped:
        executor = {
            "type": "DEFAULT",
            "executor_id": {"value": "e"},
            "resources": resources(cpus=0.1, mem=32),
        }
        agent.message({"op": "run_group", **head, "executor": executor, "tasks": [run_task()]})
    else:
        agent.message({"op": "run_task", **head, "task": run_task()})
    (request,) = world.launched
    agent.container_started(request["id"], 1)

    def written() -> bool:
        """Whether an agent that starts now would go on with the kill."""
        found = Checkpoint(shutil.copy(path, f"{path}.copy"))  # who reads one takes it over
        found.close()
        kind = "task" if grouped else "run"
        (record,) = [value for _, value in found.under(kind)]
        return bool(record["killing"]) if grouped else record["state"] == "ends"

    heard: list[bool] = []

    def on_send(message: Json) -> None:
        if message["op"] == "update" and message["latest_state"] == "TASK_KILLING":
            heard.append(written())

    for key in [("f", "t")] * 2:  # STARTING, RUNNING
        pending = agent._manager.first(key)
        assert pending is not None
        agent.message({"op": "ack", "framework_id": "f", "task_id": "t", "uuid": pending["uuid"]})
    assert not written()
    world.on_send = on_send
    agent.message({"op": "kill_task", "framework_id": "f", "task_id": "t"})
    assert heard == [True]
    assert world.signals == [request["id"]]
    store.close()
