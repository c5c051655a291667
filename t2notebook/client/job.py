"""`Job`: a handle on a job, with its state, its tables, its results and its logs."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, overload

from ..frames import metrics_series, phases_frame, tasks_frame, usage_frame, why_frame
from ..model.errors import (
    JobFailed,
    OneLine,
    ScalingError,
    Twister2Error,
    UnknownJob,
    WaitInterrupted,
    WaitTimeout,
)
from ..model.job import JobSpec
from ..model.metrics import JobMetrics, measure
from ..model.reducer import JobView
from ..model.scaling import LEAVE_TIME, check_count, check_time
from ..model.states import JobState, TaskState
from ..model.wording import type_of
from ..model.worker_event import WorkerEvent
from ..protocol.launch import KILL_GRACE
from ..views.failure import Failure
from . import failures, inspection, messages
from .job_connection import JobConnection
from .job_replica import JobReplica
from .offline import OfflineSession
from .output import read_logs
from .profile import Profile
from .results import load_result, shown
from .session_http import Connection, SessionEnding
from .session_link import Link
from .shown_text import ShownText
from .worker_events import WorkerEvents

if TYPE_CHECKING:
    import pandas as pd

#: Seconds between two looks whether an awaited job was interrupted.
AWAIT_PAUSE = 0.5


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
        self._listeners: dict[Callable[[Job], None], Callable[[], None]] = {}
        self._connection = JobConnection(link, replica, on_fork=self._listeners.clear)
        self._receiver: messages.Receiver | None = None
        self._receiver_pid = 0

    # What is.

    @property
    def state(self) -> JobState:
        """The job's state now."""
        return self._connection.state

    @property
    def tasks(self) -> pd.DataFrame:
        """One row a worker, by worker id: state, where it runs, times (UTC), progress, exit code, reason,
        message.
        """
        return tasks_frame(self.view())

    @property
    def events(self) -> pd.DataFrame:
        """One row a status change, oldest first; times UTC."""
        return self._connection.replica.event_columns().frame()

    @property
    def usage(self) -> pd.DataFrame:
        """Use of the workers over time: one row a worker and look, oldest first; times UTC.

        ``cpu`` is the mean number of cpus since the row before of that worker, ``mem`` the most memory of its own in
        that time (MiB, pages of files left out), ``read`` and ``written`` are bytes since the worker began; ``gpu``
        (0.5 is half of one) and ``gpu_mem`` (MiB) are NaN where no `nvidia-smi` is on the agent. Processes that the
        worker has started count with it. There is a row a second at first, and one each five minutes after some
        hours.
        """
        return usage_frame(self._connection.replica.events(), self.view(), time.time())

    def await_use(self, timeout: float) -> bool:
        """Wait until use has been measured that is newer than what the journal has; return whether it has.

        Parameters
        ----------
        timeout : float
            Seconds; a job of which nothing runs is not waited for.
        """

        def is_there() -> bool:
            workers = self._connection.replica.view.workers
            running = [worker for worker in workers if worker.state is TaskState.RUNNING]
            return not running or any(worker.cpu_now is not None for worker in running)

        with self._connection.replica.changed:
            return self._connection.wait_for(
                lambda: is_there() or self._connection.has_ended(quiet=True), timeout
            )

    @property
    def why(self) -> pd.DataFrame:
        """Reasons why workers wait for resources: one row an offer and a thing it lacked; empty if none waits."""
        try:
            return why_frame(self._connection.reach().get(f"/v1/jobs/{self.job_id}/why")["why"])
        except (SessionEnding, UnknownJob):
            if self.state.is_final:
                return why_frame([])
            raise

    @property
    def is_attached(self) -> bool:
        """Whether it hears of the job as long as there is anything to hear."""
        return self._connection.is_attached

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
        with self._connection.replica.changed:
            finished = self._connection.replica.view.finished
        return measure(self._connection.replica.events(), finished, self.spec.package_seconds)

    def view(self) -> JobView:
        """Return an independent snapshot of the job."""
        return self._connection.replica.snapshot()

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
            with self._connection.interruptible(), self._connection.replica.changed:
                if not self._connection.wait_for(self._connection.has_ended, timeout):
                    state = self._connection.replica.view.state
                    why = self._connection.waits_for()
                    raise WaitTimeout(f"job {self.job_id} is {state} after {timeout:g} s; it goes on{why}")
                return self._connection.replica.view.state
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
            view, errors = self.view(), failures.errors_by_task(self._connection)
            return shown(
                self._load(worker.worker_id)
                if worker.is_good
                else failures.worker_failure(self._connection, view, worker, errors)
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
        self._connection.check_worker(worker_id)

        def is_over() -> bool:
            worker = self._connection.replica.view.workers[worker_id]
            return worker.is_done or worker.result == "ok" or self._connection.has_ended()

        with self._connection.interruptible(), self._connection.replica.changed:
            if not self._connection.wait_for(is_over, timeout):
                why = self._connection.waits_for()
                raise WaitTimeout(
                    f"worker {worker_id} of {self.job_id} has no result after {timeout:g} s{why}"
                )
            outcome = self._connection.replica.view.workers[worker_id].result
        if outcome == "ok":
            return self._load(worker_id)
        view = self.view()
        errors = failures.errors_by_task(self._connection)
        failure = failures.worker_failure(self._connection, view, view.workers[worker_id], errors)
        raise failure from failure.__cause__

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait for the end without blocking the event loop; gives what `results` gives."""
        return self._results_soon().__await__()

    async def _results_soon(self) -> list[Any]:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def on_change() -> None:
            if self._connection.has_ended(quiet=True):
                loop.call_soon_threadsafe(ended.set)

        self._connection.replica.listen(on_change)
        try:
            with self._connection.replica.changed:
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
            self._connection.replica.unlisten(on_change)
        return await loop.run_in_executor(None, self.results)

    def kill(
        self,
        worker_id: int | None = None,
        message: str = "killed by the user",
        *,
        restart: bool = False,
        grace: float = KILL_GRACE,
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
        grace : float
            Seconds between the SIGTERM that tells a worker to end and the SIGKILL that ends it, at most 3.

        Raises
        ------
        IndexError
            When the job has no such worker.
        Twister2Error
            When an argument is none that can be.
        """
        path = f"/v1/jobs/{self.job_id}/kill"
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace <= KILL_GRACE:
            raise Twister2Error(f"grace is {grace!r}; give seconds from 0 to {KILL_GRACE:g}")
        content: dict[str, Any] = {"reason": "USER", "message": message, "grace": grace}
        if isinstance(worker_id, str):
            raise Twister2Error(f"worker_id is {worker_id!r}; a reason is given as message={worker_id!r}")
        if restart and worker_id is None:
            raise Twister2Error("restart=True is for one worker: kill(worker_id, restart=True)")
        if worker_id is not None:
            self._connection.check_worker(worker_id)
            path = f"/v1/jobs/{self.job_id}/workers/{worker_id}/kill"
            content |= {"restart": restart}
        self._connection.insist(path, content)

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
        answer = self._connection.insist(f"/v1/jobs/{self.job_id}/scale", content)
        if answer is None:
            raise ScalingError(f"job {self.job_id} has ended; it cannot be scaled")
        if why := answer.get("error"):
            raise ScalingError(why)
        self._connection.replica.await_seq(answer["seq"])
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
        WorkerEvents(self._connection.replica, callback)
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
        self._connection.check_worker(worker_id)
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
        return self._connection.reach()

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
        if worker_id is not None:
            view = self.view()
            worker = view.workers[worker_id]
            if worker.is_good or not (worker.is_done or view.state.is_final):
                return None
            errors = failures.errors_by_task(self._connection)
            return failures.worker_failure(self._connection, view, worker, errors)
        return failures.job_failure(self._connection)

    def failure_texts(self) -> list[Failure]:
        """Return what workers that failed have left behind, at most eight; first, the one by which the job failed.

        Returns
        -------
        list of tuple
            Of each its id; ``"traceback"`` or ``"stderr"``; and its traceback or, of one that raised nothing, the end
            of its stderr, which may be empty. Empty if the job has not failed.
        """
        return failures.failure_texts(self._connection)

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
        answer = self._connection.reach().post(f"/v1/jobs/{self.job_id}/tails", content)
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
        pieces = read_logs(self._connection, worker_id, stream, follow, tail)
        return self._followed(pieces) if follow else ShownText("".join(pieces))

    def _followed(self, pieces: Iterator[str]) -> Iterator[str]:
        with self._connection.interruptible("following"):
            yield from pieces

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
        return ShownText(inspection.worker_stacks(self._connection, worker_id))

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
        return inspection.profile_worker(self._connection, worker_id, seconds)

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
        return inspection.debug_worker(self._connection, worker_id)

    def held_workers(self) -> dict[int, str]:
        """Return the ids of the workers that wait in the debugger, each with the reason."""
        return inspection.held_workers(self._connection)

    # Listening.

    def add_listener(self, listener: Callable[[Job], None]) -> None:
        """Have ``listener(job)`` called at every change, on the client's thread; it must return at once."""
        self._listeners[listener] = lambda: listener(self)
        self._connection.replica.listen(self._listeners[listener])

    def remove_listener(self, listener: Callable[[Job], None]) -> None:
        """Take a listener away."""
        if inner := self._listeners.pop(listener, None):
            self._connection.replica.unlisten(inner)

    def _load(self, worker_id: int) -> Any:
        return load_result(self._connection.directory, self.job_id, worker_id)
