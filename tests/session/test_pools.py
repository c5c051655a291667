"""Calls and results of pools on their way through a session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from t2notebook.protocol import outcomes
from t2notebook.protocol.frames import Message
from t2notebook.session.pools import GATHER, Pools


class Worker:
    """A worker's connection, as far as it is read from."""

    waiting = 0

    def __init__(self, worker_id: int) -> None:
        self.worker_id = worker_id
        self.hello = {"job_id": "job", "worker_id": worker_id, "incarnation": 0}
        self.is_read = True

    def send_call(self, record: Mapping[str, Any], payload: bytes) -> None:
        """Take what its notebook says."""

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def heard(pools: Pools, worker: Worker, ticket: int, more: bool) -> None:
    head = outcomes.pack(ticket, ticket, 1, 0.001, True, more)
    pools.received(("job", worker.worker_id), worker, Message({}, b"", 2, head))  # type: ignore[arg-type]


def test_results_of_short_calls_are_gathered_and_no_others() -> None:
    async def scenario() -> None:
        one, other = Worker(0), Worker(1)
        pools = Pools({("job", 0): one, ("job", 1): other})  # type: ignore[dict-item]
        pools.attached(notebook := pools.notebook("job"))
        heard(pools, one, 1, more=True)
        heard(pools, other, 2, more=False)
        assert (one.is_read, other.is_read) == (False, True)
        await asyncio.sleep(2 * GATHER)
        assert one.is_read, "a moment later"
        heard(pools, one, 3, more=True)
        notebook.pause_writing()
        await asyncio.sleep(2 * GATHER)
        assert not one.is_read, "its notebook does not read"
        notebook.resume_writing()
        assert one.is_read

    asyncio.run(scenario())
