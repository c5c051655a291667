"""Taking a framework over from its journal: the scheduler's tables are rebuilt from the jobs' events, and what
was cut off between two of them is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..journal.job_store import JobRecord
from ..model.events import EventKind
from ..model.states import TaskState
from ..protocol.launch import KILL_GRACE

if TYPE_CHECKING:
    from .state import Scheduler


def adopt(scheduler: Scheduler) -> None:
    """Have a new scheduler know what an earlier one of the same framework knew, before it subscribes.

    Its executors get no more launches: an ExecutorInfo must never change, and that of a new session differs.
    """
    for job in scheduler.jobs:
        for event in job.events:
            if event.kind is EventKind.LAUNCHED:
                executor_id, agent = str(event.data.get("executor_id", "")), str(event.data.get("agent", ""))
                scheduler.executors.reserve(executor_id)
                if url := event.data.get("agent_url"):
                    scheduler.agents[agent] = str(url)
        if not job.view.state.is_final:
            _adopt_job(scheduler, job)
    scheduler.want_offers()


def _adopt_job(scheduler: Scheduler, job: JobRecord) -> None:
    for worker in job.view.workers:
        if worker.is_on_mesos:
            scheduler.adopt_task(job, worker.worker_id)
        elif worker.state is TaskState.PENDING and not job.view.kill_reason:
            scheduler.adopt_waiting(job, worker.worker_id)


def settle(scheduler: Scheduler) -> None:
    """Do what the events of unfinished jobs ask for and what may not have been done: a session can die, and a
    disk can be full, between a worker's end and what follows from it.
    """
    for job in scheduler.jobs.active:
        failed = [
            worker
            for worker in job.view.workers
            if worker.state.is_terminal and worker.state is not TaskState.FINISHED and worker.asked != "end"
        ]
        if failed and not job.view.kill_reason:
            scheduler.worker_failed(job, failed[0].worker_id)
        elif scheduler.driver is not None:
            for worker in job.view.workers:
                if worker.is_on_mesos and (job.view.kill_reason or worker.asked):
                    scheduler.driver.kill(worker.task_id, worker.agent, KILL_GRACE)
