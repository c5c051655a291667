"""The quota of a living session: the oldest ended jobs give up their packages and results first."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..jobmaster.jobs import JobRecord, Jobs
from ..model.events import Event, EventKind


class Quota:
    """Counts what lies beside the journal, and frees the oldest when it is too much.

    Parameters
    ----------
    jobs : Jobs
    max_bytes : int
        For packages and results together. What active jobs need is never removed.
    """

    def __init__(self, jobs: Jobs, max_bytes: int) -> None:
        self._jobs = jobs
        self._max = max_bytes
        self._sizes: dict[str, int] = {}
        self._total = 0

    def on_event(self, event: Event, job: JobRecord) -> None:
        """Count what came, and look whether it is too much."""
        if event.kind is EventKind.SUBMITTED:
            self._add(job.job_id, job.spec.package_size)
        elif event.kind is EventKind.RESULT:
            self._add(job.job_id, int(event.data.get("size", 0)))

    def _add(self, job_id: str, size: int) -> None:
        self._sizes[job_id] = self._sizes.get(job_id, 0) + size
        self._total += size
        for oldest in list(self._sizes):
            if self._total <= self._max:
                return
            record = self._jobs.get(oldest)
            if record is not None and record.view.state.is_final and oldest != job_id:
                self._free(record)

    def _free(self, record: JobRecord) -> None:
        shutil.rmtree(self._jobs.journal.results / record.job_id, ignore_errors=True)
        needed = {job.spec.package for job in self._jobs if job.job_id in self._sizes and job is not record}
        if record.spec.package not in needed:
            self._package(record).unlink(missing_ok=True)
        self._total -= self._sizes.pop(record.job_id)

    def _package(self, record: JobRecord) -> Path:
        return self._jobs.journal.packages / f"{record.spec.package}.t2"
