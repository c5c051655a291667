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
import heapq
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..model.job import MAX, ComputeResource, Placement
from ..model.placement import HOSTNAME, Attributes, Constraint, Operator, value_of
from .hosts import Avoided
from .offers import EXECUTOR, NAMES, Carver, Json, Offer, asked_by, vector
from .refusals import NO_GPUS, Refusal, lasting, listed, shortage
from .rooms import Needs, Rooms

#: Seconds before a maintenance window from which on an agent takes no worker.
MAINTENANCE_NEAR = 600.0
_OVERHEAD = vector(EXECUTOR)
#: Scopes of places: those that nobody holds, those that any gang holds; a job's id: those that it holds.
_FREE, _HELD = "", "*"


@dataclass(frozen=True)
class Demand:
    """Workers of one job that wait for the same resources.

    Parameters
    ----------
    job_id : str
    worker_ids : sequence of int
    resource : ComputeResource
    placement : Placement
    gang : bool
        Place all workers of the job's demands, or none.
    number_of_workers : int
        Of the whole job, for even shares; by default those that wait.
    """

    job_id: str
    worker_ids: Sequence[int]
    resource: ComputeResource
    placement: Placement = field(default_factory=Placement)
    gang: bool = False
    number_of_workers: int = 0


@dataclass(frozen=True)
class RunningExecutor:
    """An executor of ours on an agent.

    Parameters
    ----------
    executor_id, agent : str
    job_id : str
        Whose workers it runs; empty: it waits, warm.
    workers : int
        How many.
    limit : int or "max"
        The smallest `workers_per_executor` of those that it runs.
    reusable : bool
        Whether it may be given further workers.
    role : str
        To which its own resources are allocated; empty: not known. It runs no tasks of another.
    """

    executor_id: str
    agent: str
    job_id: str = ""
    workers: int = 0
    limit: int | str = MAX
    reusable: bool = True
    role: str = ""


@dataclass(frozen=True)
class Spot:
    """Where a worker of a job is already."""

    agent: str
    host: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A worker to be launched, in an executor that may be new.

    `resources` and `executor_resources` (of a new executor) are `Resource` objects carved from the offers;
    `ports` are the worker's.
    """

    agent: str
    host: str
    executor_id: str
    job_id: str
    worker_id: int
    resource: ComputeResource
    new_executor: bool
    resources: tuple[Json, ...] = ()
    executor_resources: tuple[Json, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Acceptance:
    """Offers of one agent that are accepted together, and what is launched on them."""

    agent: str
    host: str
    offers: tuple[Offer, ...]
    launches: tuple[Launch, ...]


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

    def __init__(self, round_: Round, job: _Job, which: int) -> None:
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
            found.try_gang(job, (job.job_id, _FREE))
    for job in jobs:
        if job.gang:
            if not job.is_complete:
                found.try_gang(job, (_FREE, _HELD))
        else:
            for which in range(len(job.demands)):
                found.seat(job, which, (_FREE, _HELD))
    for job in jobs:
        if job.gang and not job.is_complete and job.job_id in may_hold:
            found.gather(job)
    return found.plan(jobs, fresh)


@dataclass(slots=True, eq=False)
class _Place:
    """An agent with its offers of the round, while it is being filled; `free` in the order of `NAMES`."""

    agent: str
    host: str
    offers: list[Offer]
    free: list[int]
    attributes: Attributes
    idle: list[str] = field(default_factory=list)
    holder: str = ""
    barred: str = ""
    barred_as: str = ""
    order: int = 0
    seats: list[_Seat] = field(default_factory=list)
    gatherer: _Job | None = None
    leaves: list[tuple[Rooms, int]] = field(default_factory=list)

    def is_in(self, scopes: Collection[str]) -> bool:
        return self.holder in scopes or bool(self.holder and _HELD in scopes)


@dataclass(slots=True, eq=False)
class _Slot:
    """An executor in a place; one without an id is new, and gets its resources when the plan is made."""

    place: _Place
    executor_id: str
    held: int
    limit: int | str
    resources: tuple[Json, ...] = ()

    def room(self, limit: int | str) -> int | float:
        limits = [int(one) for one in (self.limit, limit) if one != MAX]
        return min(limits) - self.held if limits else math.inf


@dataclass(slots=True, eq=False)
class _Seat:
    """Workers of a demand that were placed together: `worker_ids[first : first + count]`."""

    slot: _Slot
    job: _Job
    which: int
    first: int
    count: int
    was_idle: bool
    is_new: bool
    limit_before: int | str


class _Tally:
    """How many workers of a job there are by value of each attribute that is to be unique or spread."""

    def __init__(self, rules: Sequence[tuple[Constraint, int]], counts: Sequence[Counter[str]]) -> None:
        self.rules = rules
        self._counts = counts
        self.cap = min((cap for _, cap in rules), default=math.inf)
        self.level = math.inf

    def room(self, place: _Place) -> int | float:
        """Return how many more workers a place may take."""
        return min((self._left(rule, place) for rule in range(len(self.rules))), default=math.inf)

    @property
    def spreads_hosts(self) -> bool:
        """Whether hosts are to be used evenly: all up to one level, then all up to the next."""
        return any(
            constraint.attribute == HOSTNAME and constraint.operator is Operator.SPREAD
            for constraint, _ in self.rules
        )

    def _left(self, rule: int, place: _Place) -> int:
        constraint, cap = self.rules[rule]
        value = value_of(constraint.attribute, place.host, place.attributes)
        if value is None:
            return 0
        if constraint.attribute == HOSTNAME:
            return int(min(cap, self.level)) - self._counts[rule][value]
        return cap - self._counts[rule][value]

    def add(self, place: _Place, count: int) -> None:
        for (constraint, _), counts in zip(self.rules, self._counts, strict=True):
            value = value_of(constraint.attribute, place.host, place.attributes)
            if value is not None:
                counts[value] += count

    def of(self, attribute: str, value: str) -> tuple[int, int]:
        """Return how many workers a value has, and how many it may have."""
        found = (
            (counts[value], cap)
            for (constraint, cap), counts in zip(self.rules, self._counts, strict=True)
            if constraint.attribute == attribute
        )
        return min(found, key=lambda pair: pair[1])

    def refusals(self, place: _Place, unit: int) -> Iterator[tuple[str, str]]:
        for rule, (constraint, cap) in enumerate(self.rules):
            value = value_of(constraint.attribute, place.host, place.attributes)
            if value is None or self._left(rule, place) >= unit:
                continue
            where = "there" if constraint.attribute == HOSTNAME else f"on {constraint.attribute} {value}"
            if constraint.operator is Operator.UNIQUE:
                yield str(constraint), f"one worker of this job is {where} already ({constraint})"
            else:
                share = "1 worker" if cap == 1 else f"{cap} workers"
                yield (
                    str(constraint),
                    f"the even share of this job, {share}, is {where} already ({constraint})",
                )


class _Job:
    """The demands of one job, while they are being placed."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.demands: list[Demand] = []
        self.asked: list[dict[str, int]] = []
        self.seated: list[int] = []
        self.slots: list[_Slot] = []
        self.tally = _Tally((), ())
        self.fits = 0
        self.gathered: list[Offer] = []

    @property
    def gang(self) -> bool:
        return self.demands[0].gang

    @property
    def is_complete(self) -> bool:
        return all(
            count == len(demand.worker_ids) for count, demand in zip(self.seated, self.demands, strict=True)
        )

    def largest_first(self) -> list[int]:
        amounts = [vector(asked) for asked in self.asked]
        return sorted(range(len(amounts)), key=lambda which: amounts[which], reverse=True)


class _Index:
    """Places that a `Placement` admits, in their order, with a tree over them; and the same by the value of
    an attribute.
    """

    def __init__(self, places: list[_Place], least: Sequence[int]) -> None:
        self.places = places
        self._least = least
        self._aisles: tuple[_Aisle, _Aisle] | None = None
        self._parts: dict[str, dict[str, _Index]] = {}

    @property
    def aisles(self) -> tuple[_Aisle, _Aisle]:
        """The places with a waiting executor, and all."""
        if self._aisles is None:
            warm = [place for place in self.places if place.idle]
            self._aisles = _Aisle(warm, self._least), _Aisle(self.places, self._least)
        return self._aisles

    def parts(self, attribute: str) -> dict[str, _Index]:
        """Return an index for each value of an attribute."""
        if attribute not in self._parts:
            places: dict[str, list[_Place]] = {}
            for place in self.places:
                if (value := value_of(attribute, place.host, place.attributes)) is not None:
                    places.setdefault(value, []).append(place)
            self._parts[attribute] = {value: _Index(some, self._least) for value, some in places.items()}
        return self._parts[attribute]


class _Aisle:
    def __init__(self, places: list[_Place], least: Sequence[int]) -> None:
        self.places = places
        self.rooms = Rooms([place.free for place in places], least)
        for number, place in enumerate(places):
            place.leaves.append((self.rooms, number))


class _Search:
    """Walks once over the places for units of one size; the places before its cursors can take no more of
    them.
    """

    def __init__(
        self,
        indices: Sequence[_Index],
        job: _Job,
        asked: Sequence[int],
        unit: int,
        attribute: str | None,
        gather: bool,
    ) -> None:
        self.unit = unit
        self._job, self._attribute, self._gather = job, attribute, gather
        asked = [amount * unit for amount in asked]
        self._warm = _needs(asked)
        self._cold = _needs([amount + extra for amount, extra in zip(asked, _OVERHEAD, strict=True)])
        self._groups: list[tuple[str, list[_Index]]]
        if attribute is None:
            self._groups = [("", list(indices))]
        else:
            groups: dict[str, list[_Index]] = {}
            for index in indices:
                for value, part in index.parts(attribute).items():
                    groups.setdefault(value, []).append(part)
            self._groups = list(groups.items())
        self._walks: dict[int, Iterator[tuple[_Place, bool]]] = {}
        self._heap = [(0, number) for number in range(len(self._groups))]  # counts are looked up when met

    def find(self) -> tuple[_Place, bool, int] | None:
        """Return a place, whether it has a waiting executor for it, and how many groups of places there are."""
        heap = self._heap
        while heap:
            count, number = heap[0]
            value, indices = self._groups[number]
            if self._attribute is not None:
                actual, cap = self._job.tally.of(self._attribute, value)
                if actual + self.unit > cap:
                    heapq.heappop(heap)
                    continue
                if actual != count:
                    heapq.heapreplace(heap, (actual, number))
                    continue
            walk = self._walks.setdefault(number, self._walk(indices))
            found = next(walk, None)
            if found is not None:
                return *found, len(heap)
            heapq.heappop(heap)
        return None

    def _walk(self, indices: list[_Index]) -> Iterator[tuple[_Place, bool]]:
        for index in indices:
            for is_warm, aisle in zip((True, False), index.aisles, strict=True):
                needs = self._warm if is_warm else self._cold
                rooms, number = aisle.rooms, 0
                while (number := rooms.first(number, needs)) >= 0:
                    place = aisle.places[number]
                    if is_warm and not place.idle:
                        rooms.close(number)
                    elif not _has(place.free, needs):
                        rooms.update(number, place.free)  # trees learn of others' workers when they meet them
                    elif self._admits(place):
                        yield place, is_warm
                    else:
                        number += 1

    def _admits(self, place: _Place) -> bool:
        if self._gather and (place.gatherer not in (None, self._job) or _is_others(place, self._job)):
            return False
        return self._job.tally.room(place) >= self.unit


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
        self._indices: dict[Any, _Index] = {}
        self._value_sets: dict[Any, set[str]] = {}
        self._log: list[_Seat] = []
        self._least: list[int] | None = None
        self.retry_at: float | None = None
        self.places = _places(offers, held)
        self._agents = {**known, **{place.agent: (place.host, place.attributes) for place in self.places}}
        self._slots: dict[str, list[_Slot]] = {}
        self._at: dict[str, list[_Place]] = {}
        by_agent: dict[str, list[_Place]] = {}
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
                slot = _Slot(place, executor.executor_id, executor.workers, executor.limit)
                self._slots.setdefault(executor.job_id, []).append(slot)
        self._scoped: dict[str, list[_Place]] = defaultdict(list)
        for place in self.places:
            if not place.barred:
                self._scoped[place.holder].append(place)
                if place.holder:
                    self._scoped[_HELD].append(place)

    def _bar(self, place: _Place, avoided: Mapping[str, Avoided], now: float) -> None:
        if (bad := avoided.get(place.host)) is not None and bad.until > now:
            workers = f"{bad.failures} worker{'s' * (bad.failures != 1)}"
            place.barred_as = "avoided"
            place.barred = f"avoided for {lasting(bad.until - now)}, since {workers} failed there"
            self.retry_at = min(bad.until, self.retry_at or math.inf)
        for offer in place.offers:
            if offer.maintenance is not None and now < offer.maintenance[1]:
                start = offer.maintenance[0]
                if start - now < MAINTENANCE_NEAR:
                    when = "is" if start <= now else f"in {lasting(start - now)} will be"
                    place.barred, place.barred_as = f"{when} down for maintenance", "maintenance"

    def jobs(self, demands: Iterable[Demand]) -> list[_Job]:
        """Return the demands by job, in their order."""
        jobs: dict[str, _Job] = {}
        for demand in demands:
            job = jobs.setdefault(demand.job_id, _Job(demand.job_id))
            job.demands.append(demand)
            job.asked.append(asked_by(demand.resource))
            job.seated.append(0)
        for job in jobs.values():
            job.slots = self._slots.get(job.job_id, [])
            job.tally = self._tally(job)
        return list(jobs.values())

    def expect(self, jobs: Iterable[_Job]) -> None:
        """Nobody but these will ask; so a place that cannot have the least that they ask is full."""
        for job in jobs:
            for asked in job.asked:
                amounts = vector(asked)
                self._least = amounts if self._least is None else list(map(min, self._least, amounts))

    def _tally(self, job: _Job) -> _Tally:
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
        return _Tally(rules, counts)

    def _cap(self, constraint: Constraint, job: _Job, counter: Counter[str]) -> int:
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

    def try_gang(self, job: _Job, scopes: Sequence[str]) -> bool:
        """Place all workers of a job, or none; return whether they are placed."""
        mark = len(self._log)
        for which in job.largest_first():
            self.seat(job, which, scopes)
        if job.is_complete:
            return True
        job.fits = max(job.fits, sum(job.seated))
        self._undo(mark)
        return False

    def would_fit(self, job: _Job) -> bool:
        """Return whether all workers of a job fit, and place none."""
        mark = len(self._log)
        fits = self.try_gang(job, (_FREE,))
        self._undo(mark)
        return fits

    def gather(self, job: _Job) -> None:
        """Find the offers that a gang would use of those that nobody uses in this round."""
        mark = len(self._log)
        for which in job.largest_first():
            self.seat(job, which, (job.job_id, _FREE, _HELD), gather=True)
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

    def seat(self, job: _Job, which: int, scopes: Sequence[str], gather: bool = False) -> None:
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

    def _seat(self, job: _Job, which: int, scopes: Sequence[str], gather: bool) -> None:
        demand = job.demands[which]
        asked = vector(job.asked[which])
        self._fill_own(job, which, asked, scopes, gather)
        limit, total = demand.resource.workers_per_executor, len(demand.worker_ids)
        search: _Search | None = None
        opened: dict[int, _Slot] = {}
        while (left := total - job.seated[which]) > 0:
            unit = 1 if limit == MAX else int(min(int(limit), left, job.tally.cap))
            if search is None or search.unit != unit:
                attribute = _partition(demand.placement)
                indices = [self._index(scope, demand.placement) for scope in scopes]
                search = _Search(indices, job, asked, unit, attribute, gather)
            found = search.find()
            if found is None:
                return
            place, is_warm, groups = found
            count = unit
            if limit == MAX:
                free = place.free if is_warm else [a - b for a, b in zip(place.free, _OVERHEAD, strict=True)]
                most = min(left, job.tally.room(place), _times(free, asked))
                count = int(most) if groups == 1 else min(int(most), max(1, left // groups))
            if limit == MAX and id(place) in opened:  # its turn came again
                self._take(job, which, opened[id(place)], count, asked)
                continue
            slot = opened[id(place)] = _Slot(place, place.idle.pop(0) if is_warm else "", 0, MAX)
            job.slots.append(slot)
            self._take(job, which, slot, count, asked, is_new=not is_warm, was_idle=is_warm)

    def _fill_own(
        self, job: _Job, which: int, asked: Sequence[int], scopes: Collection[str], gather: bool
    ) -> None:
        demand = job.demands[which]
        limit, placement = demand.resource.workers_per_executor, demand.placement
        for slot in list(job.slots):
            left = len(demand.worker_ids) - job.seated[which]
            place = slot.place
            if not left:
                return
            if place.barred or not place.is_in(scopes) or (gather and _is_others(place, job)):
                continue
            if not is_admitted(place.host, place.attributes, placement):
                continue
            room = min(left, slot.room(limit), job.tally.room(place), _times(place.free, asked))
            if room > 0:
                self._take(job, which, slot, int(room), asked)

    def _take(
        self,
        job: _Job,
        which: int,
        slot: _Slot,
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
            for position, amount in enumerate(_OVERHEAD):
                free[position] -= amount
        seat = _Seat(slot, job, which, job.seated[which], count, was_idle, is_new, slot.limit)
        limit = job.demands[which].resource.workers_per_executor
        if limit != MAX:
            slot.limit = int(limit) if slot.limit == MAX else min(int(slot.limit), int(limit))
        slot.held += count
        place.seats.append(seat)
        job.seated[which] += count
        job.tally.add(place, count)
        self._log.append(seat)

    def _undo(self, mark: int) -> None:
        touched: dict[int, _Place] = {}
        while len(self._log) > mark:
            seat = self._log.pop()
            slot, job, place = seat.slot, seat.job, seat.slot.place
            place.seats.pop()
            for position, amount in enumerate(vector(job.asked[seat.which])):
                place.free[position] += amount * seat.count
            if seat.is_new:
                for position, amount in enumerate(_OVERHEAD):
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

    def _index(self, scope: str, placement: Placement) -> _Index:
        """Return the places of a scope that a placement admits, whoever asks; each kind is looked for once."""
        fixed = tuple(one for one in placement.constraints if not one.operator.counts_workers)
        key = (scope, placement.nodes, fixed)
        if key not in self._indices:
            places = self._scoped.get(scope, [])
            if placement.nodes:
                mine = {id(place) for place in places} if scope != _FREE else None
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
            self._indices[key] = _Index(places, self._least or [0] * len(NAMES))
        return self._indices[key]

    # What came of it.

    def plan(self, jobs: Sequence[_Job], fresh: Callable[[], str]) -> Plan:
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

    def lacks(self, place: _Place, job: _Job, which: int, has_room: bool) -> Iterator[Refusal]:
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


def _places(offers: Iterable[Offer], held: Mapping[str, str]) -> list[_Place]:
    """Return the agents with their offers, in the order of preference."""
    found: dict[tuple[str, str], _Place] = {}
    for offer in offers:
        place = found.get((offer.agent, offer.role))
        if place is None:
            found[offer.agent, offer.role] = place = _Place(
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

    def preference(place: _Place) -> tuple[bool, bool, float, float, str]:
        shares = [free / most for free, most in zip(place.free, largest, strict=True)]
        cpus, mem, _, gpus, _ = shares
        window = any(offer.maintenance for offer in place.offers)
        return window, gpus > 0, min(cpus, mem), sum(shares), place.agent

    places.sort(key=preference)
    for number, place in enumerate(places):
        place.order = number
    return places


def _accept(place: _Place, fresh: Callable[[], str]) -> Acceptance:
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


def _partition(placement: Placement) -> str | None:
    """Return the attribute by whose values places are taken in turns; hosts are too many for that."""
    for constraint in placement.constraints:
        if constraint.operator.counts_workers and constraint.attribute != HOSTNAME:
            return constraint.attribute
    return None


def is_admitted(host: str, attributes: Attributes, placement: Placement) -> bool:
    """Return whether a placement allows an agent, as far as its host and attributes decide."""
    if placement.nodes and host not in placement.nodes:
        return False
    return all(constraint.admits(host, attributes) for constraint in placement.constraints)


def _is_others(place: _Place, job: _Job) -> bool:
    return bool(place.seats) and place.seats[0].job is not job


def _needs(amounts: Sequence[int]) -> Needs:
    return [(position, amount) for position, amount in enumerate(amounts) if amount]


def _has(free: Sequence[int], needs: Needs) -> bool:
    return all(free[position] >= amount for position, amount in needs)


def _times(free: Sequence[int], asked: Sequence[int]) -> int:
    return max(0, min(have // amount for have, amount in zip(free, asked, strict=True) if amount))
