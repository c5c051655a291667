"""Futures of a pool's calls: those of `concurrent.futures`, that can be awaited, and end calls that run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from ...model.errors import Twister2Error, WaitInterrupted, WaitTimeout

#: Seconds of one wait, so that an interrupt is noticed everywhere.
_LOOK = 1.0


class Owner(Protocol):
    """The pool of a future, as far as the future needs it."""

    def cancel(self, future: Future) -> None:
        """Nobody wants the call any more."""

    def is_running(self, future: Future) -> bool:
        """Whether the call has begun."""

    def outlook(self) -> str:
        """Return in words what the pool's workers are doing."""


class Future(concurrent.futures.Future[Any]):
    """The result of a call, when it is there.

    It can be awaited, given to `concurrent.futures.wait`, `as_completed` and to dask and joblib.

    Attributes
    ----------
    item : object
        The argument of the call, or a tuple of them; None when it has ended.
    index : int or None
        The item's place among those of its `map`.
    worker_id : int or None
        The worker that ran the call.
    """

    def __init__(self, owner: Owner, name: str, item: Any, index: int | None) -> None:
        super().__init__()
        self._owner = owner
        self._name = name
        self.item = item
        self.index = index
        self.worker_id: int | None = None
        self.number = -1
        self.pool: Any = None

    @property
    def what(self) -> str:
        """The call, in a few words."""
        if self.index is not None:
            return f"item {self.index} of {self._name}"
        return f"{self._name}({_short(self.item)})"

    @property
    def shown_item(self) -> str:
        """The item, in a few words."""
        return _short(self.item)

    def cancel(self) -> bool:
        """Cancel the call: one that has not begun is not begun; of one that runs, the worker is ended and started anew.

        Returns
        -------
        bool
            Whether it has been cancelled: not one that has ended.
        """
        if not super().cancel():
            return False
        self.set_running_or_notify_cancel()
        self._owner.cancel(self)
        return True

    def running(self) -> bool:
        """Whether the call has begun and not ended, as far as is known."""
        return not self.done() and self._owner.is_running(self)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the call's end and return its result.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Raises
        ------
        JobFailed
            When the call raised something: an instance of that exception's own type as well. Also when it could not be
            run at all; the message says why.
        CancelledError
            When it has been cancelled.
        TimeoutError
            When it has not ended in time; it goes on.
        """
        self._await(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the call's end and return what `result` would raise; None if it has a result."""
        self._await(timeout)
        return super().exception(0)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the call's end without blocking the event loop; cancelling the wait does not cancel the call."""
        return asyncio.shield(asyncio.wrap_future(self)).__await__()

    def __repr__(self) -> str:
        if self.cancelled():
            state = "cancelled"
        elif self.done():
            state = "failed" if super().exception(0) is not None else "has a result"
        else:
            state = "runs" if self.running() else "waits"
        return f"<Future: {self.what}, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("a future stays in the notebook; send its result() instead")

    def outlook(self) -> str:
        """Return in words what the pool's workers are doing."""
        return self._owner.outlook()

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Have the call end, unless it has been cancelled."""
        self.item = self.item if error is not None else None
        try:
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(value)
        except concurrent.futures.InvalidStateError:
            pass  # it was cancelled at this moment

    def _await(self, timeout: float | None) -> None:
        if self.done():
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.done():
                left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
                if left <= 0:
                    raise WaitTimeout(
                        f"{self.what} has no result after {timeout:g} s: {self._owner.outlook()}"
                    )
                try:
                    super().exception(left)
                except concurrent.futures.TimeoutError:
                    continue
                except concurrent.futures.CancelledError:
                    return
        except WaitInterrupted:
            raise
        except KeyboardInterrupt:
            raise WaitInterrupted(f"you stopped waiting; {self.what} goes on, and cancel() ends it") from None


def _short(value: Any, limit: int = 80) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class FutureStream(Iterator[Future]):
    """Futures of items that are read from an iterator as workers need them: it is never read far ahead.

    Iterating gives the futures in the order of their items; `as_completed` gives them as they end. The items are read
    in the thread that iterates.

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
        self._made.append(self._submit(item, self._count))
        self._count += 1

    def __next__(self) -> Future:
        self.read_ahead()
        if not self._made and self._items is not None:
            self._read()
        if not self._made:
            raise StopIteration
        return self._made.popleft()

    def take(self) -> list[Future]:
        """Return the futures that have been made and not taken."""
        made = list(self._made)
        self._made.clear()
        return made

    @property
    def is_over(self) -> bool:
        """Whether no more futures will come."""
        return self._items is None and not self._made

    def cancel(self) -> None:
        """Read no more items, and cancel those that have been read and not taken."""
        self._items = None
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
    return AsCompleted(futures, timeout)


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
        self._deadline = None if timeout is None else time.monotonic() + timeout
        if self._stream is None:
            self._add(dict.fromkeys(futures))

    def _add(self, futures: Iterable[Future]) -> None:
        for future in futures:
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
            raise WaitInterrupted(
                f"you stopped waiting; {len(self._pending)} calls go on, and cancel() ends them"
            ) from None
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
            left = _LOOK if self._deadline is None else min(_LOOK, self._deadline - time.monotonic())
            try:
                return self._ended.get(timeout=max(0.0, left))
            except queue.Empty:
                if left > 0:
                    continue
            some = next(iter(self._pending))
            outlook = some.outlook() if isinstance(some, Future) else "they go on"
            raise WaitTimeout(
                f"{len(self._pending)} calls have not ended after {self._timeout:g} s: {outlook}"
            )
