"""Workers that wait for resources, and what the last offers lacked for them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..model.job import JobSpec
from .matching import Demand, Plan, Refusal

#: Seconds without any offer after which a waiting job says so.
NO_OFFER_AFTER = 1.0
#: A sentence names so many offers at the most; ``job.why`` has all.
SHOWN = 3


@dataclass
class _Waiting:
    spec: JobSpec
    since: float
    worker_ids: list[int]
    not_before: dict[int, float] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    refused_at: float = 0.0


class Waiting:
    """The queue of workers that wait, by job, in the order in which the jobs came.

    Times are seconds by a clock that is never adjusted, but for `learn`'s, which are shown.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _Waiting] = {}
        self._past: dict[str, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, job_id: str, spec: JobSpec, now: float) -> None:
        """Queue all workers of a job."""
        self._jobs[job_id] = _Waiting(spec, now, list(range(spec.number_of_workers)))

    def again(self, job_id: str, spec: JobSpec, worker_id: int, not_before: float, now: float) -> None:
        """Queue a worker that is to be started again, from `not_before` on."""
        job = self._jobs.setdefault(job_id, _Waiting(spec, now, []))
        if worker_id not in job.worker_ids:
            job.worker_ids.append(worker_id)
        if not_before > now:
            job.not_before[worker_id] = not_before

    def next_due(self, now: float) -> float | None:
        """Return when the next worker that pauses may be started, or None if none does."""
        later = [time for job in self._jobs.values() for time in job.not_before.values() if time > now]
        return min(later, default=None)

    def drop(self, job_id: str) -> None:
        """Take a job out: nothing of it is wanted any more. Why it waited is kept."""
        if (job := self._jobs.pop(job_id, None)) is not None and job.refusals:
            self._past[job_id] = job

    def demands(self, now: float) -> list[Demand]:
        """Return what matching is to place: the workers of a job that ask for the same are one demand.

        One that pauses before it is started again is not in it.
        """
        demands = []
        for job_id, job in self._jobs.items():
            groups: dict[int, list[int]] = {}
            for worker_id in job.worker_ids:
                if job.not_before and job.not_before.get(worker_id, 0.0) > now:
                    continue
                groups.setdefault(id(job.spec.resource_of(worker_id)), []).append(worker_id)
            demands += [Demand(job_id, ids, job.spec.resource_of(ids[0])) for ids in groups.values()]
        return demands

    def learn(self, plan: Plan, now: float) -> None:
        """Take out what was placed, and keep what the rest was refused for."""
        placed: dict[str, set[int]] = {}
        for launches in plan.launches.values():
            for launch in launches:
                placed.setdefault(launch.job_id, set()).add(launch.worker_id)
        for job_id, worker_ids in placed.items():
            job = self._jobs[job_id]
            job.worker_ids = [worker_id for worker_id in job.worker_ids if worker_id not in worker_ids]
            for worker_id in worker_ids:
                job.not_before.pop(worker_id, None)
            if not job.worker_ids:
                self.drop(job_id)
        refused: dict[str, list[Refusal]] = {}
        for refusal in plan.refusals:
            refused.setdefault(refusal.job_id, []).append(refusal)
        for job_id, refusals in refused.items():
            if job_id in self._jobs:
                self._jobs[job_id].refusals, self._jobs[job_id].refused_at = refusals, now

    def sentences(self, trouble: str, offered: bool, now: float) -> Iterator[tuple[str, str]]:
        """Yield ``(job_id, sentence)`` for the jobs of which it can be said why they wait.

        Parameters
        ----------
        trouble : str
            Why there is no master; empty if there is one.
        offered : bool
            Whether anything has been offered since the last job came.
        now : float
            Seconds, by the clock of `add`.
        """
        for job_id, job in self._jobs.items():
            count = sum(job.not_before.get(worker_id, 0.0) <= now for worker_id in job.worker_ids)
            if not count:
                continue  # what keeps them is said with the end of their last task
            who = f"{count} worker{'s' * (count != 1)} waiting"
            if trouble:
                yield job_id, f"{who}: no master ({trouble})"
            elif job.refusals:
                counts = Counter(refusal.message for refusal in job.refusals)
                texts = [
                    f"{text} (on {times} agents)" if times > 1 else text for text, times in counts.items()
                ]
                more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
                yield job_id, f"{who}: {'; '.join(texts[:SHOWN])}{more}"
            elif not offered and now - job.since >= NO_OFFER_AFTER:
                yield job_id, f"{who}: the master has made no offer; nothing is free, or there are no agents"

    def why(self, job_id: str) -> list[dict[str, Any]]:
        """Return why workers of a job wait, or last waited, as rows of ``job.why``."""
        job = self._jobs.get(job_id) or self._past.get(job_id)
        if job is None:
            return []
        return [
            {
                "time": job.refused_at,
                "offer": refusal.offer.id,
                "agent": refusal.offer.agent,
                "host": refusal.offer.host,
                "lacked": refusal.lacked,
                "offered": refusal.offered / 1000,
                "asked": refusal.asked / 1000,
                "message": refusal.message,
            }
            for refusal in job.refusals
        ]
