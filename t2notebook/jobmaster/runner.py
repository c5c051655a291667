"""The runner of job masters: it performs what they decide, records first.

Records that come while a group is being written are written with the next one, on a thread of their own, and no answer
leaves before all that it rests on is in the file. A few records, which take less than the way to the thread and back,
are written at once, unless that has taken long.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from .actions import WRITES, Action, Answer, Hold, Scale, Stop, Write

log = logging.getLogger(__name__)

#: Seconds until a group that could not be written is tried again.
RETRY = 1.0
#: Records that are few, and the bytes of their messages; seconds for which the event loop may be held by them, and for
#: which none are written there when they have held it longer.
FEW, LITTLE, HELD, PAUSE = 16, 64 << 10, 0.005, 10.0

Perform = Callable[[str, Answer | Stop | Scale | Hold], None]


class Records(Protocol):
    """A place for records: the file of a session's job masters, or the log of one on the cluster."""

    @property
    def is_quick(self) -> bool:
        """Whether a few records can be written without a wait for the disk."""

    def write(self, writes: Iterable[tuple[str, Write]], *, may_wait: bool = True) -> None:
        """Write a group, all of it or nothing; `may_wait` says whether the disk may be waited for."""

    def close(self) -> None:
        """Close it."""


class Runner:
    """Performs actions in their order: records into the store, then the words that follow from them.

    Parameters
    ----------
    store : Records
    perform : callable
        ``perform(job_id, action)`` does what is no record: it carries answers to whom they are for.
    """

    def __init__(self, store: Records, perform: Perform) -> None:
        self._store, self._perform = store, perform
        self._queue: deque[tuple[str, Action]] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_here = False
        self._not_before = 0.0
        self.trouble = ""

    def add(self, job_id: str, actions: Iterable[Action]) -> None:
        """Take actions of a job master; without a record to be written first, they are performed at once."""
        self._queue.extend((job_id, action) for action in actions)
        if self._writing is not None or self._is_here:
            return
        self._is_here = True
        try:
            self._go_on()
        finally:
            self._is_here = False
        if self._queue:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    def _go_on(self) -> None:
        """Do what needs no thread."""
        while self._queue:
            if not isinstance(self._queue[0][1], WRITES):
                self._perform_one(*self._queue.popleft())
            elif not self._write_here():
                return

    def _write_here(self) -> bool:
        """Write the records that wait, if they are few; return whether they have been written."""
        writes = [(job_id, one) for job_id, one in self._queue if isinstance(one, WRITES)]
        begun = time.monotonic()
        if len(writes) > FEW or self.trouble or begun < self._not_before or not self._store.is_quick:
            return False
        if sum(len(getattr(one, "payload", b"")) for _, one in writes) > LITTLE:
            return False
        try:
            self._store.write(writes, may_wait=False)
        except (sqlite3.Error, OSError):
            return False  # the thread tries again, and says so
        now = time.monotonic()
        if now - begun > HELD:
            self._not_before = now + PAUSE
        group = [each for each in self._queue if not isinstance(each[1], WRITES)]
        self._queue.clear()
        for job_id, action in group:
            self._perform_one(job_id, action)
        return True

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "t2-jobmaster")
        try:
            while self._queue:
                group = list(self._queue)
                self._queue.clear()
                writes = [(job_id, one) for job_id, one in group if isinstance(one, WRITES)]
                while writes:
                    try:
                        await loop.run_in_executor(self._thread, self._store.write, writes)
                        self.trouble = ""
                        break
                    except (sqlite3.Error, OSError) as error:
                        if not self.trouble:
                            log.warning(
                                "what workers wait for cannot be written, which is tried again: %s", error
                            )
                        self.trouble = f"the job master's file cannot be written: {error}"
                        await asyncio.sleep(RETRY)
                for job_id, action in group:
                    if not isinstance(action, WRITES):
                        self._perform_one(job_id, action)
        finally:
            self._writing = None

    def _perform_one(self, job_id: str, action: Action) -> None:
        assert isinstance(action, Answer | Stop | Scale | Hold)
        try:
            self._perform(job_id, action)
        except Exception:
            log.exception("an answer to a worker of %s is lost; it will ask again", job_id)

    async def close(self) -> None:
        """Write what is left, and close the file."""
        if self._writing is not None:
            try:
                async with asyncio.timeout(2.0):
                    await asyncio.shield(self._writing)
            except TimeoutError:
                self._writing.cancel()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
            self._thread.shutdown()
