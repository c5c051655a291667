"""Looks into workers for a kernel: the session asks the executors that run them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..journal.job_store import JobRecord
from ..model.states import TaskState
from ..model.text import loads
from .executors import Executors, Unreachable

#: Seconds that an executor has beyond what the look itself takes, and looks under way at a time.
PATIENCE, AT_ONCE = 15.0, 200


async def inspect(
    executors: Executors, job: JobRecord, workers: Sequence[int], kind: str, seconds: float = 0.0
) -> list[dict[str, Any]]:
    """Return what a look into some workers shows; of one that cannot be looked into, a ``note`` that says why.

    Parameters
    ----------
    executors : Executors
    job : JobRecord
    workers : sequence of int
    kind : str
        ``"stack"`` or ``"profile"``.
    seconds : float
        That a profile takes.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(worker_id: int) -> dict[str, Any]:
        worker = job.view.workers[worker_id]
        facts: dict[str, Any] = {"worker_id": worker_id, "host": worker.host}
        if worker.state is not TaskState.RUNNING and worker.state is not TaskState.KILLING:
            return {**facts, "note": f"it is {worker.state.value}"}
        record = {"kind": kind, "worker_id": worker_id, "restart_count": worker.restarts, "seconds": seconds}
        async with turn:
            try:
                answer = await executors.ask(job.job_id, worker.executor_id, record, seconds + PATIENCE)
            except Unreachable as error:
                return {**facts, "note": str(error)}
        if told := answer.record.get("error"):
            return {**facts, "note": str(told)}
        found = loads(bytes(answer.payload))
        if worker.held:
            facts["state"] = f"waits in the debugger ({worker.held})"
        return {**(found if isinstance(found, dict) else {}), **facts}

    return list(await asyncio.gather(*map(one, workers)))
