"""Control connections of an executor: one to the job master of each job whose workers it runs.

A worker that hangs can tell nothing of itself; its executor tells what it uses, and looks into it when asked. Nothing
here waits: the executor has one thread, which workers' ends and the agent need. What cannot be sent is left out.
"""

from __future__ import annotations

import errno
import random
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ...protocol import channel
from ...protocol.frames import FrameError
from .event_loop import Loop

#: Seconds that a connection has to be open, and between two attempts: the first, and the longest.
CONNECT_TIME, PAUSE, LONGEST_PAUSE = 10.0, 0.5, 15.0
#: Bytes that wait to be sent before figures are left out.
MOST_WAITING = 1 << 20
_CHUNK = 1 << 18

Request = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any], bytes], None]], None]


class ControlConnection:
    """The connection to one job's job master.

    Parameters
    ----------
    loop : Loop
    secret : str
        The job's, hex.
    hello : mapping
        ``job_id`` and ``executor``.
    locate : callable
        Returns the number and the address of the session, as it is known now.
    on_request : callable
        ``on_request(record, answer)`` takes a question of the job master's; ``answer(record, payload)`` answers it.
    """

    def __init__(
        self,
        loop: Loop,
        secret: str,
        hello: Mapping[str, Any],
        locate: Callable[[], tuple[int, str]],
        on_request: Request,
    ) -> None:
        self._loop, self._secret, self._hello = loop, secret, dict(hello)
        self._locate, self._on_request = locate, on_request
        self._sock: socket.socket | None = None
        self._channel: channel.Channel | None = None
        self._unsent = b""
        self._number = -1
        self._pause = PAUSE
        self._next = self._deadline = 0.0
        self.is_refused = False

    @property
    def is_open(self) -> bool:
        """Whether both sides have proved themselves."""
        return self._channel is not None and self._channel.is_open

    def keep(self) -> None:
        """Connect if there is no connection, or the session has moved; to be called about once a second."""
        now = time.monotonic()
        number, url = self._locate()
        if self._sock is not None:
            if number == self._number and (self.is_open or now < self._deadline):
                return
            self._drop()
            self._next = 0.0
        elif number != self._number:
            self._next = 0.0
        if now >= self._next and not self.is_refused:
            self._number = number
            self._connect(url, now)

    def tell(self, record: Mapping[str, Any], payload: bytes = b"", *, is_figure: bool = False) -> None:
        """Send a message, if there is a connection.

        Parameters
        ----------
        record : mapping
        payload : bytes
        is_figure : bool
            Whether it may be left out when the other side does not read.
        """
        if self._channel is None or not self._channel.is_open:
            return
        if is_figure and self._channel.waiting > MOST_WAITING:
            return
        self._channel.send(record, payload, stream=1 if len(payload) > _CHUNK // 2 else 0)
        self._write()

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _connect(self, url: str, now: float) -> None:
        parts = urlsplit(url)
        self._deadline = now + CONNECT_TIME
        self._next = now + self._pause * random.uniform(0.7, 1.3)  # so that not all come at once
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                parts.hostname or "", parts.port or 80, type=socket.SOCK_STREAM
            )[0]
            sock = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError):
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sock.connect_ex(address) not in (0, errno.EINPROGRESS):
            sock.close()
            return
        self._sock, self._channel = sock, channel.connect(self._secret, self._hello)
        self._loop.add_reader(sock, self._read)
        self._loop.watch_writing(sock, self._write)

    def _read(self) -> None:
        assert self._sock is not None and self._channel is not None
        try:
            data = self._sock.recv(_CHUNK)
            if not data:
                self._drop()
                return
            messages = self._channel.feed(data)
        except BlockingIOError:
            return
        except (OSError, FrameError):
            self._drop()
            return
        self._write()
        for message in messages:
            self._take(message.record)

    def _take(self, record: Mapping[str, Any]) -> None:
        if "stop" in record:
            self.is_refused = True
            self._drop()
        elif "welcome" in record:
            self._pause = PAUSE
        elif isinstance(number := record.get("request"), int):

            def answer(answered: Mapping[str, Any], payload: bytes = b"") -> None:
                self.tell({**answered, "answer": number}, payload)

            self._on_request(record, answer)

    def _write(self) -> None:
        if self._sock is None or self._channel is None:
            return
        try:
            while True:
                if not self._unsent and not (piece := self._channel.take()):
                    break
                data = self._unsent or piece
                sent = self._sock.send(data)
                self._unsent = data[sent:]
        except BlockingIOError:
            self._unsent = self._unsent or data
            self._loop.watch_writing(self._sock, self._write)
            return
        except OSError:
            self._drop()
            return
        self._loop.watch_writing(self._sock, None)

    def _drop(self) -> None:
        sock, self._sock, self._channel, self._unsent = self._sock, None, None, b""
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()
