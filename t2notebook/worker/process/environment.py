"""`WorkerEnvironment`, the argument of the user's function."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...model.errors import ScalingError
from ...model.scaling import LEAVE_TIME, check_count, check_time
from ...model.wording import type_of

if TYPE_CHECKING:
    from ...model.worker_event import WorkerEvent
    from .checkpoint import Checkpoint
    from .controller import WorkerController
    from .job_master_client import JobMasterClient
    from .listeners import Listeners
    from .messages import Messages
    from .volume import PersistentVolume

_MAX_TEXT = 200
#: The driver's place among the ids of receivers.
_DRIVER = -1


class WorkerEnvironment:
    """A worker's view of its job: the `env` of ``fn(env)``.

    Parameters
    ----------
    worker_id : int
        From 0 to ``number_of_workers - 1``; a restarted worker keeps it.
    number_of_workers : int
        As this worker last heard of it, if the job is scaled while it runs.
    job_id : str
    config : mapping
        The job's configuration.
    restart_count : int
        How often this worker was restarted; 0 the first time.
    report : callable
        ``report(fraction, text)`` takes a worker's progress.
    additional_ports : tuple of int
        Ports on this host that are the worker's alone, as many as it asked for.
    credentials : mapping
        The secrets that the job was submitted with, by name.
    worker_controller : WorkerController
        Finds the other workers, and waits for them.
    messages : Messages
        Carries messages.
    listeners : Listeners
        Tells of what happens to the job's workers.
    ask : callable
        Asks the job master.
    checkpoint : Checkpoint
        Variables that outlive the worker.
    persistent_volume : PersistentVolume
        The worker's directory (or address) of what outlives it.
    volatile_volume : str
        The path of a directory that is removed when the worker ends; it is made when it is asked for.
    job_master : JobMasterClient
        The connection of a pool's worker.
    """

    worker_id: int
    job_id: str
    config: Mapping[str, Any]
    restart_count: int
    additional_ports: tuple[int, ...]
    credentials: Mapping[str, str]
    worker_controller: WorkerController
    checkpoint: Checkpoint

    def __init__(
        self,
        *,
        worker_id: int,
        number_of_workers: int,
        job_id: str,
        config: Mapping[str, Any],
        restart_count: int,
        report: Callable[[float, str], None],
        additional_ports: tuple[int, ...] = (),
        credentials: Mapping[str, str] | None = None,
        worker_controller: WorkerController | None = None,
        messages: Messages | None = None,
        listeners: Listeners | None = None,
        ask: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], bytes]] | None = None,
        checkpoint: Checkpoint | None = None,
        persistent_volume: PersistentVolume | None = None,
        volatile_volume: str = "",
        job_master: JobMasterClient | None = None,
    ) -> None:
        self.worker_id = worker_id
        self._number_of_workers = number_of_workers
        self.job_id = job_id
        self.config = config
        self.restart_count = restart_count
        self.additional_ports = additional_ports
        self.credentials = dict(credentials or {})
        if worker_controller is not None:
            self.worker_controller = worker_controller
        self._messages, self._listeners, self._ask = messages, listeners, ask
        self._job_master = job_master
        if checkpoint is not None:
            self.checkpoint = checkpoint
        self._persistent_volume = persistent_volume
        self._volatile_volume = volatile_volume
        self._report = report

    @property
    def persistent_volume(self) -> str:
        """The worker's directory of what outlives it, or its address; empty if the job has none.

        A worker that has been replaced is stopped when it asks for it.
        """
        if self._persistent_volume is None:
            return ""
        self._persistent_volume.check()
        return self._persistent_volume.place

    @property
    def volatile_volume(self) -> str:
        """A directory of the worker's own that is removed when it ends.

        Raises
        ------
        OSError
            When it cannot be made.
        """
        if self._volatile_volume:
            os.makedirs(self._volatile_volume, mode=0o700, exist_ok=True)
        return self._volatile_volume

    @property
    def number_of_workers(self) -> int:
        """The number of workers of the job."""
        controller: WorkerController | None = getattr(self, "worker_controller", None)
        return self._number_of_workers if controller is None else controller.number_of_workers

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far the worker is; it shows in ``job.tasks`` and in the job's widget.

        It may be called as often as is convenient: a few calls a second are sent, and the last one always.

        Parameters
        ----------
        done : float
            How much is done; without `total`, a fraction of 1. More than all counts as all.
        total : float, optional
            How much there is to do.
        text : str
            A few words for people; one line, cut at 200 characters.

        Raises
        ------
        TypeError, ValueError
            When `done` or `total` is no number, `done` is negative or `total` is not positive.
        """
        fraction = _number("done", done)
        if total is not None:
            whole = _number("total", total)
            if whole <= 0:
                raise ValueError(f"progress: total is {total!r}; give a number above 0")
            fraction /= whole
        if fraction < 0:
            raise ValueError(f"progress: done is {done!r}; it cannot be negative")
        self._report(min(fraction, 1.0), " ".join(str(text).split())[:_MAX_TEXT])

    def send_to_driver(self, obj: Any) -> None:
        """Send an object to the notebook, where ``job.on_message`` takes it.

        When this returns, it is safe with the session; the notebook need not be there.

        Parameters
        ----------
        obj : object
            At most 32 MiB when pickled.

        Raises
        ------
        MessageRefused
            When too many messages wait there unread; none is lost of those that were sent before.
        """
        self._mail().send(_DRIVER, obj)

    def send(self, worker_id: int, obj: Any) -> None:
        """Send an object to another worker of the job, which finds it with `messages`.

        When this returns, it is safe with the session. Messages of one worker to another come in their order, each
        once; what a worker that dies has not read is given to the one that takes its place.

        Parameters
        ----------
        worker_id : int
        obj : object
            At most 32 MiB when pickled.

        Raises
        ------
        MessageRefused
            When there is no such worker, it has ended, or 10,000 messages (or 256 MiB) wait there unread.
        """
        if isinstance(worker_id, bool) or not isinstance(worker_id, int) or worker_id < 0:
            raise TypeError(f"send: worker_id is {worker_id!r}; give a worker's number, from 0")
        self._mail().send(worker_id, obj)

    def messages(self, timeout: float | None = None) -> Iterator[Any]:
        """Yield the objects that the notebook and other workers send to this one.

        A message counts as read when the next one is asked for: if this worker dies before, the one that takes its
        place gets it again.

        Parameters
        ----------
        timeout : float, optional
            Seconds; the iteration ends when none has come for so long. Without it, it waits for ever.
        """
        if timeout is not None:
            timeout = _number("timeout", timeout, "messages")
        return self._mail().receive(timeout)

    def scale_up_workers(self, number: int) -> int:
        """Add workers to the job, and return how many it has then; they start when there are resources.

        Parameters
        ----------
        number : int
            How many more, from 1.

        Raises
        ------
        ScalingError
            When the job has no scalable resource, or is ending.
        """
        return self._scale(check_count(number), 0.0)

    def scale_down_workers(self, number: int, leave_time: float = LEAVE_TIME) -> int:
        """Take workers away from the job, those with the highest ids, and return how many it has then.

        They are told first (`on_worker_event`), and at once if they are at a barrier; this worker may be one of them.

        Parameters
        ----------
        number : int
            How many less, from 1.
        leave_time : float
            Seconds that they have to end by themselves; then they are killed.

        Raises
        ------
        ScalingError
            When the job has not so many scalable workers, or is ending.
        """
        return self._scale(-check_count(number), check_time(leave_time))

    def _scale(self, by: int, leave_time: float) -> int:
        assert self._ask is not None
        record, _ = self._ask({"kind": "scale", "by": by, "leave_time": leave_time})
        if why := record.get("error"):
            raise ScalingError(why)
        return int(record["number_of_workers"])

    def on_worker_event(self, callback: Callable[[WorkerEvent], Any]) -> Callable[[WorkerEvent], Any]:
        """Have ``callback(event)`` called when workers join, fail, are restarted, come or leave (`t2.WorkerEvent`).

        It runs on a thread of its own, which the first call of this starts, one event after the other. What it raises
        is printed. A process that the worker forks hears nothing.

        Parameters
        ----------
        callback : callable

        Returns
        -------
        callable
            The callback, so that this can be used as a decorator.

        Raises
        ------
        TypeError
            When the callback cannot be called.
        """
        if not callable(callback):
            raise TypeError(f"callback is {type_of(callback)}; give a function of an event")
        assert self._listeners is not None
        self._listeners.add(callback)
        return callback

    def _mail(self) -> Messages:
        assert self._messages is not None
        return self._messages

    def __repr__(self) -> str:
        return f"<worker {self.worker_id} of {self.number_of_workers}, job {self.job_id}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("env belongs to its worker and cannot be pickled; pass on what you need of it")


def _number(name: str, value: Any, what: str = "progress") -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what}: {name} is {type_of(value)}; give a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what}: {name} is {value!r}; give a finite number")
    return number
