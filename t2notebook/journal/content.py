"""A whole journal at once, for who looks at many that nobody owns: one opening of the file, whatever is in it."""

from __future__ import annotations

import sqlite3
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


def read_content(directory: Path) -> JournalContent:
    """Return what a journal holds, from any process.

    Raises
    ------
    sqlite3.Error
        When it is none, or cannot be read now.
    """
    with closing(sqlite3.connect(f"file:{directory / FILE}?mode=ro", uri=True)) as db:
        meta = dict(db.execute("SELECT name, value FROM meta"))
        specs = dict(db.execute("SELECT job_id, spec FROM jobs"))
        jobs: dict[str, tuple[JobSpec, list[Event]]] = {}
        for job_id, record in db.execute("SELECT job_id, record FROM events ORDER BY seq"):
            if job_id not in jobs:
                if job_id not in specs:
                    continue
                jobs[job_id] = (JobSpec.from_dict(loads(specs[job_id])), [])
            jobs[job_id][1].append(Event.from_dict(loads(record)))
        return JournalContent(meta, jobs)
