"""Diagnosis of a round: what each bin lacked for the workers that still wait; computed when it is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ...model.job import MAX
from .bins import Bin, Job
from .offers import EXECUTOR, NAMES
from .vetoes import NO_GPUS, Veto, listed, shortage


class Diagnosis:
    """A request of which workers still wait, and the vetoes against them, computed when they are asked.

    Parameters
    ----------
    bins : sequence of Bin
        All of the round, as it left them.
    job : Job
    which : int
        The position of the request among the job's.
    gpus : bool
        Whether Mesos offers GPUs to this framework at all.
    """

    def __init__(self, bins: Sequence[Bin], job: Job, which: int, gpus: bool) -> None:
        self.job_id = job.job_id
        self._bins, self._job, self._which, self._gpus = bins, job, which, gpus

    def vetoes(self) -> Iterator[Veto]:
        """Yield what each bin lacked, as the round left it."""
        job = self._job
        if job.requests[self._which].resource.gpus and not self._gpus:
            yield Veto(job.job_id, "gpus", NO_GPUS)
            return
        if job.gang:
            total = sum(len(request.worker_ids) for request in job.requests)
            text = f"gang: {job.fits} of {total} workers fit"
            yield Veto(job.job_id, "gang", text, offered=job.fits, asked=total)
        with_slots = self._bins_with_slots()
        for bin_ in self._bins:
            yield from vetoes_of(bin_, job, self._which, id(bin_) in with_slots)

    def short_of(self, agents: Collection[str]) -> set[str]:
        """Return those of `agents` on which resources were lacking, and nothing else."""
        with_slots = self._bins_with_slots()
        return {
            veto.agent
            for bin_ in self._bins
            if bin_.agent in agents
            for veto in vetoes_of(bin_, self._job, self._which, id(bin_) in with_slots)
            if veto.lacked in NAMES
        }

    def _bins_with_slots(self) -> set[int]:
        limit = self._job.requests[self._which].resource.workers_per_executor
        return {id(slot.bin) for slot in self._job.slots if slot.capacity(limit) > 0}


def vetoes_of(bin_: Bin, job: Job, which: int, has_slot: bool, *, in_all: bool = False) -> Iterator[Veto]:
    """Yield what a bin lacks for one more worker of a request, or for those of one more executor.

    Parameters
    ----------
    bin_ : Bin
    job : Job
    which : int
        The position of the request among the job's.
    has_slot : bool
        Whether an executor of the job there may take one more worker.
    in_all : bool
        Whether the offers stand for all that the agents have.
    """
    request = job.requests[which]

    def veto(lacked: str, text: str, **amounts: float) -> Veto:
        message = f"{bin_.host}: {text}"
        return Veto(job.job_id, lacked, message, bin_.offers[0].id, bin_.agent, bin_.host, **amounts)

    if bin_.excluded:
        yield veto(bin_.excluded_as, bin_.excluded)
        return
    nodes = request.placement.nodes
    if nodes and bin_.host not in nodes:
        yield veto("nodes", f"not among the nodes {listed(nodes)}")
        return
    refused = False
    for constraint in request.placement.constraints:
        if not constraint.admits(bin_.host, bin_.attributes):
            refused = True
            yield veto(constraint.attribute, constraint.veto(bin_.host, bin_.attributes))
    if refused:
        return
    limit = request.resource.workers_per_executor
    left = len(request.worker_ids) - job.assigned[which]
    unit = 1 if limit == MAX or has_slot else max(1, int(min(int(limit), left, job.spread.cap)))
    for lacked, text in job.spread.vetoes(bin_, unit):
        refused = True
        yield veto(lacked, text)
    if refused:
        return
    overhead = {} if has_slot or bin_.idle.get(request.image) else EXECUTOR
    for position, name in enumerate(NAMES):
        asked = job.asked[which].get(name, 0) * unit + overhead.get(name, 0)
        if bin_.free[position] < asked:
            text = shortage(name, bin_.free[position], asked, overhead.get(name, 0), unit, in_all=in_all)
            yield veto(name, text, offered=bin_.free[position] / 1000, asked=asked / 1000)
