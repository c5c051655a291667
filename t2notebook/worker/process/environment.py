"""`WorkerEnvironment`, the argument of the user's function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .controller import WorkerController

_MAX_TEXT = 200


class WorkerEnvironment:
    """A worker's view of its job: the `env` of ``fn(env)``.

    Parameters
    ----------
    worker_id : int
        From 0 to ``number_of_workers - 1``; a restarted worker keeps it.
    number_of_workers : int
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
    """

    worker_id: int
    number_of_workers: int
    job_id: str
    config: Mapping[str, Any]
    restart_count: int
    additional_ports: tuple[int, ...]
    credentials: Mapping[str, str]
    worker_controller: WorkerController

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
    ) -> None:
        self.worker_id = worker_id
        self.number_of_workers = number_of_workers
        self.job_id = job_id
        self.config = config
        self.restart_count = restart_count
        self.additional_ports = additional_ports
        self.credentials = dict(credentials or {})
        if worker_controller is not None:
            self.worker_controller = worker_controller
        self._report = report

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

    def __repr__(self) -> str:
        return f"<worker {self.worker_id} of {self.number_of_workers}, job {self.job_id}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("env belongs to its worker and cannot be pickled; pass on what you need of it")


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"progress: {name} is a {type(value).__name__}; give a number") from None
    if not math.isfinite(number):
        raise ValueError(f"progress: {name} is {value!r}; give a finite number")
    return number
