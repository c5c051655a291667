"""Dispatching of a pool's calls: each is run once, whatever workers do, unless one is lost that had begun it."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from t2notebook.client.pool.actions import Action, Call, Drop, EndWorker, GiveUp, Send
from t2notebook.client.pool.dispatcher import LARGE, MARGIN, MOST_LOSSES, MOST_ON_THE_WAY, Dispatcher
from t2notebook.client.pool.lookahead import AHEAD
from t2notebook.protocol.calls import LEASE, MOST_FUNCTION_BYTES, MOST_FUNCTIONS
from t2notebook.worker.process.call_queue import CallQueue


def made(workers: int, **options: Any) -> Dispatcher:
    dispatcher = Dispatcher(**options)
    for number in range(workers):
        dispatcher.joined(number, 0, (), 0.0)
    return dispatcher


def calls(*numbers: int, function: int = 0, size: int = 10, retries: int = 0) -> list[Call]:
    return [Call(number, function, size, retries) for number in numbers]


def sent(actions: list[Action]) -> dict[int, tuple[int, ...]]:
    """Return the numbers of the calls that are sent, by worker."""
    return {
        one.worker_id: tuple(number for _, number in one.calls) for one in actions if isinstance(one, Send)
    }


def ticket(dispatcher: Dispatcher, number: int) -> int:
    return dispatcher.calls[number].ticket


def held(dispatcher: Dispatcher, worker_id: int) -> list[int]:
    """Return the numbers of the calls that a worker has."""
    found = (dispatcher.call_of(each) for each in dispatcher.workers[worker_id].calls)
    return [call.number for call in found if call is not None]


def ends(
    dispatcher: Dispatcher, number: int, seconds: float, now: float, is_good: bool = True
) -> tuple[bool, list[Action]]:
    """Have a call end where it is."""
    call = dispatcher.calls[number]
    assert call.worker is not None
    ended, actions = dispatcher.finished(call.worker, call.ticket, seconds, is_good, now)
    assert ended in (None, number)
    return ended is not None, actions


def test_each_worker_has_one_call_until_it_is_known_what_they_cost() -> None:
    dispatcher = made(2)
    assert sent(dispatcher.enqueue(calls(1, 2, 3, 4), 0.0)) == {0: (1,), 1: (2,)}
    assert dispatcher.waiting == 2
    is_end, actions = ends(dispatcher, 2, 1.0, 1.0)
    assert is_end
    assert sent(actions) == {1: (3,)}


def test_cheap_calls_are_sent_ahead_and_costly_ones_are_not() -> None:
    dispatcher = made(2)
    dispatcher.enqueue(calls(*range(100)), 0.0)
    _, actions = ends(dispatcher, 0, 0.001, 0.016)
    assert len(sent(actions)[0]) == 1 + 15, "the way takes fifteen times what a call does"
    near = made(2)
    near.enqueue(calls(*range(100)), 0.0)
    _, actions = ends(near, 0, 0.001, 0.0015)
    assert len(sent(actions)[0]) == 1 + AHEAD // 0.001, "several short ones go in a message"
    costly = made(2)
    costly.enqueue(calls(*range(100)), 0.0)
    _, actions = ends(costly, 0, 0.1, 0.101)
    assert sent(actions) == {0: (2,)}
    slow_way = made(2)
    slow_way.enqueue(calls(*range(100)), 0.0)
    _, actions = ends(slow_way, 0, 0.06, 0.2)
    assert sent(actions) == {0: (2,)}, "of calls above the lease none is sent ahead"


def test_the_last_calls_are_spread() -> None:
    dispatcher = made(4)
    dispatcher.enqueue(calls(*range(12)), 0.0)
    _, actions = ends(dispatcher, 0, 0.00001, 0.001)
    assert all(len(numbers) <= 3 for numbers in sent(actions).values())


def test_a_call_behind_a_slow_one_moves_to_another_worker() -> None:
    dispatcher = made(2)
    dispatcher.enqueue(calls(*range(40)), 0.0)
    ends(dispatcher, 0, 0.0001, 0.001)
    ends(dispatcher, 1, 0.0001, 0.001)
    running, *behind = held(dispatcher, 0)
    dispatcher.started(0, ticket(dispatcher, running), 0.002)
    assert behind and dispatcher.lends
    dispatcher.tick(0.002 + LEASE)
    assert held(dispatcher, 0) == [running, *behind], "the worker may just have begun the next one"
    dispatcher.tick(0.003 + LEASE + MARGIN)
    assert held(dispatcher, 0) == [running]
    done = set()
    now = 1.0
    while numbers := held(dispatcher, 1):
        ends(dispatcher, numbers[0], 0.0001, now)
        done.add(numbers[0])
        now += 0.0001
    assert set(behind) <= done


def test_what_a_lost_worker_had_begun_is_begun_again_and_not_for_ever() -> None:
    dispatcher = made(1)
    dispatcher.enqueue(calls(1, 2), 0.0)
    for incarnation in range(MOST_LOSSES):
        assert dispatcher.is_running(1)
        actions = dispatcher.lost(0, incarnation, "killed by signal 9 (SIGKILL)", 1.0)
        if incarnation < MOST_LOSSES - 1:
            assert actions == []
        else:
            assert isinstance(actions[0], GiveUp) and actions[0].call == 1
            assert "killed by signal 9" in actions[0].why and "3 workers" in actions[0].why
        assert (1 in dispatcher.calls) is (incarnation < MOST_LOSSES - 1)
        actions = dispatcher.joined(0, incarnation + 1, (), 2.0)
    assert sent(actions) == {0: (2,)}, "others go on"


def test_what_cost_a_worker_for_good_is_given_up_and_what_waited_behind_it_is_not() -> None:
    dispatcher = made(2)
    dispatcher.enqueue(calls(1, 2, 3), 0.0)
    assert dispatcher.lost(0, 0, "it used too much memory", 1.0, for_good=True) == [
        GiveUp(1, "it used too much memory")
    ]
    assert 1 not in dispatcher.calls and dispatcher.waiting == 1
    _, actions = ends(dispatcher, 2, 0.1, 2.0)
    assert sent(actions) == {1: (3,)}


def test_news_of_an_older_incarnation_or_an_earlier_sending_change_nothing() -> None:
    dispatcher = made(1)
    dispatcher.joined(0, 3, (), 0.0)
    dispatcher.enqueue(calls(1), 0.0)
    old = ticket(dispatcher, 1)
    assert dispatcher.lost(0, 2, "", 1.0) == []
    assert dispatcher.joined(0, 1, (), 1.0) == []
    assert dispatcher.is_running(1)
    dispatcher.joined(0, 3, (), 1.0)
    assert dispatcher.is_running(1) and ticket(dispatcher, 1) != old
    assert dispatcher.returned(0, (old,), 2.0) == []
    assert dispatcher.finished(0, old, 0.1, True, 2.0) == (None, [])
    assert dispatcher.started(0, old, 2.0) == []


def test_a_worker_that_comes_back_goes_on_with_what_it_holds() -> None:
    dispatcher = made(2)
    dispatcher.enqueue(calls(1, 2, 3), 0.0)
    dispatcher.away(0)
    _, actions = ends(dispatcher, 2, 1.0, 1.0)
    assert sent(actions) == {1: (3,)}
    assert dispatcher.joined(0, 0, (ticket(dispatcher, 1),), 2.0) == []
    assert dispatcher.is_running(1)
    assert sent(dispatcher.joined(0, 0, (), 3.0)) == {0: (1,)}, "it never got it"


def test_cancelling() -> None:
    dispatcher = made(1)
    dispatcher.enqueue(calls(*range(20)), 0.0)
    assert dispatcher.cancel(19, 0.0) == []
    ends(dispatcher, 0, 0.0001, 0.001)
    running, behind, *_ = held(dispatcher, 0)
    dropped = ticket(dispatcher, behind)
    assert dispatcher.cancel(behind, 0.002) == [Drop(0, dropped)]
    dispatcher.started(0, ticket(dispatcher, running), 0.002)
    assert EndWorker(0) in dispatcher.cancel(running, 0.003)
    assert held(dispatcher, 0) == []
    assert dispatcher.cancel(running, 0.003) == []
    assert dispatcher.lost(0, 0, "killed", 1.0) == []
    numbers = set(sent(dispatcher.joined(0, 1, (), 2.0))[0])
    assert running not in dispatcher.calls and behind not in dispatcher.calls
    assert numbers and numbers <= set(range(20)) - {0, 19, running, behind}


def test_a_call_that_raises_is_tried_again_as_often_as_it_may_be() -> None:
    dispatcher = made(1)
    dispatcher.enqueue(calls(1, retries=1), 0.0)
    is_end, actions = ends(dispatcher, 1, 0.1, 1.0, is_good=False)
    assert not is_end and sent(actions) == {0: (1,)}
    assert ends(dispatcher, 1, 0.1, 2.0, is_good=False) == (True, [])


def test_large_calls_go_a_few_at_a_time_and_small_ones_pass() -> None:
    dispatcher = made(8)
    size = MOST_ON_THE_WAY // 2
    first = sent(dispatcher.enqueue(calls(*range(8), size=size), 0.0))
    assert len(first) == 2
    assert len(sent(dispatcher.started(0, ticket(dispatcher, 0), 0.1))) == 1
    huge = made(2)
    assert len(sent(huge.enqueue(calls(1, 2, size=10 * MOST_ON_THE_WAY), 0.0))) == 1, (
        "one goes, however large"
    )
    assert size > LARGE


def test_functions_are_sent_once_to_each_worker_as_long_as_it_keeps_them() -> None:
    dispatcher = made(1)
    new: list[int] = []
    for number in range(3 * MOST_FUNCTIONS):
        function = number if number % 2 else 0
        (action,) = dispatcher.enqueue(calls(number, function=function), 0.0)
        assert isinstance(action, Send)
        new += action.functions
        ends(dispatcher, number, 0.1, 0.0)
    assert new.count(0) == 1, "one in use stays"
    (action,) = dispatcher.enqueue(calls(1000, function=1), 0.0)
    assert isinstance(action, Send) and action.functions == (1,), "one that was long not called has gone"


def test_a_worker_keeps_no_more_bytes_of_functions_than_it_may() -> None:
    dispatcher, queue = made(1), CallQueue()
    new: list[tuple[int, ...]] = []
    for function in (1, 2, 3, 1, 3, 2):
        dispatcher.know(function, MOST_FUNCTION_BYTES // 2)
        (action,) = dispatcher.enqueue(calls(len(new), function=function), 0.0)
        assert isinstance(action, Send)
        new.append(action.functions)
        given = {number: (f"function {number}", MOST_FUNCTION_BYTES // 2) for number in action.functions}
        queue.put([(action.calls[0][0], function, b"")], None, given)
        queued, _ = queue.next(0.0)
        assert queued is not None and queued.function == f"function {function}"
        ends(dispatcher, len(new) - 1, 0.1, 0.0)
    assert new == [(1,), (2,), (3,), (1,), (), (2,)]


def test_a_function_that_a_busy_worker_has_not_got_waits_until_it_is_idle() -> None:
    dispatcher = made(1)
    dispatcher.enqueue(calls(*range(10)), 0.0)
    ends(dispatcher, 0, 0.0001, 0.001)
    dispatcher.enqueue(calls(*range(100, 130), function=1), 0.002)
    dispatcher.started(0, dispatcher.workers[0].calls[0], 0.002)
    while [each for each in held(dispatcher, 0) if each < 100]:
        for number in held(dispatcher, 0):
            _, actions = ends(dispatcher, number, 0.0001, 0.003)
            for action in actions:
                assert isinstance(action, Send)
                assert not action.functions or action.after is None
            break


def test_a_pool_that_has_ended_gives_up_all() -> None:
    dispatcher = made(1)
    dispatcher.enqueue(calls(1, 2), 0.0)
    old = ticket(dispatcher, 1)
    assert dispatcher.close("over") == [GiveUp(1, "over"), GiveUp(2, "over")]
    assert dispatcher.enqueue(calls(3), 0.0) == [GiveUp(3, "over")]
    assert dispatcher.finished(0, old, 0.0, True, 0.0) == (None, [])


class World:
    """A pool with both sides' real machines, and clocks, delays and losses of its own."""

    def __init__(self, chance: random.Random, workers: int, cost: Callable[[int], float]) -> None:
        self.chance, self.cost = chance, cost
        self.dispatcher = Dispatcher()
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.numbers: dict[int, int] = {}
        self.runs: Counter[int] = Counter()
        self.results: Counter[int] = Counter()
        self.given_up: set[int] = set()
        self.lost: set[int] = set()
        self.queues = [CallQueue() for _ in range(workers)]
        self.incarnations = [0] * workers
        self.busy = [False] * workers
        self.running: list[int | None] = [None] * workers
        self.arrivals: dict[tuple[int, str], float] = {}
        for worker in range(workers):
            self.joins(worker)

    def later(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what))

    def delayed(self, worker: int, way: str, what: Callable[[], None]) -> None:
        """Bring something over a connection, which keeps the order."""
        delay = self.chance.choice((0.0001, 0.0001, 0.001, 0.03, 0.2))
        at = max(self.now + delay, self.arrivals.get((worker, way), 0.0))
        self.arrivals[worker, way] = at
        incarnation = self.incarnations[worker]
        self.at(at, lambda: what() if incarnation == self.incarnations[worker] else None)

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(worker, tickets, after, _, tells):
                    self.numbers.update(tickets)
                    self.delayed(
                        worker,
                        "to",
                        lambda worker=worker, tickets=tickets, after=after, tells=tells: self.got(
                            worker, [each for each, _ in tickets], after, tells
                        ),
                    )
                case GiveUp(number, _):
                    self.given_up.add(number)

    def got(self, worker: int, tickets: list[int], after: int | None, tells: bool) -> None:
        self.queues[worker].put([(each, 0, b"") for each in tickets], after, {0: (None, 1)})
        if not self.busy[worker]:
            self.begin(worker, tells)

    def begin(self, worker: int, tells: bool = False) -> None:
        queued, returned = self.queues[worker].next(self.now)
        if returned:
            self.delayed(
                worker, "from", lambda: self.perform(self.dispatcher.returned(worker, returned, self.now))
            )
        if queued is None:
            self.busy[worker] = False
            return
        self.busy[worker] = True
        sent_as, number = queued.ticket, self.numbers[queued.ticket]
        self.running[worker] = number
        self.runs[number] += 1
        if tells:
            self.delayed(
                worker, "from", lambda: self.perform(self.dispatcher.started(worker, sent_as, self.now))
            )
        seconds = self.cost(number)
        incarnation = self.incarnations[worker]

        def end() -> None:
            if self.incarnations[worker] != incarnation:
                return
            self.running[worker] = None
            self.queues[worker].ended(self.now)
            self.delayed(worker, "from", lambda: self.finished(worker, sent_as, seconds))
            self.begin(worker)

        self.later(seconds, end)

    def finished(self, worker: int, sent_as: int, seconds: float) -> None:
        ended, actions = self.dispatcher.finished(worker, sent_as, seconds, True, self.now)
        if ended is not None:
            self.results[ended] += 1
        self.perform(actions)

    def joins(self, worker: int) -> None:
        self.perform(self.dispatcher.joined(worker, self.incarnations[worker], (), self.now))

    def loses(self, worker: int) -> None:
        if (number := self.running[worker]) is not None:
            self.lost.add(number)
        incarnation = self.incarnations[worker]
        self.incarnations[worker] += 1
        self.queues[worker], self.busy[worker], self.running[worker] = CallQueue(), False, None
        self.perform(self.dispatcher.lost(worker, incarnation, "lost", self.now))
        self.later(0.5, lambda: self.joins(worker))

    def run(self, until: float = 1e6) -> None:
        tick = 0.0
        while self.events and self.now < until:
            at, _, what = heapq.heappop(self.events)
            while self.dispatcher.lends and tick < at:
                tick = max(tick, self.now) + LEASE
                if tick < at:
                    self.now = tick
                    self.perform(self.dispatcher.tick(tick))
            self.now = max(self.now, at)
            what()
            if not self.events and self.dispatcher.calls:
                self.now += 1.0
                self.perform(self.dispatcher.tick(self.now))


@pytest.mark.parametrize("seed", range(40))
def test_every_call_runs_once_whatever_the_network_and_the_calls_do(seed: int) -> None:
    chance = random.Random(seed)
    kinds = ((0.0001,), (0.001, 0.3), (0.00001, 0.00001, 2.0), (0.04, 0.06), (0.5,))
    kind = chance.choice(kinds)
    world = World(chance, chance.randrange(1, 6), lambda number: chance.choice(kind))
    count = chance.randrange(1, 300)
    world.perform(world.dispatcher.enqueue(calls(*range(count)), 0.0))
    world.run()
    assert not world.dispatcher.calls
    assert world.results == Counter(range(count))
    assert world.runs == Counter(range(count))


@pytest.mark.parametrize("seed", range(40))
def test_every_call_has_one_result_when_workers_are_lost_and_runs_again_only_if_it_was_under_way(
    seed: int,
) -> None:
    chance = random.Random(seed)
    kind = chance.choice(((0.0001,), (0.001, 0.1), (0.05,)))
    world = World(chance, chance.randrange(1, 6), lambda number: chance.choice(kind))
    count = chance.randrange(1, 200)
    world.perform(world.dispatcher.enqueue(calls(*range(count)), 0.0))
    for _ in range(chance.randrange(1, 8)):
        worker = chance.randrange(len(world.queues))
        world.later(chance.random() * 3, lambda worker=worker: world.loses(worker))
    world.run()
    assert not world.dispatcher.calls
    assert world.results + Counter(world.given_up) == Counter(range(count))
