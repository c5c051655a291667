"""Scaling: how many workers a job has after some have been added or taken away. Pure."""

from __future__ import annotations

from .errors import ScalingError
from .job import JobSpec
from .reducer import JobView

#: More workers than any job can have; what is larger is a slip.
MOST_WORKERS = 1_000_000
#: Seconds that workers have who are told to leave, unless it is said, and at the most.
LEAVE_TIME, LONGEST_LEAVE_TIME = 3.0, 86_400.0


def scaled(spec: JobSpec, view: JobView, by: int) -> int:
    """Return the number of workers that a job has when it is scaled.

    Parameters
    ----------
    spec : JobSpec
    view : JobView
    by : int
        Workers to add; less than 0: to take away.

    Raises
    ------
    ScalingError
        When that cannot be; the message says why.
    """
    scalable, number = spec.scalable, view.number_of_workers
    if view.state.is_final or view.kill_reason:
        raise ScalingError(f"job {view.job_id} has ended, or is about to; it cannot be scaled")
    if scalable is None:
        raise ScalingError(
            f"job {view.job_id} cannot be scaled: none of its resources is scalable; submit it with scalable=True, or "
            "with t2.ComputeResource(..., scalable=True)"
        )
    fixed = spec.number_of_workers - scalable.instances
    removable = number - max(fixed, 1)
    if -by > removable:
        kept = f"{fixed} of its {number} workers are not scalable" if fixed else "one worker has to stay"
        raise ScalingError(f"job {view.job_id} cannot lose {-by} workers: {kept}, so {removable} can go")
    if number + by > MOST_WORKERS:
        raise ScalingError(
            f"job {view.job_id} cannot have {number + by} workers; {MOST_WORKERS} are the most"
        )
    return number + by


def check_count(count: object) -> int:
    """Return how many workers are to come or go.

    Raises
    ------
    ScalingError
        When it is no whole number from 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ScalingError(f"the number of workers is {count!r}; give a whole number from 1")
    return count


def check_time(seconds: object) -> float:
    """Return how long workers have who are told to leave.

    Raises
    ------
    ScalingError
        When it is no number of seconds from 0 to a day.
    """
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= float(seconds) <= LONGEST_LEAVE_TIME:  # type: ignore[arg-type]
        raise ScalingError(f"leave_time is {seconds!r}; give seconds, from 0 to {LONGEST_LEAVE_TIME:g}")
    return float(seconds)  # type: ignore[arg-type]
