"""A pool's results, whatever becomes of the connections that they come over."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from t2notebook.client.pool import pool as module
from t2notebook.client.pool.functions import Function
from t2notebook.client.pool.futures import Future
from t2notebook.model.errors import JobFailed
from t2notebook.model.states import JobState, TaskState
from t2notebook.protocol import calls
from t2notebook.protocol.frames import Message


class Connection:
    """A pool's connection that only notes what is sent."""

    def __init__(self, *_: Any) -> None:
        self.sent: list[Mapping[str, Any]] = []

    def start(self) -> None:
        pass

    def wake(self) -> None:
        pass

    def corked(self) -> Any:
        return contextlib.nullcontext()

    def send(self, record: Mapping[str, Any], pieces: Any = ()) -> None:
        self.sent.append(record)


def test_calls_of_an_unreachable_worker_go_to_others_before_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mesos waits long for an agent that is lost; a worker whose connection holds is left alone."""
    monkeypatch.setattr(module, "PoolConnection", Connection)
    workers = [
        SimpleNamespace(worker_id=n, state=TaskState.RUNNING, restarts=0, host="h", held="", started=1.0)
        for n in range(2)
    ]
    view = SimpleNamespace(state=JobState.STARTED, kill_reason="", workers=workers)
    job: Any = SimpleNamespace(
        job_id="ada-pool-1", add_listener=lambda _: None, view=lambda: view, is_attached=True
    )
    pool = module.Pool(job, 30.0, lambda _: None)
    connection: Any = pool._connection

    def said(record: dict[str, Any], payload: bytes = b"") -> None:
        pool.received([Message(record, payload, 0)])

    future = Future(SimpleNamespace(), "square", 3, None)  # type: ignore[arg-type]
    said({"from": 0, "of": 0, "hello": 1, "epoch": 1, "holding": []})
    pool.enqueue(Function("square", b"package", {}, ()), [(future, calls.pack(((3,), {})))], 0)
    ((first, _, _),) = connection.sent[-1]["calls"]
    said({"from": 1, "of": 0, "hello": 1, "epoch": 1, "holding": []})
    workers[0].state = TaskState.UNREACHABLE
    pool._on_change(job)
    pool.due()
    assert connection.sent[-1]["to"] == 0, "its connection holds"
    said({"away": 0})
    pool.due()
    assert connection.sent[-1]["to"] == 1
    ((second, _, _),) = connection.sent[-1]["calls"]

    workers[0].state = TaskState.RUNNING  # it comes back, with the result that nobody waits for any more
    said({"from": 0, "of": 0, "hello": 2, "epoch": 2, "holding": [first]})
    result = b"".join(map(bytes, calls.pack(8)))
    said({"from": 0, "of": 0, "epoch": 2, "done": first, "ok": True, "seconds": 0.1, "n": 1}, result)
    assert not future.done()
    result = b"".join(map(bytes, calls.pack(9)))
    said({"from": 1, "of": 0, "epoch": 1, "done": second, "ok": True, "seconds": 0.1, "n": 1}, result)
    assert (future.result(timeout=0), future.worker_id) == (9, 1)


def test_a_pool_that_ends_with_calls_kills_its_workers_and_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kernel's exit waited for workers that were busy, and called the pool an unfinished job."""
    monkeypatch.setattr(module, "PoolConnection", Connection)
    killed: list[str] = []
    job: Any = SimpleNamespace(
        job_id="ada-pool-1", add_listener=lambda _: None, kill=lambda **given: killed.append(given["message"])
    )
    assert module.Pool(job, 30.0, lambda _: None).end() == 0 and not killed
    pool = module.Pool(job, 30.0, lambda _: None)
    future = Future(SimpleNamespace(), "square", 3, 0)  # type: ignore[arg-type]
    pool.enqueue(Function("square", b"package", {}, ()), [(future, calls.pack(((3,), {})))], 0)
    assert pool.end() == 1 and len(killed) == 1
    with pytest.raises(JobFailed, match="item 0 of square was given up: the pool was ended"):
        future.result(timeout=0)


@pytest.mark.parametrize("away", [False, True], ids=["came-back", "was-away"])
def test_a_result_of_which_a_part_came_before_its_worker_lost_its_connection(
    monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """The worker sends it again from its beginning: what had come stood before it."""
    monkeypatch.setattr(module, "PoolConnection", Connection)
    job: Any = SimpleNamespace(job_id="ada-pool-1", add_listener=lambda _: None)
    pool = module.Pool(job, 30.0, lambda _: None)
    connection: Any = pool._connection

    def said(record: dict[str, Any], payload: bytes = b"") -> None:
        pool.received([Message({"from": 0, "of": 0, **record}, payload, 0)])

    future = Future(SimpleNamespace(), "square", 3, None)  # type: ignore[arg-type]
    said({"hello": 1, "epoch": 1, "holding": []})
    pool.enqueue(Function("square", b"package", {}, ()), [(future, calls.pack(((3,), {})))], 0)
    ((ticket, _, _),) = connection.sent[-1]["calls"]
    result = b"".join(bytes(piece) for piece in calls.pack(bytes(range(256)) * 1000))
    said({"epoch": 1, "part": ticket}, result[:100_000])
    if away:
        pool.received([Message({"away": 0}, b"", 0)])
    said({"hello": 2, "epoch": 2, "holding": [ticket]})
    for begin in range(0, len(result), 100_000):
        said({"epoch": 2, "part": ticket}, result[begin : begin + 100_000])
    said({"epoch": 2, "done": ticket, "ok": True, "seconds": 0.1, "n": 1})
    assert future.result(timeout=0) == bytes(range(256)) * 1000
