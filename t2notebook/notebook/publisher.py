"""The publisher: one thread per kernel, the only writer of live views, at most 5 times a second for each.

Whoever learns of a change only marks a view as dirty; the thread takes the job's newest state when the view
is due, so that a thousand changes cost a dozen writes and none waits for a browser.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..model.errors import SessionError
from ..model.reducer import JobView
from ..model.states import JobState

log = logging.getLogger(__name__)

#: Seconds between two writes to one view, at least: no six in any second, also when one is late.
INTERVAL = 0.22
#: Seconds without a write after which a view is told that the kernel lives.
BEAT = 2.0
#: Writing may take this share of a core; what is slower to draw is drawn less often.
SHARE = 0.1


class Sink(Protocol):
    """A view of a job; called on the publisher's thread only."""

    interval: float

    def write(self, view: JobView) -> None:
        """Show `view`."""

    def beat(self) -> None:
        """Tell whoever looks that this process lives although nothing changes."""

    def is_ready(self, view: JobView) -> bool:
        """Return whether the job's end, `view`, can be shown for good; asked again until it can."""

    def finish(self, view: JobView, lost: str) -> None:
        """Show the last state for good; `lost` says why nothing more will be heard, if the job has not ended."""


class Watched(Protocol):
    """A job as the publisher needs it (`t2notebook.client.Job` is one)."""

    @property
    def state(self) -> JobState:
        """The job's state now."""

    def view(self) -> JobView:
        """Return an independent copy of the job's present state."""

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the job's end: `TimeoutError` if it goes on, `SessionError` if its session is gone."""

    def add_listener(self, callback: Callable[[Any], None], /) -> None:
        """Have `callback` called at each change."""

    def remove_listener(self, callback: Callable[[Any], None], /) -> None:
        """Undo `add_listener`."""


class Watch:
    """One live view of one job.

    Parameters
    ----------
    job : Watched
    sink : Sink
        Where to show it.
    run : callable
        Calls the function that it is given, in the context where the view was made.
    """

    def __init__(self, job: Watched, sink: Sink, run: Callable[..., Any], publisher: Publisher) -> None:
        self.job = job
        self.sink = sink
        self.finished = threading.Event()
        self._run = run
        self._publisher = publisher
        self.is_urgent = False
        self.written = time.monotonic()  # what is made is up to date
        self.due = self.written + sink.interval

    def mark(self, _job: Any = None) -> None:
        """Say that the job has changed; returns at once, on any thread."""
        self._publisher.mark(self)

    def finish(self, timeout: float) -> bool:
        """Wait for the last write of a job that has ended, at most `timeout` seconds; return whether it is done."""
        self._publisher.hurry(self)
        return self.finished.wait(timeout)

    def publish(self) -> bool:
        """Write the job's present state; return whether that was the last time."""
        lost = why_lost(self.job)
        view = self.job.view()
        final = view.state.is_final or bool(lost)
        if final and not lost and not self.sink.is_ready(view):
            self._run(self.sink.write, view)
            self.mark()
            return False
        if final:
            self._run(self.sink.finish, view, "" if view.state.is_final else lost)
        else:
            self._run(self.sink.write, view)
        return final

    def beat(self) -> None:
        """Say that this process lives."""
        self._run(self.sink.beat)


def why_lost(job: Watched) -> str:
    """Return why nothing more will be heard of `job` although it has not ended; empty if all is well."""
    try:
        job.wait(0)
    except TimeoutError:
        return ""
    except SessionError as error:
        return str(error)
    return ""


class Publisher:
    """Owns the thread, which starts with the first view and ends with the interpreter."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._dirty: dict[Watch, None] = {}
        self._watches: dict[Watch, None] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def begin_anew(self) -> None:
        """Forget the views, in a process that was forked: they are the parent's, and so is the thread."""
        self._condition = threading.Condition()
        self._dirty, self._watches = {}, {}
        self._thread = None

    def watch(self, job: Watched, sink: Sink, run: Callable[..., Any]) -> Watch:
        """Keep `sink` showing `job` until its end; return the `Watch`.

        Parameters
        ----------
        job : Watched
        sink : Sink
        run : callable
            Calls a function in the context of the job's cell.
        """
        watch = Watch(job, sink, run, self)
        with self._condition:
            self._watches[watch] = None
            self._start()
        job.add_listener(watch.mark)
        watch.mark()
        return watch

    def watches(self) -> list[Watch]:
        """Return the views whose jobs have not ended."""
        with self._condition:
            return list(self._watches)

    def mark(self, watch: Watch) -> None:
        """Queue one write of `watch`; a second mark before it changes nothing."""
        with self._condition:
            if watch in self._watches and watch not in self._dirty:
                self._dirty[watch] = None
                self._condition.notify()

    def hurry(self, watch: Watch) -> None:
        """Let the next write of `watch` be now: somebody waits for it, and it is the last."""
        with self._condition:
            watch.due, watch.is_urgent = 0.0, True
            if watch in self._watches:
                self._dirty[watch] = None
            self._condition.notify()

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread, at the latest after `timeout` seconds; a later `watch` starts a new one."""
        with self._condition:
            self._stopping = True
            thread, self._thread = self._thread, None
            self._condition.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._stopping = False
            self._thread = threading.Thread(target=self._loop, name="t2notebook-publisher", daemon=True)
            self._thread.start()
            atexit.unregister(self.stop)
            atexit.register(self.stop)

    def _loop(self) -> None:
        while (due := self._next()) is not None:
            watch, is_dirty = due
            started = time.monotonic()
            final = False
            watch.written = started
            try:
                if not is_dirty:
                    watch.beat()
                    continue
                final = watch.publish()
            except Exception:
                log.warning("a view of a job could not be drawn", exc_info=True)
                final = self._has_ended(watch)
            spent = time.monotonic() - started
            with self._condition:
                pause = max(watch.sink.interval, spent / SHARE)
                watch.due = 0.0 if watch.is_urgent else started + pause
            if final:
                self._drop(watch)

    def _next(self) -> tuple[Watch, bool] | None:
        """Wait for a view that is due and take it; None when it is time to stop.

        Returns
        -------
        tuple or None
            The view, and whether it is to be written; if not, it has been silent for long.
        """
        with self._condition:
            while not self._stopping:
                now = time.monotonic()
                watch = min(self._dirty, key=lambda watch: watch.due, default=None)
                if watch is not None and watch.due <= now:
                    del self._dirty[watch]
                    watch.is_urgent = False
                    return watch, True
                silent = min(self._watches, key=lambda watch: watch.written, default=None)
                if silent is not None and silent.written + BEAT <= now:
                    return silent, False
                waits = [] if watch is None else [watch.due - now]
                waits += [] if silent is None else [silent.written + BEAT - now]
                self._condition.wait(min(waits, default=None))
        return None

    def _drop(self, watch: Watch) -> None:
        with self._condition:
            self._watches.pop(watch, None)
            self._dirty.pop(watch, None)
        watch.finished.set()
        watch.job.remove_listener(watch.mark)

    @staticmethod
    def _has_ended(watch: Watch) -> bool:
        try:
            return watch.job.state.is_final
        except Exception:
            return False


#: The kernel's publisher.
publisher = Publisher()
os.register_at_fork(after_in_child=publisher.begin_anew)
