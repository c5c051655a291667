"""Reasons why a cluster's workers wait for resources, as a frame and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..client.job import Job
from ..model.states import TaskState
from .members import Members

if TYPE_CHECKING:
    import pandas as pd

#: So many names of workers stand in a row.
SHOWN = 8


def why(jobs: Iterable[Job], members: Members) -> pd.DataFrame:
    """Return the rows of ``job.why`` of the jobs in which wanted workers wait, with the workers' names before them."""
    import pandas as pd

    from ..frames import why_frame

    frames = []
    for job in jobs:
        pending = waiting_in(job, members)
        if pending:
            frame = job.why
            frame.insert(0, "workers", shortened(pending))
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else why_frame([])


def waiting_for(jobs: Iterable[Job], members: Members) -> str:
    """Return the reason in words; empty if no worker waits."""
    texts = [job.view().waiting_for for job in jobs if waiting_in(job, members)]
    return "; ".join(dict.fromkeys(filter(None, texts)))


def waiting_in(job: Job, members: Members) -> list[str]:
    """Return the names of those workers of a job that are wanted, and wait."""
    workers = job.view().workers
    return [
        member.name
        for member in members.planned
        if member.job_id == job.job_id and workers[member.worker_id].state is TaskState.PENDING
    ]


def shortened(names: Sequence[str]) -> str:
    """Return names as one text; of many, the first ones and how many more there are."""
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
