"""Records of job masters: one SQLite file a session, beside its journal.

The file outlives the session's process, killed or not; it is not forced to the disk each time, since a machine that
loses its power loses the session's connections, and with them all waiting workers, as well.
"""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..journal.filesystem import is_on_network
from ..model.text import dumps, loads
from .actions import (
    Barrier,
    DropAnswers,
    DropBarrier,
    DropJob,
    DropMessages,
    PutAnswer,
    PutBarrier,
    PutMessage,
    Write,
)
from .job_master import Kept

log = logging.getLogger(__name__)

FILE = "jobmaster.sqlite"
#: Bytes of records after which what SQLite keeps beside the file is put into it, for which it waits for the disk; and
#: what a record takes beside its payload: two pages.
_CHECKPOINT, _RECORD = 4 << 20, 8192

_SCHEMA = """
CREATE TABLE IF NOT EXISTS barriers (job_id TEXT, barrier TEXT, expected INTEGER, until REAL, faults INTEGER,
    PRIMARY KEY (job_id, barrier)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (job_id TEXT, sender INTEGER, request, incarnation INTEGER, record TEXT,
    PRIMARY KEY (job_id, sender, request)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (job_id TEXT, receiver INTEGER, number INTEGER, sender INTEGER, payload BLOB,
    PRIMARY KEY (job_id, receiver, number));
CREATE TABLE IF NOT EXISTS mailboxes (job_id TEXT, receiver INTEGER, last INTEGER,
    PRIMARY KEY (job_id, receiver)) WITHOUT ROWID;
"""


#: Records of one kind that follow each other, each with the id of its job.
Group = list[tuple[str, Any]]


class Store:
    """The file of one session's job masters; opened at the first write, or where there is one already.

    Parameters
    ----------
    directory : Path
        The journal's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._db: sqlite3.Connection | None = None
        self._bytes = 0  # since the last checkpoint; less than 0: each group waits for the disk

    @property
    def is_quick(self) -> bool:
        """Whether a few records can be written without a wait for the disk."""
        return self._db is not None and 0 <= self._bytes < _CHECKPOINT

    def load(self, job_id: str) -> Kept:
        """Return what was kept of a job; nothing, if nothing can be read."""
        if not self._path.exists():
            return Kept()
        try:
            return self._load(job_id)
        except sqlite3.Error as error:
            log.warning("%s cannot be read: %s", self._path, error)
            return Kept()

    def _load(self, job_id: str) -> Kept:
        with closing(sqlite3.connect(self._path)) as db:
            now = time.time()
            barriers = db.execute(
                "SELECT barrier, expected, until, faults FROM barriers WHERE job_id = ?", (job_id,)
            )
            answers = db.execute(
                "SELECT sender, incarnation, request, record FROM answers WHERE job_id = ?", (job_id,)
            )
            messages = db.execute(
                "SELECT receiver, number, sender, payload FROM messages WHERE job_id = ? ORDER BY receiver, number",
                (job_id,),
            )
            last = db.execute("SELECT receiver, last FROM mailboxes WHERE job_id = ?", (job_id,))
            return Kept(
                barriers={
                    Barrier(name): (expected, until - now, faults)
                    for name, expected, until, faults in barriers
                },
                answers=[(who, number, request, loads(record)) for who, number, request, record in answers],
                messages=messages.fetchall(),
                last=dict(last.fetchall()),
            )

    def write(self, writes: Iterable[tuple[str, Write]], *, may_wait: bool = True) -> None:
        """Write a group, all of it or nothing; on whichever thread, but on one at a time only.

        Parameters
        ----------
        writes : iterable of (job id, Write)
        may_wait : bool
            Whether the disk may be waited for.

        Raises
        ------
        sqlite3.Error, OSError
        """
        writes = list(writes)
        db = self._db or self._open()
        with db:
            db.execute("BEGIN IMMEDIATE")
            for kind, group in itertools.groupby(writes, lambda write: type(write[1])):
                _STATEMENTS[kind](db, list(group))
        if self._bytes >= 0:
            self._bytes += sum(_RECORD + len(getattr(one, "payload", b"")) for _, one in writes)
        if may_wait and self._bytes >= _CHECKPOINT:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._bytes = 0

    def close(self) -> None:
        """Close the file; on the thread that writes."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            is_local = not is_on_network(self._path.parent)
            db.execute(f"PRAGMA journal_mode={'WAL' if is_local else 'DELETE'}")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA wal_autocheckpoint=0")
            self._bytes = 0 if is_local else -1
            db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db


def _put_barriers(db: sqlite3.Connection, group: Group) -> None:
    now = time.time()
    db.executemany(
        "INSERT OR REPLACE INTO barriers VALUES (?, ?, ?, ?, ?)",
        [(job_id, one.barrier, one.expected, now + one.timeout, one.faults) for job_id, one in group],
    )


def _drop_barriers(db: sqlite3.Connection, group: Group) -> None:
    db.executemany(
        "DELETE FROM barriers WHERE job_id = ? AND barrier = ?",
        [(job_id, one.barrier) for job_id, one in group],
    )


def _put_answers(db: sqlite3.Connection, group: Group) -> None:
    texts: dict[int, str] = {}  # all who were at a barrier are told the same
    for _, one in group:
        if id(one.record) not in texts:
            texts[id(one.record)] = dumps(one.record)
    db.executemany(
        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
        [(job_id, one.sender, one.request, one.incarnation, texts[id(one.record)]) for job_id, one in group],
    )


def _drop_answers(db: sqlite3.Connection, group: Group) -> None:
    db.executemany(
        "DELETE FROM answers WHERE job_id = ? AND sender = ?",
        [(job_id, one.sender) for job_id, one in group if one.below is None],
    )
    db.executemany(
        "DELETE FROM answers WHERE job_id = ? AND sender = ? AND request < ?",
        [(job_id, one.sender, one.below) for job_id, one in group if one.below is not None],
    )


def _put_messages(db: sqlite3.Connection, group: Group) -> None:
    db.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?)",
        [(job_id, one.receiver, one.number, one.sender, one.payload) for job_id, one in group],
    )
    last = {(job_id, one.receiver): one.number for job_id, one in group}
    db.executemany(
        "INSERT OR REPLACE INTO mailboxes VALUES (?, ?, ?)", [(*key, number) for key, number in last.items()]
    )


def _drop_messages(db: sqlite3.Connection, group: Group) -> None:
    db.executemany(
        "DELETE FROM messages WHERE job_id = ? AND receiver = ? AND number <= ?",
        [(job_id, one.receiver, one.number) for job_id, one in group],
    )


def _drop_jobs(db: sqlite3.Connection, group: Group) -> None:
    for job_id, _ in group:
        for table in ("barriers", "answers"):
            db.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
        db.execute("DELETE FROM messages WHERE job_id = ? AND receiver >= 0", (job_id,))


_STATEMENTS: Mapping[type, Callable[[sqlite3.Connection, Group], None]] = {
    PutBarrier: _put_barriers,
    DropBarrier: _drop_barriers,
    PutAnswer: _put_answers,
    DropAnswers: _drop_answers,
    PutMessage: _put_messages,
    DropMessages: _drop_messages,
    DropJob: _drop_jobs,
}
