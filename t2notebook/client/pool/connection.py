"""A pool's connection to its session: frames both ways, and one thread that reads, finds the next session, and wakes
for whatever is due.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ...model.errors import Twister2Error
from ...protocol.frames import PIECE, Bytes, FrameError, FrameReader, FrameWriter, Message
from ..session_http import Connection

_CHUNK = 1 << 20
#: Seconds between two attempts to reach a session.
_PAUSE = 0.1
#: Seconds after which the thread looks around, whatever happens.
_LOOK = 1.0


class Listener(Protocol):
    """Callbacks, on the connection's thread."""

    def opened(self) -> None:
        """There is a connection, which may be to another session."""

    def received(self, messages: Sequence[Message]) -> None:
        """Something has come."""

    def broken(self) -> None:
        """The connection is gone; there will be another."""

    def due(self) -> float | None:
        """Do what is due, and return in how many seconds something is; None to end."""


class PoolConnection:
    """A kept connection of a pool.

    Parameters
    ----------
    job_id : str
    reach : callable
        Gives the connection to the job's session, as it is now.
    listener : Listener
    """

    def __init__(self, job_id: str, reach: Callable[[], Connection], listener: Listener) -> None:
        self._job_id, self._reach, self._listener = job_id, reach, listener
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._writer = FrameWriter(None)
        self._unsent = memoryview(b"")
        self._is_corked = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name=f"t2-pool-{job_id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Have `Listener.due` called now."""
        with self._lock:  # else its end could give the descriptor's number to somebody else's file meanwhile
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is awake, or has ended
            os.write(self._wake_write, b"\0")

    def send(self, record: Mapping[str, Any], pieces: Sequence[Bytes] = ()) -> None:
        """Send something; without a connection it is lost, and the other side asks anew."""
        with self._lock:
            if self._sock is None:
                return
            self._writer.put(record, pieces)
            if not self._is_corked and not self._flush():
                self._wake()

    @contextlib.contextmanager
    def corked(self) -> Iterator[None]:
        """Write what is sent meanwhile together, at the end: each write wakes the session."""
        self._is_corked = True
        try:
            yield
        finally:
            self._is_corked = False
            with self._lock:
                if self._sock is not None and not self._flush():
                    self._wake()

    def reset(self) -> None:
        """Break the connection: what was lost between the two sides is found by the greetings on the next one."""
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def is_here(self) -> bool:
        """Whether this is its thread."""
        return self._thread is threading.current_thread()

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        if not self.is_here:
            self._thread.join(timeout)

    def leave_to_parent(self) -> None:
        """Close a fork's copy of the connection; the parent goes on with it."""
        for descriptor in (self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        sock, self._sock = self._sock, None
        if sock is not None and (descriptor := sock.detach()) >= 0:
            os.close(descriptor)

    # Inside.

    def _flush(self) -> bool:
        """Write what the session takes now; return whether that is all. With the lock held."""
        assert self._sock is not None
        try:
            while self._unsent or (piece := self._writer.take()):
                if not self._unsent:
                    while len(piece) < PIECE and (more := self._writer.take()):
                        piece += more
                    self._unsent = memoryview(piece)
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            return True  # who reads finds it broken
        return True

    def _run(self) -> None:
        try:
            while self._listener.due() is not None:
                try:
                    sock = self._reach().open_frames(f"/v1/jobs/{self._job_id}/pool")
                except Twister2Error:
                    self._sleep(_PAUSE)
                    continue
                sock.setblocking(False)
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK
                )  # more than a frame, if the system allows
                with self._lock:
                    self._sock = sock
                    self._writer, self._unsent = FrameWriter(None), memoryview(b"")
                self._listener.opened()
                try:
                    self._serve(sock)
                finally:
                    with self._lock:
                        self._sock = None
                    sock.close()
                    self._listener.broken()
        finally:
            with self._lock:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_read = self._wake_write = -1

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if poll.poll(seconds * 1000):
            self._awake()

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _serve(self, sock: socket.socket) -> None:
        """Read until the connection breaks, or the pool ends."""
        reader, buffer = FrameReader(None), memoryview(bytearray(_CHUNK))
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        events = select.POLLIN
        poll.register(sock, events)
        while (due := self._listener.due()) is not None:
            with self._lock:
                wanted = select.POLLIN | (0 if self._flush() else select.POLLOUT)
            if wanted != events:
                poll.modify(sock, wanted)
                events = wanted
            ready = dict(poll.poll(max(0.0, min(due, _LOOK)) * 1000))
            if self._wake_read in ready:
                self._awake()
            if ready.get(sock.fileno(), 0) & ~select.POLLOUT:
                try:
                    data = buffer[: sock.recv_into(buffer)]
                    messages = reader.feed(data) if data else ()
                except BlockingIOError:
                    continue
                except (OSError, FrameError):
                    return
                if not data:
                    return
                if messages:
                    self._listener.received(messages)
