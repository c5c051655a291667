"""The joblib backend, without workers."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest

from t2notebook.client.pool.futures import Future

joblib_backend = pytest.importorskip("t2notebook.client.pool.joblib_backend")


def test_an_abort_cancels_what_runs_as_well() -> None:
    """Hours of a fit that nobody waits for kept its worker."""
    owner: Any = SimpleNamespace(is_running=lambda _: True, cancel=lambda _: None)
    future = Future(owner, "fit", 1, None)
    backend = joblib_backend.make(cpu=0.5)
    backend._futures.add(future)
    assert future.running()
    backend.abort_everything()
    assert future.cancelled()


def wrapped() -> Any:
    return SimpleNamespace(function=functools.partial(sorted, key=abs))


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (abs, "a joblib batch of 2 calls of abs"),
        (wrapped(), "a joblib batch of 2 calls of sorted"),
        (functools.partial(max, 1), "a joblib batch of 2 calls of max"),
    ],
)
def test_a_batch_is_called_by_its_function(function: Any, shown: str) -> None:
    batch = SimpleNamespace(items=[(function, (), {}), (function, (), {})])
    assert joblib_backend._name(batch) == shown
