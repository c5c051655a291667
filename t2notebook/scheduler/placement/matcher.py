"""Matching of workers to offers: offers and requests in; launches, held offers and vetoes out. Pure; no I/O, no
clock.

A gang is placed whole or not at all. It is tried first with what it holds and what nobody holds; if that
does not do, the other jobs may use what it holds, what is free before what is held; and what they left is
gathered for it again.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...model.placement import Attributes
from .bins import FREE, HELD, Bin, Job
from .diagnosis import Diagnosis
from .host_health import Excluded
from .offers import EXECUTOR, Offer, OfferLedger
from .packer import Packer
from .requests import Acceptance, Launch, ResourceRequest, RunningExecutor, WorkerLocation
from .vetoes import Veto


@dataclass
class Plan:
    """A decision about a set of offers: each is accepted, held for one gang, or declined.

    Attributes
    ----------
    acceptances : list of Acceptance
    gathered : dict
        Job id of a gang: the offers that are held for it.
    declined : list of Offer
    diagnoses : list of Diagnosis
        The requests of which workers still wait.
    retry_at : float or None
        The time at which a host that was excluded in this round is free again.
    """

    acceptances: list[Acceptance] = field(default_factory=list)
    gathered: dict[str, list[Offer]] = field(default_factory=dict)
    declined: list[Offer] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    retry_at: float | None = None

    @property
    def launches(self) -> Iterator[Launch]:
        """All launches."""
        return (launch for acceptance in self.acceptances for launch in acceptance.launches)

    @property
    def vetoes(self) -> list[Veto]:
        """The reasons why bins could not take workers that still wait; as many as bins times requests."""
        return [veto for diagnosis in self.diagnoses for veto in diagnosis.vetoes()]


def match(
    offers: Iterable[Offer],
    requests: Sequence[ResourceRequest],
    executors: Iterable[RunningExecutor] = (),
    new_executor_id: Callable[[], str] | None = None,
    *,
    locations: Mapping[str, Iterable[WorkerLocation]] | None = None,
    excluded: Mapping[str, Excluded] | None = None,
    held: Mapping[str, str] | None = None,
    may_hold: Collection[str] = (),
    known: Mapping[str, tuple[str, Attributes]] | None = None,
    gpus: bool = True,
    now: float = 0.0,
) -> Plan:
    """Place as many workers as fit.

    Parameters
    ----------
    offers : iterable of Offer
        All that are at hand, those that are held among them.
    requests : sequence of ResourceRequest
        In order of precedence. One that does not fit never keeps a later one from being placed.
    executors : iterable of RunningExecutor
        The living executors of this framework.
    new_executor_id : callable, optional
        Names a new executor.
    locations : mapping, optional
        By job: the agents on which workers of it run already.
    excluded : mapping, optional
        By host: until when, and why, it gets no workers.
    held : mapping, optional
        By offer id: the gang for which it is held.
    may_hold : collection of str
        The gangs for which offers may be held.
    known : mapping, optional
        By agent: host and attributes, also of agents that offer nothing now; for spread limits.
    gpus : bool
        Whether Mesos offers GPUs to this framework at all.
    now : float
        Seconds, by the clock of all times here.

    Returns
    -------
    Plan
    """
    fresh = new_executor_id or (f"executor-{number}" for number in itertools.count()).__next__
    with _collector_at_rest():
        return _match(
            offers, requests, executors, fresh, locations, excluded, held, may_hold, known, gpus, now
        )


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Have no garbage collection in a pass: it makes hundreds of thousands of objects that all live on, and the
    collector would walk them again and again, for half of the pass's time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _match(
    offers: Iterable[Offer],
    requests: Sequence[ResourceRequest],
    executors: Iterable[RunningExecutor],
    fresh: Callable[[], str],
    locations: Mapping[str, Iterable[WorkerLocation]] | None,
    excluded: Mapping[str, Excluded] | None,
    held: Mapping[str, str] | None,
    may_hold: Collection[str],
    known: Mapping[str, tuple[str, Attributes]] | None,
    gpus: bool,
    now: float,
) -> Plan:
    found = Packer(
        offers,
        executors,
        locations=locations or {},
        excluded=excluded or {},
        held=held or {},
        known=known or {},
        gpus=gpus,
        now=now,
    )
    jobs = found.jobs(requests)
    found.expect(jobs)
    holding = {job_id for bin_ in found.bins if (job_id := bin_.holder)}
    for job in jobs:
        if job.gang and job.job_id in holding:
            found.try_gang(job, (job.job_id, FREE))
    for job in jobs:
        if job.gang:
            if not job.is_complete:
                found.try_gang(job, (FREE, HELD))
        else:
            for which in range(len(job.requests)):
                found.assign(job, which, (FREE, HELD))
    for job in jobs:
        if job.gang and not job.is_complete and job.job_id in may_hold:
            found.gather(job)
    return _plan(found, jobs, fresh)


def _plan(found: Packer, jobs: Sequence[Job], fresh: Callable[[], str]) -> Plan:
    plan = Plan(gathered={job.job_id: job.gathered for job in jobs if job.gathered})
    held = {offer.id for job in jobs for offer in job.gathered}
    for bin_ in found.bins:
        if bin_.assignments:
            plan.acceptances.append(_accept(bin_, fresh))
        else:
            plan.declined += [offer for offer in bin_.offers if offer.id not in held]
    found.close()
    plan.diagnoses = [
        Diagnosis(found.bins, job, which, found.gpus)
        for job in jobs
        for which, request in enumerate(job.requests)
        if job.assigned[which] < len(request.worker_ids)
    ]
    if plan.diagnoses:
        plan.retry_at = found.retry_at
    return plan


def _accept(bin_: Bin, fresh: Callable[[], str]) -> Acceptance:
    ledger = OfferLedger(bin_.offers)
    launches = []
    for assignment in bin_.assignments:
        slot, request = assignment.slot, assignment.job.requests[assignment.which]
        if assignment.is_new:
            slot.executor_id = fresh()
            slot.resources, _ = ledger.take(EXECUTOR)
        worker_ids = request.worker_ids[assignment.first : assignment.first + assignment.count]
        carved = ledger.take_for(assignment.count, assignment.job.asked[assignment.which])
        for worker_id, (resources, ports) in zip(worker_ids, carved, strict=True):
            launches.append(
                Launch(
                    bin_.agent,
                    bin_.host,
                    slot.executor_id,
                    request.job_id,
                    worker_id,
                    request.resource,
                    bool(slot.resources),
                    resources,
                    slot.resources,
                    ports,
                    bin_.offers[0].attributes,
                    slot.image,
                )
            )
    return Acceptance(bin_.agent, bin_.host, tuple(bin_.offers), tuple(launches))
