"""The runner of job masters: no answer before its records, and nothing that waits for the disk on the loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.jobmaster.actions import Answer, PutMessage, Write
from t2notebook.jobmaster.runner import FEW, LITTLE, Runner
from t2notebook.jobmaster.store import _CHECKPOINT, Store


@pytest.fixture(autouse=True)
def no_write_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no write of a busy machine's count as one that held the loop."""
    monkeypatch.setattr("t2notebook.jobmaster.runner.HELD", 60.0)


def message(number: int, payload: bytes = b"x") -> PutMessage:
    return PutMessage(receiver=1, number=number, sender=0, payload=payload)


class Spy(Store):
    """A store that notes which thread writes, and can refuse."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.by_loop: list[bool] = []
        self.refuses = 0

    def write(self, writes: Iterable[tuple[str, Write]], *, may_wait: bool = True) -> None:
        if self.refuses:
            self.refuses -= 1
            raise sqlite3.OperationalError("disk is full")
        super().write(writes, may_wait=may_wait)
        self.by_loop.append(threading.current_thread() is threading.main_thread())
        assert self.by_loop[-1] is not may_wait


def run(store: Spy, scenario: Any) -> list[int]:
    answered: list[int] = []

    async def main() -> None:
        runner = Runner(store, lambda job_id, action: answered.append(int(action.request)))  # type: ignore[union-attr]
        await scenario(runner, answered)
        await runner.close()

    asyncio.run(main())
    return answered


async def done(answered: list[int], count: int) -> None:
    async with asyncio.timeout(20):
        while len(answered) < count:
            await asyncio.sleep(0.001)


def test_few_records_are_written_at_once_and_many_and_large_ones_by_the_thread(tmp_path: Path) -> None:
    store = Spy(tmp_path)

    async def scenario(runner: Runner, answered: list[int]) -> None:
        groups = [[b"x"], [b"x"], [b"x"] * (FEW + 1), [bytes(LITTLE + 1)], [b"x"] * FEW]
        number = 0
        for index, payloads in enumerate(groups):
            records = [message(number + each, payload) for each, payload in enumerate(payloads, 1)]
            number += len(payloads)
            runner.add("job", [*records, Answer(1, index, {})])
            await done(answered, index + 1)

    assert run(store, scenario) == [0, 1, 2, 3, 4]
    assert store.by_loop == [False, True, False, False, True], "the first one makes the file"
    assert len(list(Store(tmp_path).load("job").messages)) == 1 + 1 + (FEW + 1) + 1 + FEW


def test_the_thread_puts_into_the_file_what_has_been_written_beside_it(tmp_path: Path) -> None:
    store = Spy(tmp_path)
    count = _CHECKPOINT // 8192 + 20

    async def scenario(runner: Runner, answered: list[int]) -> None:
        for number in range(1, count):
            runner.add("job", [message(number), Answer(1, number, {})])
            await done(answered, number)

    assert run(store, scenario) == list(range(1, count))
    assert store.by_loop.count(False) == 2, "the first, and the one with which it was enough"


def test_what_cannot_be_written_at_once_is_tried_again_by_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2notebook.jobmaster.runner.RETRY", 0.01)
    store = Spy(tmp_path)

    async def scenario(runner: Runner, answered: list[int]) -> None:
        runner.add("job", [message(1), Answer(1, 1, {})])
        await done(answered, 1)
        store.refuses = 3
        runner.add("job", [message(2), Answer(1, 2, {})])
        assert answered == [1], "nothing is answered that is not written"
        await done(answered, 2)
        runner.add("job", [message(3), Answer(1, 3, {})])
        await done(answered, 3)

    assert run(store, scenario) == [1, 2, 3]
    assert store.by_loop == [False, False, True]


def test_a_write_that_held_the_loop_is_the_last_one_there_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2notebook.jobmaster.runner.HELD", 0.0)
    store = Spy(tmp_path)

    async def scenario(runner: Runner, answered: list[int]) -> None:
        for number in range(1, 5):
            runner.add("job", [message(number), Answer(1, number, {})])
            await done(answered, number)

    assert run(store, scenario) == [1, 2, 3, 4]
    assert store.by_loop == [False, True, False, False], "the first one makes the file"
