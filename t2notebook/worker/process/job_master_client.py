"""A worker's channel to its job master: numbered requests and their answers, in the threads of those who ask.

There is no thread of its own: it would make each `os.fork` of the user's code a risk, and all threads share one
interpreter lock with that code anyway. Of the threads that wait, one reads for all. The connection is made at the first
request; when it breaks, or the session moves, the next one repeats what has not been answered. Without a session
whoever asked waits for the next one, as the job itself does; the job master alone counts the time of time-outs.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...model.errors import Twister2Error
from ...protocol.frames import Bytes, FrameError, Message
from ..session_address import SessionAddress
from .job_master_link import CHUNK, CONNECT_TIME, Link, open_link
from .superseded import Superseded

#: Seconds between two attempts to reach it: the first, and the longest.
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
#: Seconds for the connection of one who does not wait for it, and until the next attempt.
NOTE_TIME, _NOTE_AGAIN = 2.0, 5.0
#: Seconds after which whoever waits looks at the clock, and at where the session is.
_LOOK = 1.0
#: Seconds that a piece of a result may take: a kernel that is busy does not read.
_LONG_WRITE = 3600.0
#: The stream of a pool's calls and results.
_POOL = 2


@dataclass(slots=True)
class _Pending:
    record: Mapping[str, Any]
    payload: bytes
    answer: tuple[Mapping[str, Any], bytes] | None = None


class JobMasterClient:
    """A worker's client of its job master; safe on any thread of the worker's own process.

    Parameters
    ----------
    url : str
        ``http://host:port`` of the session's server for workers.
    secret : str
        The job's, hex.
    hello : mapping
        ``job_id``, ``worker_id`` and ``incarnation``.
    session_address : SessionAddress, optional
        Address of the session, if it moves.

    Attributes
    ----------
    faults : int
        How many failures of workers this one knows of.
    trouble : str
        Why the last connection broke.
    welcome : mapping
        What the job master says of this worker; empty before the first connection.
    number_of_workers : int
        How many workers the job has, as the job master said last; 0 before it said anything.
    is_new : bool
        Whether this worker came when the job was scaled up, and has not failed since.
    on_contact : callable
        Called with False when the job master cannot be reached, and with True when it can be again; with the lock held,
        so it must return at once.
    fence : callable
        Called when the job master cannot be reached; raises `Superseded` if this worker has been replaced meanwhile, as
        far as it can be told without.
    connections : int
        How many connections there have been.
    """

    def __init__(
        self, url: str, secret: str, hello: Mapping[str, Any], session_address: SessionAddress | None = None
    ) -> None:
        self._url, self._secret, self._hello = url, secret, dict(hello)
        self._session_address = session_address
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: dict[int, _Pending] = {}
        self._next = 1
        self._link: Link | None = None
        self._is_reading = False
        self._stopped = ""
        self._away_since: float | None = None
        self._note_after = 0.0
        self.trouble = ""
        self._pid = os.getpid()
        self.faults: int | None = None
        self.welcome: Mapping[str, Any] = {}
        self.number_of_workers = 0
        self.is_new = False
        self.on_contact: Callable[[bool], None] = lambda is_there: None
        self.fence: Callable[[], None] = lambda: None
        self._is_missed = False
        self.connections = 0
        self._pool: list[Message] = []
        _all.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a worker's connection to its job master cannot be pickled")

    @property
    def is_used(self) -> bool:
        """Whether anything was asked."""
        return self._next > 1

    def ask(self, record: Mapping[str, Any], payload: bytes = b"") -> tuple[Mapping[str, Any], bytes]:
        """Ask something, and wait for the answer; across any number of connections.

        Parameters
        ----------
        record : mapping
            ``kind`` says what; ``faults`` is filled in.
        payload : bytes

        Raises
        ------
        Superseded
            When this worker is to stop.
        """
        if os.getpid() != self._pid:
            raise Twister2Error(
                "env talks for its worker's own process; this one was forked from it, and cannot"
            )
        with self._changed:
            number = self._next
            self._next += 1
            pending = self._pending[number] = _Pending(record, payload)
            try:
                if self._link is not None:
                    self._send(self._link, number, pending)
                while pending.answer is None:
                    if self._stopped:
                        raise Superseded(f"told by the session to stop: {self._stopped}")
                    self._take_turn()
                return pending.answer
            finally:
                del self._pending[number]

    def tell(self, record: Mapping[str, Any]) -> None:
        """Say something that needs no answer, and need not arrive: without a connection, it does not."""
        with self._changed:
            if self._link is not None:
                self._send(self._link, 0, _Pending(record, b""))

    def receive(self, wait: bool) -> list[Message]:
        """Return what a pool's notebook has sent: what has come, or with `wait` what comes within a second or so.

        Raises
        ------
        Superseded
            When this worker is to stop.
        """
        with self._lock:
            if self._stopped:
                raise Superseded(f"told by the session to stop: {self._stopped}")
            if self._pool:
                pass
            elif wait:
                self._take_turn()
            elif self._link is not None and not self._is_reading:
                self._drain(self._link)
            messages, self._pool = self._pool, []
            return messages

    def post(self, record: Mapping[str, Any], payload: Sequence[Bytes] = ()) -> bool:
        """Send something to a pool's notebook; return whether there is a connection that took it.

        Parameters
        ----------
        record : mapping
        payload : sequence of bytes-like
        """
        with self._changed:
            if (link := self._link) is None:
                return False
            try:
                link.channel.send({"pool": record, "request": 0}, payload, _POOL)
                link.write(_LONG_WRITE)
            except OSError as error:
                self._fail(str(error) or type(error).__name__)
                return False
            return self._link is link

    def post_head(self, head: bytes, payload: bytes) -> bool:
        """Send something small with a head instead of a record, as `post` does."""
        with self._lock:
            if (link := self._link) is None:
                return False
            try:
                link.send(link.channel.frame_of(head, payload, _POOL), _LONG_WRITE)
            except OSError as error:
                self._fail(str(error) or type(error).__name__)
                return False
            return self._link is link

    def note(self, record: Mapping[str, Any]) -> bool:
        """Say something that needs no answer, and connect for it if that goes quickly; return whether it went out.

        Raises
        ------
        Superseded
            When this worker is to stop.
        """
        if os.getpid() != self._pid:
            return False
        with self._changed:
            if self._link is None and not self._is_reading and time.monotonic() >= self._note_after:
                self._note_after = time.monotonic() + _NOTE_AGAIN
                self._take_turn(NOTE_TIME)
            if self._link is not None:
                self._send(self._link, 0, _Pending(record, b""))
            if self._link is not None and not self._is_reading:
                self._drain(self._link)
            if self._stopped:
                raise Superseded(f"told by the job master to stop: {self._stopped}")
            return self._link is not None

    def connect(self) -> None:
        """Be connected, or raise as `ask` does."""
        if self.faults is None:
            self.ask({"kind": "hello"})

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        with self._changed:
            self._drop()

    def leave_to_parent(self) -> None:
        """Close a fork's copy of the connection; the parent goes on with it."""
        link, self._link = self._link, None
        if link is not None and (descriptor := link.sock.detach()) >= 0:
            os.close(descriptor)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_reading = False

    # Inside; with the lock held, unless it says otherwise.

    def _take_turn(self, limit: float = 0.0) -> None:
        """Read for all who wait, or wait for who does; with a limit in seconds, only for a connection."""
        if self._is_reading:
            self._changed.wait(_LOOK)
            return
        self._is_reading = True
        link = self._link
        self._changed.release()
        data: bytes | memoryview = b""
        fresh: Link | None = None
        trouble = ""
        try:
            if link is None:
                fresh = self._reach(limit or CONNECT_TIME)
            else:
                data = link.read(_LOOK)
                if not data:
                    trouble = "the connection was closed"
        except TimeoutError as error:
            trouble = "" if link is not None else str(error) or "no answer"
        except OSError as error:
            trouble = error.strerror or str(error) or type(error).__name__
        finally:
            self._changed.acquire()
            self._is_reading = False
            if link is not None and link is not self._link:
                link.sock.close()  # another thread found it broken, and left the closing to the one that reads
            self._changed.notify_all()
        if trouble:
            if link is self._link:
                self._fail(trouble, pause=not limit)
        elif fresh is not None:
            self._use(fresh)
        elif link is not None and link is self._link:
            if data:
                self._feed(link, data)
            elif self._has_moved(link):
                self._fail("the session has moved")

    def _fail(self, why: str, pause: bool = True) -> None:
        """Note that there is no connection, and have some time pass before the next attempt."""
        was_connected = self._link is not None
        self._drop()
        self.trouble = why
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if was_connected or not pause:
            return
        if self.faults is not None and not self._is_missed:
            self._is_missed = True
            self.on_contact(False)
        seconds = min(_LONGEST_PAUSE, max(_PAUSE, (now - self._away_since) / 2))
        # Spread, so that a thousand workers do not meet a new session at once; woken, if the executor knows of it.
        self._changed.wait(seconds * random.uniform(0.5, 1.0))

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        if self._is_reading:
            try:
                link.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was quicker
        else:
            link.sock.close()

    def _drain(self, link: Link) -> None:
        """Take what has come, and wait for nothing."""
        while self._link is link and link.is_readable():
            try:
                data = link.read(0)
            except TimeoutError:
                return
            except OSError as error:
                self._fail(str(error) or type(error).__name__)
                return
            if not data:
                self._fail("the connection was closed")
                return
            self._feed(link, data)

    def _use(self, link: Link) -> None:
        self._link, self._away_since = link, None
        if self._is_missed:
            self._is_missed = False
            self.on_contact(True)
        self.connections += 1
        self._take(link.early)
        if self._stopped:
            self._drop()
        for number, pending in sorted(self._pending.items()):
            if pending.answer is None and self._link is link:
                self._send(link, number, pending)

    def _send(self, link: Link, number: int, pending: _Pending) -> None:
        record = {
            **pending.record,
            "request": number,
            "low": min(self._pending, default=self._next),
            "faults": self.faults,
        }
        stream = 1 if len(pending.payload) > CHUNK // 2 else 0
        try:
            link.channel.send(record, pending.payload, stream)
            link.write()
        except OSError as error:
            self._fail(str(error) or type(error).__name__)

    def _feed(self, link: Link, data: bytes | memoryview) -> None:
        try:
            messages = link.channel.feed(data)
        except FrameError as error:
            self._fail(str(error))
            return
        self._take(messages)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            record = message.record
            if "stop" in record:
                self._stopped = str(record["stop"])
                self._drop()
            elif (pending := self._pending.get(record.get("request", 0))) is not None:
                pending.answer = (record, bytes(message.payload))
                self.number_of_workers = int(record.get("number_of_workers", self.number_of_workers))
            elif "pool" in record:
                self._pool.append(message)

    def _has_moved(self, link: Link) -> bool:
        return self._session_address is not None and self._session_address.read()[0] != link.number

    def _reach(self, limit: float) -> Link:
        """Connect, and look at the fence when that fails; without the lock.

        Raises
        ------
        OSError, Superseded
        """
        try:
            return self._connect(limit)
        except OSError:
            self.fence()
            raise

    def _connect(self, limit: float) -> Link:
        """Return an open connection that has been welcomed; without the lock.

        Raises
        ------
        OSError
        """
        number, url = (0, self._url) if self._session_address is None else self._session_address.read()
        if not url:
            raise ConnectionError("the job master has not been started yet")
        link = open_link(url, number, self._secret, self._hello, limit)
        if "stop" in link.first:
            self._stopped = str(link.first["stop"])
            return link
        self.welcome = link.first["welcome"]
        self.number_of_workers = int(link.first["number_of_workers"])
        self.is_new = bool(link.first["is_new"])
        if self.faults is None:
            self.faults = int(link.first["faults"])
        return link


_all: weakref.WeakSet[JobMasterClient] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for client in list(_all):
        client.leave_to_parent()


os.register_at_fork(after_in_child=_leave_to_parent)
