"""Taking a framework over from its journal: the scheduler's tables are rebuilt from the jobs' events, and what
was cut off between two of them is done. Pure.
"""

from __future__ import annotations

from ..model.events import EventKind
from ..model.job_table import JobRecord, JobTable
from ..model.states import TaskState
from .executor_pool import Executors
from .task_tracker import TaskTracker


def adopt(jobs: JobTable, executors: Executors, agents: dict[str, str], tracker: TaskTracker) -> None:
    """Have a new scheduler know what an earlier one of the same framework knew, before it subscribes.

    Its executors get no more launches: an ExecutorInfo must never change, and that of a new session differs.

    Parameters
    ----------
    jobs : JobTable
    executors : Executors
    agents : dict
        Where each agent serves its files, by agent id; filled here.
    tracker : TaskTracker
    """
    for job in jobs:
        for event in job.events:
            if event.kind is EventKind.LAUNCHED:
                executor_id, agent = str(event.data.get("executor_id", "")), str(event.data.get("agent", ""))
                executors.reserve(executor_id)
                if url := event.data.get("agent_url"):
                    agents[agent] = str(url)
        if not job.view.state.is_final:
            _adopt_job(tracker, job)


def _adopt_job(tracker: TaskTracker, job: JobRecord) -> None:
    for worker in job.view.workers:
        if worker.is_on_mesos:
            tracker.adopt_task(job, worker.worker_id)
        elif worker.state is TaskState.PENDING and not job.view.kill_reason:
            tracker.adopt_waiting(job, worker.worker_id)


def settle(jobs: JobTable, tracker: TaskTracker) -> None:
    """Do what the events of unfinished jobs ask for and what may not have been done: a session can die between a
    worker's end and what follows from it.
    """
    for job in jobs.active:
        failed = [
            worker
            for worker in job.view.workers
            if worker.state.is_terminal and worker.state is not TaskState.FINISHED and worker.asked != "end"
        ]
        if failed and not job.view.kill_reason:
            tracker.worker_failed(job, failed[0].worker_id)
        else:
            for worker in job.view.workers:
                if worker.is_on_mesos and (job.view.kill_reason or worker.asked):
                    tracker.end_task(worker.task_id, worker.agent)
