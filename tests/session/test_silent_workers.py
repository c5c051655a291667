"""Workers that do not answer: told apart from those that are busy, and replaced."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from t2notebook.journal import Journal
from t2notebook.journal.job_store import AllJobs, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, FaultTolerance, JobSpec
from t2notebook.session.silent_workers import SilentWorkers
from tests.session.conftest import eventually
from tests.session.test_restarts import workers_alive


def test_who_says_nothing_for_too_long_is_given_up_once(tmp_path: Path) -> None:
    jobs, everything = Jobs(Journal(tmp_path)), AllJobs()
    everything.add(jobs)
    faults = FaultTolerance(failure_timeout=10)
    spec = JobSpec("pi", "ada", (ComputeResource(instances=3),), "0" * 64, 1, "3.11", faults=faults)
    job = jobs.create_now(spec, "k")
    for worker, executor in enumerate(("E1", "E1", "E2")):
        task = f"t{worker}"
        data = {"executor_id": executor, "agent": "A", "restart_count": 0}
        jobs.record(
            Event(EventKind.LAUNCHED, job.job_id, 1.0, worker, task, data=data),
            Event(EventKind.STATUS, job.job_id, 1.0, worker, task, "RUNNING"),
        )
    given_up: list[Any] = []
    watch = SilentWorkers(everything, lambda job, workers, seconds: given_up.append((workers, seconds)))
    for now in range(100, 120):
        watch.look(float(now))
    assert given_up == [], "E1 and E2 have not been heard yet: they may not have a way to us"
    for now in range(120, 160):
        watch.heard(job.job_id, "E2", now)
        if now < 125:
            watch.heard(job.job_id, "E1", now)
        if now < 140:
            watch.heard(job.job_id, 1, now)
        watch.look(float(now))
    assert given_up == [((0,), 10.0)], "the other one speaks for itself, until it is silent, too"
    # We stood still, not they: what they said meanwhile has yet to be read.
    watch.look(500.0)
    watch.look(501.0)
    assert len(given_up) == 1
    for now in range(502, 520):
        watch.look(float(now))
    assert given_up[1:] == [((2,), 10.0)]
    jobs.journal.close()


@pytest.mark.slow
def test_an_executor_that_stands_still_is_replaced_and_a_worker_in_c_code_is_not(
    t2: Any, tmp_path: Path
) -> None:
    def work(env: Any) -> Any:
        import ctypes
        import os
        import time

        if env.worker_id == 1 or env.restart_count:
            if env.worker_id == 1:
                # C code that holds the interpreter's lock, for longer than is waited for an answer.
                ctypes.PyDLL(None).sleep(8)
            return env.restart_count
        open(os.path.join(env.config["folder"], str(os.getpid())), "w").close()
        time.sleep(600)

    job = t2.submit(
        work,
        workers=2,
        cpu=0.5,
        ram=64,
        workers_per_executor=1,
        failure_timeout=4,
        config={"folder": str(tmp_path)},
    )
    eventually(lambda: job.state.value == "STARTED" and list(tmp_path.iterdir()), 60)
    (marker,) = tmp_path.iterdir()
    pid = int(marker.name)
    executor = psutil.Process(pid).ppid()
    time.sleep(3)  # it has told the session what its worker uses
    for stopped in (executor, pid):
        os.kill(stopped, signal.SIGSTOP)
    assert job.results(90) == [1, 0]
    lost = job.events[job.events.reason == "FAILURE_TIMEOUT"]
    assert lost.worker_id.tolist() == [0]
    assert lost.message.item().startswith(
        "nothing was heard of it for 4 s, neither from its executor nor from itself"
    )
    eventually(lambda: pid not in workers_alive(job) and not psutil.pid_exists(pid), 60)
