"""What a place lacks for the workers that still wait when a round is over; found out when it is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ...model.job import MAX
from .bins import Job, Place
from .offers import EXECUTOR, NAMES
from .vetoes import NO_GPUS, Refusal, listed, shortage


class Unplaced:
    """A demand of which workers still wait; says why when it is asked.

    Parameters
    ----------
    places : sequence of Place
        All of the round, as it left them.
    job : Job
    which : int
        Which of the job's demands.
    gpus : bool
        Whether Mesos offers GPUs to this framework at all.
    """

    def __init__(self, places: Sequence[Place], job: Job, which: int, gpus: bool) -> None:
        self.job_id = job.job_id
        self._places, self._job, self._which, self._gpus = places, job, which, gpus

    def refusals(self) -> Iterator[Refusal]:
        """Yield what each place lacked, as the round left it."""
        job = self._job
        if job.demands[self._which].resource.gpus and not self._gpus:
            yield Refusal(job.job_id, "gpus", NO_GPUS)
            return
        if job.gang:
            total = sum(len(demand.worker_ids) for demand in job.demands)
            text = f"gang: {job.fits} of {total} workers fit"
            yield Refusal(job.job_id, "gang", text, offered=job.fits, asked=total)
        with_room = self._places_with_room()
        for place in self._places:
            yield from lacks(place, job, self._which, id(place) in with_room)

    def tight(self, agents: Collection[str]) -> set[str]:
        """Return those of `agents` on which resources were lacking, and nothing else."""
        with_room = self._places_with_room()
        return {
            refusal.agent
            for place in self._places
            if place.agent in agents
            for refusal in lacks(place, self._job, self._which, id(place) in with_room)
            if refusal.lacked in NAMES
        }

    def _places_with_room(self) -> set[int]:
        limit = self._job.demands[self._which].resource.workers_per_executor
        return {id(slot.place) for slot in self._job.slots if slot.room(limit) > 0}


def lacks(place: Place, job: Job, which: int, has_room: bool, *, in_all: bool = False) -> Iterator[Refusal]:
    """Yield what a place lacks for more workers of a demand.

    They would be one, if an executor of the job `has_room` there, else those of one executor. `in_all` says that
    the offers stand for all that the agents have.
    """
    demand = job.demands[which]

    def refusal(lacked: str, text: str, **amounts: float) -> Refusal:
        message = f"{place.host}: {text}"
        return Refusal(job.job_id, lacked, message, place.offers[0].id, place.agent, place.host, **amounts)

    if place.barred:
        yield refusal(place.barred_as, place.barred)
        return
    nodes = demand.placement.nodes
    if nodes and place.host not in nodes:
        yield refusal("nodes", f"not among the nodes {listed(nodes)}")
        return
    refused = False
    for constraint in demand.placement.constraints:
        if not constraint.admits(place.host, place.attributes):
            refused = True
            yield refusal(constraint.attribute, constraint.refusal(place.host, place.attributes))
    if refused:
        return
    limit = demand.resource.workers_per_executor
    left = len(demand.worker_ids) - job.seated[which]
    unit = 1 if limit == MAX or has_room else max(1, int(min(int(limit), left, job.tally.cap)))
    for lacked, text in job.tally.refusals(place, unit):
        refused = True
        yield refusal(lacked, text)
    if refused:
        return
    overhead = {} if has_room or place.idle else EXECUTOR
    for position, name in enumerate(NAMES):
        asked = job.asked[which].get(name, 0) * unit + overhead.get(name, 0)
        if place.free[position] < asked:
            text = shortage(name, place.free[position], asked, overhead.get(name, 0), unit, in_all=in_all)
            yield refusal(name, text, offered=place.free[position] / 1000, asked=asked / 1000)
