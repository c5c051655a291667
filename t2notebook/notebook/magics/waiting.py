"""A cell's wait for its job: why it waits, the debugger, and what an interrupt does."""

from __future__ import annotations

from typing import Any

from ...model.errors import JobFailed, Twister2Error
from ...model.states import JobState
from ...views.snapshot import snapshot
from ..errors import Interrupted
from ..output import kernel_shell
from ..publisher import Watch
from ..rendering.text import job_text

#: How long the final view may take after the job has ended, s.
DRAW_TIMEOUT = 2.0
#: How long an interrupted cell waits for its killed job's end, s.
KILL_TIMEOUT = 10.0
#: Seconds between two looks whether a worker of an awaited job waits in the debugger.
HELD_LOOK = 0.5
#: How many sentences about what an awaited job waits for a terminal shows, where no view changes.
REASONS_TOLD = 5


def wait(job: Any, *watches: Watch | None, shown: str = "") -> None:
    """Wait for the job's end and for its last view, and lines.

    Parameters
    ----------
    job : Job
    watches : Watch or None
        Whatever shows something of it.
    shown : str
        The reason for waiting that is on the screen already.

    Raises
    ------
    JobFailed
        When it did not end well.
    Interrupted
        When a worker was held, and somebody left the debugger.
    """
    state = _await_end(job, shown)
    for watch in watches:
        if watch is not None:
            watch.finish(DRAW_TIMEOUT)
    if kernel_shell() is None:
        print(job_text(snapshot(job.view())))
    if state is not JobState.COMPLETED:
        raise job.error() or JobFailed(f"job {job.job_id} ended as {state}", job_id=job.job_id)


def _await_end(job: Any, shown: str) -> JobState:
    """Wait for the job's end, and open the debugger here on workers that wait in it."""
    passed: set[int] = set()  # those that nothing can be typed for here
    told = {shown}
    while True:
        try:
            return JobState(job.wait(HELD_LOOK))
        except TimeoutError:
            if kernel_shell() is None:
                _say_why(job.view().waiting_for, told)
            held = next((worker_id for worker_id in job.held_workers() if worker_id not in passed), None)
        if held is None:
            continue
        try:
            if not job.attach_debugger(held):
                raise Interrupted(
                    f"you left the debugger; job {job.job_id} goes on, and %twister2 debug leads back"
                )
        except Interrupted:
            raise
        except Twister2Error as error:
            passed.add(held)
            print(error)


def _say_why(reason: str, told: set[str]) -> None:
    """Print what a job waits for, if that is new; a job whose reason changes all the time does not fill the screen."""
    if reason and reason not in told and len(told) <= REASONS_TOLD:
        told.add(reason)
        print(f"waiting: {reason}")


def kill(job: Any, watch: Watch | None) -> str:
    """Kill `job` and say in one line what came of it; a second interrupt ends only the waiting."""
    try:
        job.kill()
        state = job.wait(KILL_TIMEOUT)
        if watch is not None:
            watch.finish(DRAW_TIMEOUT)
    except (KeyboardInterrupt, TimeoutError):
        return f"you stopped the cell; job {job.job_id} is being killed"
    except Exception as error:
        return f"you stopped the cell, but job {job.job_id} could not be killed: {error}"
    if state is JobState.KILLED:
        return f"you stopped the cell, so job {job.job_id} was killed"
    return f"you stopped the cell, but job {job.job_id} had already ended as {state}"
