"""Workers that wait in the debugger, as the journal has them."""

from __future__ import annotations

from ..journal.job_store import AllJobs
from ..model.events import Event, EventKind


def note_held(jobs: AllJobs, job_id: str, worker_id: int, why: str) -> None:
    """Write down that a worker waits in the debugger, or does so no more, unless that is known.

    Parameters
    ----------
    jobs : AllJobs
    job_id : str
    worker_id : int
    why : str
        Empty when it goes on.
    """
    job = jobs.get(job_id)
    if job is None or job.view.state.is_final or not 0 <= worker_id < len(job.view.workers):
        return
    worker = job.view.workers[worker_id]
    if worker.held == why or worker.state.is_terminal:
        return
    jobs.record(
        Event(
            EventKind.HELD,
            job_id,
            jobs.clock(),
            worker_id,
            worker.task_id,
            source="WORKER",
            message=why or "it left the debugger",
            data={"held": why},
        )
    )
