"""Journals as dead sessions leave them, made by the real `Journal`."""

from __future__ import annotations

import time
from pathlib import Path

from t2notebook.journal import Journal
from t2notebook.journal.journal import NewJob
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec, make_job_id
from t2notebook.model.use import Use

STATES = ("FINISHED", "FINISHED", "FAILED", "KILLED")
MESSAGES = {
    "FAILED": "ZeroDivisionError: division by zero",
    "KILLED": "killed by the user",
}


def make(
    sessions: Path, journals: int, jobs: int, *, lost: int = 0, workers: int = 4, use: Use | None = None
) -> list[str]:
    """Write `journals` journals with `jobs` ended jobs each, and in the newest `lost` ones that had not ended.

    `use` is what each worker that finished has used.
    """
    found: list[str] = []
    now = time.time() - 60 * journals * jobs
    for number in range(journals):
        journal = Journal(sessions / f"20260101T{number:06d}-{number}")
        journal.set_meta(
            master="local", name=f"dead{number}", socket="", python="/nowhere/python", version="0.1"
        )
        has_lost = number == journals - 1
        for index in range(jobs + (lost if has_lost else 0)):
            now += 60
            state = "RUNNING" if index >= jobs else STATES[index % len(STATES)]
            found.append(_job(journal, f"analysis-{number * jobs + index}", now, state, workers, use))
        journal.close()
    return found


def _job(journal: Journal, name: str, now: float, state: str, workers: int, use: Use | None) -> str:
    spec = JobSpec(
        name=name,
        user="ada",
        resources=(ComputeResource(cpu=1, ram_mega_bytes=512, instances=workers),),
        package="0" * 64,
        package_size=1,
        python="3.11",
        notebook="/home/ada/work/analysis.ipynb",
    )
    job_id = make_job_id(name, user="ada", now_ms=int(now * 1000))
    data = {"name": name, "number_of_workers": workers, "client": "c"}
    submitted = Event(EventKind.SUBMITTED, job_id, now, source="USER", seq=journal.next_seq, data=data)
    journal.commit([submitted], [NewJob(job_id, spec, "secret")])
    events: list[Event] = []
    for worker in range(workers):
        task = f"{job_id}.{worker}.0"
        launch = {
            "agent": f"S{worker}",
            "host": f"node-{worker}",
            "cpus": 1.0,
            "mem": 512.0,
            "executor_id": "e",
        }
        events.append(Event(EventKind.LAUNCHED, job_id, now + 1, worker, task, data=launch))
        events.append(Event(EventKind.STATUS, job_id, now + 2, worker, task, "RUNNING"))
    for worker in range(workers if state != "RUNNING" else 0):
        task = f"{job_id}.{worker}.0"
        if state == "FINISHED":
            told = {"use": use.to_list()} if use is not None else {}
            events.append(Event(EventKind.STATUS, job_id, now + 30, worker, task, state, data=told))
            events.append(Event(EventKind.RESULT, job_id, now + 30, worker, task, data={"ok": True}))
    if state == "KILLED":
        message = MESSAGES[state]
        events.append(Event(EventKind.KILL, job_id, now + 20, source="USER", reason="USER", message=message))
    if state in MESSAGES:
        for worker in range(workers if state == "KILLED" else 1):
            task = f"{job_id}.{worker}.0"
            events.append(
                Event(EventKind.STATUS, job_id, now + 30, worker, task, state, message=MESSAGES[state])
            )
        if state == "FAILED":
            events.append(Event(EventKind.KILL, job_id, now + 30, source="SESSION", reason="WORKER_FAILED"))
            events += [
                Event(EventKind.STATUS, job_id, now + 31, worker, f"{job_id}.{worker}.0", "KILLED")
                for worker in range(1, workers)
            ]
    journal.append(events)
    if state != "RUNNING":
        journal.commit([], ended=[job_id])
    return job_id
