"""Workers that wait for resources, and what the last offers lacked for them. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..model.job import JobSpec
from .placement.diagnosis import Diagnosis
from .placement.matcher import Plan
from .placement.offers import NAMES, asked_by
from .placement.requests import ResourceRequest
from .placement.vetoes import MOST_ROWS, NO_GPUS, Infeasible, Veto
from .resource_holders import Holders

#: Seconds without any offer after which a waiting job says so.
NO_OFFER_AFTER = 1.0
#: A sentence names so many offers at the most; ``job.why`` has all.
SHOWN = 3
#: A sentence looks at so many refusals at the most.
LOOKED_AT = 64
#: Agents offer one by one, too: so many rounds are remembered, and of each agent the last.
ROUNDS = 8


@dataclass
class _Waiting:
    spec: JobSpec
    since: float
    worker_ids: list[int]
    not_before: dict[int, float] = field(default_factory=dict)
    rounds: deque[tuple[float, list[Diagnosis]]] = field(default_factory=lambda: deque(maxlen=ROUNDS))
    infeasible: tuple[float, Infeasible] | None = None
    scarce: tuple[float, Infeasible] | None = None
    is_checked: bool = False

    def vetoes(self) -> Iterator[tuple[float, Veto]]:
        """Yield when and why, of each agent what it last lacked; the newest first."""
        told: set[str] = set()
        for time, diagnosis in reversed(self.rounds):
            agents = set()
            for one in diagnosis:
                for veto in one.vetoes():
                    if veto.agent not in told:
                        agents.add(veto.agent)
                        yield time, veto
            told |= agents


class PendingQueue:
    """The queue of workers that wait, by job, in the order in which the jobs came.

    Times are seconds by a clock that is never adjusted, but for those of `apply` and `mark_infeasible`, which are
    shown.

    Parameters
    ----------
    gpus : bool
        Whether Mesos offers GPUs to this framework.
    on_drop : callable
        Called with the id of a job of which nothing is wanted any more.
    """

    def __init__(self, gpus: bool = True, on_drop: Callable[[str], None] = lambda job_id: None) -> None:
        self._jobs: dict[str, _Waiting] = {}
        self._past: dict[str, list[dict[str, Any]]] = {}
        self._gpus = gpus
        self._on_drop = on_drop

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, job_id: str, spec: JobSpec, now: float) -> None:
        """Queue all workers of a job.

        Parameters
        ----------
        job_id : str
        spec : JobSpec
        now : float
            Seconds.
        """
        self._jobs[job_id] = _Waiting(spec, now, list(range(spec.number_of_workers)))

    def requeue(self, job_id: str, spec: JobSpec, worker_id: int, not_before: float, now: float) -> None:
        """Queue a worker that is to be started again, from `not_before` on.

        Parameters
        ----------
        job_id : str
        spec : JobSpec
        worker_id : int
        not_before, now : float
            Seconds.
        """
        job = self._jobs.setdefault(job_id, _Waiting(spec, now, []))
        if worker_id not in job.worker_ids:
            job.worker_ids.append(worker_id)
        if not_before > now:
            job.not_before[worker_id] = not_before

    def withdraw(self, job_id: str, worker_id: int) -> None:
        """Take one worker out: it is not wanted any more."""
        if (job := self._jobs.get(job_id)) is not None and worker_id in job.worker_ids:
            job.worker_ids.remove(worker_id)
            job.not_before.pop(worker_id, None)
            if not job.worker_ids:
                self.drop(job_id)

    def next_due(self, now: float) -> float | None:
        """Return when the next worker that pauses may be started, or None if none does."""
        later = [time for job in self._jobs.values() for time in job.not_before.values() if time > now]
        return min(later, default=None)

    def drop(self, job_id: str) -> None:
        """Take a job out: nothing of it is wanted any more. Why it waited is kept."""
        if (job := self._jobs.pop(job_id, None)) is None:
            return
        if rows := _rows(job):
            self._past[job_id] = rows
        self._on_drop(job_id)

    def requests(
        self,
        now: float,
        is_running: Callable[[str], bool] = lambda job_id: False,
        number_of_workers: Callable[[str], int] = lambda job_id: 0,
    ) -> list[ResourceRequest]:
        """Return what matching is to place: the workers of a job that ask for the same are one demand.

        One that pauses before it is started again is not in it; nor is a gang while one of its workers pauses.

        Parameters
        ----------
        now : float
        is_running : callable
            Whether any worker of a job runs, or is about to. A gang of which some run needs the rest one by
            one.
        number_of_workers : callable
            Of a job; 0: as many as it was submitted with.
        """
        requests = []
        for job_id, job in self._jobs.items():
            placement = job.spec.placement
            gang = placement.gang and not is_running(job_id)
            if gang and any(time > now for time in job.not_before.values()):
                continue
            groups: dict[int, list[int]] = {}
            for worker_id in job.worker_ids:
                if job.not_before and job.not_before.get(worker_id, 0.0) > now:
                    continue
                groups.setdefault(id(job.spec.resource_of(worker_id)), []).append(worker_id)
            requests += [
                ResourceRequest(
                    job_id,
                    ids,
                    job.spec.resource_of(ids[0]),
                    placement,
                    gang,
                    number_of_workers(job_id) or job.spec.number_of_workers,
                    job.spec.image_of(job.spec.resource_of(ids[0])),
                )
                for ids in groups.values()
            ]
        return requests

    def apply(self, plan: Plan, now: float) -> None:
        """Take out what was placed, and keep what the rest was refused for."""
        refused: dict[str, list[Diagnosis]] = {}
        for diagnosis in plan.diagnoses:
            refused.setdefault(diagnosis.job_id, []).append(diagnosis)
        for job_id, some in refused.items():
            if job_id in self._jobs:
                self._jobs[job_id].rounds.append((now, some))
        placed: dict[str, set[int]] = {}
        for launch in plan.launches:
            placed.setdefault(launch.job_id, set()).add(launch.worker_id)
        for job_id, worker_ids in placed.items():
            job = self._jobs[job_id]
            job.infeasible, job.scarce, job.is_checked = None, None, False
            job.worker_ids = [worker_id for worker_id in job.worker_ids if worker_id not in worker_ids]
            for worker_id in worker_ids:
                job.not_before.pop(worker_id, None)
            if not job.worker_ids:
                self.drop(job_id)

    def next_check(self, after: float, again_at: float) -> float | None:
        """Return when it is to be looked whether the cluster can do at all for those who wait; None if none
        waits.

        Parameters
        ----------
        after : float
            Seconds that a job has waited before it is looked at for the first time.
        again_at : float
            When more may be known for the others.
        """
        times = (again_at if job.is_checked else job.since + after for job in self._jobs.values())
        return min(times, default=None)

    def mark_infeasible(
        self, infeasible: Mapping[str, Infeasible], now: float, scarce: Mapping[str, Infeasible] | None = None
    ) -> None:
        """Note the jobs that are infeasible on this cluster, and why the others are offered nothing, if so.

        Parameters
        ----------
        infeasible : mapping
            By job id.
        now : float
            Seconds.
        scarce : mapping, optional
            By job id: why nothing is offered.
        """
        for job_id, job in self._jobs.items():
            found = infeasible.get(job_id)
            job.infeasible = (now, found) if found is not None else None
            lack = (scarce or {}).get(job_id)
            job.scarce = (now, lack) if lack is not None else None
            job.is_checked = True

    @property
    def infeasible(self) -> Collection[str]:
        """The jobs for which this cluster can never do."""
        return {job_id for job_id, job in self._jobs.items() if job.infeasible is not None}

    def lacked(self, job_id: str) -> set[str]:
        """Return the resources that the last offers lacked for a job, all that it asks for if there were none; nothing
        for one for which the cluster can never do.
        """
        job = self._jobs.get(job_id)
        return _lacked(job) if job is not None and job.infeasible is None else set()

    def sentences(
        self, trouble: str, offered: bool, now: float, held: Holders = lambda job_id, lacked: []
    ) -> Iterator[tuple[str, str]]:
        """Yield ``(job_id, sentence)`` for the jobs of which it can be said why they wait.

        Parameters
        ----------
        trouble : str
            Why there is no master; empty if there is one.
        offered : bool
            Whether anything has been offered since the last job came.
        now : float
            Seconds, by the clock of `add`.
        held : callable
            Returns which of the user's other jobs hold resources that are lacking.
        """
        for job_id, job in self._jobs.items():
            count = sum(job.not_before.get(worker_id, 0.0) <= now for worker_id in job.worker_ids)
            if not count:
                continue  # what keeps them is said with the end of their last task
            who = f"{count} worker{'s' * (count != 1)} waiting"
            if trouble:
                yield job_id, f"{who}: no master ({trouble})"
            elif not self._gpus and any(resource.gpus for resource in job.spec.resources):
                yield job_id, f"{who}: {NO_GPUS}"
            elif job.infeasible is not None:
                yield job_id, f"{who}: {job.infeasible[1].sentence}"
            elif texts := _texts(job):
                besides = job.scarce[1].besides if job.scarce is not None else ""
                parts = [f"{who}: {texts}", besides, *_messages(held(job_id, _lacked(job)))]
                yield job_id, "; ".join(filter(None, parts))
            elif not offered and now - job.since >= NO_OFFER_AFTER:
                yield job_id, f"{who}: {_no_offer(job, _messages(held(job_id, _lacked(job))))}"

    def why(self, job_id: str) -> list[dict[str, Any]]:
        """Return why workers of a job wait, or last waited, as rows of ``job.why``."""
        job = self._jobs.get(job_id)
        return self._past.get(job_id, []) if job is None else _rows(job)


def _lacked(job: _Waiting) -> set[str]:
    found = [veto.lacked for _, veto in islice(job.vetoes(), LOOKED_AT)]
    if not found:
        return {name for resource in job.spec.resources for name in asked_by(resource)}
    return {name for name in found if name in NAMES}


def _messages(vetoes: list[Veto]) -> list[str]:
    return [veto.message for veto in vetoes]


def _texts(job: _Waiting) -> str:
    found = list(islice(job.vetoes(), LOOKED_AT + 1))
    counts = Counter(veto.message for _, veto in found)
    texts = [f"{text} (on {times} agents)" if times > 1 else text for text, times in counts.items()]
    more = ""
    if len(found) > LOOKED_AT:
        more = "; and many more"
    elif len(texts) > SHOWN:
        more = f"; and {len(texts) - SHOWN} more"
    return f"{'; '.join(texts[:SHOWN])}{more}"


def _no_offer(job: _Waiting, holding: list[str]) -> str:
    head = "the master has made no offer"
    if job.scarce is None:
        none = "" if holding else ", or there are no agents"
        return "; ".join([f"{head}; nothing is free{none}", *holding])
    lack = job.scarce[1]
    return "; ".join(filter(None, [f"{head}: {lack.sentence}", lack.besides, *holding]))


def _rows(job: _Waiting) -> list[dict[str, Any]]:
    rows, told = [], set()
    if job.infeasible is not None:
        time, found = job.infeasible
        rows = [veto.row(time) for veto in found.vetoes]
    for time, veto in islice(job.vetoes(), MOST_ROWS - len(rows)):
        told.add(veto.agent)
        rows.append(veto.row(time))
    if job.infeasible is None and job.scarce is not None:
        time, lack = job.scarce
        # An agent's own offer tells more than what the master says of it.
        more = (veto.row(time) for veto in lack.vetoes if veto.agent not in told)
        rows += islice(more, MOST_ROWS - len(rows))
    return rows
