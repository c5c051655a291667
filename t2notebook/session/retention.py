"""Retention: a living session's oldest ended jobs give up their packages and results first; of ended sessions, those
that somebody may yet take up stay.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from ..journal import owner_is_alive, prune, read_unfinished, session_directories
from ..journal.job_store import JobRecord, Jobs
from ..model.events import Event, EventKind

#: Bytes: of one living session's packages and results, and of all sessions' directories together.
KEEP_BYTES = 2 << 30
KEEP_SECONDS = 7 * 86400.0


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


def prune_ended(sessions: Path) -> None:
    """Remove what ended sessions have left, as far as it is too old or too much, and nobody needs it."""
    kept = [path for path in session_directories(sessions) if _is_needed(path)]
    prune(sessions, kept, max_bytes=KEEP_BYTES, max_age=KEEP_SECONDS)


def _is_needed(directory: Path) -> bool:
    """Whether a session's directory is in use, or will be when somebody takes its jobs up."""
    if owner_is_alive(directory):
        return True
    try:
        unfinished = read_unfinished(directory)
    except Exception:
        return True
    meta = unfinished.meta
    timeout = json.loads(meta.get("framework", "{}")).get("failover_timeout", 0.0)
    return (
        bool(unfinished.jobs)
        and not meta.get("over")
        and time.time() - float(meta.get("renewed") or 0.0) < float(timeout) + KEEP_SECONDS
    )
