"""Futures of items that are read as workers need them, and futures in the order in which they end."""

from __future__ import annotations

import concurrent.futures
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from ...model.errors import Twister2Error, WaitInterrupted, WaitTimeout
from ...model.wording import counted, type_of
from .futures import LOOK, Future, seconds


class FutureStream(Iterator[Future]):
    """Futures of items that are read from an iterator as workers need them: it is never read far ahead.

    Iterating gives the futures in the order of their items; `as_completed` gives them as they end. The items are read
    in the thread that iterates. An error of the iterator's own is raised after the futures of the items before it.

    Parameters
    ----------
    items : iterator
    submit : callable
        ``submit(item, index)`` gives a future.
    room : callable
        ``room(held)`` says how many more items are to be read, when so many futures have not been taken.
    """

    def __init__(
        self, items: Iterator[Any], submit: Callable[[Any, int], Future], room: Callable[[int], int]
    ) -> None:
        self._items: Iterator[Any] | None = items
        self._submit, self._room = submit, room
        self._count = 0
        self._error: Exception | None = None
        self._made: deque[Future] = deque()
        self.read_ahead()

    def read_ahead(self, held: int = 0) -> None:
        """Submit further items, as far as workers need them.

        Parameters
        ----------
        held : int
            How many futures have been taken that have not ended, or of whose end nobody has heard: they count.
        """
        while self._items is not None and self._room(held + len(self._made)) > 0:
            self._read()

    def _read(self) -> None:
        assert self._items is not None
        try:
            item = next(self._items)
        except StopIteration:
            self._items = None
            return
        except Exception as error:
            self._items, self._error = None, error
            return
        self._made.append(self._submit(item, self._count))
        self._count += 1

    def __next__(self) -> Future:
        self.read_ahead()
        if not self._made and self._items is not None:
            self._read()
        if not self._made:
            error, self._error = self._error, None
            raise error or StopIteration
        return self._made.popleft()

    def take(self) -> list[Future]:
        """Return the futures that have been made and not taken."""
        made = list(self._made)
        self._made.clear()
        return made

    @property
    def is_over(self) -> bool:
        """Whether no more futures will come."""
        return self._items is None and not self._made and self._error is None

    def cancel(self) -> None:
        """Read no more items, and cancel those that have been read and not taken."""
        self._items = self._error = None
        for future in self.take():
            future.cancel()

    def __repr__(self) -> str:
        return f"<futures of a stream: {self._count} items read{'' if self._items is None else ' so far'}>"


def as_completed(futures: Iterable[Future], timeout: float | None = None) -> Iterator[Future]:
    """Yield futures as they end, cancelled ones as well.

    Parameters
    ----------
    futures : iterable of Future
        Those of `t2.map`: of an iterator's items, further ones are read as workers need them.
    timeout : float, optional
        Seconds for all of them.

    Raises
    ------
    TimeoutError
        When not all have ended in time; they go on.
    """
    if isinstance(futures, concurrent.futures.Future):
        raise Twister2Error("as_completed takes several futures; of a single one, result() waits for the end")
    if not hasattr(type(futures), "__iter__"):
        raise Twister2Error(f"as_completed takes futures, as t2.map returns them, not {type_of(futures)}")
    return AsCompleted(futures, timeout)


def still_going(count: int) -> WaitInterrupted:
    """Return the error of somebody who has stopped waiting for some calls."""
    if count == 1:
        return WaitInterrupted("you stopped waiting; 1 call goes on, and cancel() ends it")
    return WaitInterrupted(f"you stopped waiting; {count} calls go on, and cancel() ends them")


class AsCompleted(Iterator[Future]):
    """Futures in the order in which they end.

    Parameters
    ----------
    futures : iterable of Future
    timeout : float or None
        Seconds.
    """

    def __init__(self, futures: Iterable[Future], timeout: float | None) -> None:
        self._stream = futures if isinstance(futures, FutureStream) else None
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._pending: set[Future] = set()
        self._left = 0
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        if self._stream is None:
            self._add(dict.fromkeys(futures))

    def _add(self, futures: Iterable[Future]) -> None:
        for future in futures:
            if not isinstance(future, concurrent.futures.Future):
                raise Twister2Error(
                    f"as_completed takes futures, as t2.map returns them; one of these is {type_of(future)}"
                )
            self._left += 1
            self._pending.add(future)
            future.add_done_callback(self._ended.put)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return how many are left.

        Raises
        ------
        TypeError
            When nobody can know.
        """
        if self._stream is not None and not self._stream.is_over:
            raise TypeError("how many items an iterator has is not known")
        return self._left

    def __length_hint__(self) -> int:
        return self._left

    def __next__(self) -> Future:
        try:
            future = self._next()
        except KeyboardInterrupt:
            raise still_going(len(self._pending)) from None
        self._pending.discard(future)
        self._left -= 1
        return future

    def _next(self) -> Future:
        while True:
            if self._stream is not None:
                self._stream.read_ahead(len(self._pending))
                self._add(self._stream.take())
                if not self._pending and not self._stream.is_over:
                    self._add(islice(self._stream, 1))  # others keep the pool busy
            if not self._pending:
                raise StopIteration
            left = LOOK if self._deadline is None else min(LOOK, self._deadline - time.monotonic())
            try:
                return self._ended.get(timeout=max(0.0, left))
            except queue.Empty:
                if left > 0:
                    continue
            some = next(iter(self._pending))
            outlook = some.outlook() if isinstance(some, Future) else "they go on"
            raise WaitTimeout(
                f"{counted(len(self._pending), 'call')} not ended after {self._timeout:g} s: {outlook}"
            )
