"""Jobs of the same user that hold the resources which another one lacks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ..model.job_table import JobRecord
from .placement.offers import NAMES, asked_by
from .placement.vetoes import Veto, quantity

#: Jobs that are named; the others are counted.
SHOWN = 3
#: Has an answer for a job that waits, and the resources that it lacks: in words, and as rows of ``job.why``.
Holders = Callable[[str, Collection[str]], list[Veto]]


@dataclass(frozen=True)
class Holding:
    """So much (thousandths) of a resource that a job's workers have."""

    job: JobRecord
    name: str
    amount: int


def holdings(jobs: Iterable[JobRecord], waiting: JobRecord, lacked: Collection[str]) -> list[Holding]:
    """Return who holds the first resource that a job lacks and others have, the largest first.

    Parameters
    ----------
    jobs : iterable of JobRecord
        All that have not ended.
    waiting : JobRecord
        The job that waits.
    lacked : collection of str
        Names of resources.
    """
    others = [job for job in jobs if job is not waiting]
    for name in NAMES:
        if name not in lacked:
            continue
        found = [Holding(job, name, amount) for job in others if (amount := _held_by(job, name))]
        if found:
            return sorted(found, key=lambda holding: -holding.amount)
    return []


def vetoes(found: Sequence[Holding], waiting: JobRecord, now: float) -> list[Veto]:
    """Return a sentence for each of the largest holders, as rows of ``job.why``.

    Parameters
    ----------
    found : sequence of Holding
    waiting : JobRecord
    now : float
        Seconds since 1970.
    """
    names = Counter([waiting.spec.name, *(holding.job.spec.name for holding in found)])

    def called(job: JobRecord) -> str:
        return job.spec.name if names[job.spec.name] == 1 else job.job_id

    rows = [
        Veto(
            waiting.job_id,
            holding.name,
            f"{quantity(holding.name, holding.amount)} are held by your own job {called(holding.job)}, "
            f"{_started(holding.job, now)}",
        )
        for holding in found[:SHOWN]
    ]
    if more := found[SHOWN:]:
        amount = sum(holding.amount for holding in more)
        text = f"{quantity(more[0].name, amount)} by {len(more)} more of your jobs"
        rows.append(Veto(waiting.job_id, more[0].name, text))
    return rows


def _held_by(job: JobRecord, name: str) -> int:
    resources = job.spec.resources
    if len(resources) == 1:
        active = (count for state, count in job.view.counts.items() if state.is_active)
        return asked_by(resources[0]).get(name, 0) * sum(active)
    return sum(
        asked_by(job.spec.resource_of(worker.worker_id)).get(name, 0)
        for worker in job.view.workers
        if worker.is_on_mesos
    )


def _started(job: JobRecord, now: float) -> str:
    """Say how old it is, in words that change once a minute at the most: each change is told to all who watch."""
    if job.view.started is None:
        return "which is starting"
    minutes = int(max(0.0, now - job.view.started) // 60)
    if minutes < 1:
        return "started less than a minute ago"
    return f"started {minutes} min ago" if minutes < 120 else f"started {minutes // 60} h ago"
