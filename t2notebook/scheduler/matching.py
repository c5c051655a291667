"""Which workers go where: offers and demands in, launches, held offers and refusals out. Pure; no I/O, no
clock.

A place is an agent with all its offers of the round. The places are tried in this order: those in which an
executor of this job has room; those with a warm executor that waits; then the others, the fullest first, so
that large holes stay whole for large workers. How full is told by the dominant share: by whichever of cpus
and memory is scarcer, against the most that any agent of the round offers (an offer does not tell what its
agent has in all). Agents with GPUs come after those without. An agent with a maintenance window comes last,
and takes nothing from ten minutes before it.

Costs grow with offers + workers: a search for a place is a descent in a tree (`rooms`), which is shared by
all demands of one `Placement`.

A gang is placed whole or not at all. It is tried first with what it holds and what nobody holds; if that
does not do, the other jobs may use what it holds, what is free before what is held; and what they left is
gathered for it again.
"""

from __future__ import annotations

import gc
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..model.job import MAX, Placement
from ..model.placement import Attributes, Constraint, Operator, value_of
from .demands import Acceptance, Demand, Launch, RunningExecutor, Spot
from .hosts import Avoided
from .offers import EXECUTOR, NAMES, Carver, Offer, asked_by, vector
from .places import (
    FREE,
    HELD,
    OVERHEAD,
    Index,
    Job,
    Place,
    Search,
    Seat,
    Slot,
    Tally,
    is_admitted,
    is_others,
    partition,
    times,
)
from .refusals import NO_GPUS, Refusal, lasting, listed, shortage

#: Seconds before a maintenance window from which on an agent takes no worker.
MAINTENANCE_NEAR = 600.0


@dataclass
class Plan:
    """What to do with a set of offers: each is accepted, held for one gang, or declined.

    Attributes
    ----------
    acceptances : list of Acceptance
    gathered : dict
        Job id of a gang: the offers that are held for it.
    declined : list of Offer
    unplaced : list of Unplaced
        The demands of which workers still wait.
    retry_at : float or None
        When a host that was avoided in this round is free again.
    """

    acceptances: list[Acceptance] = field(default_factory=list)
    gathered: dict[str, list[Offer]] = field(default_factory=dict)
    declined: list[Offer] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)
    retry_at: float | None = None

    @property
    def launches(self) -> Iterator[Launch]:
        """All launches."""
        return (launch for acceptance in self.acceptances for launch in acceptance.launches)

    @property
    def refusals(self) -> list[Refusal]:
        """Why the places refused what still waits; as many as places times demands."""
        return [refusal for unplaced in self.unplaced for refusal in unplaced.refusals()]


class Unplaced:
    """A demand of which workers still wait; says why when it is asked."""

    def __init__(self, round_: Round, job: Job, which: int) -> None:
        self.job_id = job.job_id
        self._round, self._job, self._which = round_, job, which

    def refusals(self) -> Iterator[Refusal]:
        """Yield what each place lacked, as the round left it."""
        job = self._job
        if job.demands[self._which].resource.gpus and not self._round.gpus:
            yield Refusal(job.job_id, "gpus", NO_GPUS)
            return
        if job.gang:
            total = sum(len(demand.worker_ids) for demand in job.demands)
            text = f"gang: {job.fits} of {total} workers fit"
            yield Refusal(job.job_id, "gang", text, offered=job.fits, asked=total)
        with_room = self._places_with_room()
        for place in self._round.places:
            yield from self._round.lacks(place, job, self._which, id(place) in with_room)

    def tight(self, agents: Collection[str]) -> set[str]:
        """Return those of `agents` on which resources were lacking, and nothing else."""
        with_room = self._places_with_room()
        return {
            refusal.agent
            for place in self._round.places
            if place.agent in agents
            for refusal in self._round.lacks(place, self._job, self._which, id(place) in with_room)
            if refusal.lacked in NAMES
        }

    def _places_with_room(self) -> set[int]:
        limit = self._job.demands[self._which].resource.workers_per_executor
        return {id(slot.place) for slot in self._job.slots if slot.room(limit) > 0}


def match(
    offers: Iterable[Offer],
    demands: Sequence[Demand],
    executors: Iterable[RunningExecutor] = (),
    new_executor_id: Callable[[], str] | None = None,
    *,
    spots: Mapping[str, Iterable[Spot]] | None = None,
    avoided: Mapping[str, Avoided] | None = None,
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
    demands : sequence of Demand
        In order of precedence. One that does not fit never keeps a later one from being placed.
    executors : iterable of RunningExecutor
        The living executors of this framework.
    new_executor_id : callable, optional
        Names a new executor.
    spots : mapping, optional
        By job: where workers of it are already.
    avoided : mapping, optional
        By host: until when, and why, it gets no workers.
    held : mapping, optional
        By offer id: the gang for which it is held.
    may_hold : collection of str
        The gangs for which offers may be held.
    known : mapping, optional
        By agent: host and attributes, also of agents that offer nothing now; for even shares.
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
        return _match(offers, demands, executors, fresh, spots, avoided, held, may_hold, known, gpus, now)


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
    demands: Sequence[Demand],
    executors: Iterable[RunningExecutor],
    fresh: Callable[[], str],
    spots: Mapping[str, Iterable[Spot]] | None,
    avoided: Mapping[str, Avoided] | None,
    held: Mapping[str, str] | None,
    may_hold: Collection[str],
    known: Mapping[str, tuple[str, Attributes]] | None,
    gpus: bool,
    now: float,
) -> Plan:
    found = Round(
        offers,
        executors,
        spots=spots or {},
        avoided=avoided or {},
        held=held or {},
        known=known or {},
        gpus=gpus,
        now=now,
    )
    jobs = found.jobs(demands)
    found.expect(jobs)
    holding = {job_id for place in found.places if (job_id := place.holder)}
    for job in jobs:
        if job.gang and job.job_id in holding:
            found.try_gang(job, (job.job_id, FREE))
    for job in jobs:
        if job.gang:
            if not job.is_complete:
                found.try_gang(job, (FREE, HELD))
        else:
            for which in range(len(job.demands)):
                found.seat(job, which, (FREE, HELD))
    for job in jobs:
        if job.gang and not job.is_complete and job.job_id in may_hold:
            found.gather(job)
    return found.plan(jobs, fresh)


class Round:
    """A set of offers while it is being matched. What was undone is as if it had never been.

    The parameters are those of `match`; `in_all` says that the offers stand for all that the agents have.
    """

    def __init__(
        self,
        offers: Iterable[Offer],
        executors: Iterable[RunningExecutor] = (),
        *,
        spots: Mapping[str, Iterable[Spot]],
        avoided: Mapping[str, Avoided],
        held: Mapping[str, str],
        known: Mapping[str, tuple[str, Attributes]],
        gpus: bool,
        now: float,
        in_all: bool = False,
    ) -> None:
        self.gpus = gpus
        self._in_all = in_all
        self._spots = spots
        self._indices: dict[Any, Index] = {}
        self._value_sets: dict[Any, set[str]] = {}
        self._log: list[Seat] = []
        self._least: list[int] | None = None
        self.retry_at: float | None = None
        self.places = _places(offers, held)
        self._agents = {**known, **{place.agent: (place.host, place.attributes) for place in self.places}}
        self._slots: dict[str, list[Slot]] = {}
        self._at: dict[str, list[Place]] = {}
        by_agent: dict[str, list[Place]] = {}
        for place in self.places:
            self._bar(place, avoided, now)
            self._at.setdefault(place.host, []).append(place)
            by_agent.setdefault(place.agent, []).append(place)
        for executor in executors:
            beside = [
                place
                for place in by_agent.get(executor.agent, ())
                if not executor.role or executor.role == place.offers[0].role
            ]
            if not beside or not executor.reusable:
                continue
            place = beside[0]
            if not executor.job_id:
                place.idle.append(executor.executor_id)
            else:
                slot = Slot(place, executor.executor_id, executor.workers, executor.limit)
                self._slots.setdefault(executor.job_id, []).append(slot)
        self._scoped: dict[str, list[Place]] = defaultdict(list)
        for place in self.places:
            if not place.barred:
                self._scoped[place.holder].append(place)
                if place.holder:
                    self._scoped[HELD].append(place)

    def _bar(self, place: Place, avoided: Mapping[str, Avoided], now: float) -> None:
        if (bad := avoided.get(place.host)) is not None and bad.until > now:
            place.barred_as = "avoided"
            place.barred = (
                f"avoided for {lasting(bad.until - now)}, since workers failed there {bad.failures} times"
            )
            self.retry_at = min(bad.until, self.retry_at or math.inf)
        for offer in place.offers:
            if offer.maintenance is not None and now < offer.maintenance[1]:
                start = offer.maintenance[0]
                if start - now < MAINTENANCE_NEAR:
                    when = "is" if start <= now else f"in {lasting(start - now)} will be"
                    place.barred, place.barred_as = f"{when} down for maintenance", "maintenance"

    def jobs(self, demands: Iterable[Demand]) -> list[Job]:
        """Return the demands by job, in their order."""
        jobs: dict[str, Job] = {}
        for demand in demands:
            job = jobs.setdefault(demand.job_id, Job(demand.job_id))
            job.demands.append(demand)
            job.asked.append(asked_by(demand.resource))
            job.seated.append(0)
        for job in jobs.values():
            job.slots = self._slots.get(job.job_id, [])
            job.tally = self._tally(job)
        return list(jobs.values())

    def expect(self, jobs: Iterable[Job]) -> None:
        """Nobody but these will ask; so a place that cannot have the least that they ask is full."""
        for job in jobs:
            for asked in job.asked:
                amounts = vector(asked)
                self._least = amounts if self._least is None else list(map(min, self._least, amounts))

    def _tally(self, job: Job) -> Tally:
        placement = job.demands[0].placement
        constraints = [one for one in placement.constraints if one.operator.counts_workers]
        if not constraints:
            return job.tally
        rules, counts = [], []
        for constraint in constraints:
            counter: Counter[str] = Counter()
            for spot in self._spots.get(job.job_id, ()):
                host, attributes = self._agents.get(spot.agent, (spot.host, {}))
                if (value := value_of(constraint.attribute, host, attributes)) is not None:
                    counter[value] += 1
            counts.append(counter)
            rules.append((constraint, self._cap(constraint, job, counter)))
        return Tally(rules, counts)

    def _cap(self, constraint: Constraint, job: Job, counter: Counter[str]) -> int:
        if constraint.operator is Operator.UNIQUE:
            return 1
        values = self._values(constraint.attribute, job.demands[0].placement)
        number = len(values) + sum(value not in values for value in counter)
        # Executors are spread, whole ones: else the last workers of each share would fit nowhere.
        limits = [demand.resource.workers_per_executor for demand in job.demands]
        unit = max((int(limit) for limit in limits if limit != MAX), default=1)
        total = max(
            job.demands[0].number_of_workers,
            sum(len(demand.worker_ids) for demand in job.demands) + sum(counter.values()),
        )
        return math.ceil(math.ceil(total / unit) / max(1, number)) * unit

    def _values(self, attribute: str, placement: Placement) -> set[str]:
        """Return the values of the agents that a worker may go to, also of those that offer nothing now."""
        key = (attribute, placement.nodes, placement.where)
        if key not in self._value_sets:
            self._value_sets[key] = {
                value
                for host, attributes in self._agents.values()
                if is_admitted(host, attributes, placement)
                and (value := value_of(attribute, host, attributes)) is not None
            }
        return self._value_sets[key]

    # Placing.

    def try_gang(self, job: Job, scopes: Sequence[str]) -> bool:
        """Place all workers of a job, or none; return whether they are placed."""
        mark = len(self._log)
        for which in job.largest_first():
            self.seat(job, which, scopes)
        if job.is_complete:
            return True
        job.fits = max(job.fits, sum(job.seated))
        self._undo(mark)
        return False

    def would_fit(self, job: Job) -> bool:
        """Return whether all workers of a job fit, and place none."""
        mark = len(self._log)
        fits = self.try_gang(job, (FREE,))
        self._undo(mark)
        return fits

    def gather(self, job: Job) -> None:
        """Find the offers that a gang would use of those that nobody uses in this round."""
        mark = len(self._log)
        for which in job.largest_first():
            self.seat(job, which, (job.job_id, FREE, HELD), gather=True)
        for place in {seat.slot.place.agent: seat.slot.place for seat in self._log[mark:]}.values():
            place.gatherer = job
            carver = Carver(place.offers)
            for seat in place.seats:
                if seat.is_new:
                    carver.take(EXECUTOR)
                for _ in carver.take_for(seat.count, job.asked[seat.which]):
                    pass
            job.gathered += [offer for offer in place.offers if offer.id in carver.touched]
        self._undo(mark)

    def seat(self, job: Job, which: int, scopes: Sequence[str], gather: bool = False) -> None:
        """Place as many workers of a demand as fit on places in `scopes`."""
        demand = job.demands[which]
        if demand.resource.gpus and not self.gpus:
            return
        if not job.tally.spreads_hosts:
            self._seat(job, which, scopes, gather)
            return
        limit = demand.resource.workers_per_executor
        step = 1 if limit == MAX else int(limit)
        job.tally.level = step
        while job.seated[which] < len(demand.worker_ids):
            self._seat(job, which, scopes, gather)
            if job.tally.level >= job.tally.cap:
                break
            job.tally.level += step
        job.tally.level = math.inf

    def _seat(self, job: Job, which: int, scopes: Sequence[str], gather: bool) -> None:
        demand = job.demands[which]
        asked = vector(job.asked[which])
        self._fill_own(job, which, asked, scopes, gather)
        limit, total = demand.resource.workers_per_executor, len(demand.worker_ids)
        search: Search | None = None
        opened: dict[int, Slot] = {}
        while (left := total - job.seated[which]) > 0:
            unit = 1 if limit == MAX else int(min(int(limit), left, job.tally.cap))
            if search is None or search.unit != unit:
                attribute = partition(demand.placement)
                indices = [self._index(scope, demand.placement) for scope in scopes]
                search = Search(indices, job, asked, unit, attribute, gather)
            found = search.find()
            if found is None:
                return
            place, is_warm, groups = found
            count = unit
            if limit == MAX:
                free = place.free if is_warm else [a - b for a, b in zip(place.free, OVERHEAD, strict=True)]
                most = min(left, job.tally.room(place), times(free, asked))
                count = int(most) if groups == 1 else min(int(most), max(1, left // groups))
            if limit == MAX and id(place) in opened:  # its turn came again
                self._take(job, which, opened[id(place)], count, asked)
                continue
            slot = opened[id(place)] = Slot(place, place.idle.pop(0) if is_warm else "", 0, MAX)
            job.slots.append(slot)
            self._take(job, which, slot, count, asked, is_new=not is_warm, was_idle=is_warm)

    def _fill_own(
        self, job: Job, which: int, asked: Sequence[int], scopes: Collection[str], gather: bool
    ) -> None:
        demand = job.demands[which]
        limit, placement = demand.resource.workers_per_executor, demand.placement
        for slot in list(job.slots):
            left = len(demand.worker_ids) - job.seated[which]
            place = slot.place
            if not left:
                return
            if place.barred or not place.is_in(scopes) or (gather and is_others(place, job)):
                continue
            if not is_admitted(place.host, place.attributes, placement):
                continue
            room = min(left, slot.room(limit), job.tally.room(place), times(place.free, asked))
            if room > 0:
                self._take(job, which, slot, int(room), asked)

    def _take(
        self,
        job: Job,
        which: int,
        slot: Slot,
        count: int,
        asked: Sequence[int],
        *,
        is_new: bool = False,
        was_idle: bool = False,
    ) -> None:
        place = slot.place
        free = place.free
        for position, amount in enumerate(asked):
            if amount:
                free[position] -= amount * count
        if is_new:
            for position, amount in enumerate(OVERHEAD):
                free[position] -= amount
        seat = Seat(slot, job, which, job.seated[which], count, was_idle, is_new, slot.limit)
        limit = job.demands[which].resource.workers_per_executor
        if limit != MAX:
            slot.limit = int(limit) if slot.limit == MAX else min(int(slot.limit), int(limit))
        slot.held += count
        place.seats.append(seat)
        job.seated[which] += count
        job.tally.add(place, count)
        self._log.append(seat)

    def _undo(self, mark: int) -> None:
        touched: dict[int, Place] = {}
        while len(self._log) > mark:
            seat = self._log.pop()
            slot, job, place = seat.slot, seat.job, seat.slot.place
            place.seats.pop()
            for position, amount in enumerate(vector(job.asked[seat.which])):
                place.free[position] += amount * seat.count
            if seat.is_new:
                for position, amount in enumerate(OVERHEAD):
                    place.free[position] += amount
            slot.held -= seat.count
            slot.limit = seat.limit_before
            job.seated[seat.which] -= seat.count
            job.tally.add(place, -seat.count)
            if seat.was_idle:
                place.idle.insert(0, slot.executor_id)
            if seat.was_idle or seat.is_new:
                job.slots.pop()
            touched[id(place)] = place
        for place in touched.values():
            for rooms, number in place.leaves:
                rooms.update(number, place.free)

    def _index(self, scope: str, placement: Placement) -> Index:
        """Return the places of a scope that a placement admits, whoever asks; each kind is looked for once."""
        fixed = tuple(one for one in placement.constraints if not one.operator.counts_workers)
        key = (scope, placement.nodes, fixed)
        if key not in self._indices:
            places = self._scoped.get(scope, [])
            if placement.nodes:
                mine = {id(place) for place in places} if scope != FREE else None
                places = sorted(
                    (
                        place
                        for host in dict.fromkeys(placement.nodes)
                        for place in self._at.get(host, ())
                        if not place.barred and (id(place) in mine if mine is not None else not place.holder)
                    ),
                    key=lambda place: place.order,
                )
            if fixed:
                places = [
                    place
                    for place in places
                    if all(one.admits(place.host, place.attributes) for one in fixed)
                ]
            self._indices[key] = Index(places, self._least or [0] * len(NAMES))
        return self._indices[key]

    # What came of it.

    def plan(self, jobs: Sequence[Job], fresh: Callable[[], str]) -> Plan:
        """Return what was decided."""
        plan = Plan(gathered={job.job_id: job.gathered for job in jobs if job.gathered})
        held = {offer.id for job in jobs for offer in job.gathered}
        for place in self.places:
            place.leaves.clear()
            if place.seats:
                plan.acceptances.append(_accept(place, fresh))
            else:
                plan.declined += [offer for offer in place.offers if offer.id not in held]
        self._indices.clear()
        plan.unplaced = [
            Unplaced(self, job, which)
            for job in jobs
            for which, demand in enumerate(job.demands)
            if job.seated[which] < len(demand.worker_ids)
        ]
        if plan.unplaced:
            plan.retry_at = self.retry_at
        return plan

    def lacks(self, place: Place, job: Job, which: int, has_room: bool) -> Iterator[Refusal]:
        """Yield what a place lacks for more workers of a demand.

        They would be one, if an executor of the job `has_room` there, else those of one executor.
        """
        demand = job.demands[which]

        def refusal(lacked: str, text: str, **amounts: float) -> Refusal:
            message = f"{place.host}: {text}"
            return Refusal(
                job.job_id, lacked, message, place.offers[0].id, place.agent, place.host, **amounts
            )

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
                text = shortage(
                    name, place.free[position], asked, overhead.get(name, 0), unit, in_all=self._in_all
                )
                yield refusal(name, text, offered=place.free[position] / 1000, asked=asked / 1000)


def _places(offers: Iterable[Offer], held: Mapping[str, str]) -> list[Place]:
    """Return the agents with their offers, in the order of preference."""
    found: dict[tuple[str, str], Place] = {}
    for offer in offers:
        place = found.get((offer.agent, offer.role))
        if place is None:
            found[offer.agent, offer.role] = place = Place(
                offer.agent, offer.host, [], [0] * len(NAMES), offer.attributes
            )
        place.offers.append(offer)
        for position, name in enumerate(NAMES):
            place.free[position] += offer.free.get(name, 0)
        place.holder = place.holder or held.get(offer.id, "")
    places = list(found.values())
    largest = [
        max((place.free[position] for place in places), default=0) or 1 for position in range(len(NAMES))
    ]

    def preference(place: Place) -> tuple[bool, bool, float, float, str]:
        shares = [free / most for free, most in zip(place.free, largest, strict=True)]
        cpus, mem, _, gpus, _ = shares
        window = any(offer.maintenance for offer in place.offers)
        return window, gpus > 0, min(cpus, mem), sum(shares), place.agent

    places.sort(key=preference)
    for number, place in enumerate(places):
        place.order = number
    return places


def _accept(place: Place, fresh: Callable[[], str]) -> Acceptance:
    carver = Carver(place.offers)
    launches = []
    for seat in place.seats:
        slot, demand = seat.slot, seat.job.demands[seat.which]
        if seat.is_new:
            slot.executor_id = fresh()
            slot.resources, _ = carver.take(EXECUTOR)
        worker_ids = demand.worker_ids[seat.first : seat.first + seat.count]
        carved = carver.take_for(seat.count, seat.job.asked[seat.which])
        for worker_id, (resources, ports) in zip(worker_ids, carved, strict=True):
            launches.append(
                Launch(
                    place.agent,
                    place.host,
                    slot.executor_id,
                    demand.job_id,
                    worker_id,
                    demand.resource,
                    bool(slot.resources),
                    resources,
                    slot.resources,
                    ports,
                )
            )
    return Acceptance(place.agent, place.host, tuple(place.offers), tuple(launches))
