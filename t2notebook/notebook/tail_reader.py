"""The reader of workers' output: one thread a kernel, which looks only while a view is shown and its job runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ..model.errors import Twister2Error
from .tails import BYTES, LOG_BYTES, STREAMS, Tails

log = logging.getLogger(__name__)

#: Seconds between two rounds at least; in each a few files are looked at.
PAUSE = 0.5
#: Reading may take this share of a core.
SHARE = 0.1
#: Seconds until the next attempt when the session does not answer.
TROUBLE_PAUSE = 5.0
#: Seconds that the last look at an ended job may take, and rounds.
LAST_PATIENCE, LAST_ROUNDS = 0.7, 8


class Reading:
    """The output of one job, read for one view of it.

    Parameters
    ----------
    job : Job
        A handle; its `tails` and `failure_text` are called, on the reader's thread only.
    on_change : callable
        Called after something was read; must return at once.
    """

    def __init__(self, job: Any, on_change: Callable[[], None]) -> None:
        self.job = job
        self.is_shown = True
        #: Whether the job has ended and all was read that could be in time.
        self.is_complete = False
        #: What the worker that failed left behind, as `Job.failure_text` has it, once the job has ended.
        self.failure: tuple[int, str, str] | None = None
        self.due = 0.0
        self._on_change = on_change
        self._lock = threading.Lock()
        self._tails = Tails()
        self._opened: int | None = None
        self._to_fill: int | None = None

    def newest(self) -> dict[str, Any]:
        """Return the newest lines of all workers, as `Tails.newest` does."""
        with self._lock:
            return self._tails.newest()

    def log(self) -> dict[str, Any]:
        """Return the opened log, as `Tails.log` does; empty if none is."""
        with self._lock:
            return {} if self._opened is None else self._tails.log(self._opened)

    def open_log(self, worker_id: int | None) -> None:
        """Follow one worker more closely, or none."""
        with self._lock:
            if self._opened is not None:
                self._tails.close_log(self._opened)
            self._opened = self._to_fill = worker_id
            if worker_id is not None:
                self._tails.open_log(worker_id)
        self.due = 0.0
        reader.wake()

    def show(self, is_shown: bool) -> None:
        """Say whether anybody can see it: nothing is read for nobody."""
        self.is_shown = is_shown
        reader.wake()

    def read(self) -> None:
        """Do one round; the last ones if the job has ended."""
        began = time.monotonic()
        view = self.job.view()
        if view.state.is_final:
            self._read_last(began)
            return
        if not self.is_shown:
            self.due = began + TROUBLE_PAUSE
            return
        worked = time.thread_time()
        try:
            has_changed = self._fill(view)
            has_changed |= self._round(view)[1]
        except Twister2Error as error:
            log.info("no output of %s now: %s", self.job.job_id, error)
            self.due = time.monotonic() + TROUBLE_PAUSE
            return
        worked = time.thread_time() - worked
        self.due = max(began + PAUSE, time.monotonic() + worked / SHARE)
        if has_changed:
            self._on_change()

    def _round(self, view: Any, *, last: bool = False) -> tuple[bool, bool]:
        """Return whether there was a file to look at, and whether there was anything new in one."""
        with self._lock:
            wants = self._tails.wants(view, time.monotonic(), last=last)
        if not wants:
            return False, False
        answers = self.job.tails(wants, BYTES)
        with self._lock:
            return True, self._tails.take(answers)

    def _fill(self, view: Any) -> bool:
        """Read what stands in a log that has just been opened."""
        with self._lock:
            worker_id, self._to_fill = self._to_fill, None
        if worker_id is None or not 0 <= worker_id < len(view.workers):
            return False
        task_id = view.workers[worker_id].task_id
        files = [
            {"worker_id": worker_id, "task_id": task_id, "stream": stream, "offset": -1} for stream in STREAMS
        ]
        answers = self.job.tails(files, LOG_BYTES) if task_id else []
        with self._lock:
            self._tails.fill_log(worker_id, {answer["stream"]: answer["text"] for answer in answers})
        return True

    def _read_last(self, began: float) -> None:
        try:
            self.failure = self.job.failure_text()
            view = self.job.view()
            for _ in range(LAST_ROUNDS):
                if not self._round(view, last=True)[0] or time.monotonic() - began > LAST_PATIENCE:
                    break
        except Exception as error:
            log.info("no last output of %s: %s", self.job.job_id, error)
        self.is_complete = True
        self._on_change()


class TailReader:
    """Owns the thread, which starts with the first view and ends with the last."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readings: list[Reading] = []
        self._thread: threading.Thread | None = None

    def follow(self, reading: Reading) -> None:
        """Read for `reading` until it is complete or `leave` is called."""
        with self._condition:
            self._readings.append(reading)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="t2notebook-output", daemon=True)
                self._thread.start()
            self._condition.notify()

    def leave(self, reading: Reading) -> None:
        """Read no more for it."""
        with self._condition:
            if reading in self._readings:
                self._readings.remove(reading)
            self._condition.notify()

    def wake(self) -> None:
        """Look again what is due."""
        with self._condition:
            self._condition.notify()

    def hurry(self, reading: Reading) -> None:
        """Let the next round be now, as the job has ended."""
        with self._condition:
            reading.due = 0.0
            self._condition.notify()

    def _loop(self) -> None:
        while (reading := self._next()) is not None:
            try:
                reading.read()
            except Exception:
                log.warning("the output of a job could not be read", exc_info=True)
                reading.due = time.monotonic() + TROUBLE_PAUSE
            if reading.is_complete:
                self.leave(reading)

    def _next(self) -> Reading | None:
        with self._condition:
            while self._readings:
                now = time.monotonic()
                reading = min(self._readings, key=lambda each: each.due)
                if reading.due <= now:
                    return reading
                self._condition.wait(reading.due - now)
            self._thread = None
            return None


#: The kernel's reader.
reader = TailReader()
