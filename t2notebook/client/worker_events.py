"""Events of a job's workers for callbacks in this kernel, derived from its copy of the job."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from ..model.reducer import JobView
from ..model.states import TaskState
from ..model.worker_event import WorkerEvent, WorkerEventKind
from .job_replica import JobReplica

Callback = Callable[[WorkerEvent], Any]


class Watcher:
    """Compares a job with what it was, change by change. Pure.

    Parameters
    ----------
    view : JobView
        The job as it is now; what came before is not told, but for whether all have joined.
    """

    def __init__(self, view: JobView) -> None:
        self._number = view.number_of_workers
        self._known = [(worker.restarts, _has_run(worker)) for worker in view.workers]
        self._failed: set[int] = set()
        self._had_all = False

    def changes(self, view: JobView, changed: int | None) -> list[WorkerEvent]:
        """Return what has happened.

        Parameters
        ----------
        view : JobView
        changed : int or None
            The worker that the last event was about.
        """
        found: list[WorkerEvent] = []
        number = view.number_of_workers
        if number != self._number:
            kind = WorkerEventKind.SCALED_UP if number > self._number else WorkerEventKind.SCALED_DOWN
            self._known[self._number :] = [
                (worker.restarts, False) for worker in view.workers[self._number :]
            ]
            self._failed = {worker_id for worker_id in self._failed if worker_id < number}
            self._had_all = self._had_all and number < self._number
            self._number = number
            found.append(WorkerEvent(kind.value, number))
        if changed is not None and changed < number:
            worker = view.workers[changed]
            restarts, had_run = self._known[changed]
            self._known[changed] = worker.restarts, _has_run(worker)
            is_over = worker.state.is_terminal and worker.state is not TaskState.FINISHED
            if (had_run and worker.restarts > restarts) or (is_over and changed not in self._failed):
                self._failed.add(changed)
                found.append(WorkerEvent(WorkerEventKind.FAILED.value, number, changed, worker.restarts))
            elif changed in self._failed and worker.started is not None and not worker.state.is_terminal:
                self._failed.discard(changed)
                found.append(WorkerEvent(WorkerEventKind.RESTARTED.value, number, changed, worker.restarts))
        # Each of them is looked at only when none is known to wait.
        if not self._had_all and not _waiting(view) and all(map(_has_run, view.present)):
            self._had_all = True
            found.append(WorkerEvent(WorkerEventKind.ALL_JOINED.value, number))
        return found


def _waiting(view: JobView) -> int:
    return sum(view.counts[state] for state in (TaskState.PENDING, TaskState.STAGING, TaskState.STARTING))


def _has_run(worker: Any) -> bool:
    return worker.started is not None or worker.state is TaskState.FINISHED


class WorkerEvents:
    """A callback for the events of one job's workers, and the thread that calls it.

    Parameters
    ----------
    replica : JobReplica
    callback : callable
        ``callback(event)``; what it raises is printed.
    """

    def __init__(self, replica: JobReplica, callback: Callback) -> None:
        self._replica, self._callback = replica, callback
        self._events: queue.SimpleQueue[WorkerEvent | None] = queue.SimpleQueue()
        with replica.changed:
            self._watcher = Watcher(replica.view)
            replica.on_fold.append(self._folded)
            self._folded(None)
        threading.Thread(target=self._run, name=f"t2-workers-{replica.job_id}", daemon=True).start()

    def _folded(self, worker_id: int | None) -> None:
        for event in self._watcher.changes(self._replica.view, worker_id):
            self._events.put(event)
        if self._replica.view.state.is_final:
            self._events.put(None)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                self._callback(event)
            except Exception:
                traceback.print_exc()
