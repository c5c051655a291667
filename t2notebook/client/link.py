"""A kernel's link to a session: one reader thread that keeps the kernel's copies of its jobs up to date."""

from __future__ import annotations

import atexit
import copy
import json
import os
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from ..config import Config
from ..model.errors import SessionError
from ..model.events import TRANSIENT, Event
from ..model.job import JobSpec
from ..model.reducer import JobView
from .connection import Connection, SessionEnding, find_or_start

#: Seconds to wait for events that the session has already sent.
CATCH_UP = 10.0


class JobMirror:
    """A kernel's copy of a job: its events and the view that they make. Guarded by `changed`."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.view = JobView(job_id)
        self.events: list[Event] = []
        self.changed = threading.Condition()
        self.orphaned = ""
        self._listeners: list[Callable[[], None]] = []

    def apply(self, event: Event) -> None:
        """Fold an event in and tell whoever waits."""
        with self.changed:
            self.view.apply(event)
            if event.kind not in TRANSIENT:
                self.events.append(event)
            self._notify()

    def await_seq(self, seq: int) -> None:
        """Wait until the event `seq` is here: requests and events come on different connections."""
        with self.changed:
            self.changed.wait_for(lambda: self.view.last_seq >= seq or self.orphaned, CATCH_UP)

    def orphan(self, why: str) -> None:
        """The session is gone; nothing more will come."""
        with self.changed:
            if not self.view.state.is_final:
                self.orphaned = why
            self._notify()

    def snapshot(self) -> JobView:
        """Return an independent copy of the view."""
        with self.changed:
            twin = copy.copy(self.view)
            twin.workers = [copy.copy(worker) for worker in self.view.workers]
            twin.counts = self.view.counts.copy()
            return twin

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each change, on the reader thread."""
        with self.changed:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Take a listener away."""
        with self.changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _notify(self) -> None:
        self.changed.notify_all()
        for listener in list(self._listeners):
            listener()


class Link:
    """A kernel's attachment to one session; as long as it lives, so does the session.

    Parameters
    ----------
    connection : Connection
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.client_id = uuid.uuid4().hex
        self.is_open = True
        self.session: dict[str, Any] = {}
        self._mirrors: dict[str, JobMirror] = {}
        self._lock = threading.Lock()
        self._stream = connection.open_stream(f"/v1/clients/{self.client_id}/stream")
        if not (line := self._stream.readline()):
            self._stream.close()
            raise SessionEnding("the session has just ended")
        self.session = json.loads(line)["hello"]
        self._pid = os.getpid()
        atexit.register(_say_bye, weakref.ref(self))
        self._reader = threading.Thread(target=self._read, name="t2-events", daemon=True)
        self._reader.start()

    def submit(self, spec: JobSpec, package_path: str) -> JobMirror:
        """Hand a job over; when this returns, the session has it in its journal."""
        answer = self.connection.post(
            "/v1/jobs", {"spec": spec.to_dict(), "package_path": package_path, "client": self.client_id}
        )
        mirror = self.mirror(answer["job_id"])
        mirror.await_seq(answer["seq"])
        return mirror

    def watch(self, job_id: str) -> tuple[JobSpec, JobMirror]:
        """Get a job that another kernel submitted; its whole past comes with it.

        Raises
        ------
        UnknownJob
        """
        mirror = self.mirror(job_id)
        answer = self.connection.post(
            f"/v1/clients/{self.client_id}/watch", {"job_id": job_id, "after": mirror.view.last_seq}
        )
        mirror.await_seq(answer["seq"])
        return JobSpec.from_dict(answer["spec"]), mirror

    def mirror(self, job_id: str) -> JobMirror:
        """Return this kernel's copy of a job, empty if nothing has come yet."""
        with self._lock:
            return self._mirrors.setdefault(job_id, JobMirror(job_id))

    def bye(self) -> None:
        """Say that this kernel exits cleanly."""
        if self.is_open and os.getpid() == self._pid:
            try:
                killed = self.connection.post(f"/v1/clients/{self.client_id}/bye", {})["killed"]
            except SessionError:
                return  # the session is gone, and so are the jobs that were to be ended
            if killed:
                jobs = "jobs" if len(killed) > 1 else "job"
                note = 'on_exit="detach" lets jobs go on without their kernel'
                print(
                    f"t2notebook: killed {jobs} {', '.join(killed)}, still unfinished; {note}",
                    file=sys.stderr,
                )

    def shutdown(self) -> None:
        """End this kernel's jobs, and the session if nobody else needs it; then let go of it."""
        ended = self.connection.post("/v1/shutdown", {"client": self.client_id})["ended"]
        self.let_go(patience=5.0 if ended else 0.0)

    def await_end(self, timeout: float) -> None:
        """Wait for the session to end, `timeout` seconds at the most."""
        self._reader.join(timeout)

    def let_go(self, patience: float = 2.0) -> None:
        """End the attachment; a session that is ending has `patience` seconds to tell the rest first."""
        self._reader.join(timeout=patience)
        self._stream.abort()
        self._reader.join(timeout=10.0)

    def _read(self) -> None:
        try:
            while line := self._stream.readline():
                event = Event.from_dict(json.loads(line)["event"])
                self.mirror(event.job_id).apply(event)
        except Exception as error:
            why = f"the connection to the session broke: {error or type(error).__name__}"
        else:
            why = "the session process has ended"
        self.is_open = False
        self._stream.close()
        with self._lock:
            mirrors = list(self._mirrors.values())
        for mirror in mirrors:
            mirror.orphan(why)


_links: dict[str, Link] = {}
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
            return Link(find_or_start(config))
        except SessionEnding:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def link_to(connection: Connection) -> Link:
    """Return this kernel's link to a session whose socket is known."""
    with _links_lock:
        for link in _links.values():
            if link.is_open and link.connection.path == connection.path:
                return link
        link = _links[str(connection.path)] = Link(connection)
        return link


def open_links() -> list[Link]:
    """Return the links that are open."""
    with _links_lock:
        return [link for link in _links.values() if link.is_open]


def _say_bye(link: weakref.ref[Link]) -> None:
    if (living := link()) is not None:
        living.bye()
