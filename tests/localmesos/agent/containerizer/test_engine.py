"""The embedded agent and a container engine's command line: containers begin, end, are killed and outlive the agent.

The engine is a program of the test's own here; `tests/containers` has podman.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos.agent.containerizer.fake_engine import IMAGE, calls, make
from tests.localmesos.client import Framework, task

DOCKER = {"type": "DOCKER", "docker": {"image": IMAGE}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def mesos(folder: Path) -> Iterator[LocalMesos]:
    flags = {"docker": str(make(folder))}
    with LocalMesos(agents=1, cpus=4, mem=4096, agent_flags=flags, restart=0.2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def master(mesos: LocalMesos) -> str:
    return mesos.master


@pytest.fixture
def one(framework: Callable[..., Framework]) -> Framework:
    return framework(checkpoint=True, failover_timeout=60.0)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(one: Framework, command: str, **more: Any) -> None:
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, command, **{"container": DOCKER, **more})])


def test_a_containers_end_is_the_tasks_and_it_is_removed(one: Framework, folder: Path) -> None:
    start(one, "echo from $T2_FAKE_IMAGE; pwd; exit 3")
    status = one.until("TASK_FAILED")
    assert status["message"] == "Command exited with status 3"
    (ran,) = calls(folder, "run")[-1:]
    assert "--memory" in ran and ran.endswith(f"{IMAGE} -c echo from $T2_FAKE_IMAGE; pwd; exit 3")
    name = ran.split()[2]
    assert f"rm --force --volumes --time 0 {name}" in calls(folder, "rm")
    assert not (folder / name).exists()


def test_a_kill_reaches_it_and_a_deaf_one_is_removed(one: Framework, folder: Path) -> None:
    start(one, "trap '' TERM; while true; do sleep 0.05; done")
    one.until("TASK_RUNNING")
    eventually(lambda: list(folder.glob("mesos-*")))
    (name,) = folder.glob("mesos-*")
    policy = {"kill_policy": {"grace_period": {"nanoseconds": 100_000_000}}}
    one.call("KILL", {"task_id": {"value": "t"}, **policy})
    one.until("TASK_KILLED")
    eventually(lambda: not name.exists())


def test_it_outlives_its_agent(one: Framework, mesos: LocalMesos, tmp_path: Path) -> None:
    go = tmp_path / "go"
    start(one, f"while [ ! -e {go} ]; do sleep 0.05; done; exit 0")
    one.until("TASK_RUNNING")
    assert mesos.faults is not None
    mesos.faults.restart("agent1")
    time.sleep(0.3)
    go.touch()
    assert one.until("TASK_FINISHED")["message"] == "Command exited with status 0"


def test_out_of_memory_is_told_as_that(one: Framework, folder: Path) -> None:
    (folder / "oom-killed").write_text("true\n")
    try:
        start(one, "exit 137")
        status = one.until("TASK_FAILED")
    finally:
        (folder / "oom-killed").unlink()
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert status["message"].startswith("Memory limit exceeded: Requested: ")


def test_a_check_runs_in_the_container(one: Framework, folder: Path) -> None:
    check = {
        "type": "COMMAND",
        "command": {"command": {"value": "true"}},
        "delay_seconds": 0,
        "interval_seconds": 0.1,
    }
    start(one, "sleep 1000", check=check)
    one.until("TASK_RUNNING")
    eventually(lambda: calls(folder, "exec"))
    assert calls(folder, "exec")[0].endswith("/bin/sh -c true")
    one.call("KILL", {"task_id": {"value": "t"}})
    one.until("TASK_KILLED")


def test_an_image_that_cannot_be_pulled_says_so_once(one: Framework, folder: Path) -> None:
    start(one, "true", container={"type": "DOCKER", "docker": {"image": "nosuch"}})
    status = one.until("TASK_FAILED")
    assert status["reason"] == "REASON_CONTAINER_LAUNCH_FAILED"
    assert status["message"] == (
        f"Failed to launch container: Failed to run '{folder}/podman pull nosuch': exited with status 125; "
        "stderr='Error: reading manifest: manifest unknown'"
    )


def test_nothing_is_left_when_the_cluster_ends(folder: Path, framework: Callable[..., Framework]) -> None:
    with LocalMesos(agents=1, agent_flags={"docker": str(folder / "podman")}) as cluster:
        one = framework(master=cluster.master, checkpoint=True, failover_timeout=60.0)
        start(one, "sleep 1000")
        one.until("TASK_RUNNING")
        eventually(lambda: list(folder.glob("mesos-*")))
    assert not list(folder.glob("mesos-*"))
