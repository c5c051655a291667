"""`Job`: a handle on a job, with its state, its tables, its results and its logs."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

from ..frames import events_frame, metrics_series, phases_frame, tasks_frame, usage_frame, why_frame
from ..journal import result_path
from ..model.errors import (
    JobFailed,
    OneLine,
    PackageError,
    ScalingError,
    SessionError,
    Twister2Error,
    UnknownJob,
    UnknownWorker,
    WaitInterrupted,
    WaitTimeout,
)
from ..model.events import EventKind
from ..model.job import JobSpec
from ..model.job_failed import failed_as
from ..model.metrics import JobMetrics, measure
from ..model.reducer import JobView, WorkerView
from ..model.scaling import LEAVE_TIME, check_count, check_time
from ..model.start_errors import without_fetcher
from ..model.states import JobState, TaskState
from ..model.wording import type_of
from ..model.worker_event import WorkerEvent
from ..protocol.archive import Archive as Package
from ..protocol.archive import ArchiveError
from . import messages
from .debugging import attach
from .job_replica import JobReplica
from .logs import Output, all_output
from .offline import OfflineSession, open_anywhere, read_output
from .profile import Profile
from .results import shown
from .session_http import Connection, SessionBroken, SessionEnding
from .session_link import Link
from .stacks import stacks_text
from .worker_events import WorkerEvents

if TYPE_CHECKING:
    import pandas as pd

#: Seconds for which a kill is tried again while one session follows another.
KILL_PATIENCE = 15.0
STDERR_TAIL = 4096
#: Seconds between two looks whether an awaited job was interrupted.
AWAIT_PAUSE = 0.5


_reopening = threading.Lock()


def _begin_anew() -> None:
    """Have a lock of its own in a process that was forked: a thread that is not there may hold this one."""
    global _reopening
    _reopening = threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)


class WaitCancelled(OneLine, asyncio.CancelledError):
    """An ``await job`` was cancelled; the job goes on."""


class Job:
    """A handle on a job; made by `submit` and `attach`.

    Attributes
    ----------
    job_id, name : str
    spec : JobSpec
        What was asked for.
    """

    def __init__(self, link: Link | OfflineSession, spec: JobSpec, replica: JobReplica) -> None:
        self.job_id = replica.job_id
        self.name = spec.name
        self.spec = spec
        self._source = (link, replica)
        self._pid = os.getpid()
        self._listeners: dict[Callable[[Job], None], Callable[[], None]] = {}
        self._receiver: messages.Receiver | None = None
        self._receiver_pid = 0

    @property
    def _link(self) -> Link | OfflineSession:
        return self._here()[0]

    @property
    def _replica(self) -> JobReplica:
        return self._here()[1]

    def _here(self) -> tuple[Link | OfflineSession, JobReplica]:
        """Return the link and the copy of the job, in a process that was forked those of its own."""
        if self._pid != os.getpid():
            with _reopening:
                if self._pid != os.getpid():
                    link, replica = self._source
                    directory = Path(replica.directory or link.session["directory"])
                    link, _, replica = open_anywhere(directory, self.job_id)
                    self._listeners.clear()
                    self._source, self._pid = (link, replica), os.getpid()
        return self._source

    # What is.

    @property
    def state(self) -> JobState:
        """The job's state now."""
        with self._replica.changed:
            return self._replica.view.state

    @property
    def tasks(self) -> pd.DataFrame:
        """One row a worker, by worker id: state, where it runs, times (UTC), progress, exit code, reason,
        message.
        """
        return tasks_frame(self.view())

    @property
    def events(self) -> pd.DataFrame:
        """One row a status change, oldest first; times UTC."""
        return events_frame(self._replica.events())

    @property
    def usage(self) -> pd.DataFrame:
        """Use of the workers over time: one row a worker and look, oldest first; times UTC.

        ``cpu`` is the mean number of cpus since the row before of that worker, ``mem`` the most memory of its own in
        that time (MiB, pages of files left out), ``read`` and ``written`` are bytes since the worker began; ``gpu``
        (0.5 is half of one) and ``gpu_mem`` (MiB) are NaN where no `nvidia-smi` is on the agent. Processes that the
        worker has started count with it. There is a row a second at first, and one each five minutes after some
        hours.
        """
        return usage_frame(self._replica.events(), self.view(), time.time())

    def await_use(self, timeout: float) -> bool:
        """Wait until use has been measured that is newer than what the journal has; return whether it has.

        Parameters
        ----------
        timeout : float
            Seconds; a job of which nothing runs is not waited for.
        """

        def is_there() -> bool:
            workers = self._replica.view.workers
            running = [worker for worker in workers if worker.state is TaskState.RUNNING]
            return not running or any(worker.cpu_now is not None for worker in running)

        with self._replica.changed:
            return self._wait_for(lambda: is_there() or self._has_ended(quiet=True), timeout)

    @property
    def why(self) -> pd.DataFrame:
        """Reasons why workers wait for resources: one row an offer and a thing it lacked; empty if none waits."""
        try:
            return why_frame(self._link.reach().get(f"/v1/jobs/{self.job_id}/why")["why"])
        except (SessionEnding, UnknownJob):
            if self.state.is_final:
                return why_frame([])
            raise

    @property
    def is_attached(self) -> bool:
        """Whether it hears of the job as long as there is anything to hear."""
        with self._replica.changed:
            if self._replica.lost_because:
                return False
            return self._link.is_open or self._replica.view.state.is_final

    @property
    def metrics(self) -> pd.Series:
        """Times of the job by name; seconds, NaN for those that are not known (yet).

        ``ramp_up`` (until all workers ran), ``completion`` (until the end), both from the submit; ``utilisation``
        (cpu time in which the workers' code ran, as a fraction of what was allocated to them); and the phases of
        a worker, each the median over the workers: ``package``, ``offer``, ``launch``, ``fetch``, ``start``,
        ``run``, ``result``. `phases` has them for each worker: of its last task, if it was started again.
        """
        return metrics_series(self._measure())

    @property
    def phases(self) -> pd.DataFrame:
        """Durations of each worker's phases: one row a worker, seconds; `metrics` describes them."""
        return phases_frame(self._measure())

    def _measure(self) -> JobMetrics:
        with self._replica.changed:
            finished = self._replica.view.finished
        return measure(self._replica.events(), finished, self.spec.package_seconds)

    def view(self) -> JobView:
        """Return an independent snapshot of the job."""
        return self._replica.snapshot()

    def __repr__(self) -> str:
        view = self.view()
        counts = ", ".join(f"{count} {state.value.lower()}" for state, count in view.counts.items() if count)
        note = view.message or view.waiting_for
        return f"<Job {self.job_id} {view.state}: {counts}{f' ({note})' if note else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError("a job's handle stays in the notebook; send its results() instead")

    # Its end.

    def wait(self, timeout: float | None = None, *, on_interrupt: str = "detach") -> JobState:
        """Wait for the job's end.

        Parameters
        ----------
        timeout : float, optional
            Seconds.
        on_interrupt : {"detach", "kill"}
            What an interrupt (the stop button, Ctrl-C) does to the job, besides ending the wait.

        Returns
        -------
        JobState
            COMPLETED, FAILED or KILLED; a failed job raises nothing here.

        Raises
        ------
        TimeoutError
            When it has not ended in time; it goes on.
        SessionError
            When the session is gone.
        Twister2Error
            When `on_interrupt` is neither of the two.
        """
        if on_interrupt not in ("detach", "kill"):
            raise Twister2Error(f"on_interrupt is {on_interrupt!r}; give 'detach' or 'kill'")
        try:
            with self._interruptible(), self._replica.changed:
                if not self._wait_for(self._has_ended, timeout):
                    state = self._replica.view.state
                    raise WaitTimeout(f"job {self.job_id} is {state} after {timeout:g} s; it goes on")
                return self._replica.view.state
        except WaitInterrupted:
            if on_interrupt == "detach":
                raise
        self.kill()
        raise WaitInterrupted(f"you stopped waiting, so job {self.job_id} is being killed")

    def results(self, timeout: float | None = None, *, return_exceptions: bool = False) -> list[Any]:
        """Wait for the end and return the workers' results.

        Parameters
        ----------
        timeout : float, optional
            Seconds.
        return_exceptions : bool
            Have a `JobFailed` in the place of each worker that has no result, and raise none. With ``keep_going``
            all other workers have theirs.

        Returns
        -------
        list
            One result a worker, by worker id; in a notebook, figures, frames and other rich results show as such.

        Raises
        ------
        JobFailed
            When a worker failed, with its traceback, or when the job was killed. It is an instance of the worker's own
            exception type as well, where that can be rebuilt here (`t2notebook.model.job_failed`).
        TimeoutError
            When it has not ended in time.
        """
        self.wait(timeout)
        if return_exceptions:
            view, details = self.view(), self._errors_by_task()
            return shown(
                self._load(worker.worker_id) if worker.is_good else self._failure(view, worker, details)
                for worker in view.present
            )
        if failure := self.error():
            raise failure from failure.__cause__
        return shown(self._load(worker_id) for worker_id in range(self.view().number_of_workers))

    def result(self, worker_id: int, timeout: float | None = None) -> Any:
        """Wait for one worker's result and return it; the others may still run.

        Parameters
        ----------
        worker_id : int
        timeout : float, optional
            Seconds.

        Raises
        ------
        JobFailed, TimeoutError, IndexError
        """
        self._check_worker(worker_id)

        def is_over() -> bool:
            worker = self._replica.view.workers[worker_id]
            return worker.is_done or worker.result == "ok" or self._has_ended()

        with self._interruptible(), self._replica.changed:
            if not self._wait_for(is_over, timeout):
                raise WaitTimeout(f"worker {worker_id} of {self.job_id} has no result after {timeout:g} s")
            outcome = self._replica.view.workers[worker_id].result
        if outcome == "ok":
            return self._load(worker_id)
        view = self.view()
        failure = self._failure(view, view.workers[worker_id], self._errors_by_task())
        raise failure from failure.__cause__

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait for the end without blocking the event loop; gives what `results` gives."""
        return self._results_soon().__await__()

    async def _results_soon(self) -> list[Any]:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def on_change() -> None:
            if self._has_ended(quiet=True):
                loop.call_soon_threadsafe(ended.set)

        self._replica.listen(on_change)
        try:
            with self._replica.changed:
                on_change()
            while not ended.is_set():
                # A bounded wait, since a kernel's interrupt wakes no event loop.
                with suppress(TimeoutError):
                    async with asyncio.timeout(AWAIT_PAUSE):
                        await ended.wait()
        except asyncio.CancelledError:
            raise WaitCancelled(
                f"you stopped waiting; job {self.job_id} goes on, and kill() ends it"
            ) from None
        finally:
            self._replica.unlisten(on_change)
        return await loop.run_in_executor(None, self.results)

    def kill(
        self, worker_id: int | None = None, message: str = "killed by the user", *, restart: bool = False
    ) -> None:
        """End the job, or one of its workers: what waits is dropped, what runs is killed. Returns at once.

        Parameters
        ----------
        worker_id : int, optional
            End this worker for good; the others go on. It has no result: when all others have ended well, the job
            counts as killed, and ``results(return_exceptions=True)`` has what there is.
        message : str
            Why, for whoever looks at it later.
        restart : bool
            Start the worker anew, with the same id; that does not count against ``max_worker_restarts``.

        Raises
        ------
        IndexError
            When the job has no such worker.
        """
        path = f"/v1/jobs/{self.job_id}/kill"
        content: dict[str, Any] = {"reason": "USER", "message": message}
        if isinstance(worker_id, str):
            raise Twister2Error(f"worker_id is {worker_id!r}; a reason is given as message={worker_id!r}")
        if restart and worker_id is None:
            raise Twister2Error("restart=True is for one worker: kill(worker_id, restart=True)")
        if worker_id is not None:
            self._check_worker(worker_id)
            path = f"/v1/jobs/{self.job_id}/workers/{worker_id}/kill"
            content |= {"restart": restart}
        self._insist(path, content)

    def _insist(self, path: str, content: Mapping[str, Any]) -> Any:
        """Post a request that may be repeated, also when one session follows another; None if the job has ended."""
        deadline = time.monotonic() + KILL_PATIENCE
        first: SessionError | None = None
        while not self.state.is_final:
            try:
                return self._link.reach().post(path, content)
            except (SessionBroken, SessionEnding) as error:
                # The session may have died this moment; the link is about to find the one that follows it.
                first = first or error
                if time.monotonic() > deadline or not self._link.is_open or self._replica.lost_because:
                    raise first from None
                time.sleep(0.1)
        return None

    # Scaling.

    def scale_up_workers(self, number: int) -> int:
        """Add workers to the job while it runs; they start when there are resources.

        Parameters
        ----------
        number : int
            How many more, from 1.

        Returns
        -------
        int
            How many workers the job has now. That is on record, whatever becomes of the session.

        Raises
        ------
        ScalingError
            When the job has no scalable resource, or has ended.
        """
        return self._scale(check_count(number), 0.0)

    def scale_down_workers(self, number: int, leave_time: float = LEAVE_TIME) -> int:
        """Take workers away from the job while it runs: those with the highest ids.

        They are told first (``env.on_worker_event``), and those that wait at a barrier stop at once. What they have
        printed stays readable, and so does the result of one that returns in time; `results` has those of the others.

        Parameters
        ----------
        number : int
            How many less, from 1; one worker, and those that are not scalable, stay.
        leave_time : float
            Seconds that they have to end by themselves; then they are killed.

        Returns
        -------
        int
            How many workers the job has now.

        Raises
        ------
        ScalingError
            When the job has not so many scalable workers, or has ended.
        """
        return self._scale(-check_count(number), check_time(leave_time))

    def _scale(self, by: int, leave_time: float) -> int:
        # The next session knows by the id whether the last one had done it.
        content = {"by": by, "id": uuid.uuid4().hex, "leave_time": leave_time}
        answer = self._insist(f"/v1/jobs/{self.job_id}/scale", content)
        if answer is None:
            raise ScalingError(f"job {self.job_id} has ended; it cannot be scaled")
        if why := answer.get("error"):
            raise ScalingError(why)
        self._replica.await_seq(answer["seq"])
        return int(answer["number_of_workers"])

    def on_worker_event(self, callback: Callable[[WorkerEvent], Any]) -> Callable[[WorkerEvent], Any]:
        """Have ``callback(event)`` called when workers join, fail, are restarted, come or leave (`t2.WorkerEvent`).

        It runs on a thread of its own, one event after the other; what it raises is printed. What was before is not
        told, but for that all have joined.

        Parameters
        ----------
        callback : callable

        Returns
        -------
        callable
            The callback, so that this can be used as a decorator.

        Raises
        ------
        Twister2Error
            When the callback cannot be called.
        """
        if not callable(callback):
            raise Twister2Error(f"callback is {type_of(callback)}; give a function of an event")
        WorkerEvents(self._replica, callback)
        return callback

    # Messages.

    def send(self, worker_id: int, obj: Any) -> None:
        """Send an object to a worker, which finds it with ``env.messages()``.

        When this returns, it is safe with the session: it waits there until the worker reads it, also when that has yet
        to start or is started again. Messages come in their order, each once.

        Parameters
        ----------
        worker_id : int
        obj : object
            At most 32 MiB when pickled.

        Raises
        ------
        IndexError
            When the job has no such worker.
        MessageRefused
            When the worker or the job has ended, or 10,000 messages (or 256 MiB) wait there unread.
        """
        self._check_worker(worker_id)
        messages.send(self._peer(), int(worker_id), obj)

    def broadcast(self, obj: Any) -> int:
        """Send an object to all workers that have not ended; return how many these are. As `send` otherwise."""
        return messages.send(self._peer(), None, obj)

    def on_message(self, callback: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
        """Have ``callback(worker_id, obj)`` called with what workers send by ``env.send_to_driver(obj)``.

        It runs on a thread of its own, one message after the other, so it may take its time; what came before anybody
        listened comes first. A message counts as read when the callbacks have returned. What they raise is printed.

        Parameters
        ----------
        callback : callable

        Returns
        -------
        callable
            The callback, so that this can be used as a decorator.

        Raises
        ------
        Twister2Error
            When the callback cannot be called.
        """
        if not callable(callback):
            raise Twister2Error(f"callback is {type_of(callback)}; give a function of worker_id and obj")
        if self._receiver is None or not self._receiver.is_alive or self._receiver_pid != os.getpid():
            callbacks = self._receiver.callbacks if self._receiver is not None else ()
            self._receiver, self._receiver_pid = (
                messages.Receiver(self._peer(), (*callbacks, callback)),
                os.getpid(),
            )
        else:
            self._receiver.add(callback)
        return callback

    def reach(self) -> Connection:
        """Return the connection to the job's session, as it is now; another one, in a process that was forked."""
        return self._link.reach()

    def _peer(self) -> messages.Peer:
        return messages.Peer(
            self.job_id,
            self.reach,
            lambda: self.state.is_final,
            lambda: self.is_attached,
        )

    def error(self, worker_id: int | None = None) -> JobFailed | None:
        """Return why the job (or one worker) failed, as the exception that `results` raises; None if it did
        not.
        """
        view = self.view()
        if worker_id is not None:
            worker = view.workers[worker_id]
            if worker.is_good or not (worker.is_done or view.state.is_final):
                return None
            return self._failure(view, worker, self._errors_by_task())
        if view.state not in (JobState.FAILED, JobState.KILLED):
            return None
        if view.state is JobState.KILLED or view.failed_worker is None:
            return self._killed(view)
        return self._failure(view, view.workers[view.failed_worker], self._errors_by_task(), view.message)

    def _killed(self, view: JobView) -> JobFailed:
        why = view.message or "no reason was given"
        return JobFailed(f"job {self.job_id} was killed: {why}", job_id=self.job_id)

    def _failure(
        self, view: JobView, worker: WorkerView, details: Mapping[str, Any], message: str = ""
    ) -> JobFailed:
        """Return why a worker has no result; `details` are those of `_errors_by_task`, `message` that of the job."""
        who = worker.worker_id
        if view.kill_reason and worker.state is TaskState.KILLED and who != view.failed_worker:
            if view.kill_reason != "WORKER_FAILED":
                failure = self._killed(view)
                failure.worker_id = who
                return failure
            message = f"worker {who} was {worker.message or view.message}"
            return JobFailed(f"job {self.job_id} failed: {message}", job_id=self.job_id, worker_id=who)
        if who >= view.number_of_workers and worker.asked == "end":
            return JobFailed(
                f"worker {who} of job {self.job_id} has left: {worker.message}",
                job_id=self.job_id,
                worker_id=who,
            )
        message = message or worker.end_text
        traceback = (details.get(worker.task_id) or {}).get("traceback", "")
        failure = JobFailed(
            f"job {self.job_id} failed: {message}",
            job_id=self.job_id,
            worker_id=who,
            remote_traceback=traceback,
            stderr="" if traceback else self._stderr_tail(who),
        )
        return failed_as(failure, self._cause(who)) if traceback else failure

    def failure_text(self) -> tuple[int, str, str] | None:
        """Return what the worker that failed left behind.

        Returns
        -------
        tuple or None
            Its id; ``"traceback"`` or ``"stderr"``; and its traceback or, where it raised nothing, the end of its
            stderr, which may be empty. None if the job has not failed.
        """
        view = self.view()
        if view.state is not JobState.FAILED or view.failed_worker is None:
            return None
        who = view.failed_worker
        details = self._errors_by_task().get(view.workers[who].task_id) or {}
        if traceback := details.get("traceback"):
            return who, "traceback", traceback
        return who, "stderr", self._stderr_tail(who)

    # Its output.

    def tails(self, files: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
        """Return what some workers wrote since the caller last looked, for a live view of it.

        Parameters
        ----------
        files : sequence of mapping
            A few, each with ``worker_id``, ``task_id``, ``stream`` and ``offset``: the bytes that are known, -1 to
            begin near the end.
        most : int
            Bytes wanted of each; of more, the last ones.

        Returns
        -------
        list of dict
            For each that could be read now: the same with ``offset`` moved on, ``text``, and ``skipped``, whether
            something before the text is left out.

        Raises
        ------
        SessionError
            When there is no session to ask.
        """
        content = {"files": [dict(file) for file in files], "most": most}
        answer = self._link.reach().post(f"/v1/jobs/{self.job_id}/tails", content)
        return list(answer["files"])

    @overload
    def logs(
        self,
        worker_id: int | None = ...,
        stream: str = ...,
        follow: Literal[False] = ...,
        *,
        tail: int | None = ...,
    ) -> str: ...
    @overload
    def logs(
        self,
        worker_id: int | None = ...,
        stream: str = ...,
        *,
        follow: Literal[True],
        tail: int | None = ...,
    ) -> Iterator[str]: ...

    def logs(
        self,
        worker_id: int | None = None,
        stream: str = "stdout",
        follow: bool = False,
        *,
        tail: int | None = None,
    ) -> str | Iterator[str]:
        """Return what workers wrote, read from their sandboxes on the agents.

        Parameters
        ----------
        worker_id : int, optional
            By default all workers; then each line begins with its worker's id: ``"3 | text"``.
        stream : str
            ``"stdout"`` or ``"stderr"``.
        follow : bool
            Return an iterator that goes on until the worker has ended.
        tail : int, optional
            Only so many lines from the end, of each worker.

        Raises
        ------
        IndexError
            When the job has no such worker.
        SessionError
            When the agent cannot be reached.
        """
        if stream not in ("stdout", "stderr"):
            raise Twister2Error(f"stream is {stream!r}; give 'stdout' or 'stderr'")
        if tail is not None and (isinstance(tail, bool) or not isinstance(tail, int) or tail < 0):
            raise Twister2Error(f"tail is {tail!r}; give a whole number of lines from 0")
        if worker_id is None:
            outputs = [self._output(which, stream) for which in range(len(self.view().workers))]
            pieces = all_output(outputs, tail, follow)
        else:
            self._check_worker(worker_id)
            pieces = self._output(worker_id, stream).read(tail, follow)
        return self._followed(pieces) if follow else "".join(pieces)

    def _followed(self, pieces: Iterator[str]) -> Iterator[str]:
        with self._interruptible("following"):
            yield from pieces

    def _output(self, worker_id: int, stream: str) -> Output:
        def is_over() -> bool:
            with self._replica.changed:
                worker = self._replica.view.workers[worker_id]
                return worker.state.is_terminal or self._has_ended(quiet=True)

        return Output(worker_id, lambda offset: self._page(worker_id, stream, offset), is_over)

    def _page(self, worker_id: int, stream: str, offset: int) -> tuple[bytes, int]:
        """Return some of what a worker wrote and where that ends, through the session or, when there is none any more,
        past it.
        """
        try:
            path = f"/v1/jobs/{self.job_id}/logs/{worker_id}"
            data, headers = self._link.reach().get_bytes(path, stream=stream, offset=offset)
            return data, int(headers.get("X-T2-Offset") or max(0, offset) + len(data))
        except (SessionEnding, UnknownJob):
            launches = self._replica.events(EventKind.LAUNCHED)
            return read_output(self._directory, launches, worker_id, stream, offset)

    # A look inside.

    def stack(self, worker_id: int | None = None) -> str:
        """Return the stacks of all threads of a worker, or of all workers that run, as text.

        It does not disturb the worker. One that hangs in C code tells what its Python code called there; of one that is
        stopped, or waits in the kernel where no signal reaches it, it is said.

        Parameters
        ----------
        worker_id : int, optional
            By default all; those that are at the same place stand together.

        Raises
        ------
        IndexError
            When the job has no such worker.
        SessionError
            When there is no session to ask.
        """
        if worker_id is not None:
            self._check_worker(worker_id)
        return stacks_text(self._inspect("stack", worker_id))

    def profile(self, worker_id: int = 0, seconds: float = 5.0) -> Profile:
        """Look a hundred times a second where a worker is, and return where it spent its time.

        Parameters
        ----------
        worker_id : int
        seconds : float
            From 0.1 to 40.

        Returns
        -------
        Profile
            In a notebook it shows itself as a flame graph; ``frame`` is a table of it.

        Raises
        ------
        IndexError
            When the job has no such worker.
        SessionError
            When there is no session to ask.
        Twister2Error
            When `seconds` is none of these.
        """
        self._check_worker(worker_id)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.1 <= seconds <= 40:
            raise Twister2Error(f"seconds is {seconds!r}; give a number from 0.1 to 40")
        with self._interruptible("looking"):
            return Profile(self.job_id, worker_id, self._inspect("profile", worker_id, seconds)[0])

    def debug(self, worker_id: int | None = None) -> None:
        """Attach to a worker that waits in the debugger, and debug it here: pdb asks for its commands with `input`.

        It returns when the worker goes on or has ended. An interrupt (the stop button, Ctrl-C) detaches, and the worker
        waits on; then ``debug`` attaches again.

        Parameters
        ----------
        worker_id : int, optional
            By default the first that waits.

        Raises
        ------
        IndexError
            When the job has no such worker.
        Twister2Error
            When it does not wait in the debugger, somebody else is attached, or nobody can type here.
        SessionError
            When there is no session to ask.
        """
        self.attach_debugger(worker_id)

    def attach_debugger(self, worker_id: int | None = None) -> bool:
        """Do as `debug`; return whether the worker goes on or has ended, and not somebody left it.

        Raises
        ------
        Twister2Error
            As of `debug`.
        """
        held = self.held_workers()
        if worker_id is None:
            if not held:
                raise Twister2Error(f"no worker of job {self.job_id} waits in the debugger")
            worker_id = next(iter(held))
        self._check_worker(worker_id)
        path = f"/v1/jobs/{self.job_id}/workers/{worker_id}/debug"
        return attach(lambda content: self._link.reach().post(path, content), worker_id)

    def held_workers(self) -> dict[int, str]:
        """Return the ids of the workers that wait in the debugger, each with the reason."""
        return {worker.worker_id: worker.held for worker in self.view().workers if worker.held}

    def _inspect(self, kind: str, worker_id: int | None, seconds: float = 0.0) -> list[dict[str, Any]]:
        workers = (
            [worker_id]
            if worker_id is not None
            else [one.worker_id for one in self.view().workers if one.state is TaskState.RUNNING]
        )
        if not workers:
            state = self.state.value
            raise Twister2Error(f"no worker of job {self.job_id} runs now; it is {state}")
        content = {"kind": kind, "workers": workers, "seconds": seconds}
        return list(self._link.reach().post(f"/v1/jobs/{self.job_id}/inspect", content)["workers"])

    # Listening.

    def add_listener(self, listener: Callable[[Job], None]) -> None:
        """Have ``listener(job)`` called at every change, on the client's thread; it must return at once."""
        self._listeners[listener] = lambda: listener(self)
        self._replica.listen(self._listeners[listener])

    def remove_listener(self, listener: Callable[[Job], None]) -> None:
        """Take a listener away."""
        if inner := self._listeners.pop(listener, None):
            self._replica.unlisten(inner)

    # Inside.

    def _wait_for(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for a condition with the replica held; return whether it holds."""
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
            raise Twister2Error(f"timeout is {timeout!r}; give seconds, or None to wait for the end")
        deadline = None if timeout is None else time.monotonic() + timeout
        while not condition():
            remaining = 1.0 if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return False
            # A bounded wait, since an unbounded one cannot be interrupted on every platform.
            self._replica.changed.wait(min(remaining, 1.0))
        return True

    @contextmanager
    def _interruptible(self, what: str = "waiting") -> Iterator[None]:
        """Let an interrupt read as what it is: a person stopped waiting, and nothing else happened."""
        try:
            yield
        except WaitInterrupted:
            raise
        except KeyboardInterrupt:
            raise WaitInterrupted(
                f"you stopped {what}; job {self.job_id} goes on, and kill() ends it"
            ) from None

    def _has_ended(self, quiet: bool = False) -> bool:
        if self._replica.view.state.is_final:
            return True
        if self._replica.lost_because:
            if quiet:
                return True
            raise SessionError(
                f"job {self.job_id} was {self._replica.view.state} when its session was lost: "
                f"{self._replica.lost_because}"
            )
        return False

    @property
    def _directory(self) -> Path:
        return Path(self._replica.directory or self._link.session["directory"])

    def _load(self, worker_id: int) -> Any:
        """Load a result from where the session keeps it: on this machine, for this user, checked when it came."""
        path = result_path(self._directory, self.job_id, worker_id)
        try:
            archive = Package.open(path)
        except FileNotFoundError:
            raise SessionError(
                f"the results of job {self.job_id} have been removed: they are kept for a week, up to a quota"
            ) from None
        try:
            return archive.load()
        except Exception as error:
            raise PackageError(
                f"the result of worker {worker_id} of {self.job_id} cannot be unpickled here: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _check_worker(self, worker_id: int) -> None:
        """Refuse the id of a worker that there is not and never was, and what is no id."""
        if isinstance(worker_id, bool) or not isinstance(worker_id, SupportsIndex):
            raise UnknownWorker(
                f"a worker's id is a whole number, not {worker_id!r}; job.tasks.worker_id has this job's"
            )
        with self._replica.changed:
            number = len(self._replica.view.workers)
        if not 0 <= worker_id < number:
            raise UnknownWorker(f"job {self.job_id} has workers 0 to {number - 1}, not {worker_id}")

    def _errors_by_task(self) -> dict[str, Any]:
        """Return what came of the tasks instead of a result: type, message and traceback, by task id."""
        return {event.task_id: event.data.get("error") for event in self._replica.events(EventKind.RESULT)}

    def _cause(self, worker_id: int) -> BaseException | None:
        try:
            cause = self._load(worker_id)
        except Exception:  # an exception that cannot be unpickled here stays text: the traceback has it all
            return None
        return cause if isinstance(cause, BaseException) else None

    def _stderr_tail(self, worker_id: int) -> str:
        if self.view().workers[worker_id].state is TaskState.PENDING:
            return ""
        try:
            data, _ = self._link.reach().get_bytes(
                f"/v1/jobs/{self.job_id}/logs/{worker_id}", stream="stderr", offset=-STDERR_TAIL
            )
        except (SessionError, UnknownJob, ArchiveError):
            return ""
        text = data.decode("utf-8", "replace")
        if len(data) >= STDERR_TAIL:
            text = text.partition("\n")[2] or text  # it begins amid a line
        return without_fetcher(text)
