"""Futures of calls, and of items that are read as workers need them, without a pool."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from t2notebook.client.pool.completion import FutureStream, as_completed
from t2notebook.client.pool.futures import Future
from t2notebook.client.pool.mapping import results_of
from t2notebook.model.errors import SubmitError, Twister2Error, WaitInterrupted, WaitTimeout


class Owner:
    """Notes what is cancelled."""

    def __init__(self, *, is_here: bool = False) -> None:
        self.cancelled: list[Future] = []
        self._is_here = is_here

    def cancel(self, future: Future) -> None:
        self.cancelled.append(future)

    def is_running(self, future: Future) -> bool:
        return True

    def is_here(self, future: Future) -> bool:
        return self._is_here

    def outlook(self) -> str:
        return "2 workers run"


def call(*args: Any, **kwargs: Any) -> Future:
    return Future(Owner(), "f", args, None, (args, kwargs))


def test_a_call_that_is_cancelled_again_stays_cancelled() -> None:
    owner = Owner()
    future = Future(owner, "f", 1, 3)
    assert future.cancel() and future.cancel() and future.cancelled()
    assert owner.cancelled == [future]
    for ask in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError, match="item 3 of f was cancelled"):
            ask()
    done = Future(owner, "f", 1, 3)
    done.settle(5, None)
    assert not done.cancel() and done.result() == 5


def test_several_threads_that_cancel_one_call_tell_its_pool_once() -> None:
    owner = Owner()
    for _ in range(50):
        future = Future(owner, "f", 1, 0)
        gate = threading.Barrier(4)
        answers: list[bool] = []

        def cancel(
            future: Future = future, gate: threading.Barrier = gate, answers: list[bool] = answers
        ) -> None:
            gate.wait()
            answers.append(future.cancel())

        threads = [threading.Thread(target=cancel) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 4
    assert len(owner.cancelled) == 50


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("future", "shown"),
    [
        (call(), "f()"),
        (call(2, 3), "f(2, 3)"),
        (call([1], key="x"), "f([1], key='x')"),
        (call(Silent()), "f(<Silent instance at"),
        (call(list(range(10**6))), "f([0, 1, 2, 3, 4, 5, 6, 7, ...])"),
        (call("x" * 10**6), f"f('{'x' * 37}...{'x' * 36}"),
    ],
)
def test_a_call_is_told_with_its_arguments_and_nothing_endless(future: Future, shown: str) -> None:
    assert future.what.startswith(shown) and len(future.what) < 90
    future.settle(1, None)
    assert future.what == "f(...)", "it keeps no arguments"


def test_a_callback_that_waits_for_another_call_is_told_so_instead_of_waiting_for_ever() -> None:
    with pytest.raises(
        Twister2Error, match=r"a callback cannot wait for item 0 of f: .* callback of its own"
    ):
        Future(Owner(is_here=True), "f", 1, 0).result()
    done = Future(Owner(is_here=True), "f", 1, 0)
    done.settle(4, None)
    assert done.result() == 4


@pytest.mark.parametrize("timeout", ["1", True, [1]])
def test_a_timeout_that_is_none(timeout: Any) -> None:
    with pytest.raises(SubmitError, match="give seconds, or None"):
        call().result(timeout)
    with pytest.raises(SubmitError, match="give seconds, or None"):
        as_completed([call()], timeout)


def test_what_are_no_futures() -> None:
    with pytest.raises(Twister2Error, match="not an int"):
        as_completed(3)  # type: ignore[arg-type]
    with pytest.raises(Twister2Error, match="one of these is an int"):
        as_completed([1])  # type: ignore[list-item]
    with pytest.raises(Twister2Error, match="of a single one"):
        as_completed(call())  # type: ignore[arg-type]


def done(item: Any, index: int) -> Future:
    future = Future(Owner(), "f", item, index)
    future.settle(item, None)
    return future


def three_and_an_error(kind: type[Exception] = RuntimeError) -> Iterator[int]:
    yield from range(3)
    raise kind("the source broke")


@pytest.mark.parametrize("read", [iter, as_completed])
@pytest.mark.parametrize("kind", [RuntimeError, IndexError])
def test_an_error_of_the_iterator_is_raised_after_the_items_before_it(
    read: Callable[[Any], Iterator[Future]], kind: type[Exception]
) -> None:
    futures = read(FutureStream(three_and_an_error(kind), done, lambda held: 8 - held))
    got = []
    with pytest.raises(kind, match="the source broke"):
        for future in futures:
            got.append(future.result())
    assert got == [0, 1, 2]
    assert list(futures) == []


def test_results_of_a_map_end_with_the_iterators_error() -> None:
    results = results_of(
        FutureStream(three_and_an_error(IndexError), done, lambda held: 8 - held), None, None
    )
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IndexError):
        next(results)


def test_who_stops_in_the_middle_of_a_map_has_the_rest_cancelled() -> None:
    futures = [done(0, 0), *(Future(Owner(), "f", index, index) for index in range(1, 4))]
    results = results_of(list(futures), time.monotonic() + 0.01, 5.0)
    assert next(results) == 0
    with pytest.raises(WaitTimeout, match=r"item 1 of f has no result after 5 s: 2 workers run"):
        next(results)
    assert [future.cancelled() for future in futures] == [False, True, True, True]


def test_an_interrupt_of_a_map_says_that_the_rest_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    future = Future(Owner(), "f", 0, 0)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures.Future, "exception", interrupted)
    with pytest.raises(WaitInterrupted, match="what has not ended of this map is cancelled"):
        next(results_of([future], None, None))
    assert future.cancelled()
