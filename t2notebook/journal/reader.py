"""Reading sessions' journals from any process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model.events import Event
from ..model.job import JobSpec
from ..model.text import loads
from .lease import is_owned

#: Names inside a session's directory.
FILE, PACKAGES, RESULTS = "journal.sqlite", "packages", "results"


def result_path(directory: Path, job_id: str, worker_id: int) -> Path:
    """Return where a session keeps a worker's result, or will.

    Parameters
    ----------
    directory : Path
        The session's.
    job_id : str
    worker_id : int
    """
    return directory / RESULTS / job_id / f"{worker_id}.t2"


def read_meta(directory: Path) -> dict[str, str]:
    """Return a session's facts, from any process."""
    with _reading(directory) as db:
        return dict(db.execute("SELECT name, value FROM meta"))


def read_jobs(directory: Path) -> dict[str, JobSpec]:
    """Return a session's jobs by id, oldest first, from any process."""
    with _reading(directory) as db:
        rows = db.execute(
            "SELECT job_id, spec FROM jobs "
            "ORDER BY (SELECT MIN(seq) FROM events WHERE events.job_id = jobs.job_id)"
        )
        return {job_id: JobSpec.from_dict(loads(spec)) for job_id, spec in rows}


def read_events(directory: Path, job_id: str, after: int = 0) -> list[Event]:
    """Return a job's events, from any process.

    Parameters
    ----------
    directory : Path
        The session's.
    job_id : str
    after : int
        Only events with a larger `seq`.
    """
    with _reading(directory) as db:
        rows = db.execute(
            "SELECT record FROM events WHERE job_id = ? AND seq > ? ORDER BY seq", (job_id, after)
        )
        return [Event.from_dict(loads(record)) for (record,) in rows]


@dataclass(frozen=True)
class Unfinished:
    """A session's facts, and its jobs that had not ended: ids and numbers of workers, oldest first."""

    directory: Path
    meta: dict[str, str]
    jobs: dict[str, int]


def read_unfinished(directory: Path) -> Unfinished:
    """Return what a session has not finished, at a cost that does not grow with what it has."""
    with _reading(directory) as db:
        meta = dict(db.execute("SELECT name, value FROM meta"))
        rows = db.execute("SELECT job_id, spec FROM jobs WHERE job_id NOT IN (SELECT job_id FROM ended)")
        # An id ends with its time.
        found = sorted(rows, key=lambda row: row[0].rpartition("-")[2])
        specs = {job_id: JobSpec.from_dict(loads(spec)) for job_id, spec in found}
        # A job master of another job on the cluster is no job of a person's.
        jobs = {job_id: spec.number_of_workers for job_id, spec in specs.items() if not spec.serves}
        return Unfinished(directory, meta, jobs)


def session_directories(root: Path) -> Iterator[Path]:
    """Yield the directories below `root` that hold a journal, oldest first."""
    found = []
    if root.is_dir():
        for path in root.iterdir():
            # A session may remove its journal while we look.
            with suppress(FileNotFoundError, NotADirectoryError):
                found.append(((path / FILE).stat().st_mtime, path))
    yield from (path for _, path in sorted(found))


class _reading:
    """A read-only connection, closed at the end."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def __enter__(self) -> sqlite3.Connection:
        self._db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        return self._db

    def __exit__(self, *_: Any) -> None:
        self._db.close()


def owner_is_alive(directory: Path) -> bool:
    """Whether a session's journal has a living owner."""
    try:
        return is_owned(read_meta(directory))
    except Exception:  # an unreadable journal is left alone, whoever it belongs to
        return True
