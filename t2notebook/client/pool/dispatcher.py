"""Dispatching of a pool's calls to its workers as a pure state machine: events in, actions out.

A worker runs its calls one after the other, in the order in which it was sent them. How many it is sent ahead follows
from what calls cost: one at a time until that is known, and more only where the way to a worker and back takes a part
of a call's time that counts.

A call that waits on a worker behind another is lent to that worker for `LEASE` seconds from when that other one began.
Both sides count them, each with its own clock: the worker no longer begins the call once they are over, and gives it
back; here it is given to another worker only when `MARGIN` has passed as well without news. So a call that got behind
a slow one moves away, and is not run twice, unless news take longer than that; and unless a worker is lost that had
begun it.

Each time that a call is sent it has another ticket, by which both sides speak of it: so news of an earlier time mean
nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from ...protocol.calls import LEASE, Kept
from .actions import Action, Call, Drop, EndWorker, GiveUp, Send
from .lookahead import MOST_AHEAD, Lookahead

#: How often a call may have been under way on a worker that was lost, before it is given up.
MOST_LOSSES = 3
#: The most bytes of calls that are sent to one worker ahead.
MOST_AHEAD_BYTES = 1 << 20
#: Bytes of a call that is large, and bytes of such that are on their way to workers at once (or one call).
LARGE, MOST_ON_THE_WAY = 1 << 20, 64 << 20
#: Seconds that news may take, after the end of a lease, before its calls are given to others.
MARGIN = 0.5
#: How many workers are looked at, whether they can be sent a new call ahead.
_LOOKED_AT = 8


@dataclass(slots=True)
class Worker:
    """A worker, and the tickets of the calls that it has been sent: the first runs, as far as is known."""

    incarnation: int
    calls: deque[int] = field(default_factory=deque)
    #: When the first call began, at the latest; NaN: not known.
    begun: float = math.nan
    #: When its only call was sent; NaN: others were sent since.
    sent: float = math.nan
    tells: bool = False
    is_away: bool = False
    is_ending: bool = False
    functions: Kept[None] = field(default_factory=Kept)


class Dispatcher:
    """The calls of a pool, and its workers.

    Parameters
    ----------
    deepest : int
        The most calls that are sent to a worker ahead.

    Attributes
    ----------
    calls : dict
        The calls that have not ended, by number.
    workers : dict
        The workers that are there, by id.
    """

    def __init__(self, deepest: int = MOST_AHEAD) -> None:
        self.calls: dict[int, Call] = {}
        self.workers: dict[int, Worker] = {}
        self._lookahead = Lookahead(deepest)
        self._tickets: dict[int, Call] = {}
        self._last_ticket = 0
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._busy: OrderedDict[int, None] = OrderedDict()
        self._lent: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._on_the_way: dict[int, int] = {}
        self._closed = ""

    # What is.

    @property
    def waiting(self) -> int:
        """Calls that no worker has been sent."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """Number of calls that could usefully wait here besides, for whoever makes them one by one."""
        return max(8, 2 * (1 + self._lookahead.last) * max(1, len(self.workers))) - len(self._waiting)

    @property
    def lends(self) -> bool:
        """Whether calls wait on workers behind others: `tick` is to be called every `LEASE` seconds."""
        return bool(self._lent)

    def is_running(self, number: int) -> bool:
        """Whether a call has begun, as far as is known."""
        call = self.calls.get(number)
        return (
            call is not None and call.worker is not None and self.workers[call.worker].calls[0] == call.ticket
        )

    def call_of(self, ticket: int) -> Call | None:
        """Return the call that was sent with a ticket, if that still holds."""
        return self._tickets.get(ticket)

    # What happens.

    def enqueue(self, calls: Iterable[Call], now: float) -> list[Action]:
        """Take calls.

        Parameters
        ----------
        calls : iterable of Call
        now : float
            Seconds of a clock that no adjustment moves, as everywhere here.
        """
        count = 0
        for call in calls:
            self.calls[call.number] = call
            self._waiting[call.number] = None
            count += 1
        if self._closed:
            return self.close(self._closed)
        return self._dispatch(now, max(_LOOKED_AT, count))

    def know(self, function: int, size: int) -> None:
        """A function will be called, whose package has so many bytes."""
        self._sizes[function] = size

    def forget(self, function: int) -> None:
        """A function will not be called again."""
        self._lookahead.forget(function)
        self._sizes.pop(function, None)

    def joined(self, worker_id: int, incarnation: int, holding: Iterable[int], now: float) -> list[Action]:
        """A worker is there, or there again, and has begun these calls; it has given up all others that it had.

        Parameters
        ----------
        worker_id, incarnation : int
        holding : iterable of int
            Tickets of calls whose results are on their way, and of the one that runs.
        now : float
        """
        actions: list[Action] = []
        worker = self.workers.get(worker_id)
        if worker is not None and worker.incarnation > incarnation:
            return []
        if worker is not None and worker.incarnation < incarnation:
            actions += self._lose(worker_id, worker, "it was started again")
            worker = None
        if worker is None:
            worker = self.workers[worker_id] = Worker(incarnation)
        held = set(holding)
        self._take_back(worker, [ticket for ticket in worker.calls if ticket not in held])
        # Who says this runs nothing: a call that was cancelled has ended.
        worker.is_ending = False
        worker.is_away, worker.begun, worker.sent = False, math.nan, math.nan
        worker.functions.clear()
        self._settle(worker_id, worker)
        return actions + self._dispatch(now)

    def away(self, worker_id: int) -> None:
        """A worker's connection broke; it may come back, with its calls."""
        if (worker := self.workers.get(worker_id)) is not None:
            worker.is_away = True
            self._settle(worker_id, worker)

    def lost(
        self, worker_id: int, incarnation: int, why: str, now: float, *, for_good: bool = False
    ) -> list[Action]:
        """An incarnation of a worker has ended: what it had begun is begun anew elsewhere.

        Parameters
        ----------
        worker_id, incarnation : int
        why : str
            For whoever asked for a call that is given up.
        now : float
        for_good : bool
            Whether nothing takes the worker's place: it used more memory than it may, say. What it had begun would cost
            others as well, and is given up.
        """
        worker = self.workers.get(worker_id)
        if worker is None or worker.incarnation > incarnation:
            return []
        return self._lose(worker_id, worker, why, for_good) + self._dispatch(now)

    def started(self, worker_id: int, ticket: int, now: float) -> list[Action]:
        """A worker has begun a call.

        Parameters
        ----------
        worker_id, ticket : int
        now : float
        """
        worker = self.workers.get(worker_id)
        if worker is None or not worker.calls or worker.calls[0] != ticket:
            return []
        if math.isnan(worker.begun):
            worker.begun = now
        # Something large may follow.
        return self._dispatch(now) if self._on_the_way.pop(ticket, None) else []

    def finished(
        self, worker_id: int, ticket: int, seconds: float, is_good: bool, now: float
    ) -> tuple[int | None, list[Action]]:
        """A worker has run a call.

        Parameters
        ----------
        worker_id, ticket : int
        seconds : float
            How long it took.
        is_good : bool
            Whether it returned; else it raised.
        now : float

        Returns
        -------
        int or None
            The number of the call of which this is the end; None when it is tried again, or nobody asks for it.
        list of Action
        """
        worker, call = self.workers.get(worker_id), self._tickets.get(ticket)
        if call is not None:
            self._lookahead.took(call.function, seconds)
        if worker is not None and ticket in worker.calls:
            if not math.isnan(worker.sent) and call is not None and call.size < LARGE:
                self._lookahead.way_took(max(0.0, now - worker.sent - seconds))
            worker.calls.remove(ticket)
            worker.sent = math.nan
            worker.begun = now if worker.calls else math.nan
            self._settle(worker_id, worker)
            if worker_id in self._busy:
                self._busy.move_to_end(worker_id, last=False)
        ended = None
        if call is not None:
            self._void(call)
            if not is_good and call.retries > 0:
                call.retries -= 1
                self._waiting[call.number] = None
            else:
                del self.calls[call.number]
                ended = call.number
        if (
            not self._idle
            and worker is not None
            and len(worker.calls) > self._lookahead.last - self._lookahead.last // 2
        ):
            return ended, []  # as below, without a look at what waits: most results come to this
        return ended, self._dispatch(now, 1)

    def returned(self, worker_id: int, tickets: Iterable[int], now: float) -> list[Action]:
        """A worker gives back calls that it has not begun.

        Parameters
        ----------
        worker_id : int
        tickets : iterable of int
        now : float
        """
        if (worker := self.workers.get(worker_id)) is None:
            return []
        self._take_back(worker, [ticket for ticket in tickets if ticket in worker.calls])
        if not worker.calls:
            worker.begun = math.nan
        self._settle(worker_id, worker)
        return self._dispatch(now)

    def cancel(self, number: int, now: float) -> list[Action]:
        """Nobody wants a call any more: one that runs is ended with its worker.

        Parameters
        ----------
        number : int
        now : float
        """
        call = self.calls.pop(number, None)
        if call is None:
            return []
        self._waiting.pop(number, None)
        if call.worker is None:
            return []
        actions: list[Action] = []
        worker_id, ticket = call.worker, call.ticket
        worker = self.workers[worker_id]
        if worker.calls[0] != ticket:
            worker.calls.remove(ticket)
            actions.append(Drop(worker_id, ticket))
        elif not worker.is_ending:
            worker.is_ending = True
            self._take_back(worker, list(worker.calls)[1:])
            actions.append(EndWorker(worker_id))
        self._void(call)
        self._settle(worker_id, worker)
        return actions + self._dispatch(now)

    def tick(self, now: float) -> list[Action]:
        """Give to others the calls whose leases are over."""
        for worker_id in list(self._lent):
            worker = self.workers[worker_id]
            if not worker.is_away and now >= worker.begun + LEASE + MARGIN:
                self._take_back(worker, list(worker.calls)[1:])
                self._settle(worker_id, worker)
        return self._dispatch(now)

    def close(self, why: str) -> list[Action]:
        """Give up all calls, and all that are to come."""
        self._closed = why
        actions: list[Action] = [GiveUp(number, why) for number in self.calls]
        for each in (self.calls, self.workers, self._tickets, self._waiting, self._idle, self._busy):
            each.clear()
        self._on_the_way.clear()
        self._lent.clear()
        return actions

    # Inside.

    def _settle(self, worker_id: int, worker: Worker) -> None:
        """Note whether a worker is idle, busy, or neither, and whether it has calls that wait."""
        can_take = not (worker.is_away or worker.is_ending)
        for kind, belongs in ((self._idle, not worker.calls), (self._busy, bool(worker.calls))):
            if can_take and belongs:
                kind.setdefault(worker_id)
            else:
                kind.pop(worker_id, None)
        if len(worker.calls) > 1:
            self._lent.add(worker_id)
        else:
            self._lent.discard(worker_id)

    def _lose(self, worker_id: int, worker: Worker, why: str, for_good: bool = False) -> list[Action]:
        del self.workers[worker_id]
        actions: list[Action] = []
        first = self._tickets.get(worker.calls[0]) if worker.calls else None
        if first is not None:
            first.losses += 1
            if for_good or first.losses >= MOST_LOSSES:
                self._void(first)
                del self.calls[first.number]
                times = f"{first.losses} workers ended while they ran it, the last: "
                actions.append(GiveUp(first.number, f"{times if first.losses > 1 else ''}{why}"))
        self._take_back(worker, list(worker.calls))
        for kind in (self._idle, self._busy):
            kind.pop(worker_id, None)
        self._lent.discard(worker_id)
        return actions

    def _void(self, call: Call) -> None:
        """Let a call's ticket hold no more."""
        self._tickets.pop(call.ticket, None)
        self._on_the_way.pop(call.ticket, None)
        call.worker = None

    def _take_back(self, worker: Worker, tickets: list[int]) -> None:
        """Put calls that a worker has been sent to the front of those that wait."""
        for ticket in reversed(tickets):
            worker.calls.remove(ticket)
            if (call := self._tickets.get(ticket)) is not None:
                self._void(call)
                self._waiting[call.number] = None
                self._waiting.move_to_end(call.number, last=False)

    def _ahead(self) -> int:
        """Return how many calls a worker is to be sent ahead, of those that wait."""
        ahead = self._lookahead.of(self.calls[next(iter(self._waiting))].function)
        # Evenly, so that the last calls are not all on one worker.
        return min(ahead, len(self._waiting) // max(1, len(self.workers)))

    def _dispatch(self, now: float, looked_at: int = _LOOKED_AT) -> list[Action]:
        """Send waiting calls to workers that have none, and ahead to some that have."""
        actions: list[Action] = []
        if not self._waiting:
            return actions
        ahead = self._ahead()
        while self._idle and self._waiting and self._may_go():
            worker_id, _ = self._idle.popitem(last=False)
            actions.append(self._send(worker_id, 1 + ahead, ahead > 0, now))
        if not ahead or not self._waiting:
            return actions
        for worker_id in list(islice(self._busy, looked_at)):
            worker = self.workers[worker_id]
            self._busy.move_to_end(worker_id)
            missing = 1 + ahead - len(worker.calls)
            # Some at a time: each message costs more than such a call.
            if missing <= ahead // 2 or not self._is_quick(worker, now):
                continue
            if not self._waiting or (call := self.calls[next(iter(self._waiting))]).size >= LARGE:
                break
            if call.function not in worker.functions:
                continue  # it does not read what may be large
            actions.append(self._send(worker_id, missing, True, now))
        return actions

    def _is_quick(self, worker: Worker, now: float) -> bool:
        """Whether a worker could still begin what it is sent ahead."""
        if math.isnan(worker.begun):
            return worker.tells
        return now - worker.begun < LEASE / 2

    def _may_go(self) -> bool:
        """Whether the next call can be on its way beside those that are."""
        call = self.calls[next(iter(self._waiting))]
        if call.size < LARGE or not self._on_the_way:
            return True
        return sum(self._on_the_way.values()) + call.size <= MOST_ON_THE_WAY

    def _send(self, worker_id: int, most: int, tells: bool, now: float) -> Send:
        """Send waiting calls, up to so many, behind those that the worker has."""
        worker = self.workers[worker_id]
        after = worker.calls[-1] if worker.calls else None
        size, sent, functions = 0, list[tuple[int, int]](), list[int]()
        while self._waiting and len(sent) < most:
            call = self.calls[next(iter(self._waiting))]
            if sent and (call.size >= LARGE or size + call.size > MOST_AHEAD_BYTES):
                break
            if worker.calls and call.function not in worker.functions:
                break  # a worker that is busy does not read it
            del self._waiting[call.number]
            self._last_ticket += 1
            call.worker, call.ticket = worker_id, self._last_ticket
            self._tickets[call.ticket] = call
            sent.append((call.ticket, call.number))
            size += call.size
            if call.function not in worker.functions:
                functions.append(call.function)
            worker.functions.use(call.function, None, self._sizes.get(call.function, 0))
            if call.size >= LARGE:
                self._on_the_way[call.ticket] = call.size
                tells = True
        if after is None:
            worker.tells = tells
            worker.sent = now if len(sent) == 1 else math.nan
        else:
            worker.sent = math.nan
        worker.calls.extend(ticket for ticket, _ in sent)
        self._settle(worker_id, worker)
        return Send(worker_id, tuple(sent), after, tuple(functions), tells)
