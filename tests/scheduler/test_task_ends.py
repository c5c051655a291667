"""Ends of tasks: what is written down of each, and what follows; what is done then is `test_restarts`'."""

from __future__ import annotations

from typing import Any

import pytest

from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, FaultTolerance, JobSpec
from t2notebook.model.job_table import JobRecord, JobTable
from t2notebook.model.reducer import JobView
from t2notebook.model.states import TaskState
from t2notebook.model.worker_view import WorkerView
from t2notebook.scheduler.executor_pool import Executors
from t2notebook.scheduler.restart_policy import ANEW_PAUSE, MAX_RETRIES, RESTART_FIRST, Decision
from t2notebook.scheduler.silent_launches import Silence
from t2notebook.scheduler.task_ends import TaskEnds, Verdict

MEMORY = "REASON_CONTAINER_LIMITATION_MEMORY"


class Bench:
    """A job of two workers that run in one executor, and who judges their ends."""

    def __init__(self, *, image: str = "", restarts: int = 2) -> None:
        self.table = JobTable()
        resource = ComputeResource(ram_mega_bytes=64, instances=2, image=image)
        faults = FaultTolerance(max_worker_restarts=restarts)
        spec = JobSpec("pi", "ada", (resource,), "0" * 64, 10, "3.11", faults=faults)
        self.job = JobRecord("ada-pi-1", spec, "secret", "k", JobView("ada-pi-1"))
        self.table.add(self.job)
        self.executors = Executors()
        self.record(EventKind.SUBMITTED, None, data={"number_of_workers": 2, "name": "pi"})
        for worker_id in range(2):
            data = {"agent": "S0", "host": "h1", "executor_id": "t2-1", "cpus": 1.0, "mem": 64.0}
            self.record(EventKind.LAUNCHED, worker_id, "STAGING", data=data)
            self.executors.launched("t2-1", "S0", f"pi-{worker_id}", self.job.job_id)
        self.ends = TaskEnds(self.table, Silence("http://s:1"), self.executors)

    def record(self, kind: EventKind, worker_id: int | None, state: str = "", **fields: Any) -> None:
        task_id = f"pi-{worker_id}" if worker_id is not None else ""
        self.table.fold(Event(kind, self.job.job_id, 1.0, worker_id, task_id, state, **fields))

    @property
    def worker(self) -> WorkerView:
        return self.job.view.workers[0]

    def judge(
        self,
        state: TaskState,
        reason: str = "",
        message: str = "",
        source: str = "SOURCE_EXECUTOR",
        **data: Any,
    ) -> Verdict:
        return self.ends.judge(self.job, self.worker, state, source, reason, message, data)


def test_a_good_end_is_as_mesos_tells_it() -> None:
    end = Bench().judge(TaskState.FINISHED, message="it returned")
    assert (end.state, end.message, end.rule.decision) == (TaskState.FINISHED, "it returned", Decision.DONE)
    assert end.restart is None


def test_a_crash_is_counted_and_told_with_the_restart_that_follows() -> None:
    bench = Bench()
    bench.record(EventKind.STATUS, 0, "RUNNING")
    end = bench.judge(TaskState.FAILED, message="Command exited with status 3", exit_code=3)
    assert end.restart == {"restart_count": 1, "failures": 1, "retries": 0, "pause": RESTART_FIRST}
    assert end.message == f"Command exited with status 3; restart 1 of 2 in {RESTART_FIRST:g} s"
    assert end.data == {"exit_code": 3}
    bench.worker.failures = 2
    end = bench.judge(TaskState.FAILED, message="once more")
    assert (end.restart, end.message) == (None, "once more; no restart is left of 2")
    assert Bench(restarts=0).judge(TaskState.FAILED).message.endswith("no restart is allowed")


def test_a_lost_launch_is_repeated_and_not_counted_but_not_for_ever() -> None:
    bench = Bench()
    end = bench.judge(TaskState.LOST, "REASON_INVALID_OFFERS", "offer gone", "SOURCE_MASTER")
    assert end.restart == {"restart_count": 1, "failures": 0, "retries": 1, "pause": 0.0}
    assert end.message == "offer gone; started anew"
    bench.worker.retries = MAX_RETRIES
    end = bench.judge(TaskState.LOST, "REASON_INVALID_OFFERS", "offer gone", "SOURCE_MASTER")
    assert end.restart is None and "given up after" in end.message


def test_who_is_to_begin_anew_pauses_and_its_end_is_none_of_its_own() -> None:
    bench = Bench()
    bench.record(EventKind.STATUS, 0, "RUNNING")
    bench.worker.asked = "again"
    end = bench.judge(TaskState.FINISHED)
    assert (end.state, end.restart and end.restart["pause"]) == (TaskState.KILLED, ANEW_PAUSE)
    bench.worker.asked = "end"
    assert bench.judge(TaskState.KILLED).rule.decision is Decision.DONE


def test_a_worker_whose_result_is_here_had_ended_well() -> None:
    bench = Bench()
    bench.record(EventKind.STATUS, 0, "RUNNING")
    bench.record(EventKind.RESULT, 0, data={"ok": True})
    end = bench.judge(TaskState.LOST, "REASON_AGENT_REMOVED", "agent removed", "SOURCE_MASTER")
    assert (end.state, end.restart) == (TaskState.FINISHED, None)
    assert end.message == "its result had come before: agent removed"


def test_further_lines_are_for_who_looks_for_them() -> None:
    end = Bench().judge(TaskState.FINISHED, message="short\n\n a long story\n")
    assert (end.message, end.data["details"]) == ("short", "a long story")


def test_an_unknown_user_and_an_image_that_cannot_be_had_are_named() -> None:
    why = "Failed to create executor directory '/x': Failed to get user information for 'eve': No such user"
    end = Bench().judge(TaskState.FAILED, "REASON_CONTAINER_LAUNCH_FAILED", why, "SOURCE_AGENT")
    assert end.message.startswith("there is no user 'eve' on h1; name whom"), end.message
    pull = "Failed to launch container: Failed to run 'docker -H unix pull eve/none': exited with status 1"
    end = Bench(image="eve/none").judge(
        TaskState.FAILED, "REASON_CONTAINER_LAUNCH_FAILED", pull, "SOURCE_AGENT"
    )
    assert "eve/none" in end.message and pull in end.data["details"]
    assert end.restart is not None, "it is tried once more: another agent may have it"


@pytest.mark.parametrize(("source", "who"), [("SOURCE_AGENT", True), ("SOURCE_EXECUTOR", False)])
def test_a_limit_of_memory_says_whose_it_is_and_what_to_do(source: str, who: bool) -> None:
    bench = Bench()
    bench.record(EventKind.STATUS, 0, "RUNNING")
    end = bench.judge(TaskState.FAILED, MEMORY, "Memory limit exceeded", source)
    assert end.message.endswith("ask for more memory (--ram, ram_mega_bytes)")
    assert ("that is its executor with all 2 workers in it" in end.message) is who
    assert (end.rule.decision, end.restart) == (Decision.FAIL, None)
