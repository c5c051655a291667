"""The journal: a session's jobs and events in one SQLite file, durable before anybody is told of them."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..model.errors import JournalError, NotOwner
from ..model.events import Event
from ..model.job import JobSpec
from ..model.text import dumps, loads
from .filesystem import is_on_network
from .reader import FILE, PACKAGES, RESULTS, read_meta

if TYPE_CHECKING:
    from .lease import Lease

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (job_id TEXT PRIMARY KEY, spec TEXT NOT NULL, secret TEXT NOT NULL) WITHOUT
ROWID; CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, job_id TEXT NOT NULL, record TEXT NOT
NULL); CREATE INDEX IF NOT EXISTS events_of_job ON events (job_id, seq);
CREATE TABLE IF NOT EXISTS ended (job_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""

#: Seconds to wait for a reader of ours; whoever refuses locks for longer refuses them for good.
_LOCK_TIMEOUT = 2.0


@dataclass(frozen=True)
class NewJob:
    """A job as it is written down when it is accepted."""

    job_id: str
    spec: JobSpec
    secret: str = field(repr=False)


class Journal:
    """The journal of one session; one writer, in the session's process.

    Its methods may be called from any thread of that process: one after the other, each waits for the one before.

    Parameters
    ----------
    directory : Path
        The session's own directory; made with mode 0700 if absent. Packages and results lie in it, beside the
        file, which is 0600: it holds the jobs' secrets.
    lease : Lease, optional
        The process that owns what it makes. Nothing is written once the file names another owner.

    Attributes
    ----------
    is_lost : bool
        Whether another process has been found to own it.
    on_lost : callable
        Called, once, when another process is found to own the journal, before `NotOwner` is raised; in whatever
        thread found it.

    Raises
    ------
    JournalError
        When the disk is full or the file cannot be locked, and so for every write: then nothing was written.
    """

    def __init__(self, directory: Path, lease: Lease | None = None) -> None:
        self.directory = directory
        self.lease = lease
        self.on_lost: Callable[[], object] = lambda: None
        self._token = "" if lease is None else lease.encode()
        self._lock = threading.RLock()
        self.is_lost = False
        path = directory / FILE
        is_new = not path.exists()
        try:
            self._make_folders()
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise JournalError(_cannot_write(directory, error)) from None
        self._db = self._open()
        try:
            with self._explaining():
                self._db.execute(f"PRAGMA journal_mode={'DELETE' if is_on_network(directory) else 'WAL'}")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
                if is_new and lease is not None:
                    self._db.executemany(_SET, [("owner", self._token), ("renewed", repr(time.time()))])
                (last,) = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
        except BaseException:
            self._db.close()
            raise
        self.next_seq = last + 1

    @classmethod
    def claim(
        cls, directory: Path, lease: Lease, is_owned: Callable[[dict[str, str]], bool]
    ) -> Journal | None:
        """Take a journal over whose owner is dead; None if somebody else did, or is about to.

        Parameters
        ----------
        directory : Path
        lease : Lease
            The new owner.
        is_owned : callable
            Whether the journal's facts name a living owner. Asked while no other process can claim it.
        """
        journal = cls(directory, lease)
        try:
            with journal._explaining(), journal._transaction(check=False):
                meta = journal.meta()
                is_free = not is_owned(meta) and not meta.get("over")
                if is_free:
                    facts = {
                        "owner": journal._token,
                        "renewed": repr(time.time()),
                        "claims": str(int(meta.get("claims", 0)) + 1),
                        "last_seen": meta.get("renewed", ""),
                    }
                    journal._db.executemany(_SET, facts.items())
        except BaseException:
            journal.close()
            raise
        if is_free:
            return journal
        journal.close()
        return None

    def keep(self) -> None:
        """Make the journal's folder and file again, with all that is in it, if somebody has removed them.

        Raises
        ------
        JournalError
            When that cannot be; or `NotOwner`, when another journal lies there now.
        """
        if self._is_in_place():
            return  # without the lock: who only looks does not wait for a commit that is under way
        with self._lock:
            if self._is_in_place():
                return
            if (self.directory / FILE).exists() and read_meta(self.directory).get("owner", "") != self._token:
                self._lose()
            self._restore()

    def _is_in_place(self) -> bool:
        try:
            status = os.stat(self.directory / FILE)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def _restore(self) -> None:
        """Write the journal down once more: SQLite still reads the removed file, which is there until it is closed."""
        path = self.directory / FILE
        temporary = path.with_name(f"{FILE}.restored")
        try:
            self._make_folders()
            temporary.unlink(missing_ok=True)
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            copy = sqlite3.connect(temporary)
            with closing(copy):
                self._db.backup(copy)
            # Before the new file takes the name: closing removes what SQLite keeps beside it.
            self._db.close()
            os.replace(temporary, path)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(_cannot_write(self.directory, error)) from None
        finally:
            self._db = self._open() if path.exists() else self._db
        self._db.execute(f"PRAGMA journal_mode={'DELETE' if is_on_network(self.directory) else 'WAL'}")
        self._db.execute("PRAGMA synchronous=FULL")
        log.warning("%s was removed, and has been made again from memory", self.directory)

    def _make_folders(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (PACKAGES, RESULTS):
            (self.directory / name).mkdir(mode=0o700, exist_ok=True)

    def _open(self) -> sqlite3.Connection:
        path = self.directory / FILE
        # Threads take turns by the lock.
        database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        status = os.stat(path)
        self._file = status.st_dev, status.st_ino
        return database

    @property
    def packages(self) -> Path:
        """The folder of job packages, by digest."""
        return self.directory / PACKAGES

    @property
    def results(self) -> Path:
        """The folder of results, with a directory for each job."""
        return self.directory / RESULTS

    def append(self, events: Iterable[Event]) -> list[Event]:
        """Write events in one transaction; when this returns they are on the disk.

        Returns
        -------
        list of Event
            The same events with their `seq`.
        """
        numbered = [replace(event, seq=self.next_seq + index) for index, event in enumerate(events)]
        if numbered:
            self.commit(numbered)
        return numbered

    def commit(
        self,
        events: Sequence[Event],
        jobs: Iterable[NewJob] = (),
        ended: Iterable[str] = (),
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """Write a group in one transaction; when this returns it is on the disk.

        A group that could not be written may be written again: it is the same rows under the same numbers.

        Parameters
        ----------
        events : sequence of Event
            Numbered.
        jobs : iterable of NewJob
        ended : iterable of str
            Ids of jobs that have ended with these events, for who looks for those that have not.
        meta : mapping, optional
            Facts of the session.
        """
        rows = [(event.seq, event.job_id, event.to_json()) for event in events]
        made = [(job.job_id, dumps(job.spec.to_dict()), job.secret) for job in jobs]
        with self._lock, self._explaining(), self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)", made)
            self._db.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", rows)
            self._db.executemany("INSERT OR IGNORE INTO ended VALUES (?)", [(job_id,) for job_id in ended])
            self._db.executemany(_SET, (meta or {}).items())
        self.next_seq = max([self.next_seq, *(event.seq + 1 for event in events)])

    def set_meta(self, **values: str) -> None:
        """Keep facts of the session: framework id, master, owner."""
        with self._lock, self._explaining(), self._transaction():
            self._db.executemany(_SET, values.items())

    def meta(self) -> dict[str, str]:
        """Return the facts of the session."""
        with self._lock:
            return dict(self._db.execute("SELECT name, value FROM meta"))

    def renew(self) -> None:
        """Say that the owner lives."""
        self.set_meta(renewed=repr(time.time()))

    def check_owner(self) -> None:
        """Raise `NotOwner` when another process has taken the journal over."""
        with self._lock, self._explaining():
            self._check()

    def jobs(self) -> list[tuple[str, JobSpec, str, list[Event]]]:
        """Return all that is known, oldest job first: ids, specifications, secrets, events."""
        events: dict[str, list[Event]] = {}
        for job_id, record in self._db.execute("SELECT job_id, record FROM events ORDER BY seq"):
            events.setdefault(job_id, []).append(Event.from_dict(loads(record)))
        rows = {row[0]: row[1:] for row in self._db.execute("SELECT job_id, spec, secret FROM jobs")}
        return [
            (job_id, JobSpec.from_dict(loads(rows[job_id][0])), rows[job_id][1], events[job_id])
            for job_id in events
            if job_id in rows
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self, check: bool = True) -> Iterator[None]:
        self.keep()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if check:
                self._check()
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite itself rolls back what a full disk interrupts
                self._db.execute("ROLLBACK")
            raise

    def _check(self) -> None:
        if not self._token:
            return
        row = self._db.execute("SELECT value FROM meta WHERE name = 'owner'").fetchone()
        if row is None or row[0] != self._token:
            self._lose()

    def _lose(self) -> NoReturn:
        if not self.is_lost:
            self.is_lost = True
            self.on_lost()
        raise NotOwner(f"another process has taken over the journal in {self.directory}")

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "")
            raise JournalError(
                f"the journal {self.directory / FILE} cannot be written: {error}{hint and f'; {hint}'}"
            ) from None


_SET = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
#: What to do about SQLite's primary result codes (https://sqlite.org/rescode.html).
_HINTS = {
    sqlite3.SQLITE_FULL: "make room on that disk",
    sqlite3.SQLITE_IOERR: "is the disk full, or the file larger than is allowed?",
    sqlite3.SQLITE_READONLY: "let JUPYTER_DATA_DIR name a folder that can be written",
    sqlite3.SQLITE_CANTOPEN: "let JUPYTER_DATA_DIR name a folder that can be written",
    sqlite3.SQLITE_BUSY: "its file system may refuse locks: let JUPYTER_DATA_DIR name a folder on a local disk",
    sqlite3.SQLITE_PROTOCOL: "its file system may refuse locks: let JUPYTER_DATA_DIR name a folder on a local disk",
}


def _cannot_write(directory: Path, error: Exception) -> str:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"the journal in {directory} cannot be written: {why}; JUPYTER_DATA_DIR names another folder"
