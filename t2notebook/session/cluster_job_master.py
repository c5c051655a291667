"""A session's connection to a job master that runs as a task on Mesos: events and the driver's messages go there, what
is meant for the driver comes from there. Whatever was not answered is asked again after the connection broke, or the
job master was started anew.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..jobmaster.actions import DRIVER, Scale
from ..jobmaster.hosted import SESSION
from ..journal.job_store import JobRecord
from ..model.events import TRANSIENT, Event
from ..protocol import channel
from ..protocol.frames import MAX_MESSAGE, PIECE, FrameError, Message

log = logging.getLogger(__name__)

#: Seconds for a connection with its handshake, and between two attempts: the first and the longest.
CONNECT_TIME, FIRST_PAUSE, LONGEST_PAUSE = 10.0, 0.05, 1.0
#: Seconds that the last messages of a job's workers are waited for.
END_TIME = 10.0
#: Events that are sent at once.
_EVENTS = 500
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Location:
    """The place of one incarnation of a job master; its number grows with each."""

    number: int
    host: str
    port: int

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


class LogLost(Exception):
    """The log of an earlier incarnation cannot be had any more."""


Letters = list[tuple[int, int, bytes]]


class ClusterJobMaster:
    """The connection to the job master of one job.

    Parameters
    ----------
    job : JobRecord
    claims : int
        How often the job's journal has been taken over: a newer session is believed.
    earlier_log : callable
        Fetches the log of the last incarnation; raises `LogLost`.
    take : callable
        ``take(letters)`` keeps messages to the driver, and returns when they are on the disk.
    taken : callable
        Returns the number of the last one that is kept.
    on_progress : callable
        Takes a worker's progress.
    scale : callable
        Carries out a worker's wish for more workers, or fewer, and returns what it is told.
    on_held : callable
        Takes ``worker_id`` and ``why`` of a worker that waits in the debugger, or does so no more.
    on_lost : callable
        Called with why the job cannot go on.
    """

    def __init__(
        self,
        job: JobRecord,
        claims: int,
        *,
        earlier_log: Callable[[], Awaitable[bytes]],
        take: Callable[[Letters], Awaitable[None]],
        taken: Callable[[], int],
        on_progress: Callable[[Mapping[str, Any]], None],
        scale: Callable[[Scale], Awaitable[Mapping[str, Any]]],
        on_held: Callable[[Mapping[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._job, self._claims = job, claims
        self._earlier_log, self._take, self._taken = earlier_log, take, taken
        self._on_progress, self._scale, self._on_lost = on_progress, scale, on_lost
        self._on_held = on_held
        self._wishes: set[asyncio.Task[None]] = set()
        self._location: Location | None = None
        self._moved = asyncio.Event()
        self._numbers = itertools.count()
        self._pending: dict[str, tuple[Mapping[str, Any], bytes, asyncio.Future[Message]]] = {}
        self._channel: channel.Channel | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._is_synchronized = False
        self._took = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._pull())]

    def move(self, location: Location | None) -> None:
        """Turn to another incarnation; None while there is none."""
        if location != self._location:
            self._location = location
            self._moved.set()
            if self._writer is not None:
                self._writer.close()

    def tell(self, event: Event) -> None:
        """Tell it of an event that is on the disk."""
        if self._is_synchronized and event.kind not in TRANSIENT:
            self._send({"kind": "events", "events": [event.to_dict()]})

    async def ask(self, record: Mapping[str, Any], payload: bytes = b"", request: str = "") -> Message:
        """Ask something, and wait for the answer, across any number of connections.

        Parameters
        ----------
        record : mapping
            ``kind`` says what.
        payload : bytes
        request : str
            The same for a repetition.
        """
        request = request or f"session-{self._claims}-{next(self._numbers)}"
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[request] = ({**record, "request": request}, payload, future)
        if self._is_synchronized:
            self._send(*self._pending[request][:2])
        try:
            return await future
        finally:
            self._pending.pop(request, None)

    async def end(self) -> None:
        """Say that the job has ended, and take what its workers have sent to the driver, as far as it can be had."""
        try:
            async with asyncio.timeout(END_TIME):
                last = int((await self.ask({"kind": "end"})).record["last"])
                while self._taken() < last:
                    self._took.clear()
                    await self._took.wait()
        except TimeoutError:
            log.warning("the last messages of %s's workers may be lost", self._job.job_id)

    async def close(self) -> None:
        """Leave it alone."""
        for task in (*self._tasks, *self._wishes):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Inside.

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._moved.clear()
            if self._location is None:
                await self._moved.wait()
                pause = FIRST_PAUSE
                continue
            try:
                async with asyncio.timeout(CONNECT_TIME):
                    reader, writer = await asyncio.open_connection(self._location.host, self._location.port)
                try:
                    await self._talk(reader, writer)
                    pause = FIRST_PAUSE
                finally:
                    self._is_synchronized, self._channel, self._writer = False, None, None
                    writer.close()
            except LogLost as error:
                self._on_lost(str(error))
                return
            except (OSError, EOFError, FrameError, TimeoutError) as error:
                log.debug("job master of %s: %r", self._job.job_id, error)
            except Exception:
                log.exception("the connection to the job master of %s is made anew", self._job.job_id)
            try:
                async with asyncio.timeout(pause):
                    await self._moved.wait()
            except TimeoutError:
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = {"job_id": self._job.job_id + SESSION, "worker_id": DRIVER, "claims": self._claims}
        opened = channel.connect(self._job.secret, hello)
        self._channel, self._writer = opened, writer
        self._flush()
        while data := await reader.read(_CHUNK):
            messages = opened.feed(data)
            self._flush()
            for message in messages:
                record = message.record
                if "needs_log" in record:
                    await self._synchronize(record)
                elif "progress" in record:
                    self._on_progress(record["progress"])
                elif "held" in record:
                    self._on_held(record["held"])
                elif "scale" in record:
                    wish = asyncio.get_running_loop().create_task(self._carry_out(Scale(**record["scale"])))
                    self._wishes.add(wish)
                    wish.add_done_callback(self._wishes.discard)
                elif "stop" in record:
                    raise EOFError(str(record["stop"]))
                elif (asked := self._pending.get(str(record.get("request")))) and not asked[2].done():
                    asked[2].set_result(message)
            await writer.drain()

    async def _carry_out(self, wish: Scale) -> None:
        answer = await self._scale(wish)
        who = {"worker_id": wish.worker_id, "incarnation": wish.incarnation, "request": wish.request}
        self._send({"kind": "scaled", **who, "answer": dict(answer)})

    async def _synchronize(self, state: Mapping[str, Any]) -> None:
        """Tell a job master what it does not know, then ask what was not answered."""
        if state["needs_log"]:
            earlier = await self._earlier_log()
            if len(earlier) > MAX_MESSAGE - PIECE:
                raise LogLost(
                    "its job master was started anew, and what the last one kept is too much to bring there "
                    f"({len(earlier) >> 20} MiB that nobody had read); with a persistent_volume it lies there already"
                )
            self._send({"kind": "log"}, earlier)
        events = [
            event.to_dict()
            for event in self._job.events
            if event.seq > state["last_seq"] and event.kind not in TRANSIENT
        ]
        for begin in range(0, len(events), _EVENTS):
            self._send({"kind": "events", "events": events[begin : begin + _EVENTS]})
        self._send({"kind": "ready"})
        self._is_synchronized = True
        for record, payload, _ in list(self._pending.values()):
            self._send(record, payload)

    async def _pull(self) -> None:
        """Take messages to the driver, for good: what is acknowledged is on our disk."""
        while True:
            message = await self.ask({"kind": "driver_receive", "acknowledged": self._taken()})
            letters, begin = [], 0
            for number, sender, size in message.record["letters"]:
                if number > self._taken():
                    letters.append((number, sender, bytes(message.payload[begin : begin + size])))
                begin += size
            await self._take(letters)
            self._took.set()

    def _send(self, record: Mapping[str, Any], payload: bytes = b"") -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.send(record, payload, stream=1 if len(payload) > _CHUNK // 2 else 0)
            self._flush()

    def _flush(self) -> None:
        while self._channel is not None and self._writer is not None and (piece := self._channel.take()):
            self._writer.write(piece)
