"""A kernel's link to a session: one reader thread that keeps the kernel's copies of its jobs up to date, and that
finds the next session when one dies.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import Config, get_config
from ..journal import read_events, read_meta
from ..model.errors import SessionError
from ..model.events import Event
from ..model.job import JobSpec
from ..model.text import loads
from .job_replica import JobReplica
from .locator import Finished, reach
from .session_http import Connection, SessionEnding, Stream
from .session_process import ensure_session
from .turns import Turns

log = logging.getLogger(__name__)

#: Seconds that a request waits for the session that takes a dead one's place, and that the search for it goes on.
REACH_TIMEOUT, RESUME_PATIENCE = 30.0, 300.0
#: Seconds that a kernel's exit waits for such a session, and before it looks whether there is to be one.
EXIT_TIMEOUT, EXIT_PAUSE = 5.0, 0.2


#: Seconds that `t2.shutdown` waits for the ends of this kernel's jobs.
SHUTDOWN_PATIENCE = 5.0


class Link:
    """A kernel's attachment to one session; as long as it lives, so does the session.

    When the session dies, the link goes on with the one that takes its jobs over, which it starts if nobody else
    has; whoever waits for a job need not know.

    Parameters
    ----------
    connection : Connection
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.client_id = uuid.uuid4().hex
        self.is_open = True
        self.session: dict[str, Any] = {}
        self._replicas: dict[str, JobReplica] = {}
        self._lock = threading.Lock()
        self._attached = threading.Event()
        self._is_wanted = True
        self._is_replaced = False
        self._stream = self._attach(connection)
        _all.add(self)
        self._pid = os.getpid()
        atexit.register(_notify_exit, weakref.ref(self))
        self._reader = threading.Thread(target=self._read, name="t2-events", daemon=True)
        self._reader.start()

    def reach(self) -> Connection:
        """Return the connection to the session, also when we no longer watch it; while one is taking the place of
        another, wait for it.

        Raises
        ------
        SessionEnding
            When there is none any more.
        """
        self._attached.wait(REACH_TIMEOUT)
        if not self.is_open and not self.connection.is_alive():
            raise SessionEnding("the session process has ended")
        return self.connection

    def post_job(
        self, spec: JobSpec, package_path: str, credentials: Mapping[str, str] | None = None
    ) -> JobReplica:
        """Hand a job to the session; when this returns, the session has it in its journal.

        Parameters
        ----------
        spec : JobSpec
        package_path : str
            The job package's file; the session takes it.
        credentials : mapping, optional
            Secrets of the job, kept in memory only.

        Raises
        ------
        SessionError
            When the session refuses the job, or does not answer.
        """
        answer = self.reach().post(
            "/v1/jobs",
            {
                "spec": spec.to_dict(),
                "package_path": package_path,
                "client": self.client_id,
                **({"credentials": dict(credentials)} if credentials else {}),
            },
        )
        replica = self.replica(answer["job_id"])
        replica.credentials = credentials or {}
        replica.directory = answer["directory"]
        replica.await_seq(answer["seq"])
        return replica

    def watch(self, job_id: str) -> tuple[JobSpec, JobReplica]:
        """Get a job that another kernel submitted; its whole past comes with it.

        Raises
        ------
        UnknownJob
        """
        replica = self.replica(job_id)
        replica.lost_because = ""
        answer = self._watch(replica, self.reach())
        replica.await_seq(answer["seq"])
        return JobSpec.from_dict(answer["spec"]), replica

    def replica(self, job_id: str) -> JobReplica:
        """Return this kernel's copy of a job, empty if nothing has come yet."""
        with self._lock:
            return self._replicas.setdefault(job_id, JobReplica(job_id))

    def notify_exit(self) -> None:
        """Say that this kernel exits cleanly; to the next session, if one is just taking the last one's place."""
        if not self.is_open or os.getpid() != self._pid:
            return
        for patience in (EXIT_TIMEOUT, 0.0):
            self._attached.wait(EXIT_TIMEOUT)
            try:
                killed = self.connection.post(f"/v1/clients/{self.client_id}/exit", {})["killed"]
            except SessionError:
                if not patience or not self._awaited():
                    return  # nobody is there to be told; the jobs go on, up to their failover_timeout
                time.sleep(EXIT_PAUSE)  # the reader may not have noticed yet
                continue
            self._is_wanted = False
            if killed:
                jobs = "jobs" if len(killed) > 1 else "job"
                note = 'job.wait() or --wait waits for the end, on_exit="detach" lets jobs go on without their kernel'
                # What a kernel prints as it ends is sent to nobody any more; this is what papermill's user sees.
                print(
                    f"t2notebook: killed {jobs} {', '.join(killed)}, still unfinished; {note}",
                    file=sys.__stderr__ or sys.stderr,
                    flush=True,
                )
            return

    def shutdown(self) -> None:
        """End this kernel's jobs, and the session if nobody else needs it; then detach."""
        answer = self.reach().post("/v1/shutdown", {"client": self.client_id})
        self._is_wanted = False
        if not answer["ended"]:
            # The session goes on for others; what it ends for us is told before we leave.
            deadline = time.monotonic() + SHUTDOWN_PATIENCE
            for job_id in answer["killed"]:
                replica = self.replica(job_id)
                with replica.changed:
                    replica.changed.wait_for(
                        lambda: replica.view.state.is_final or replica.lost_because,  # noqa: B023
                        max(0.0, deadline - time.monotonic()),
                    )
        self.detach(patience=SHUTDOWN_PATIENCE if answer["ended"] else 0.0)

    def await_end(self, timeout: float) -> None:
        """Wait for the session to end, `timeout` seconds at the most."""
        self._reader.join(timeout)

    def replace(self) -> None:
        """Go on only as long as jobs need it: another link takes new ones."""
        self._is_replaced = True
        if not self._awaited():
            self._is_wanted = False
            self._stream.abort()

    def detach(self, patience: float = 2.0) -> None:
        """End the attachment; a session that is ending has `patience` seconds to tell the rest first."""
        self._is_wanted = False
        self._reader.join(timeout=patience)
        self._stream.abort()
        self._reader.join(timeout=10.0)

    def leave_to_parent(self) -> None:
        """Stop being a link, in a process that was forked: its reader and its connection are the parent's."""
        self.is_open = self._is_wanted = False
        # Another thread may have held them when the process was forked.
        self._lock = threading.Lock()
        self._attached = threading.Event()
        self._attached.set()
        for replica in self._replicas.values():
            replica.changed = threading.Condition()
        self._stream.leave_to_parent()

    # The reader thread.

    def _attach(self, connection: Connection) -> Stream:
        stream = connection.open_stream(f"/v1/clients/{self.client_id}/stream")
        if not (line := stream.readline()):
            stream.close()
            raise SessionEnding("the session has just ended")
        if self.connection is not connection:
            self.connection.close()
        self.connection, self.session = connection, loads(line)["hello"]
        connection.pin(self.session)
        connection.keeps = True
        self._attached.set()
        return stream

    def _watch(self, replica: JobReplica, connection: Connection) -> dict[str, Any]:
        answer: dict[str, Any] = connection.post(
            f"/v1/clients/{self.client_id}/watch",
            {
                "job_id": replica.job_id,
                "after": replica.view.last_seq,
                **({"credentials": dict(replica.credentials)} if replica.credentials else {}),
            },
        )
        replica.directory = answer["directory"]
        return answer

    def _read(self) -> None:
        why = self._follow()
        while self._is_wanted and self._awaited():
            self._attached.clear()
            try:
                self._resume()
            except Exception as error:
                log.debug("no session took the place of the last one", exc_info=True)
                why = f"{why}, and no other took its place: {error or type(error).__name__}"
                break
            why = self._follow() if self._attached.is_set() else why
        self.is_open = False
        self._attached.set()
        self._stream.close()
        self.connection.close()
        with self._lock:
            replicas = list(self._replicas.values())
        for replica in replicas:
            replica.mark_lost(why)

    def _follow(self) -> str:
        """Take events until there are no more; return why."""
        turns = Turns()
        try:
            while line := self._stream.readline():
                turns.next()
                record = loads(line)
                if "event" in record:
                    event = Event.from_dict(record["event"])
                    self.replica(event.job_id).apply(event, line)
                else:
                    self.replica(record["lost"]).mark_lost(record["why"])
                if self._is_replaced and not self._awaited():
                    return "nothing more was to come"
        except Exception as error:
            return f"the connection to the session broke: {error or type(error).__name__}"
        return "the session process has ended"

    def _awaited(self) -> list[JobReplica]:
        with self._lock:
            return [replica for replica in self._replicas.values() if replica.is_awaited]

    def _resume(self) -> None:
        """Go on with the session that has our jobs now.

        Raises
        ------
        Exception
            When there has been none for `RESUME_PATIENCE` seconds.
        """
        self._stream.close()
        deadline = time.monotonic() + RESUME_PATIENCE
        pause = 0.05
        while self._is_wanted and (awaited := self._awaited()):
            try:
                self._resume_once(awaited)
                return
            except Exception:
                self._attached.clear()
                self._stream.close()
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def _resume_once(self, awaited: list[JobReplica]) -> None:
        attached: Connection | None = None
        first = awaited[0]
        for replica in awaited:
            directory = Path(replica.directory)
            for event in read_events(directory, replica.job_id, after=replica.view.last_seq):
                replica.apply(event)
            if not replica.is_awaited:
                continue
            try:
                connection = reach(directory, replica.job_id, lambda: self._is_wanted)
            except Finished:
                replica.mark_lost(read_meta(directory).get("over") or "the session process has ended")
                continue
            if attached is None:
                self._stream = self._attach(connection)
                attached, first = connection, replica
            if not attached.is_same(connection):
                if not attached.is_same(reach(Path(first.directory), first.job_id, lambda: self._is_wanted)):
                    raise SessionEnding("the session has ended since the last job was found there")
                replica.mark_lost("another session has taken it over; t2.attach leads to it")
                continue
            self._watch(replica, connection)


_links: dict[str, Link] = {}
_all: weakref.WeakSet[Link] = weakref.WeakSet()
_links_lock = threading.Lock()


def link_for(config: Config) -> Link:
    """Return this kernel's link to the session of `config`; the session is started if there is none."""
    with _links_lock:
        link = _links.get(config.session_key)
        if link is None or not link.is_open:
            link = _links[config.session_key] = _new_link(config)
        return link


def _new_link(config: Config) -> Link:
    """Attach to the session of `config`; one that is just dying is given the time to."""
    deadline = time.monotonic() + config.start_timeout
    while True:
        try:
            return Link(ensure_session(config))
        except SessionEnding:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def link_to(connection: Connection) -> Link:
    """Return this kernel's link to a session whose socket is known."""
    with _links_lock:
        for link in _links.values():
            if link.is_open and link.connection.is_same(connection):
                return link
        link = _links[str(connection.path)] = Link(connection)
        return link


def forget(link: Link) -> None:
    """Let the next submit look for a session anew; the link itself goes on as long as its jobs need it."""
    with _links_lock:
        for key in [key for key, other in _links.items() if other is link]:
            del _links[key]
    link.replace()


def open_links() -> list[Link]:
    """Return the links that are open."""
    return [link for link in list(_all) if link.is_open]


def open_job(directory: Path, job_id: str) -> tuple[Link, JobSpec, JobReplica]:
    """Return a job with a link to the session that has it; if that has died, to one that took it over.

    Raises
    ------
    Finished
        When nobody has it any more.
    SessionError
        When its session is on another host, or none can be started.
    """
    deadline = time.monotonic() + get_config().start_timeout
    while True:
        try:
            link = link_to(reach(directory, job_id))
            return link, *link.watch(job_id)
        except SessionEnding:
            # A session that was killed a moment ago still took our connection while it died.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _begin_anew() -> None:
    """Have a process that was forked find sessions for itself: the parent's links lead nowhere here, and the locks may
    be held by threads that are not here.
    """
    global _links_lock, _all
    inherited, _all = list(_all), weakref.WeakSet()
    _links_lock = threading.Lock()
    _links.clear()
    for link in inherited:
        link.leave_to_parent()


os.register_at_fork(after_in_child=_begin_anew)


def _notify_exit(link: weakref.ref[Link]) -> None:
    if (living := link()) is not None:
        living.notify_exit()
        living.connection.close()
