"""One port for two protocols: workers' channels, told by their first bytes, and HTTP for files. So addresses, ports and
firewalls need to be thought of once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler

from ..protocol.channel import MAGIC

#: Seconds that a connection has to say anything.
SILENCE = 30.0
#: Seconds between two looks at a connection that has said too little to be told.
_LOOK = 0.01


class SharedPort(HTTPServer):
    """An HTTP server that hands connections which begin with `MAGIC` to others.

    Attributes
    ----------
    channels : callable
        Makes the asyncio protocol of such a connection.
    """

    channels: Callable[[], asyncio.Protocol]

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Begin with no socket and no connection."""
        self._listening: list[tuple[socket.socket, Callable[[], None]]] = []
        self._undecided: dict[socket.socket, asyncio.Task[None]] = {}
        super().initialize(*args, **kwargs)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on sockets that listen."""
        for listening in sockets:
            self._listening.append((listening, add_accept_handler(listening, self._accepted)))

    def stop(self) -> None:
        """Accept no more connections."""
        for listening, remove in self._listening:
            remove()
            listening.close()
        self._listening.clear()
        for task in self._undecided.values():
            task.cancel()
        super().stop()

    def _accepted(self, connection: socket.socket, address: Any) -> None:
        connection.setblocking(False)
        try:
            first = connection.recv(len(MAGIC), socket.MSG_PEEK)
        except OSError:  # nothing yet, or it is broken already
            first = b""
        if len(first) == len(MAGIC) and first != MAGIC:
            self._serve_http(connection, address)
            return
        self._undecided[connection] = asyncio.get_running_loop().create_task(
            self._decide(connection, address)
        )

    def _serve_http(self, connection: socket.socket, address: Any) -> None:
        self.handle_stream(IOStream(connection, max_buffer_size=self.max_buffer_size), address)

    async def _decide(self, connection: socket.socket, address: Any) -> None:
        try:
            async with asyncio.timeout(SILENCE):
                first = await _first_bytes(connection)
            if first == MAGIC:
                await asyncio.get_running_loop().connect_accepted_socket(self.channels, connection)
            else:
                self._serve_http(connection, address)
        except (OSError, TimeoutError):
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._undecided.pop(connection, None)


async def _first_bytes(connection: socket.socket) -> bytes:
    """Return how a connection begins, and leave it there; wait for as many bytes as it takes to tell."""
    while True:
        await _readable(connection)
        first = connection.recv(len(MAGIC), socket.MSG_PEEK)
        if len(first) == len(MAGIC) or not first or not MAGIC.startswith(first):
            return first
        await asyncio.sleep(_LOOK)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
