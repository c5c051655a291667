"""A whole journal at once, for who looks at many that nobody owns: one opening of the file, whatever is in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..model.events import Event
from ..model.job import JobSpec
from ..model.text import loads
from .reader import FILE


@dataclass(frozen=True)
class JournalContent:
    """The facts of a session, and its jobs by id, oldest first, each with its events."""

    meta: dict[str, str]
    jobs: dict[str, tuple[JobSpec, list[Event]]]


def _everything(meta: Mapping[str, str]) -> bool:
    return True


def read_content(
    directory: Path, wanted: Callable[[Mapping[str, str]], bool] = _everything
) -> JournalContent:
    """Return what a journal holds, from any process.

    Parameters
    ----------
    directory : Path
        The session's.
    wanted : callable
        Whether the jobs are wanted, by the facts of the session; of a journal where they are not, there are none.

    Raises
    ------
    sqlite3.Error
        When it is none, or cannot be read now.
    """
    with closing(sqlite3.connect(_address(directory), uri=True)) as db:
        meta = dict(db.execute("SELECT name, value FROM meta"))
        if not wanted(meta):
            return JournalContent(meta, {})
        specs = dict(db.execute("SELECT job_id, spec FROM jobs"))
        jobs: dict[str, tuple[JobSpec, list[Event]]] = {}
        for job_id, record in db.execute("SELECT job_id, record FROM events ORDER BY seq"):
            if job_id not in jobs:
                if job_id not in specs:
                    continue
                jobs[job_id] = (JobSpec.from_dict(loads(specs[job_id])), [])
            jobs[job_id][1].append(Event.from_dict(loads(record)))
        return JournalContent(meta, jobs)


def _address(directory: Path) -> str:
    """Return a URI of the file (https://sqlite.org/uri.html).

    A journal without a write-ahead log is one that was closed: it needs neither locks nor shared memory, which are most
    of the cost of a small one. Should a session take it over meanwhile, it changes, and who looks reads it again.
    """
    path = directory / FILE
    is_closed = not path.with_name(f"{FILE}-wal").exists() and not path.with_name(f"{FILE}-journal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_closed else ''}"
