"""Calls of one function with many items, and their results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ...model.errors import PackageError, WaitInterrupted
from ...protocol import calls
from .completion import FutureStream
from .functions import Function, arguments, function_of
from .futures import Future, Owner

#: How many calls are made before the first are sent.
BATCH = 256


def results_of(
    made: list[Future] | FutureStream, deadline: float | None, timeout: float | None
) -> Iterator[Any]:
    """Yield the results of futures that nobody else has, so that whoever stops in the middle has them cancelled.

    Parameters
    ----------
    made : list of Future, or FutureStream
        Taken from the list.
    deadline : float or None
        On the monotonic clock.
    timeout : float or None
        The seconds that this was, for messages.

    Raises
    ------
    WaitInterrupted
    """
    left = made if isinstance(made, FutureStream) else _Given(made)
    future: Future | None = None
    try:
        for future in left:
            future.wait_until(deadline, timeout)
            yield future.result()
            future = None
    except WaitInterrupted:
        raise WaitInterrupted("you stopped waiting; what has not ended of this map is cancelled") from None
    finally:
        for each in (*([] if future is None else [future]), *left.take()):
            each.cancel()


class _Given(Iterator[Future]):
    """Futures of which none is kept once it has been taken: their results may be large."""

    def __init__(self, futures: list[Future]) -> None:
        self._left = deque(futures)
        futures.clear()

    def __next__(self) -> Future:
        if not self._left:
            raise StopIteration
        return self._left.popleft()

    def take(self) -> list[Future]:
        """Return the futures that have not been taken."""
        return list(self._left)


class Mapped:
    """Calls of one function with many items.

    Parameters
    ----------
    owner : Owner
        Of the futures.
    fn : callable
    hand_over : callable
        ``hand_over(function, calls)`` has calls run.
    """

    def __init__(
        self,
        owner: Owner,
        fn: Callable[..., Any],
        hand_over: Callable[[Function, Sequence[tuple[Future, calls.Pieces]]], None],
    ) -> None:
        self._owner, self._fn, self._hand_over = owner, fn, hand_over
        self._function = function_of(fn)

    def one(self, item: tuple[Any, ...], index: int) -> Future:
        """Submit one; of an item that cannot travel, the future has failed."""
        try:
            given = self._given(item, index)
        except PackageError as error:
            future = self._future(item, index)
            future.settle(None, error)
            return future
        self._hand_over(self._function, [given])
        return given[0]

    def all(self, items: Iterable[tuple[Any, ...]]) -> list[Future]:
        """Submit all."""
        made: list[Future] = []
        try:
            self._make(items, made)
        except BaseException:
            for future in made:  # nobody gets them
                future.cancel()
            raise
        return made

    def _make(self, items: Iterable[tuple[Any, ...]], made: list[Future]) -> None:
        batch: list[tuple[Future, calls.Pieces]] = []
        for index, item in enumerate(items):
            before = self._function
            given = self._given(item, index)
            if batch and (self._function is not before or len(batch) >= BATCH):
                self._hand_over(before, batch)
                batch = []
            batch.append(given)
            made.append(given[0])
        if batch:
            self._hand_over(self._function, batch)

    def _given(self, item: tuple[Any, ...], index: int) -> tuple[Future, calls.Pieces]:
        pieces, needs = arguments(item, {}, self._function.name, index)
        if not self._function.has(needs):
            self._function = function_of(self._fn, needs | self._function.needs)
        return self._future(item, index), pieces

    def _future(self, item: tuple[Any, ...], index: int) -> Future:
        return Future(self._owner, self._function.name, item[0] if len(item) == 1 else item, index)
