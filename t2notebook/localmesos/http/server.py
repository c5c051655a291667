"""The HTTP server: one asyncio protocol a connection, requests answered in their order, streams that stay open."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from . import http1

log = logging.getLogger(__name__)

MAX_UNREAD = 64 * 1024 * 1024
"""A reader that leaves more than this unread is cut off: a stuck client must not fill the master's memory."""


class EventStream:
    """The writing end of an endless answer.

    `on_close` is called once, when the client is gone (or was cut off), not when the server ends the stream.
    """

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        self.headers = headers
        self.on_close: Callable[[], None] | None = None
        self._connection: Connection | None = None
        self._pending: list[bytes] = []
        self.closed = False

    def send(self, data: bytes) -> None:
        """Send one chunk; what is sent before the head went out follows it."""
        if self.closed:
            return
        if self._connection is None:
            self._pending.append(data)
        else:
            self._connection.send_chunk(data)

    def close(self) -> None:
        """End the stream with the last chunk."""
        if self.closed:
            return
        self.closed = True
        self.on_close = None
        if self._connection is not None:
            self._connection.end_stream()

    def attach(self, connection: Connection) -> None:
        """Start writing (the connection calls this once)."""
        self._connection = connection
        parts = [http1.render_stream_head(self.headers)]
        parts += [http1.chunk(data) for data in self._pending]
        if self.closed:
            parts.append(http1.chunk(b""))
        self._pending.clear()
        connection.write(b"".join(parts))

    def lost(self) -> None:
        """Note that the client is gone."""
        if not self.closed:
            self.closed = True
            callback, self.on_close = self.on_close, None
            if callback is not None:
                callback()


@dataclass(frozen=True)
class Takeover:
    """An answer after which the connection speaks another protocol."""

    protocol: asyncio.Protocol


Answer = http1.Response | EventStream | Takeover
Handler = Callable[[http1.Request], "Answer | Awaitable[Answer]"]


class Connection(asyncio.Protocol):
    """One client's connection.

    What is written in one turn of the loop goes out at its end, at once: to send costs as much as to make an answer.
    """

    def __init__(self, handler: Handler, connections: set[Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._parser = http1.RequestParser()
        self._queue: deque[http1.Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stream: EventStream | None = None
        self._transport: asyncio.Transport | None = None
        self._half_closed = False
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._task is not None:
            self._task.cancel()
        if self._stream is not None:
            self._stream.lost()

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            return  # libprocess, too, reads nothing more once a connection streams
        try:
            self._queue.extend(self._parser.feed(data))
        except http1.ProtocolError as fault:
            request = http1.Request("GET", "/", {}, {}, b"", "HTTP/1.0")
            self.write(http1.render(http1.text(fault.status, str(fault)), request))
            self.close()
            return
        self._advance()

    def eof_received(self) -> bool:
        # A subscriber that half-closes has left (recorded); a plain request still gets its answer.
        self._half_closed = True
        self._send()
        return self._stream is None and (self._task is not None or bool(self._queue))

    def _advance(self) -> None:
        while self._queue and self._task is None and self._stream is None and self._transport is not None:
            request = self._queue.popleft()
            try:
                answer = self._handler(request)
            except Exception:
                log.exception("%s %s", request.method, request.path)
                answer = http1.text(500, "500 Internal Server Error.")
            if isinstance(answer, http1.Response | EventStream | Takeover):
                self._finish(request, answer)
            else:
                self._task = asyncio.get_running_loop().create_task(self._wait(request, answer))

    async def _wait(self, request: http1.Request, awaitable: Awaitable[Answer]) -> None:
        try:
            answer = await awaitable
        except Exception:
            log.exception("%s %s", request.method, request.path)
            answer = http1.text(500, "500 Internal Server Error.")
        self._task = None
        self._finish(request, answer)
        self._advance()

    def _finish(self, request: http1.Request, answer: Answer) -> None:
        if self._transport is None:
            if isinstance(answer, EventStream):
                answer.lost()
            return
        if isinstance(answer, Takeover):
            self._send()
            transport, rest = self._transport, self._parser.rest()
            self._transport = None
            self._connections.discard(self)
            transport.set_protocol(answer.protocol)
            answer.protocol.connection_made(transport)
            if rest:
                answer.protocol.data_received(rest)
            return
        if isinstance(answer, EventStream):
            self._stream = answer
            answer.attach(self)
            if answer.closed:
                self._stream = None
            return
        self.write(http1.render(answer, request))
        if not request.keep_alive or (self._half_closed and not self._queue):
            self.close()

    def write(self, data: bytes) -> None:
        """Write bytes, or cut off a client that does not read."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(data)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not unsent or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(b"".join(unsent))
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            log.warning("cutting off a client that does not read")
            self._transport.abort()

    def send_chunk(self, data: bytes) -> None:
        """Write one chunk of the stream."""
        self.write(http1.chunk(data))

    def end_stream(self) -> None:
        """Write the last chunk; the connection can then carry another request."""
        self.write(http1.chunk(b""))
        self._stream = None

    def close(self) -> None:
        """Close after what was written is out."""
        self._send()
        if self._transport is not None:
            self._transport.close()


class HttpServer:
    """Listens, and hands requests to one handler."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve on a socket that already listens."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._handler, self._connections), sock=listening
        )

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()


def listen(ip: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises
    ------
    OSError
        The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is: else each answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((ip, port))
    listening.listen(1024)
    listening.setblocking(False)
    return listening
