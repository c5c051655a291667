"""The executors that run a session's workers: their control connections, what they tell, and what they are asked."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..jobmaster.channel_server import Connection
from ..protocol.frames import Message

log = logging.getLogger(__name__)

#: Seconds in which an executor whose worker has just been started connects; it does so within one or two.
APPEARANCE = 5.0


class Unreachable(Exception):
    """The executor is not connected, or does not answer; the message says so."""


class Executors:
    """Control connections, by job and executor.

    Parameters
    ----------
    on_use : callable
        ``on_use(job_id, workers)`` takes the use of some workers, as `model.use` has it.
    on_heard : callable
        ``on_heard(job_id, executor_id)`` is told each time that an executor says anything.
    """

    def __init__(
        self,
        on_use: Callable[[str, Any], None],
        on_heard: Callable[[str, str], None] = lambda job_id, executor_id: None,
    ) -> None:
        self._on_use, self._on_heard = on_use, on_heard
        self._connections: dict[tuple[str, str], Connection] = {}
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Connection, asyncio.Future[Message]]] = {}
        self._changed = asyncio.Event()

    def opened(self, connection: Connection) -> None:
        """Welcome an executor that has proved itself."""
        key = _key(connection)
        if (earlier := self._connections.get(key)) is not None:
            earlier.close(abort=True)
        self._connections[key] = connection
        self._on_heard(*key)
        connection.send({"welcome": {}})
        self._changed.set()
        self._changed = asyncio.Event()

    def received(self, connection: Connection, message: Message) -> None:
        """Take what an executor says."""
        record = message.record
        self._on_heard(*_key(connection))
        if record.get("kind") == "use":
            self._on_use(_key(connection)[0], record.get("workers"))
            return
        asked = self._asked.pop(number, None) if isinstance(number := record.get("answer"), int) else None
        if asked is not None and not asked[1].done():
            asked[1].set_result(message)

    def closed(self, connection: Connection) -> None:
        """Forget an executor's connection; it may come back."""
        key = _key(connection)
        if self._connections.get(key) is connection:
            del self._connections[key]
        for number, (asked, future) in list(self._asked.items()):
            if asked is connection:
                del self._asked[number]
                if not future.done():
                    future.set_exception(Unreachable("its executor's connection broke"))

    def end(self, job_id: str, why: str) -> None:
        """Tell the executors of a job that it is over."""
        for key in [key for key in self._connections if key[0] == job_id]:
            self._connections[key].stop(why)

    async def ask(self, job_id: str, executor_id: str, record: Mapping[str, Any], timeout: float) -> Message:
        """Ask an executor something about a job of its workers, and return the answer.

        Parameters
        ----------
        job_id, executor_id : str
        record : mapping
            ``kind`` says what.
        timeout : float
            Seconds that it may take.

        Raises
        ------
        Unreachable
            When it is not connected, or does not answer in time.
        """
        connection = await self._await(job_id, executor_id)
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = connection, future
        connection.send({**record, "request": number})
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise Unreachable(f"its executor has not answered for {timeout:g} s") from None
        finally:
            self._asked.pop(number, None)

    async def _await(self, job_id: str, executor_id: str) -> Connection:
        """Return an executor's connection; one of a new worker is about to come."""
        deadline = asyncio.get_running_loop().time() + APPEARANCE
        while (connection := self._connections.get((job_id, executor_id))) is None:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                raise Unreachable("its executor is not connected to the session") from None
        return connection


def _key(connection: Connection) -> tuple[str, str]:
    return str(connection.hello.get("job_id")), str(connection.hello.get("executor"))
