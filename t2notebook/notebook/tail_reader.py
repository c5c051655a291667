"""The reader of workers' output: one thread a kernel, which looks only while a view is shown and its job runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ..model.errors import Twister2Error
from ..model.tails import BYTES, LOG_BYTES, STREAMS, Tails
from ..views.failure import Failure

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
    """The output of one job for one view of it; all views of a job share what is read.

    Parameters
    ----------
    job : Job
        A handle; its `tails` and `failure_texts` are called, on the reader's thread only.
    on_change : callable
        Called after something was read; must return at once.
    """

    def __init__(self, job: Any, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        self.is_shown = True
        self.opened: int | None = None
        self.output = reader.join(self, job)

    @property
    def is_complete(self) -> bool:
        """Whether the job has ended and all was read that could be in time."""
        return self.output.is_complete

    @property
    def failures(self) -> list[Failure]:
        """Tracebacks or stderr of workers that failed, as `Job.failure_texts` has them, once the job has ended."""
        return self.output.failures

    def newest(self) -> dict[str, Any]:
        """Return the newest lines of all workers, as `Tails.newest` does."""
        return self.output.newest()

    def log(self) -> dict[str, Any]:
        """Return the opened log, as `Tails.log` does; empty if none is."""
        return {} if self.opened is None else self.output.log(self.opened)

    def open_log(self, worker_id: int | None) -> None:
        """Follow one worker more closely, or none."""
        self.opened = worker_id
        self.output.follow_opened()
        reader.wake()

    def show(self, is_shown: bool) -> None:
        """Say whether anybody can see it: nothing is read for nobody."""
        self.is_shown = is_shown
        if is_shown:
            self.output.due = 0.0
        reader.wake()


class JobOutput:
    """The output of one job, read once for all its views.

    Parameters
    ----------
    job : Job

    Attributes
    ----------
    views : list of Reading
    due : float
        When the next round is, by the monotonic clock.
    is_complete, failures
        As of `Reading`.
    """

    def __init__(self, job: Any) -> None:
        self.job = job
        self.views: list[Reading] = []
        self.is_complete = False
        self.failures: list[Failure] = []
        self.due = 0.0
        self._lock = threading.Lock()
        self._tails = Tails()
        self._opened: set[int] = set()
        self._to_fill: set[int] = set()

    def newest(self) -> dict[str, Any]:
        """Return the newest lines of all workers, as `Tails.newest` does."""
        with self._lock:
            return self._tails.newest()

    def log(self, worker_id: int) -> dict[str, Any]:
        """Return an opened log, as `Tails.log` does."""
        with self._lock:
            return self._tails.log(worker_id)

    def follow_opened(self) -> None:
        """Follow the workers whose logs are open in a view more closely, and no others."""
        wanted = {view.opened for view in list(self.views) if view.opened is not None}
        with self._lock:
            for worker_id in self._opened - wanted:
                self._tails.close_log(worker_id)
            for worker_id in wanted - self._opened:
                self._tails.open_log(worker_id)
            self._to_fill = (self._to_fill & wanted) | (wanted - self._opened)
            self._opened = wanted
        self.due = 0.0

    def read(self) -> None:
        """Do one round; the last ones if the job has ended."""
        began = time.monotonic()
        view = self.job.view()
        if view.state.is_final:
            self._read_last(began)
            return
        if not any(one.is_shown for one in list(self.views)):
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
            self._tell()

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
        """Read what stands in logs that have just been opened."""
        with self._lock:
            opened, self._to_fill = self._to_fill, set()
        opened = {worker_id for worker_id in opened if 0 <= worker_id < len(view.workers)}
        for worker_id in opened:
            task_id = view.workers[worker_id].task_id
            files = [
                {"worker_id": worker_id, "task_id": task_id, "stream": stream, "offset": -1}
                for stream in STREAMS
            ]
            answers = self.job.tails(files, LOG_BYTES) if task_id else []
            with self._lock:
                self._tails.fill_log(worker_id, answers)
        return bool(opened)

    def _read_last(self, began: float) -> None:
        try:
            self.failures = self.job.failure_texts()
            view = self.job.view()
            for _ in range(LAST_ROUNDS):
                if not self._round(view, last=True)[0] or time.monotonic() - began > LAST_PATIENCE:
                    break
        except Exception as error:
            log.info("no last output of %s: %s", self.job.job_id, error)
        self.is_complete = True
        self._tell()

    def _tell(self) -> None:
        for view in list(self.views):
            view.on_change()


class TailReader:
    """Owns the thread, which starts with the first view and ends with the last."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._outputs: dict[str, JobOutput] = {}
        self._thread: threading.Thread | None = None

    def join(self, reading: Reading, job: Any) -> JobOutput:
        """Read for `reading` until the job has ended or `leave` is called; return what it shares with other views."""
        with self._condition:
            output = self._outputs.setdefault(job.job_id, JobOutput(job))
            output.views.append(reading)
            output.due = 0.0
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="t2notebook-output", daemon=True)
                self._thread.start()
            self._condition.notify()
            return output

    def leave(self, reading: Reading) -> None:
        """Read no more for it."""
        output = reading.output
        with self._condition:
            if reading in output.views:
                output.views.remove(reading)
            if not output.views:
                self._forget(output)
        output.follow_opened()
        self.wake()

    def wake(self) -> None:
        """Look again what is due."""
        with self._condition:
            self._condition.notify()

    def hurry(self, reading: Reading) -> None:
        """Let the next round be now, as the job has ended."""
        with self._condition:
            reading.output.due = 0.0
            self._condition.notify()

    def _forget(self, output: JobOutput) -> None:
        if self._outputs.get(output.job.job_id) is output:
            del self._outputs[output.job.job_id]

    def _loop(self) -> None:
        while (output := self._next()) is not None:
            try:
                output.read()
            except Exception:
                log.warning("the output of a job could not be read", exc_info=True)
                output.due = time.monotonic() + TROUBLE_PAUSE
            if output.is_complete:
                with self._condition:
                    self._forget(output)

    def _next(self) -> JobOutput | None:
        with self._condition:
            while self._outputs:
                now = time.monotonic()
                output = min(self._outputs.values(), key=lambda each: each.due)
                if output.due <= now:
                    return output
                self._condition.wait(output.due - now)
            self._thread = None
            return None


#: The kernel's reader.
reader = TailReader()
