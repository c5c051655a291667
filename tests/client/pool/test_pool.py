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
