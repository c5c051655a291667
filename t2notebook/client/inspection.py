"""Looks inside running workers: stacks, profiles and the debugger, through the job's session."""

from __future__ import annotations

from typing import Any

from ..model.errors import Twister2Error
from ..model.states import TaskState
from .debugging import attach
from .job_connection import JobConnection
from .profile import Profile
from .stacks import stacks_text


def worker_stacks(connection: JobConnection, worker_id: int | None) -> str:
    """Return the stacks of a worker, or of all that run, as text; raises as `Job.stack` does."""
    if worker_id is not None:
        connection.check_worker(worker_id)
    return stacks_text(_inspect(connection, "stack", worker_id))


def profile_worker(connection: JobConnection, worker_id: int, seconds: float) -> Profile:
    """Return where a worker spent its time in the next seconds.

    Parameters
    ----------
    connection : JobConnection
    worker_id : int
    seconds : float
        From 0.1 to 40.

    Raises
    ------
    Twister2Error
        When `seconds` is none of these; otherwise as of `Job.profile`.
    """
    connection.check_worker(worker_id)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.1 <= seconds <= 40:
        raise Twister2Error(f"seconds is {seconds!r}; give a number from 0.1 to 40")
    with connection.interruptible("looking"):
        return Profile(connection.job_id, worker_id, _inspect(connection, "profile", worker_id, seconds)[0])


def debug_worker(connection: JobConnection, worker_id: int | None) -> bool:
    """Debug a worker, by default the first that waits; return whether it goes on or has ended.

    Raises
    ------
    Twister2Error
        As of `Job.debug`.
    """
    if worker_id is None:
        held = held_workers(connection)
        if not held:
            raise Twister2Error(f"no worker of job {connection.job_id} waits in the debugger")
        worker_id = next(iter(held))
    connection.check_worker(worker_id)
    path = f"/v1/jobs/{connection.job_id}/workers/{worker_id}/debug"
    return attach(lambda content: connection.reach().post(path, content), worker_id)


def held_workers(connection: JobConnection) -> dict[int, str]:
    """Return the ids of the workers that wait in the debugger, each with the reason."""
    return {worker.worker_id: worker.held for worker in connection.view().workers if worker.held}


def _inspect(
    connection: JobConnection, kind: str, worker_id: int | None, seconds: float = 0.0
) -> list[dict[str, Any]]:
    workers = (
        [worker_id]
        if worker_id is not None
        else [one.worker_id for one in connection.view().workers if one.state is TaskState.RUNNING]
    )
    if not workers:
        state = connection.state.value
        raise Twister2Error(f"no worker of job {connection.job_id} runs now; it is {state}")
    content = {"kind": kind, "workers": workers, "seconds": seconds}
    return list(connection.reach().post(f"/v1/jobs/{connection.job_id}/inspect", content)["workers"])
