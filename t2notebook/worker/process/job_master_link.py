"""One connection of a worker to its job master: opened and welcomed, then read and written without a thread."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ...protocol import channel
from ...protocol.frames import Message

#: Seconds for a connection with its handshake.
CONNECT_TIME = 10.0
#: Bytes that are read at once.
CHUNK = 1 << 18


@dataclass(slots=True)
class Link:
    """A connection that is open. Its socket never blocks: each wait would cost short calls another system call.

    Parameters
    ----------
    sock : socket.socket
    channel : Channel
    url : str
    number : int
        Of the place of the session, which grows with each.
    first : mapping
        The first message: a ``welcome``, or the reason to ``stop``.
    early : list of Message
        Those that came with it.
    """

    sock: socket.socket
    channel: channel.Channel
    url: str
    number: int = 0
    first: Mapping[str, Any] = field(default_factory=dict)
    early: list[Message] = field(default_factory=list)
    _readable: select.poll = field(default_factory=select.poll)
    _buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(CHUNK)))

    def __post_init__(self) -> None:
        self.sock.setblocking(False)
        self._readable.register(self.sock, select.POLLIN)

    def is_readable(self) -> bool:
        """Whether something has come, or the connection is gone."""
        return bool(self._readable.poll(0))

    def read(self, seconds: float) -> memoryview:
        """Wait for bytes for a while, and return them; empty when the other side has closed.

        They lie where the next ones come to lie.

        Raises
        ------
        TimeoutError
            When none came.
        """
        if not self._readable.poll(seconds * 1000):
            raise TimeoutError("timed out")
        try:
            return self._buffer[: self.sock.recv_into(self._buffer)]
        except BlockingIOError:  # whatever woke us was not for us
            raise TimeoutError("timed out") from None

    def write(self, timeout: float = CONNECT_TIME) -> None:
        """Write all that is to be sent.

        Raises
        ------
        TimeoutError
            When the other side has not read a piece in so many seconds.
        OSError
        """
        while piece := self.channel.take():
            self.send(piece, timeout)

    def send(self, frame: bytes, timeout: float) -> None:
        """Write a frame.

        Raises
        ------
        TimeoutError, OSError
            As of `write`.
        """
        left: bytes | memoryview = frame
        while left:
            try:
                if (sent := self.sock.send(left)) == len(left):
                    return
                left = memoryview(left)[sent:]
            except BlockingIOError:
                writable = select.poll()
                writable.register(self.sock, select.POLLOUT)
                if not writable.poll(timeout * 1000):
                    raise TimeoutError("timed out") from None


def open_link(url: str, number: int, secret: str, hello: Mapping[str, Any], limit: float) -> Link:
    """Return an open connection that has been welcomed, or told to stop.

    Parameters
    ----------
    url : str
        ``http://host:port`` of the session's server for workers, or of the job master.
    number : int
        Of that place.
    secret : str
        The job's, hex.
    hello : mapping
        As of `JobMasterClient`; the address of this end is filled in.
    limit : float
        Seconds that it may take.

    Raises
    ------
    OSError
        When there is none to be had.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + limit
    sock = socket.create_connection((parts.hostname or "", parts.port or 80), limit)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened = channel.connect(secret, {**hello, "address": sock.getsockname()[0]})
        link = Link(sock, opened, url, number)
        while True:
            link.write()
            data = link.read(max(0.01, deadline - time.monotonic()))
            if not data:
                raise ConnectionError("the connection was closed")
            messages = opened.feed(data)
            link.write()
            for index, message in enumerate(messages):
                if "stop" in message.record:
                    link.first = message.record
                    return link
                if "welcome" in message.record:
                    link.first, link.early = message.record, messages[index + 1 :]
                    return link
    except BaseException:
        sock.close()
        raise
