"""Bins (agents with their offers) while they are being filled, and the first-fit search over them. Pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ...model.container_image import NO_IMAGE, ContainerImage
from ...model.job import MAX, Placement
from ...model.placement import HOSTNAME, Attributes, Constraint, Operator, value_of
from .capacity_tree import CapacityTree, Needs
from .offers import EXECUTOR, Json, Offer, vector
from .requests import ResourceRequest

OVERHEAD = vector(EXECUTOR)
#: Scopes of bins: those that nobody holds, those that any gang holds; a job's id: those that it holds.
FREE, HELD = "", "*"


@dataclass(slots=True, eq=False)
class Bin:
    """An agent with its offers of one role in this round, while workers are assigned to it; `free` in the order of
    `NAMES`, `idle` its waiting executors by the image that they run in.
    """

    agent: str
    host: str
    offers: list[Offer]
    free: list[int]
    attributes: Attributes
    idle: dict[ContainerImage, list[str]] = field(default_factory=dict)
    holder: str = ""
    excluded: str = ""
    excluded_as: str = ""
    order: int = 0
    assignments: list[Assignment] = field(default_factory=list)
    gatherer: Job | None = None
    leaves: list[tuple[CapacityTree, int]] = field(default_factory=list)

    def is_in(self, scopes: Collection[str]) -> bool:
        return self.holder in scopes or bool(self.holder and HELD in scopes)


@dataclass(slots=True, eq=False)
class Slot:
    """An executor in a bin; one without an id is new, and gets its resources when the plan is made."""

    bin: Bin
    executor_id: str
    held: int
    limit: int | str
    resources: tuple[Json, ...] = ()
    image: ContainerImage = NO_IMAGE

    def capacity(self, limit: int | str) -> int | float:
        limits = [int(one) for one in (self.limit, limit) if one != MAX]
        return min(limits) - self.held if limits else math.inf


@dataclass(slots=True, eq=False)
class Assignment:
    """Workers of a request that were placed together: `worker_ids[first : first + count]`."""

    slot: Slot
    job: Job
    which: int
    first: int
    count: int
    was_idle: bool
    is_new: bool
    limit_before: int | str


class SpreadCounts:
    """Numbers of a job's workers by value of each attribute that is to be unique or spread."""

    def __init__(self, rules: Sequence[tuple[Constraint, int]], counts: Sequence[Counter[str]]) -> None:
        self.rules = rules
        self._counts = counts
        self.cap = min((cap for _, cap in rules), default=math.inf)
        self.level = math.inf

    def capacity(self, bin_: Bin) -> int | float:
        """Return how many more workers a bin may take."""
        return min((self._left(rule, bin_) for rule in range(len(self.rules))), default=math.inf)

    @property
    def spreads_hosts(self) -> bool:
        """Whether hosts are to be used evenly: all up to one level, then all up to the next."""
        return any(
            constraint.attribute == HOSTNAME and constraint.operator is Operator.SPREAD
            for constraint, _ in self.rules
        )

    def _left(self, rule: int, bin_: Bin) -> int:
        constraint, cap = self.rules[rule]
        value = value_of(constraint.attribute, bin_.host, bin_.attributes)
        if value is None:
            return 0
        if constraint.attribute == HOSTNAME:
            return int(min(cap, self.level)) - self._counts[rule][value]
        return cap - self._counts[rule][value]

    def add(self, bin_: Bin, count: int) -> None:
        for (constraint, _), counts in zip(self.rules, self._counts, strict=True):
            value = value_of(constraint.attribute, bin_.host, bin_.attributes)
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

    def vetoes(self, bin_: Bin, unit: int) -> Iterator[tuple[str, str]]:
        for rule, (constraint, cap) in enumerate(self.rules):
            value = value_of(constraint.attribute, bin_.host, bin_.attributes)
            if value is None or self._left(rule, bin_) >= unit:
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


class Job:
    """The requests of one job, while they are being placed."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.requests: list[ResourceRequest] = []
        self.asked: list[dict[str, int]] = []
        self.assigned: list[int] = []
        self.slots: list[Slot] = []
        self.spread = SpreadCounts((), ())
        self.fits = 0
        self.gathered: list[Offer] = []

    @property
    def gang(self) -> bool:
        return self.requests[0].gang

    @property
    def is_complete(self) -> bool:
        return all(
            count == len(request.worker_ids)
            for count, request in zip(self.assigned, self.requests, strict=True)
        )

    def largest_first(self) -> list[int]:
        amounts = [vector(asked) for asked in self.asked]
        return sorted(range(len(amounts)), key=lambda which: amounts[which], reverse=True)


class Index:
    """Bins that a `Placement` admits, in their order, with a capacity tree over them; and the same by the value of
    an attribute. Executors of one image count as waiting.
    """

    def __init__(self, bins: list[Bin], least: Sequence[int], image: ContainerImage = NO_IMAGE) -> None:
        self.bins = bins
        self.image = image
        self._least = least
        self._ordered: tuple[OrderedBins, OrderedBins] | None = None
        self._parts: dict[str, dict[str, Index]] = {}

    @property
    def ordered_bins(self) -> tuple[OrderedBins, OrderedBins]:
        """The bins with a waiting executor, and all."""
        if self._ordered is None:
            warm = [bin_ for bin_ in self.bins if bin_.idle.get(self.image)]
            self._ordered = OrderedBins(warm, self._least), OrderedBins(self.bins, self._least)
        return self._ordered

    def parts(self, attribute: str) -> dict[str, Index]:
        """Return an index for each value of an attribute."""
        if attribute not in self._parts:
            bins: dict[str, list[Bin]] = {}
            for bin_ in self.bins:
                if (value := value_of(attribute, bin_.host, bin_.attributes)) is not None:
                    bins.setdefault(value, []).append(bin_)
            self._parts[attribute] = {
                value: Index(some, self._least, self.image) for value, some in bins.items()
            }
        return self._parts[attribute]


class OrderedBins:
    """Bins in their order, and the tree that finds the first that fits."""

    def __init__(self, bins: list[Bin], least: Sequence[int]) -> None:
        self.bins = bins
        self.trees = CapacityTree([bin_.free for bin_ in bins], least)
        for number, bin_ in enumerate(bins):
            bin_.leaves.append((self.trees, number))


class FirstFit:
    """A first-fit search for units of one size: one walk over the bins; those before its cursors can take no more of
    them.
    """

    def __init__(
        self,
        indices: Sequence[Index],
        job: Job,
        asked: Sequence[int],
        unit: int,
        attribute: str | None,
        gather: bool,
    ) -> None:
        self.unit = unit
        self._job, self._attribute, self._gather = job, attribute, gather
        asked = [amount * unit for amount in asked]
        self._warm = needs_of(asked)
        self._cold = needs_of([amount + extra for amount, extra in zip(asked, OVERHEAD, strict=True)])
        self._groups: list[tuple[str, list[Index]]]
        if attribute is None:
            self._groups = [("", list(indices))]
        else:
            groups: dict[str, list[Index]] = {}
            for index in indices:
                for value, part in index.parts(attribute).items():
                    groups.setdefault(value, []).append(part)
            self._groups = list(groups.items())
        self._walks: dict[int, Iterator[tuple[Bin, bool]]] = {}
        self._heap = [(0, number) for number in range(len(self._groups))]  # counts are looked up when met

    def next_bin(self) -> tuple[Bin, bool, int] | None:
        """Return the next bin that fits, whether it has a waiting executor, and how many groups of bins there are."""
        heap = self._heap
        while heap:
            count, number = heap[0]
            value, indices = self._groups[number]
            if self._attribute is not None:
                actual, cap = self._job.spread.of(self._attribute, value)
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

    def _walk(self, indices: list[Index]) -> Iterator[tuple[Bin, bool]]:
        for index in indices:
            for is_warm, ordered in zip((True, False), index.ordered_bins, strict=True):
                needs = self._warm if is_warm else self._cold
                trees, number = ordered.trees, 0
                while (number := trees.first(number, needs)) >= 0:
                    bin_ = ordered.bins[number]
                    if is_warm and not bin_.idle.get(index.image):
                        trees.close(number)
                    elif not fits(bin_.free, needs):
                        trees.update(number, bin_.free)  # trees learn of others' workers when they meet them
                    elif self._admits(bin_):
                        yield bin_, is_warm
                    else:
                        number += 1

    def _admits(self, bin_: Bin) -> bool:
        if self._gather and (bin_.gatherer not in (None, self._job) or is_others(bin_, self._job)):
            return False
        return self._job.spread.capacity(bin_) >= self.unit


def partition(placement: Placement) -> str | None:
    """Return the attribute by whose values bins are taken in turns; hosts are too many for that."""
    for constraint in placement.constraints:
        if constraint.operator.counts_workers and constraint.attribute != HOSTNAME:
            return constraint.attribute
    return None


def is_admitted(host: str, attributes: Attributes, placement: Placement) -> bool:
    """Return whether a placement allows an agent, as far as its host and attributes decide.

    Parameters
    ----------
    host : str
    attributes : mapping
        The agent's, by name.
    placement : Placement
    """
    if placement.nodes and host not in placement.nodes:
        return False
    return all(constraint.admits(host, attributes) for constraint in placement.constraints)


def is_others(bin_: Bin, job: Job) -> bool:
    """Return whether workers of another job have been assigned to it."""
    return bool(bin_.assignments) and bin_.assignments[0].job is not job


def needs_of(amounts: Sequence[int]) -> Needs:
    """Return a vector of amounts as what a search asks for."""
    return [(position, amount) for position, amount in enumerate(amounts) if amount]


def fits(free: Sequence[int], needs: Needs) -> bool:
    """Return whether all that is asked is free."""
    return all(free[position] >= amount for position, amount in needs)


def times(free: Sequence[int], asked: Sequence[int]) -> int:
    """Return how often what is asked is free."""
    return max(0, min(have // amount for have, amount in zip(free, asked, strict=True) if amount))
