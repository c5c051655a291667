"""Calls and results of pools on their way between a notebook and its workers: nothing of them is kept or looked into.

Whoever sends is held up where the other side does not read, so that little waits here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import Any

from ..jobmaster.channel_server import Connection
from ..protocol import outcomes
from ..protocol.frames import PIECE, Bytes, FrameError, FrameReader, FrameWriter, Message

log = logging.getLogger(__name__)

#: Bytes that wait for a worker before its notebook is held up, and until it goes on.
_MUCH, _LITTLE = 16 << 20, 4 << 20
#: Seconds for which nothing is read from a worker that has said that more results follow at once: they come together.
GATHER = 0.002
#: Seconds that one worker may hold its notebook up; then its connection is given up, and it asks anew.
PATIENCE = 30.0

Key = tuple[str, int]


class Pools:
    """The notebooks of pools, and their workers' connections.

    Parameters
    ----------
    workers : mapping
        Connections by job and worker id; not changed here.
    """

    def __init__(self, workers: Mapping[Key, Connection]) -> None:
        self._workers = workers
        self._notebooks: dict[str, Notebook] = {}
        self._gathering: set[Connection] = set()

    def notebook(self, job_id: str) -> Notebook:
        """Return the protocol of a notebook's connection."""
        return Notebook(self, job_id)

    # What workers' connections tell.

    def opened(self, key: Key) -> None:
        """A worker is there."""
        if (notebook := self._notebooks.get(key[0])) is not None:
            self._workers[key].send_call(_ATTACHED, b"")
            notebook.hold_up(self._workers[key])

    def received(self, key: Key, connection: Connection, message: Message) -> None:
        """A worker has sent something.

        Parameters
        ----------
        key : (str, int)
        connection : Connection
        message : Message
        """
        if (notebook := self._notebooks.get(key[0])) is not None:
            incarnation = connection.hello["incarnation"]
            if len(message.head) == outcomes.SIZE:
                head = outcomes.sent_by(key[1], incarnation, message.head)
                notebook.send_head(head, bytes(message.payload))
            elif "pool" in message.record:
                notebook.send({**message.record["pool"], "from": key[1], "of": incarnation}, message.payload)
        if outcomes.has_more(message.head):
            self._gather(connection)

    def _gather(self, connection: Connection) -> None:
        """Read from a worker again a moment later: to be woken for each of many short calls costs more than they do."""
        if not self._gathering:
            asyncio.get_running_loop().call_later(GATHER, self._read_on)
        if connection not in self._gathering:
            self._gathering.add(connection)
            connection.pause_reading()

    def _read_on(self) -> None:
        gathering, self._gathering = self._gathering, set()
        for connection in gathering:
            notebook = self._notebooks.get(str(connection.hello.get("job_id")))
            if notebook is None or not notebook.holds_up:
                connection.resume_reading()

    def written(self, key: Key, connection: Connection) -> None:
        """A worker has read some of what waited for it."""
        notebook = self._notebooks.get(key[0])
        if notebook is not None and connection.waiting <= _LITTLE:
            notebook.go_on(key[1])

    def closed(self, key: Key) -> None:
        """A worker's connection is gone."""
        if (notebook := self._notebooks.get(key[0])) is not None:
            notebook.go_on(key[1])
            notebook.send({"away": key[1]}, b"")

    # What notebooks' connections tell.

    def attached(self, notebook: Notebook) -> None:
        """A notebook is there; another of the same job is no more."""
        if (earlier := self._notebooks.get(notebook.job_id)) is not None:
            earlier.close()
        self._notebooks[notebook.job_id] = notebook
        for connection in self.workers_of(notebook.job_id):
            connection.send_call(_ATTACHED, b"")

    def detached(self, notebook: Notebook) -> None:
        """A notebook's connection is gone."""
        for connection in self.workers_of(notebook.job_id):
            if notebook.holds_up:
                connection.resume_reading()
        if self._notebooks.get(notebook.job_id) is notebook:
            del self._notebooks[notebook.job_id]
            for connection in self.workers_of(notebook.job_id):
                connection.send_call(_ALONE, b"")

    def to_worker(self, notebook: Notebook, message: Message) -> None:
        """Bring something to a worker, if it is there."""
        record = dict(message.record)
        worker_id = record.pop("to", None)
        connection = self._workers.get((notebook.job_id, worker_id))
        if connection is None or connection.hello.get("incarnation") != record.pop("of", None):
            return  # the notebook hears of it, and sends it to another
        connection.send_call({"pool": record}, message.payload)
        if connection.waiting > _MUCH:
            notebook.wait_for(int(worker_id), connection)

    def workers_of(self, job_id: str) -> list[Connection]:
        """Return the connections of a job's workers."""
        return [connection for key, connection in self._workers.items() if key[0] == job_id]

    def close(self) -> None:
        """Close the notebooks' connections."""
        for notebook in list(self._notebooks.values()):
            notebook.close()


class Notebook(asyncio.Protocol):
    """The connection of a pool's notebook.

    Parameters
    ----------
    pools : Pools
    job_id : str

    Attributes
    ----------
    holds_up : bool
        Whether its workers are not read from, since it does not read.
    """

    def __init__(self, pools: Pools, job_id: str) -> None:
        self.job_id = job_id
        self.holds_up = self._is_due = False
        self._pools = pools
        self._reader, self._writer = FrameReader(None), FrameWriter(None)
        self._transport: asyncio.Transport | None = None
        self._waits_for: dict[int, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=4 * PIECE)
        # As much as the system allows: it has less room than a frame by itself, and each frame would go in two.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * PIECE)
        self._transport = transport
        self._pools.attached(self)

    def data_received(self, data: bytes) -> None:
        """Take calls."""
        try:
            messages = self._reader.feed(data)
        except FrameError as error:
            log.warning("the connection of a pool's notebook is given up: %s", error)
            self.close()
            return
        for message in messages:
            self._pools.to_worker(self, message)

    def send(self, record: Mapping[str, Any], payload: Bytes) -> None:
        """Send something to the notebook."""
        if self._transport is not None:
            self._writer.put(record, payload)
            self._flush_soon()

    def send_head(self, head: bytes, payload: bytes) -> None:
        """Send something small with a head instead of a record."""
        if self._transport is not None:
            self._writer.put_head(head, payload)
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._writer.waiting > PIECE:
            self._flush()
        elif not self._is_due:
            # What else workers send in this turn of the loop goes with it.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def hold_up(self, connection: Connection) -> None:
        """Read from a new worker no more than from the others."""
        if self.holds_up:
            connection.pause_reading()

    def wait_for(self, worker_id: int, connection: Connection) -> None:
        """Take no more calls until a worker has read."""
        if worker_id in self._waits_for or self._transport is None:
            return
        self._waits_for[worker_id] = asyncio.get_running_loop().call_later(
            PATIENCE, lambda: connection.close(abort=True)
        )
        self._transport.pause_reading()

    def go_on(self, worker_id: int) -> None:
        """A worker has read, or is gone."""
        if (timer := self._waits_for.pop(worker_id, None)) is not None:
            timer.cancel()
            if not self._waits_for and self._transport is not None:
                self._transport.resume_reading()

    def close(self) -> None:
        """Close, after what has been sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The notebook does not read: take nothing from its workers."""
        self.holds_up = True
        for connection in self._pools.workers_of(self.job_id):
            connection.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self.holds_up = False
        self._flush()
        if not self.holds_up:
            for connection in self._pools.workers_of(self.job_id):
                connection.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self._transport = None
        for timer in self._waits_for.values():
            timer.cancel()
        self._pools.detached(self)

    def _flush(self) -> None:
        self._is_due = False
        while self._transport is not None and not self.holds_up and (piece := self._writer.take()):
            pieces, size = [piece], len(piece)
            while size < PIECE and (piece := self._writer.take()):
                pieces.append(piece)
                size += len(piece)
            self._transport.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])


_ATTACHED = {"pool": {"kind": "attached"}}
_ALONE = {"pool": {"kind": "alone"}}
