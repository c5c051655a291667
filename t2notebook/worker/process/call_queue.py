"""Calls that a pool's worker has been sent and not begun. Pure: messages and times in, decisions out.

A call that was sent while another was under way is this worker's for `LEASE` seconds from when that other one began;
after that it is the pool's, which may have given it to somebody else, and is given back. The pool counts from when it
heard of the beginning: directly, or by the result of the call before. So here it is never counted from later than that.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...protocol.calls import LEASE, Kept

#: How many calls that were given back are remembered, for those that were sent behind them.
_REMEMBERED = 4096


@dataclass(slots=True)
class Queued:
    """A call that waits.

    Parameters
    ----------
    ticket : int
    function : object
    data : bytes-like
        Its arguments.
    after : int or None
        The ticket of the call that it was sent behind.
    """

    ticket: int
    function: Any
    data: bytes | memoryview
    after: int | None


class CallQueue:
    """The calls of one worker, in the order in which they came.

    Attributes
    ----------
    functions : dict
        The functions that were called last, by their numbers.
    """

    def __init__(self) -> None:
        self.functions: Kept[Any] = Kept()
        self._queue: deque[Queued] = deque()
        self._void: OrderedDict[int, None] = OrderedDict()
        self._begun = self._ended = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def put(
        self,
        calls: Iterable[tuple[int, int, bytes | memoryview]],
        after: int | None,
        functions: Mapping[int, tuple[Any, int]],
    ) -> None:
        """Take calls.

        Parameters
        ----------
        calls : iterable of (ticket, number of the function, arguments)
        after : int or None
            The ticket of the call that the first one was sent behind; each other one is behind the one before.
        functions : mapping
            Those of the functions that are new here, and the bytes of their packages.
        """
        for ticket, function, data in calls:
            self.functions.use(function, *(functions.get(function) or self.functions[function]))
            self._queue.append(Queued(ticket, self.functions[function][0], data, after))
            after = ticket

    def drop(self, ticket: int) -> None:
        """Nobody wants a call any more."""
        self._queue = deque(each for each in self._queue if each.ticket != ticket)

    def next(self, now: float) -> tuple[Queued | None, list[int]]:
        """Return the call to begin now, if there is one, and the tickets of those to give back.

        Parameters
        ----------
        now : float
            Seconds of a clock that no adjustment moves.
        """
        returned: list[int] = []
        while self._queue:
            queued = self._queue.popleft()
            if queued.after is None:
                self._begun = now
                return queued, returned
            if queued.after not in self._void and now - self._begun < LEASE:
                self._begun = self._ended
                return queued, returned
            self._give_back(queued.ticket)
            returned.append(queued.ticket)
        return None, returned

    def ended(self, now: float) -> None:
        """The call that was begun last has ended, and its result is about to be sent."""
        self._ended = now

    def clear(self) -> None:
        """Give back all, and forget the functions: another connection begins."""
        self._queue.clear()
        self._void.clear()
        self.functions.clear()

    def _give_back(self, ticket: int) -> None:
        self._void[ticket] = None
        if len(self._void) > _REMEMBERED:
            self._void.popitem(last=False)
