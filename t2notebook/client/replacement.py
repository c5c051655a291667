"""Ending the earlier jobs that a new one takes the place of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..model.errors import Twister2Error

if TYPE_CHECKING:
    from .job import Job

#: Seconds that a replaced job has to end before the next is submitted all the same.
PATIENCE = 10.0


def end_jobs(jobs: Iterable[Job], name: str) -> None:
    """Kill those of `jobs` that have not ended, for one called `name`, and wait a while for their ends."""
    ending = [job for job in {job.job_id: job for job in jobs}.values() if not job.state.is_final]
    for job in ending:
        job.kill(message=f"replaced by the next job called {name}")
    for job in ending:
        with contextlib.suppress(TimeoutError, Twister2Error):
            job.wait(PATIENCE)
