"""Metrics of a job's time, computed from its events. Pure.

Ramp-up time, completion time and utilisation are the three by which the Mesos paper judges a framework (Hindman
et al., NSDI 2011, section 6.1); they are taken for one job here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from .events import Event, EventKind
from .states import TaskState

#: In the order in which a worker goes through them.
PHASES = ("package", "offer", "launch", "fetch", "start", "run", "result")


@dataclass
class WorkerPhases:
    """Seconds that each phase of a worker's present task took; NaN for what is not known (yet).

    A worker that was started again has the phases of its last task; `offer` holds the pause before it.

    Attributes
    ----------
    package : float
        Making the job package, in the kernel; the same for all workers.
    offer : float
        From the submit (or the end of the task before) until an offer was taken.
    launch : float
        From there until the worker ran, without the fetching: Mesos, and the executor's start.
    fetch : float
        Getting and checking the job package; next to nothing for all but the first worker of an executor.
    start : float
        Making the process, and the worker's code in it.
    run : float
        The worker's code.
    result : float
        Packing and delivering its result.
    """

    package: float = math.nan
    offer: float = math.nan
    launch: float = math.nan
    fetch: float = math.nan
    start: float = math.nan
    run: float = math.nan
    result: float = math.nan


@dataclass
class _Worker:
    waits_since: float
    phases: WorkerPhases = field(default_factory=WorkerPhases)
    launched: float | None = None
    running: float | None = None
    cpus: float = 0.0
    allocated: float = 0.0  # cpu-seconds, of tasks that have ended
    used: float = 0.0


@dataclass(frozen=True)
class JobMetrics:
    """Metrics of a job; seconds, NaN for those that are not known (yet).

    Attributes
    ----------
    ramp_up : float
        From the submit until all workers had run, or were running.
    completion : float
        From the submit until the end.
    utilisation : float
        Cpu-seconds in which workers' code ran, as a fraction of those that were allocated to their tasks.
    workers : list of WorkerPhases
        By worker id.
    """

    ramp_up: float
    completion: float
    utilisation: float
    workers: list[WorkerPhases]

    def summary(self) -> dict[str, float]:
        """Return all by name; a phase is the median over the workers."""
        medians = {name: _median(getattr(phases, name) for phases in self.workers) for name in PHASES}
        return {
            "ramp_up": self.ramp_up,
            "completion": self.completion,
            "utilisation": self.utilisation,
            **medians,
        }


def measure(events: Iterable[Event], finished: float | None = None, package: float = math.nan) -> JobMetrics:
    """Return the metrics of a job.

    Parameters
    ----------
    events : iterable of Event
        Of one job, in order, from the first on.
    finished : float, optional
        When the job ended, in seconds since 1970; None for one that goes on.
    package : float
        Seconds that making its package took.
    """
    workers: list[_Worker] = []
    submitted = math.nan
    unseen: set[int] = set()
    ramp_up = math.nan
    for event in events:
        if event.kind is EventKind.SUBMITTED:
            submitted = event.time
            workers = [_Worker(event.time) for _ in range(int(event.data["number_of_workers"]))]
            unseen = set(range(len(workers)))
        elif event.kind is EventKind.SCALED:
            number = int(event.data["number_of_workers"])
            for worker in workers[int(event.data["before"]) :]:
                worker.waits_since = event.time  # one that left before comes again
            workers += [_Worker(event.time) for _ in range(number - len(workers))]
            unseen = {worker_id for worker_id in unseen if worker_id < number}
        elif event.worker_id is not None and event.worker_id < len(workers):
            worker = workers[event.worker_id]
            if event.kind is EventKind.LAUNCHED:
                worker.phases = WorkerPhases(package=package, offer=event.time - worker.waits_since)
                worker.launched, worker.cpus = event.time, float(event.data.get("cpus", 0.0))
            elif event.kind is EventKind.STATUS:
                _status(worker, event)
                if event.state == TaskState.RUNNING and event.worker_id in unseen:
                    unseen.remove(event.worker_id)
                    ramp_up = event.time - submitted if not unseen else math.nan
    allocated = sum(worker.allocated for worker in workers)
    return JobMetrics(
        ramp_up=ramp_up,
        completion=math.nan if finished is None else finished - submitted,
        utilisation=sum(worker.used for worker in workers) / allocated if allocated else math.nan,
        workers=[worker.phases for worker in workers],
    )


def _status(worker: _Worker, event: Event) -> None:
    told = event.data.get("phases", {})
    for name in ("fetch", "start", "run", "result"):
        if isinstance(seconds := told.get(name), int | float):
            setattr(worker.phases, name, float(seconds))
    if worker.launched is None:
        return
    if event.state == TaskState.RUNNING and worker.running is None:
        worker.running = event.time
    if event.state == TaskState.RUNNING and math.isnan(worker.phases.launch):
        fetch = 0.0 if math.isnan(worker.phases.fetch) else worker.phases.fetch
        worker.phases.launch = max(0.0, event.time - worker.launched - fetch)
    elif TaskState(event.state).is_terminal:
        worker.allocated += worker.cpus * (event.time - worker.launched)
        if not math.isnan(worker.phases.run):
            worker.used += worker.cpus * worker.phases.run
        elif worker.running is not None:  # it could not say any more how long it had run
            worker.used += worker.cpus * (event.time - worker.running)
        worker.launched, worker.running, worker.waits_since = None, None, event.time


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan
