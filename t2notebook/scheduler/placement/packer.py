"""A round of matching: the offers of one moment while workers are seated on them, and taken back. Pure.

A place is an agent with all its offers of the round; `preferences` says in which order they are tried. Costs
grow with offers + workers: a search for a place is a descent in a tree (`rooms`), which is shared by all
demands of one `Placement`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...model.job import MAX, Placement
from ...model.placement import Attributes
from .bins import (
    FREE,
    HELD,
    OVERHEAD,
    Index,
    Job,
    Place,
    Search,
    Seat,
    Slot,
    is_admitted,
    is_others,
    partition,
    times,
)
from .host_health import Avoided
from .offers import EXECUTOR, NAMES, Carver, Offer, asked_by, vector
from .ranking import arrange, bar
from .requests import Demand, RunningExecutor, Spot
from .spread import Shares


class Round:
    """A set of offers while it is being matched. What was undone is as if it had never been.

    The parameters are those of `match`.
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
    ) -> None:
        self.gpus = gpus
        self._indices: dict[Any, Index] = {}
        self._log: list[Seat] = []
        self._least: list[int] | None = None
        self.retry_at: float | None = None
        self.places = arrange(offers, held)
        agents = {**known, **{place.agent: (place.host, place.attributes) for place in self.places}}
        self._shares = Shares(agents, spots)
        self._slots: dict[str, list[Slot]] = {}
        self._at: dict[str, list[Place]] = {}
        by_agent: dict[str, list[Place]] = {}
        for place in self.places:
            if (free_at := bar(place, avoided, now)) is not None:
                self.retry_at = min(free_at, self.retry_at or math.inf)
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
            job.tally = self._shares.of(job)
        return list(jobs.values())

    def expect(self, jobs: Iterable[Job]) -> None:
        """Nobody but these will ask; so a place that cannot have the least that they ask is full."""
        for job in jobs:
            for asked in job.asked:
                amounts = vector(asked)
                self._least = amounts if self._least is None else list(map(min, self._least, amounts))

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

    def close(self) -> None:
        """Drop the trees over the places: nobody is seated any more."""
        for place in self.places:
            place.leaves.clear()
        self._indices.clear()
