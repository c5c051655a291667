"""Group commit: events that come while a commit is under way are committed together with the next, off the loop.

There is one queue, and its order is the order in which things are written and told. Without an event loop, and without
a thread, each entry is a group of its own and is on the disk when `put` returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from ..model.errors import JournalError, NotOwner
from ..model.events import TRANSIENT, Event
from .journal import Journal, NewJob

log = logging.getLogger(__name__)

#: Seconds between two attempts to write.
PAUSE = 0.5


@dataclass
class Entry:
    """Something in the queue.

    Parameters
    ----------
    events : tuple of Event
        Numbered; those that are transient are told, and not written.
    ended : tuple of str
        Ids of jobs that have ended with them.
    job : NewJob or None
        A job that these events begin.
    meta : mapping
        Facts of the session.
    done : callable
        Called when all this, and all before it, is on the disk.
    failed : callable or None
        Called, instead, when the group with it could not be written; it is dropped then. Without, it is kept, and
        written as soon as there is room.
    """

    events: tuple[Event, ...] = ()
    ended: tuple[str, ...] = ()
    job: NewJob | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    done: Callable[[], None] = field(default=lambda: None)
    failed: Callable[[JournalError], None] | None = None

    @property
    def durable(self) -> list[Event]:
        """The events that are to be written."""
        return [event for event in self.events if event.kind not in TRANSIENT]

    @property
    def is_written(self) -> bool:
        """Whether there is anything to write."""
        return self.job is not None or bool(self.ended or self.meta or self.durable)


class GroupCommit:
    """The queue in front of a journal.

    Parameters
    ----------
    journal : Journal
    writer : Executor, optional
        Writes, so that the loop goes on meanwhile: one thread. It is shut down with this.

    Attributes
    ----------
    on_stall : callable
        Called with why nothing can be written, and with an empty string when it can be again.
    """

    def __init__(self, journal: Journal, writer: Executor | None = None) -> None:
        self._journal = journal
        self.on_stall: Callable[[str], None] = lambda why: None
        self._writer = writer
        self._queue: deque[Entry] = deque()
        self._group: list[Entry] = []
        self._is_committing = False
        self._why = ""
        self._retry: asyncio.TimerHandle | None = None
        self._lost: NotOwner | None = None
        self._is_closed = False

    @property
    def stalled(self) -> str:
        """The reason why nothing can be written; empty if it can."""
        return self._why

    @property
    def is_idle(self) -> bool:
        """Whether everything is on the disk."""
        return not self._queue and not self._group

    def put(self, entry: Entry) -> None:
        """Write an entry after those before it.

        Raises
        ------
        JournalError
            Where no thread writes and there is no event loop to try again on: then it was not written.
        """
        if self._lost is not None or self._is_closed:
            if entry.failed is not None:
                entry.failed(self._lost or NotOwner("the journal is closed"))
            return
        if self._why and entry.failed is not None:
            entry.failed(JournalError(self._why))
            return
        if self.is_idle and not entry.is_written:
            entry.done()
            return
        self._queue.append(entry)
        self._go_on()

    def stall(self, error: JournalError) -> None:
        """Write nothing for a while: something else could not be written either."""
        if isinstance(error, NotOwner):
            self._lose(error)
        elif not self._why:
            self._why = str(error)
            log.warning("%s", error)
            self._try_later()
            self.on_stall(self._why)

    def renew(self) -> None:
        """Say that the owner of the journal lives, after what is being written."""
        if self._why or self._is_closed or self._lost is not None:
            return
        if self._writer is None:
            try:
                self._journal.renew()
            except JournalError as error:
                self.stall(error)
        else:
            future = asyncio.get_running_loop().run_in_executor(self._writer, self._journal.renew)
            future.add_done_callback(self._has_renewed)

    def _has_renewed(self, future: asyncio.Future[None]) -> None:
        if not self._is_closed and isinstance(error := future.exception(), JournalError):
            self.stall(error)

    async def flush(self, timeout: float) -> None:
        """Wait until everything is on the disk, but no longer than `timeout` seconds, nor for a disk that is full."""
        try:
            async with asyncio.timeout(timeout):
                while not (self.is_idle or self._why or self._is_closed):
                    await asyncio.sleep(0.001)
        except TimeoutError:
            log.warning("what is to be written to %s has not been in %g s", self._journal.directory, timeout)

    def close(self) -> None:
        """Write nothing more."""
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._writer is not None:
            self._writer.shutdown()

    # Inside.

    def _go_on(self) -> None:
        if self._is_committing or self._why or not self._queue or self._is_closed:
            return
        self._is_committing = True
        if self._writer is None:
            self._commit_here()
        else:
            # What else this turn of the loop has to write goes with it.
            asyncio.get_running_loop().call_soon(self._commit_off_loop)

    def _commit_here(self) -> None:
        while self._queue and not self._why and self._lost is None:
            self._group = [self._queue.popleft()]
            try:
                self._write(self._group)
            except JournalError as error:
                self._is_committing = False
                self._failed(error)
                return
            except BaseException:
                self._group, self._is_committing = [], False
                raise
            self._succeeded()
        self._is_committing = False

    def _commit_off_loop(self) -> None:
        assert self._writer is not None
        if self._is_closed:
            return
        self._group = list(self._queue)
        self._queue.clear()
        future = asyncio.get_running_loop().run_in_executor(self._writer, self._write, self._group)
        future.add_done_callback(self._written)

    def _written(self, future: asyncio.Future[None]) -> None:
        self._is_committing = False
        if future.cancelled() or self._is_closed:
            return
        error = future.exception()
        if error is None:
            self._succeeded()
        elif isinstance(error, JournalError):
            self._failed(error)
        else:
            log.error("a group of events cannot be written", exc_info=error)
            self._failed(JournalError(f"{type(error).__name__}: {error}"))
        self._go_on()

    def _write(self, group: list[Entry]) -> None:
        events = [event for entry in group for event in entry.durable]
        jobs = [entry.job for entry in group if entry.job is not None]
        ended = [job_id for entry in group for job_id in entry.ended]
        meta = {name: value for entry in group for name, value in entry.meta.items()}
        if events or jobs or ended or meta:
            self._journal.commit(events, jobs, ended, meta)

    def _succeeded(self) -> None:
        group, self._group = self._group, []
        for entry in group:
            try:
                entry.done()
            except Exception:
                log.exception("what follows from an event failed")

    def _failed(self, error: JournalError) -> None:
        group, self._group = self._group, []
        if isinstance(error, NotOwner):
            self._queue.extendleft(reversed(group))
            self._lose(error)
            return
        kept = [entry for entry in (*group, *self._queue) if entry.failed is None]
        refused = [entry for entry in (*group, *self._queue) if entry.failed is not None]
        self._queue = deque(kept)
        self.stall(error)
        for entry in refused:
            assert entry.failed is not None
            entry.failed(error)

    def _lose(self, error: NotOwner) -> None:
        """Drop all: whoever owns the journal now finds out about it from Mesos."""
        self._lost = error
        dropped, self._queue = self._queue, deque()
        for entry in dropped:
            if entry.failed is not None:
                entry.failed(error)

    def _try_later(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody tries again: who asked is told
            why, self._why = self._why, ""
            self._queue.clear()
            raise JournalError(why) from None
        self._retry = loop.call_later(PAUSE, self._try_again)

    def _try_again(self) -> None:
        """Go on if the lease can be renewed, which is a write like any other."""
        self._retry = None
        loop = asyncio.get_running_loop()
        if self._writer is None:
            try:
                self._journal.renew()
            except JournalError as error:
                self._renewed(error)
            else:
                self._renewed(None)
        else:
            future = loop.run_in_executor(self._writer, self._journal.renew)
            future.add_done_callback(lambda future: self._renewed(future.exception()))

    def _renewed(self, error: BaseException | None) -> None:
        if self._is_closed:
            return
        if isinstance(error, NotOwner):
            self._lose(error)
        elif error is not None:
            self._try_later()
        else:
            self._why = ""
            self.on_stall("")
            self._go_on()
