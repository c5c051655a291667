"""The journal: a session's jobs and events in one SQLite file, durable before anybody is told of them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..model.events import Event
from ..model.job import JobSpec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (job_id TEXT PRIMARY KEY, spec TEXT NOT NULL, secret TEXT NOT NULL) WITHOUT
ROWID; CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, job_id TEXT NOT NULL, record TEXT NOT
NULL); CREATE INDEX IF NOT EXISTS events_of_job ON events (job_id, seq);
"""

#: Names inside a session's directory.
FILE, PACKAGES, RESULTS = "journal.sqlite", "packages", "results"


class Journal:
    """The journal of one session; one writer, in the session's process.

    Parameters
    ----------
    directory : Path
        The session's own directory; made with mode 0700 if absent. Packages and results lie in it, beside the
        file, which is 0600: it holds the jobs' secrets.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (PACKAGES, RESULTS):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        path = directory / FILE
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        (last,) = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
        self._next = last + 1

    @property
    def packages(self) -> Path:
        """Where job packages lie, by digest."""
        return self.directory / PACKAGES

    @property
    def results(self) -> Path:
        """Where results lie, in a directory a job."""
        return self.directory / RESULTS

    def append(self, events: Iterable[Event]) -> list[Event]:
        """Write events in one transaction; when this returns they are on the disk.

        Returns
        -------
        list of Event
            The same events with their `seq`.
        """
        numbered = [replace(event, seq=self._next + index) for index, event in enumerate(events)]
        if numbered:
            self._write(numbered)
        return numbered

    def add_job(self, job_id: str, spec: JobSpec, secret: str, event: Event) -> Event:
        """Write a job and its first event in one transaction; return the event with its `seq`."""
        numbered = replace(event, seq=self._next)
        self._write([numbered], job=(job_id, json.dumps(spec.to_dict()), secret))
        return numbered

    def set_meta(self, **values: str) -> None:
        """Keep facts of the session: framework id, master, owner."""
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write(self, numbered: list[Event], job: tuple[str, str, str] | None = None) -> None:
        rows = [
            (event.seq, event.job_id, json.dumps(event.to_dict(), separators=(",", ":")))
            for event in numbered
        ]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if job is not None:
                self._db.execute("INSERT INTO jobs VALUES (?, ?, ?)", job)
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._next += len(rows)


def result_path(directory: Path, job_id: str, worker_id: int) -> Path:
    """Return where a session keeps a worker's result, or will."""
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
        return {job_id: JobSpec.from_dict(json.loads(spec)) for job_id, spec in rows}


def read_events(directory: Path, job_id: str, after: int = 0) -> list[Event]:
    """Return a job's events with a `seq` above `after`, from any process."""
    with _reading(directory) as db:
        rows = db.execute(
            "SELECT record FROM events WHERE job_id = ? AND seq > ? ORDER BY seq", (job_id, after)
        )
        return [Event.from_dict(json.loads(record)) for (record,) in rows]


def session_directories(root: Path) -> Iterator[Path]:
    """Yield the directories below `root` that hold a journal, oldest first."""
    if root.is_dir():
        found = [path for path in root.iterdir() if (path / FILE).is_file()]
        yield from sorted(found, key=lambda path: (path / FILE).stat().st_mtime)


def prune(root: Path, alive: Iterable[Path], *, max_bytes: int, max_age: float) -> list[Path]:
    """Remove ended sessions, oldest first, that are older than `max_age` seconds or over the quota.

    Parameters
    ----------
    root : Path
        Where the sessions' directories lie.
    alive : iterable of Path
        Directories that have a living owner; they are counted, never removed.
    max_bytes : int
        The quota for all of them together.
    max_age : float
        Seconds since the last write.

    Returns
    -------
    list of Path
        What was removed.
    """
    kept = set(alive)
    directories = list(session_directories(root))
    sizes = {
        path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in directories
    }
    total = sum(sizes.values())
    removed = []
    for path in directories:
        if path in kept:
            continue
        age = time.time() - (path / FILE).stat().st_mtime
        if total > max_bytes or age > max_age:
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]
            removed.append(path)
    return removed


class _reading:
    """A read-only connection, closed at the end."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def __enter__(self) -> sqlite3.Connection:
        self._db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        return self._db

    def __exit__(self, *_: Any) -> None:
        self._db.close()
