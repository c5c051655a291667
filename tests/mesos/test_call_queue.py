"""Calls on their way together: in order, on as few connections as is safe, and each with an end of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from t2notebook.mesos import call_queue
from t2notebook.mesos.call_queue import CallQueue, Refused
from t2notebook.mesos.credentials import ANONYMOUS
from t2notebook.mesos.transport import Address
from tests.mesos.fakes import until

TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
Call = dict[str, Any]


class RawMaster:
    """Notes each call as soon as it is here, and answers what `answer` gives: bytes, or None to close."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Call]] = []
        self.answer: Callable[[Call], bytes | None] = lambda call: TAKEN
        self.is_open = asyncio.Event()
        self.is_open.set()
        self._connections = 0

    def names(self) -> list[str]:
        return [call["name"] for _, call in self.calls]

    def connections(self) -> list[int]:
        return [number for number, _ in self.calls]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._connections = self._connections, self._connections + 1
        answers: asyncio.Queue[Call] = asyncio.Queue()
        answering = asyncio.create_task(self._answer(answers, writer))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                assert length is not None
                call = json.loads(await reader.readexactly(int(length[1])))
                self.calls.append((number, call))
                answers.put_nowait(call)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            answering.cancel()
            writer.close()

    async def _answer(self, calls: asyncio.Queue[Call], writer: asyncio.StreamWriter) -> None:
        while True:
            call = await calls.get()
            await self.is_open.wait()
            answer = self.answer(call)
            if answer is None:
                writer.close()
                return
            writer.write(answer)
            if b"Connection: close" in answer:
                writer.close()
                return


Failed = list[tuple[str, BaseException]]


def run(scenario: Callable[[RawMaster, CallQueue, Failed], Awaitable[None]]) -> None:
    async def main() -> None:
        master, failed = RawMaster(), Failed()
        server = await asyncio.start_server(master.handle, "127.0.0.1", 0)
        address = Address.parse(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        queue = CallQueue(
            address, "stream-1", ANONYMOUS, lambda call, error: failed.append((call["name"], error))
        )
        try:
            await scenario(master, queue, failed)
        finally:
            queue.close("the end")
            server.close()

    asyncio.run(main())


def put(queue: CallQueue, *names: str) -> None:
    """Put calls: names that begin with A are ACCEPTs, all others ACKNOWLEDGEs."""
    for name in names:
        queue.put({"type": "ACCEPT" if name.startswith("A") else "ACKNOWLEDGE", "name": name})


def test_calls_do_not_wait_for_answers() -> None:
    """50,000 workers have 150,000 ACKNOWLEDGEs: one after the other, each waited for the way there and back."""

    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        master.is_open.clear()
        put(queue, "A1", "b", "A2", "c")
        await until(lambda: len(master.calls) == 4)
        put(queue, "d")
        await until(lambda: len(master.calls) == 5)
        master.is_open.set()
        put(queue, "A3")
        await until(lambda: len(master.calls) == 6)
        assert master.names() == ["A1", "b", "A2", "c", "d", "A3"]
        assert len(set(master.connections())) == 1
        assert failed == []

    run(scenario)


def test_no_more_are_on_their_way_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_queue, "WINDOW", 3)

    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        master.is_open.clear()
        put(queue, *(f"b{index}" for index in range(10)))
        await until(lambda: len(master.calls) == 3)
        await asyncio.sleep(0.05)
        assert len(master.calls) == 3
        master.is_open.set()
        await until(lambda: len(master.calls) == 10)
        assert master.names() == [f"b{index}" for index in range(10)]

    run(scenario)


def test_what_may_not_come_twice_waits_until_a_kept_connection_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_queue, "FRESH", 0.0)

    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        put(queue, "b")
        await until(lambda: len(master.calls) == 1)
        await asyncio.sleep(0.05)  # answered: the connection is only kept now
        master.is_open.clear()
        put(queue, "c", "A1", "d")
        await until(lambda: master.names() == ["b", "c"])
        await asyncio.sleep(0.05)
        assert master.names() == ["b", "c"]
        master.is_open.set()
        await until(lambda: len(master.calls) == 4)
        assert master.names() == ["b", "c", "A1", "d"]
        assert master.connections() == [0, 0, 0, 0]
        await asyncio.sleep(0.05)
        put(queue, "A2")  # the first after a pause gets a connection of its own
        await until(lambda: len(master.calls) == 5)
        assert master.connections()[-1] == 1
        assert failed == []

    run(scenario)


def test_a_connection_that_has_answered_a_moment_ago_is_as_good_as_a_new_one() -> None:
    """A job's ACCEPT follows its REVIVE by a few milliseconds, of which another connection would take one."""

    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        put(queue, "b")
        await until(lambda: len(master.calls) == 1)
        await asyncio.sleep(0.05)
        put(queue, "A1")
        await until(lambda: len(master.calls) == 2)
        await asyncio.sleep(0.05)
        put(queue, "A2")
        await until(lambda: len(master.calls) == 3)
        assert master.connections() == [0, 0, 0]
        assert failed == []

    run(scenario)


def test_a_connection_that_breaks_under_many() -> None:
    """Those that may come twice do, in their order; of the others it is said that nobody knows."""

    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        breaks = iter([True])
        master.answer = lambda call: None if call["name"] == "c" and next(breaks, False) else TAKEN
        master.is_open.clear()
        put(queue, "A1", "b", "c", "A2", "d", "e")
        await until(lambda: len(master.calls) == 6)
        master.is_open.set()
        await until(lambda: len(master.calls) == 9)
        assert master.names() == ["A1", "b", "c", "A2", "d", "e", "c", "d", "e"]
        await until(lambda: bool(failed))
        assert [name for name, _ in failed] == ["A2"]
        assert not isinstance(failed[0][1], Refused)

    run(scenario)


def test_a_call_that_breaks_each_connection_takes_no_other_with_it() -> None:
    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        master.answer = lambda call: None if call["name"] == "poison" else TAKEN
        master.is_open.clear()
        put(queue, "b", "poison", "c", "d")
        await until(lambda: len(master.calls) == 4)
        master.is_open.set()
        await until(lambda: [name for name, _ in failed] == ["poison"])
        await until(lambda: master.names()[-2:] == ["c", "d"])
        assert master.names().count("poison") == 2

    run(scenario)


def test_a_refusal_is_of_one_call() -> None:
    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        refusals = {
            "b": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!",
            "c": b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n"
            b"2\r\nno\r\n2;x=y\r\npe\r\n0\r\nT: x\r\n\r\n",
        }
        master.answer = lambda call: refusals.get(call["name"], b"HTTP/1.1 100 Continue\r\n\r\n" + TAKEN)
        put(queue, "a", "b", "c", "d")
        await until(lambda: len(master.calls) == 4 and len(failed) == 2)
        assert [(name, str(error)) for name, error in failed] == [
            ("b", "HTTP 400: no!"),
            ("c", "HTTP 403: nope"),
        ]
        assert len(set(master.connections())) == 1

    run(scenario)


def test_an_answer_that_ends_the_connection_loses_no_call() -> None:
    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        master.answer = lambda call: TAKEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        put(queue, "b", "c", "d")
        await until(lambda: len(set(master.connections())) == 3)
        assert failed == []
        assert [name for name in dict.fromkeys(master.names())] == ["b", "c", "d"]

    run(scenario)


@pytest.mark.parametrize("answer", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 202 OK\r\nContent-Length: x\r\n\r\n"])
def test_what_does_not_speak_http_is_reported(answer: bytes) -> None:
    async def scenario(master: RawMaster, queue: CallQueue, failed: Failed) -> None:
        master.answer = lambda call: answer
        put(queue, "b")
        await until(lambda: len(failed) == 1)
        assert not isinstance(failed[0][1], Refused)

    run(scenario)
