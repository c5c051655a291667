"""A kernel's replica of a job: its events, kept up to date by its session."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping

from ..frames import EventColumns
from ..model.events import TRANSIENT, Event, EventKind
from ..model.packed_workers import PackedWorkers
from ..model.reducer import JobView
from ..model.text import loads

#: Seconds to wait for events that the session has already sent.
CATCH_UP = 10.0


class JobReplica:
    """A kernel's copy of a job: its events and the view that they make. Guarded by `changed`."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.view = JobView(job_id, workers=PackedWorkers())
        self._columns = EventColumns()
        self._lines: list[bytes] = []  # of events: text is none of the garbage collector's
        self.changed = threading.Condition()
        self.lost_because = ""
        self.directory = ""
        self.credentials: Mapping[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        #: Each is called with the worker that an event is about, or None; with `changed` held.
        self.on_fold: list[Callable[[int | None], None]] = []

    def apply(self, event: Event, line: bytes = b"") -> None:
        """Fold an event in and tell whoever waits.

        Parameters
        ----------
        event : Event
        line : bytes
            The line of the session's stream that it came as; empty if it came another way.
        """
        with self.changed:
            worker = self.view.apply(event)
            if event.kind not in TRANSIENT:
                self._columns.append(event)
                self._lines.append(line or f'{{"event":{event.to_json()}}}'.encode())
                for fold in self.on_fold:
                    fold(worker.worker_id if worker is not None else None)
            self._notify(quietly=event.kind in (EventKind.USE, EventKind.USAGE))

    def event_columns(self) -> EventColumns:
        """Return the rows of ``job.events``."""
        with self.changed:
            return self._columns.copy()

    def events(self, kind: EventKind | None = None) -> list[Event]:
        """Return the events that are kept, oldest first; with `kind`, those of that kind."""
        with self.changed:
            lines = self._lines.copy()
        if kind is not None:
            sign = b'"kind":"%b"' % kind.value.encode()
            lines = [line for line in lines if sign in line]
        found = [Event.from_dict(loads(line)["event"]) for line in lines]
        return [event for event in found if kind in (None, event.kind)]

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
        """Return a copy of the view."""
        with self.changed:
            twin = copy.copy(self.view)
            twin.workers = copy.copy(self.view.workers)
            twin.counts = self.view.counts.copy()
            twin.scalings = self.view.scalings.copy()
            twin.troubled = self.view.troubled.copy()
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
