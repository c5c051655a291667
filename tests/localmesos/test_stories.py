"""The recorded stories in which more happens than calls: executors beside their scheduler, processes that die."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.cluster.local_mesos import cluster_arguments
from t2notebook.localmesos.cluster.spawn import Spawned, end
from t2notebook.localmesos.faults.client import Faults
from tests.localmesos.agent.test_recovery import wait_for
from tests.localmesos.client import Answer, Json, request
from tests.localmesos.replay import Act, Player, Recorded, load

ATTRIBUTES = ["rack:r1;zone:a", "rack:r2;zone:a"]
PROGRAM = "/usr/local/pyversions/3.11.7/bin/python3.11 /opt/mesos/tools/trace_executor.py"
"""The recorded executor: here a process that only waits, while the player speaks for it."""


@pytest.fixture(scope="module")
def recorded_cluster() -> Iterator[LocalMesos]:
    """A cluster of the recorded one's shape."""
    with LocalMesos(agents=2, cpus=4, mem=4096, disk=10000, attributes=ATTRIBUTES) as one:
        yield one


def updates(story: list[Recorded]) -> dict[str, float]:
    """When the scheduler got which status update (by its uuid)."""
    return {
        event["update"]["status"]["uuid"]: at
        for one in story
        for at, event in one.events
        if event["type"] == "UPDATE" and "uuid" in event["update"]["status"]
    }


def shifted(story: list[Recorded], seconds: float) -> list[Recorded]:
    moved = deepcopy(story)
    for one in moved:
        one.at += seconds
        one.events = [(at + seconds, event) for at, event in one.events]
        one.ended = None if one.ended is None else (one.ended[0] + seconds, one.ended[1])
    return moved


def beside(executor: list[Recorded], scheduler: list[Recorded]) -> list[Recorded]:
    """Give an executor's exchanges by the scheduler's clock: no update is heard before it is said."""
    heard = updates(scheduler)
    said = {
        one.call()["update"]["status"].get("uuid"): one.at
        for one in executor
        if one.call().get("type") == "UPDATE" and "update" in one.call()
    }
    return shifted(executor, min(heard[uuid] - said[uuid] for uuid in said if uuid in heard) - 1e-4)


def third_executor(first: list[Recorded], scheduler: list[Recorded]) -> list[Recorded]:
    """Give what `ex3` said, of which only the effect was recorded: what `ex1` did until its first task ran."""
    heard = updates(scheduler)
    (launch,) = (one.call() for one in scheduler if one.name == "025-launch-die")
    info = launch["accept"]["operations"][0]["launch"]["task_infos"][0]["executor"]
    uuids = [
        json.loads(one.request["body"])["acknowledge"]["uuid"] for one in scheduler if "-ack-" in one.name
    ]
    mine, theirs = uuids[10:14], uuids[:4]
    names = {"x1": "z1", "ex1": "ex3", "-ex1": "-ex3", "t-x1": "t-z1", **dict(zip(theirs, mine, strict=True))}
    names |= {"r2": "r1"}  # it ran on the other agent
    ports = {32000: 31000, 32999: 31999}

    def renamed(value: object) -> object:
        if isinstance(value, int):
            return ports.get(value, value)
        if isinstance(value, dict):
            return {name: renamed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [renamed(item) for item in value]
        if isinstance(value, str):
            value = value.replace("-S1", "-S0").replace(f"exec {PROGRAM}", info["command"]["value"])
            return names.get(value, value)
        return value

    found = []
    for one in shifted(first, heard[mine[0]] - heard[theirs[0]]):
        if int(one.name[:3]) > 26:
            continue
        one.name = f"ex3-{one.name}"
        one.request = {**one.request, "host": "127.0.0.1:5051"}
        if one.call():
            one.request["body"] = json.dumps(renamed(one.call()))
        one.body = one.body.replace("ex1", "ex3")
        kept = []
        for at, event in one.events:
            acknowledged = event.get("acknowledged", {}).get("uuid")
            if acknowledged in theirs or (
                event["type"] in ("SUBSCRIBED", "LAUNCH") and "'x2'" not in str(event)
            ):
                event = renamed(event)  # type: ignore[assignment]
                if event["type"] == "LAUNCH":
                    del event["launch"]["task"]["data"]
                kept.append((at, event))
        one.events, one.ended = kept, None
        found.append(one)
    return found


def test_executors_beside_their_scheduler(recorded_cluster: LocalMesos, tmp_path: Path) -> None:
    """executor-ex1/ and executor-scheduler-side/ as the one story that they are."""
    scheduler = load("executor-scheduler-side")
    executor = beside(load("executor-ex1"), scheduler)
    third = third_executor(executor, scheduler)
    named = {one.name: one for one in (*scheduler, *executor, *third)}
    (shutdown,) = (at for at, event in named["030-resubscribe"].events if event["type"] == "SHUTDOWN")
    (died,) = (at for at, event in scheduler[0].events if event.get("failure", {}).get("status") == 5 << 8)

    def started(name: str) -> None:
        wait_for((tmp_path / name).exists, 20)

    def leave(name: str) -> None:
        (tmp_path / f"{name}.leaves").touch()

    def waiting(name: str) -> str:
        return f"until test -e {tmp_path / name}.leaves; do sleep 0.02; done"

    acts = [
        Act(named["001-before-subscribe-update"].at - 1e-6, lambda: started("ex1")),
        Act(shutdown + 1e-6, lambda: leave("ex1")),
        Act(named["ex3-001-before-subscribe-update"].at - 1e-6, lambda: started("ex3")),
        Act(died - 1e-6, lambda: leave("ex3")),
    ]
    rewrite = {
        f"exec {PROGRAM}": f"touch {tmp_path}/ex1; {waiting('ex1')}",
        PROGRAM: f"touch {tmp_path}/ex3; sleep 1000",
        "sleep 4": waiting("ex3"),
    }
    story = sorted((*scheduler, *executor, *third), key=lambda one: one.at)
    Player(story, recorded_cluster.master, rewrite=rewrite, acts=acts).run()


@pytest.fixture
def watched() -> Iterator[tuple[str, Faults]]:
    """A cluster of the recorded one's shape whose agent is soon unreachable, and what hurts it."""
    arguments = cluster_arguments(agents=1, cpus=4, mem=4096, disk=10000)
    spawned = Spawned([*arguments, "--agent-timeout", "1.2", "--parent-pid", str(os.getpid())])
    line = spawned.wait()
    yield line["master"], Faults(line["control"])
    end(spawned.process)


def test_agents_and_masters_that_go_and_come(watched: tuple[str, Faults]) -> None:
    """ha/: an agent stops, is unreachable, comes back; the master is started anew; the agent unregisters."""
    master, make = watched

    pids: dict[str, int] = {}

    def start(name: str) -> None:
        pids.update(make.request("start", process=name)["pids"])

    def agent(signum: int) -> None:
        os.kill(pids["agent1"], signum)

    def new_master() -> None:
        agent(signal.SIGSTOP)
        make.kill("master")
        start("master")
        wait_for(lambda: seen("/health"))

    def back() -> None:
        agent(signal.SIGCONT)
        wait_for(lambda: seen("/slaves").json()["slaves"])

    def seen(path: str) -> Answer | None:
        try:
            return request(master, "GET", path)
        except (OSError, AssertionError):
            return None

    deeds: dict[str, Callable[[], None]] = {
        "SIGTERM to the agent (a stop, not an unregister); the executors go on": lambda: make.kill("agent1"),
        "agent restarted at once with the same work_dir": lambda: start("agent1"),
        "SIGKILL to the agent, stays away: unreachable after 3 pings of 1 s": lambda: make.kill("agent1"),
        "agent back, same work_dir": lambda: start("agent1"),
        "SIGSTOP to the agent, then SIGTERM to the master": new_master,
        "SIGCONT to the agent: it re-registers": back,
        "SIGUSR1 to the agent: it unregisters": lambda: agent(signal.SIGUSR1),
    }
    story = load("ha")
    marks = {}
    for one in story:
        for at, text in one.marks:
            marks.setdefault((text, round(at, 1)), Act(at, deeds[text], text))
    assert {act.name for act in marks.values()} == set(deeds)
    for one in story:
        if one.name == "031-state-agent-back":
            one.body = json.dumps(with_last_status(json.loads(one.body)))
    rewrite = {"[33000-33999]": "[31000-31999]"}
    Player(story, master, rewrite=rewrite, acts=list(marks.values())).run()


def with_last_status(state: Json) -> Json:
    """Give a /state as a new master has it here: agents tell it each task's last status (a known difference)."""
    for framework in state["frameworks"]:
        for task in framework["tasks"]:
            del task["statuses"][:-1]
    return state
