"""Workers as plain tuples: a sequence like a list, and nothing for the cycle collector."""

from __future__ import annotations

import copy
import gc

from t2notebook.model.packed_workers import PackedWorkers
from t2notebook.model.states import TaskState
from t2notebook.model.use import Use
from t2notebook.model.worker_view import WorkerView


def test_it_is_a_sequence_that_hands_out_copies() -> None:
    workers = PackedWorkers(map(WorkerView, range(4)))
    worker = workers[2]
    worker.state, worker.ports, worker.host = TaskState.RUNNING, (1, 2), "h"
    assert workers[2] == WorkerView(2)
    workers[2] = worker
    assert workers[2] == WorkerView(2, state=TaskState.RUNNING, ports=(1, 2), host="h")
    assert workers[2].state is TaskState.RUNNING
    assert [one.worker_id for one in workers[1:3]] == [1, 2]
    workers.append(WorkerView(4))
    del workers[:2]
    workers[1:2] = [WorkerView(7)]
    assert [one.worker_id for one in workers] == [2, 7, 4]
    twin = copy.copy(workers)
    twin[0] = WorkerView(9)
    assert workers[0].worker_id == 2 and twin != workers


def test_the_collector_does_not_look_at_them() -> None:
    """A full collection, with all that a notebook has imported, stopped the kernel for 100 ms and more."""
    workers = PackedWorkers(map(WorkerView, range(100)))
    worker = workers[5]
    worker.state, worker.task_id, worker.started, worker.ports = TaskState.RUNNING, "t", 1.0, (31000,)
    worker.use = Use(1.0, 0.5, 1.0, 20.0, 30.0)
    workers[5] = worker
    assert workers[5] == worker
    gc.collect()
    assert not any(gc.is_tracked(row) for row in workers._rows)
