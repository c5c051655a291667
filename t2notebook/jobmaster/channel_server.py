"""The job master's end of the workers' channels: connections of asyncio, each with its state machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..protocol import channel
from ..protocol.frames import PIECE, Bytes, FrameError, Message

log = logging.getLogger(__name__)

#: Seconds that a connection has to prove itself.
HANDSHAKE_TIME = 20.0
#: Bytes that wait for a worker who does not read before its connection is given up; it asks again for what it needs.
MOST_WAITING = 128 << 20
#: The stream of what is larger than a piece; all else goes past it.
_LARGE = 1
#: That of a pool's calls.
_POOL = 2


class Workers(Protocol):
    """Callbacks of connections."""

    def secret_of(self, job_id: str) -> str | None:
        """Return the secret of a job, None if there is none to be talked of."""

    def opened(self, connection: Connection) -> None:
        """A worker has proved itself; ``connection.hello`` says which."""

    def received(self, connection: Connection, message: Message) -> None:
        """A worker has sent a message."""

    def closed(self, connection: Connection) -> None:
        """The connection of a worker that had proved itself is gone."""

    def written(self, connection: Connection) -> None:
        """A worker has read some of what waited for it."""


class ChannelServer:
    """All connections of a server, and how many were refused.

    Parameters
    ----------
    workers : Workers

    Attributes
    ----------
    refused : int
        Connections that were given up since something of theirs was not proved, or no channel.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.refused = 0
        self.connections: set[Connection] = set()

    def connection(self) -> Connection:
        """Return the protocol of one more connection."""
        return Connection(self)

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self.connections):
            connection.close()


class Connection(asyncio.Protocol):
    """A worker's connection.

    Parameters
    ----------
    server : ChannelServer
    """

    def __init__(self, server: ChannelServer) -> None:
        self._server = server
        self._channel = channel.respond(server.workers.secret_of)
        self._transport: asyncio.Transport | None = None
        self._is_paused = self._was_open = False
        self._patience: asyncio.TimerHandle | None = None

    @property
    def hello(self) -> Mapping[str, Any]:
        """The worker's description of itself, once it is authenticated."""
        return self._channel.hello

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=2 * PIECE)
        self._transport = transport
        self._server.connections.add(self)
        self._patience = asyncio.get_running_loop().call_later(HANDSHAKE_TIME, self.close)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        try:
            messages = self._channel.feed(data)
        except FrameError as error:
            self._server.refused += 1
            log.warning("a connection of a worker was refused: %s", error)
            self.close()
            return
        self._flush()
        if self._channel.is_open and not self._was_open:
            self._was_open = True
            if self._patience is not None:
                self._patience.cancel()
            self._server.workers.opened(self)
        for message in messages:
            if self._transport is None:
                return
            self._server.workers.received(self, message)

    @property
    def waiting(self) -> int:
        """Bytes that the worker has yet to read."""
        return self._channel.waiting

    def send_call(self, record: Mapping[str, Any], payload: Bytes) -> None:
        """Send something of a pool's; its notebook sees to it that not too much waits."""
        if self._transport is not None:
            self._channel.send(record, payload, stream=_POOL)
            self._flush()

    def pause_reading(self) -> None:
        """Take nothing more from the worker for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def send(self, record: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a message, as soon as the worker reads."""
        if self._transport is None:
            return
        if self._channel.waiting > MOST_WAITING:
            log.warning(
                "worker %s of %s does not read", self.hello.get("worker_id"), self.hello.get("job_id")
            )
            self.close(abort=True)
            return
        self._channel.send(record, payload, stream=_LARGE if len(payload) > PIECE // 2 else 0)
        self._flush()

    def stop(self, why: str) -> None:
        """Tell the worker to stop, and close."""
        self.send({"stop": why})
        self.close()

    def close(self, abort: bool = False) -> None:
        """Close; what has been written goes out first, unless it is to be broken off."""
        if self._transport is not None:
            if abort:
                self._transport.abort()
            else:
                self._transport.close()

    def pause_writing(self) -> None:
        """Write no more for now."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._flush()
        if self._was_open:
            self._server.workers.written(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self._transport = None
        self._server.connections.discard(self)
        if self._patience is not None:
            self._patience.cancel()
        if self._was_open:
            self._server.workers.closed(self)

    def _flush(self) -> None:
        while self._transport is not None and not self._is_paused and (piece := self._channel.take()):
            self._transport.write(piece)


Factory = Callable[[], Connection]
