"""Workers that are started again, on a cluster that really fails them."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from t2notebook import ComputeResource, LocalMesos, Twister2Job
from t2notebook.model.job import FaultTolerance
from t2notebook.model.states import JobState
from tests.session.conftest import eventually


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2, cpus=2, mem=1024) as cluster:
        yield cluster


@pytest.fixture
def on(t2: Any, mesos: LocalMesos, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("T2_MASTER", mesos.master)
    return t2


def job_of(worker: Any, workers: int = 1, **faults: Any) -> Twister2Job:
    resource = ComputeResource(cpu=0.5, ram_mega_bytes=64, instances=workers, workers_per_executor="max")
    return Twister2Job("restarts", worker, [resource], faults=FaultTolerance(**faults))


def test_a_worker_that_crashes_once_is_started_again_with_its_id(on: Any) -> None:
    def work(env: Any) -> tuple[int, int]:
        import os
        import signal

        if env.worker_id == 1 and env.restart_count == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        return env.worker_id, env.restart_count

    job = on.submit(job_of(work, workers=2))
    assert job.results(timeout=30) == [(0, 0), (1, 1)]
    assert job.tasks.restarts.tolist() == [0, 1]
    events = job.events
    crash = events[(events.worker_id == 1) & (events.state == "FAILED")]
    assert crash.message.item().startswith("killed by signal 11 (SIGSEGV)")
    assert crash.message.item().endswith("; restart 1 of 5 in 0.5 s")


def test_a_worker_that_always_crashes_fails_its_job_and_says_how_often_it_was_tried(on: Any) -> None:
    def work(env: Any) -> None:
        import os

        os._exit(7)

    job = on.submit(job_of(work, max_worker_restarts=1))
    assert job.wait(30) is JobState.FAILED
    assert "exited with code 7 without a result; no restart is left of 1" in repr(job)
    assert job.tasks.restarts.item() == 1


def test_workers_of_a_killed_executor_are_started_again(on: Any, tmp_path: Path) -> None:
    go = str(tmp_path / "go")

    def work(env: Any) -> int:
        import os
        import time

        while env.restart_count == 0 and not os.path.exists(go):
            time.sleep(0.05)
        restarts: int = env.restart_count
        return restarts

    job = on.submit(job_of(work, workers=2))
    eventually(lambda: list(job.tasks.state) == ["RUNNING", "RUNNING"])
    for pid in {psutil.Process(pid).ppid() for pid in workers_alive(job)}:
        os.kill(pid, signal.SIGKILL)
    assert job.results(timeout=30) == [1, 1]
    ends = job.events[job.events.state == "FAILED"]
    assert set(ends.reason) == {"REASON_EXECUTOR_TERMINATED"}


def test_an_unreachable_worker_that_returns_in_time_goes_on(
    on: Any, mesos: LocalMesos, tmp_path: Path
) -> None:
    go = str(tmp_path / "go")

    def work(env: Any) -> int:
        import os
        import time

        while not os.path.exists(go):
            time.sleep(0.05)
        restarts: int = env.restart_count
        return restarts

    job = on.submit(job_of(work))
    eventually(lambda: job.tasks.state.item() == "RUNNING")
    agent = agent_of(job, mesos)
    assert mesos.faults is not None
    mesos.faults.drop(agent)
    eventually(lambda: job.tasks.state.item() == "UNREACHABLE", timeout=30)
    mesos.faults.heal(agent)
    eventually(lambda: job.tasks.state.item() == "RUNNING", timeout=30)
    Path(go).touch()
    assert job.results(timeout=30) == [0]


def test_an_unreachable_worker_that_returns_too_late_is_fenced_off(
    on: Any, mesos: LocalMesos, tmp_path: Path
) -> None:
    go, log = str(tmp_path / "go"), tmp_path / "log"
    path = str(log)

    def work(env: Any) -> int:
        import os
        import time

        with open(path, "a") as file:
            file.write(f"{env.restart_count}\n")
        while not os.path.exists(go):
            time.sleep(0.05)
        restarts: int = env.restart_count
        return restarts

    job = on.submit(job_of(work, unreachable_timeout=0.5))
    eventually(lambda: log.exists() and job.tasks.state.item() == "RUNNING")
    agent = agent_of(job, mesos)
    assert mesos.faults is not None
    mesos.faults.drop(agent)
    eventually(lambda: log.read_text() == "0\n1\n", timeout=30)
    events = job.events  # more may come at any moment
    assert "unreachable" in events[events.state == "LOST"].message.item()
    mesos.faults.heal(agent)
    old = f"{job.job_id}-0-0"
    eventually(lambda: not [cwd for cwd in workers_alive(job).values() if old in cwd], timeout=30)
    Path(go).touch()
    assert job.results(timeout=30) == [1], "the first one's result would be 0"
    assert job.tasks.restarts.item() == 1


def agent_of(job: Any, mesos: LocalMesos) -> str:
    """Return how the faults call the agent that a job's first worker runs on."""
    with urllib.request.urlopen(f"http://{mesos.master}/slaves", timeout=10) as answer:
        port = {agent["id"]: agent["port"] for agent in json.load(answer)["slaves"]}[job.tasks.agent[0]]
    for name, pid in mesos.pids.items():
        if port in {connection.laddr.port for connection in psutil.Process(pid).net_connections()}:
            return name
    raise AssertionError(f"no agent listens on {port}")


def workers_alive(job: Any) -> dict[int, str]:
    """Return the directories in which this job's workers run, by pid."""
    found = {}
    for process in psutil.process_iter():
        try:
            if job.job_id in (directory := process.cwd()):
                found[process.pid] = directory
        except psutil.Error:
            continue
    return found


def test_one_worker_is_killed_for_good_another_to_begin_anew(on: Any, tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    secret = "-".join(["hush"] * 2)  # this file's text travels, too

    def work(env: Any) -> tuple[int, int, str]:
        import os
        import time

        while not os.path.exists(go):
            time.sleep(0.05)
        return env.worker_id, env.restart_count, env.credentials["token"]

    resource = ComputeResource(cpu=0.5, ram_mega_bytes=64, instances=3, workers_per_executor="max")
    job = on.submit(
        Twister2Job("ends", work, [resource], faults=FaultTolerance(max_worker_restarts=0)),
        credentials={"token": secret},
    )
    eventually(lambda: list(job.tasks.state) == ["RUNNING"] * 3)
    job.kill(1, message="too slow")
    job.kill(2, restart=True)
    eventually(
        lambda: list(job.tasks.state) == ["RUNNING", "KILLED", "RUNNING"] and job.tasks.restarts[2] == 1
    )
    Path(go).touch()
    assert job.wait(30) is JobState.KILLED
    first, second, third = job.results(return_exceptions=True)
    assert (first, third) == ((0, 0, secret), (2, 1, secret))
    assert "was killed: too slow" in str(second)
    with pytest.raises(IndexError):
        job.kill(3)
    directory = Path(os.environ["JUPYTER_DATA_DIR"])
    for path in directory.rglob("*"):
        if path.is_file() and "results" not in str(path):
            assert secret.encode() not in path.read_bytes(), path
