"""Events of a job's workers that others listen to: `WorkerEvent`, after Twister2's listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class WorkerEventKind(StrEnum):
    """The kind of a `WorkerEvent`."""

    ALL_JOINED = "all_joined"
    SCALED_UP = "scaled_up"
    SCALED_DOWN = "scaled_down"
    FAILED = "failed"
    RESTARTED = "restarted"
    JOB_MASTER_FAILED = "job_master_failed"
    JOB_MASTER_RESTARTED = "job_master_restarted"


@dataclass(frozen=True)
class WorkerEvent:
    """Something that happened to the workers of a job.

    Parameters
    ----------
    kind : str
        ``"all_joined"``, ``"scaled_up"``, ``"scaled_down"``, ``"failed"`` (a worker had run, and has ended before its
        time), ``"restarted"`` (it runs again), ``"job_master_failed"`` (it cannot be reached) and
        ``"job_master_restarted"`` (it, or another in its place, can be).
    number_of_workers : int
        How many workers the job has now.
    worker_id : int or None
        The worker that failed or was restarted.
    restart_count : int
        How often that worker has been restarted.
    """

    kind: str
    number_of_workers: int
    worker_id: int | None = None
    restart_count: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> WorkerEvent:
        """Return the event that a job master tells."""
        worker_id = int(record["worker_id"])
        return cls(
            str(record["kind"]),
            int(record["number_of_workers"]),
            worker_id if worker_id >= 0 else None,
            int(record["restart_count"]),
        )
