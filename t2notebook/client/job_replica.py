"""A kernel's replica of a job: its events, kept up to date by its session."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping

from ..model.events import TRANSIENT, Event, EventKind
from ..model.reducer import JobView, WorkerView
from ..model.use import workers_use

#: Seconds to wait for events that the session has already sent.
CATCH_UP = 10.0


class JobReplica:
    """A kernel's copy of a job: its events and the view that they make. Guarded by `changed`."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.view = JobView(job_id)
        self.events: list[Event] = []
        self.changed = threading.Condition()
        self.lost_because = ""
        self.directory = ""
        self.credentials: Mapping[str, str] = {}
        self._copies: list[WorkerView] = []
        self._stale: set[int] | None = None  # the workers whose copies are old; None: all
        self._listeners: list[Callable[[], None]] = []
        #: Called with the worker that each event is about, or None; with `changed` held.
        self.on_fold: Callable[[int | None], None] = lambda worker_id: None

    def apply(self, event: Event) -> None:
        """Fold an event in and tell whoever waits."""
        with self.changed:
            worker = self.view.apply(event)
            if worker is not None and self._stale is not None:
                self._stale.add(worker.worker_id)
            elif event.kind in (EventKind.SUBMITTED, EventKind.KILL, EventKind.SCALED):
                self._stale = None
            elif event.kind in (EventKind.USE, EventKind.USAGE) and self._stale is not None:
                self._stale.update(
                    worker_id
                    for worker_id, _, _ in workers_use(event.data)
                    if worker_id < len(self.view.workers)
                )
            if event.kind not in TRANSIENT:
                self.events.append(event)
                self.on_fold(worker.worker_id if worker is not None else None)
            self._notify(quietly=event.kind in (EventKind.USE, EventKind.USAGE))

    def await_seq(self, seq: int) -> None:
        """Wait until the event `seq` is here: requests and events come on different connections."""
        with self.changed:
            self.changed.wait_for(lambda: self.view.last_seq >= seq or self.lost_because, CATCH_UP)

    @property
    def is_awaited(self) -> bool:
        """Whether anything more is to come."""
        with self.changed:
            return bool(self.directory) and not self.lost_because and not self.view.state.is_final

    def mark_lost(self, why: str) -> None:
        """The session is gone; nothing more will come."""
        with self.changed:
            if not self.view.state.is_final:
                self.lost_because = self.lost_because or why  # the first knows best: then it only ends
            self._notify()

    def snapshot(self) -> JobView:
        """Return a copy of the view, at a cost that grows with what has changed since the last one.

        Its workers are shared with other copies, and are not to be changed.
        """
        with self.changed:
            twin = copy.copy(self.view)
            if self._stale is None:
                self._copies = [copy.copy(worker) for worker in self.view.workers]
            else:
                for worker_id in self._stale:
                    self._copies[worker_id] = copy.copy(self.view.workers[worker_id])
            self._stale = set()
            twin.workers = self._copies.copy()
            twin.counts = self.view.counts.copy()
            return twin

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each change, on the reader thread."""
        with self.changed:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Take a listener away."""
        with self.changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def _notify(self, quietly: bool = False) -> None:
        """Wake whoever waits, and tell the listeners; not of figures, which come all the time."""
        self.changed.notify_all()
        if quietly:
            return
        for listener in list(self._listeners):
            listener()
