"""Packing: workers are assigned to the bins of one round, and assignments taken back. Pure.

A bin is an agent with all its offers of one role; `ranking` says in which order bins are tried. Costs grow with
offers + workers: a first-fit search is a descent in a tree (`capacity_tree`), which is shared by all requests of
one `Placement`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...model.container_image import ContainerImage
from ...model.job import MAX, Placement
from ...model.placement import Attributes
from .bins import (
    FREE,
    HELD,
    OVERHEAD,
    Assignment,
    Bin,
    FirstFit,
    Index,
    Job,
    Slot,
    is_admitted,
    is_others,
    partition,
    times,
)
from .host_health import Excluded
from .offers import EXECUTOR, NAMES, Offer, OfferLedger, asked_by, vector
from .ranking import exclude, rank
from .requests import ResourceRequest, RunningExecutor, WorkerLocation
from .spread import SpreadLimits


class Packer:
    """A set of offers while it is being matched. An assignment that is undone leaves no trace.

    The parameters are those of `match`.
    """

    def __init__(
        self,
        offers: Iterable[Offer],
        executors: Iterable[RunningExecutor] = (),
        *,
        locations: Mapping[str, Iterable[WorkerLocation]],
        excluded: Mapping[str, Excluded],
        held: Mapping[str, str],
        known: Mapping[str, tuple[str, Attributes]],
        gpus: bool,
        now: float,
    ) -> None:
        self.gpus = gpus
        self._indices: dict[Any, Index] = {}
        self._log: list[Assignment] = []
        self._least: list[int] | None = None
        self.retry_at: float | None = None
        self.bins = rank(offers, held)
        agents = {**known, **{bin_.agent: (bin_.host, bin_.attributes) for bin_ in self.bins}}
        self._spread_limits = SpreadLimits(agents, locations)
        self._slots: dict[str, list[Slot]] = {}
        self._at: dict[str, list[Bin]] = {}
        by_agent: dict[str, list[Bin]] = {}
        for bin_ in self.bins:
            if (free_at := exclude(bin_, excluded, now)) is not None:
                self.retry_at = min(free_at, self.retry_at or math.inf)
            self._at.setdefault(bin_.host, []).append(bin_)
            by_agent.setdefault(bin_.agent, []).append(bin_)
        for executor in executors:
            beside = [
                bin_
                for bin_ in by_agent.get(executor.agent, ())
                if not executor.role or executor.role == bin_.offers[0].role
            ]
            if not beside:
                continue
            bin_ = beside[0]
            if not executor.job_id:
                bin_.idle.setdefault(executor.image, []).append(executor.executor_id)
            else:
                slot = Slot(
                    bin_, executor.executor_id, executor.workers, executor.limit, image=executor.image
                )
                self._slots.setdefault(executor.job_id, []).append(slot)
        self._scoped: dict[str, list[Bin]] = defaultdict(list)
        for bin_ in self.bins:
            if not bin_.excluded:
                self._scoped[bin_.holder].append(bin_)
                if bin_.holder:
                    self._scoped[HELD].append(bin_)

    def jobs(self, requests: Iterable[ResourceRequest]) -> list[Job]:
        """Return the requests by job, in their order."""
        jobs: dict[str, Job] = {}
        for request in requests:
            job = jobs.setdefault(request.job_id, Job(request.job_id))
            job.requests.append(request)
            job.asked.append(asked_by(request.resource))
            job.assigned.append(0)
        for job in jobs.values():
            job.slots = self._slots.get(job.job_id, [])
            job.spread = self._spread_limits.of(job)
        return list(jobs.values())

    def expect(self, jobs: Iterable[Job]) -> None:
        """Note that nobody but these jobs will ask; so a bin that has not the least that they ask counts as full."""
        for job in jobs:
            for asked in job.asked:
                amounts = vector(asked)
                self._least = amounts if self._least is None else list(map(min, self._least, amounts))

    # Placing.

    def try_gang(self, job: Job, scopes: Sequence[str]) -> bool:
        """Place all workers of a job, or none; return whether they are placed."""
        mark = len(self._log)
        for which in job.largest_first():
            self.assign(job, which, scopes)
        if job.is_complete:
            return True
        job.fits = max(job.fits, sum(job.assigned))
        self._undo(mark)
        return False

    def would_fit(self, job: Job) -> bool:
        """Return whether all workers of a job fit, and place none."""
        mark = len(self._log)
        fits = self.try_gang(job, (FREE,))
        self._undo(mark)
        return fits

    def gather(self, job: Job) -> None:
        """Find the offers that a gang would use, among those that nobody uses in this round."""
        mark = len(self._log)
        for which in job.largest_first():
            self.assign(job, which, (job.job_id, FREE, HELD), gather=True)
        for bin_ in {
            assignment.slot.bin.agent: assignment.slot.bin for assignment in self._log[mark:]
        }.values():
            bin_.gatherer = job
            ledger = OfferLedger(bin_.offers)
            for assignment in bin_.assignments:
                if assignment.is_new:
                    ledger.take(EXECUTOR)
                for _ in ledger.take_for(assignment.count, job.asked[assignment.which]):
                    pass
            job.gathered += [offer for offer in bin_.offers if offer.id in ledger.touched]
        self._undo(mark)

    def assign(self, job: Job, which: int, scopes: Sequence[str], gather: bool = False) -> None:
        """Assign as many workers of a request as fit into bins of `scopes`.

        Parameters
        ----------
        job : Job
        which : int
            The position of the request among the job's.
        scopes : sequence of str
            `FREE`, `HELD`, or the id of a gang: whose bins may be used.
        gather : bool
            Leave out bins that other jobs use in this round.
        """
        request = job.requests[which]
        if request.resource.gpus and not self.gpus:
            return
        if not job.spread.spreads_hosts:
            self._assign_level(job, which, scopes, gather)
            return
        limit = request.resource.workers_per_executor
        step = 1 if limit == MAX else int(limit)
        job.spread.level = step
        while job.assigned[which] < len(request.worker_ids):
            self._assign_level(job, which, scopes, gather)
            if job.spread.level >= job.spread.cap:
                break
            job.spread.level += step
        job.spread.level = math.inf

    def _assign_level(self, job: Job, which: int, scopes: Sequence[str], gather: bool) -> None:
        request = job.requests[which]
        asked = vector(job.asked[which])
        self._fill_own(job, which, asked, scopes, gather)
        limit, total = request.resource.workers_per_executor, len(request.worker_ids)
        search: FirstFit | None = None
        opened: dict[int, Slot] = {}
        while (left := total - job.assigned[which]) > 0:
            unit = 1 if limit == MAX else int(min(int(limit), left, job.spread.cap))
            if search is None or search.unit != unit:
                attribute = partition(request.placement)
                indices = [self._index(scope, request.placement, request.image) for scope in scopes]
                search = FirstFit(indices, job, asked, unit, attribute, gather)
            found = search.next_bin()
            if found is None:
                return
            bin_, is_warm, groups = found
            count = unit
            if limit == MAX:
                free = bin_.free if is_warm else [a - b for a, b in zip(bin_.free, OVERHEAD, strict=True)]
                most = min(left, job.spread.capacity(bin_), times(free, asked))
                count = int(most) if groups == 1 else min(int(most), max(1, left // groups))
            if limit == MAX and id(bin_) in opened:  # its turn came again
                self._take(job, which, opened[id(bin_)], count, asked)
                continue
            executor_id = bin_.idle[request.image].pop(0) if is_warm else ""
            slot = opened[id(bin_)] = Slot(bin_, executor_id, 0, MAX, image=request.image)
            job.slots.append(slot)
            self._take(job, which, slot, count, asked, is_new=not is_warm, was_idle=is_warm)

    def _fill_own(
        self, job: Job, which: int, asked: Sequence[int], scopes: Collection[str], gather: bool
    ) -> None:
        request = job.requests[which]
        limit, placement = request.resource.workers_per_executor, request.placement
        for slot in list(job.slots):
            left = len(request.worker_ids) - job.assigned[which]
            bin_ = slot.bin
            if not left:
                return
            if slot.image != request.image:
                continue
            if bin_.excluded or not bin_.is_in(scopes) or (gather and is_others(bin_, job)):
                continue
            if not is_admitted(bin_.host, bin_.attributes, placement):
                continue
            count = min(left, slot.capacity(limit), job.spread.capacity(bin_), times(bin_.free, asked))
            if count > 0:
                self._take(job, which, slot, int(count), asked)

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
        bin_ = slot.bin
        free = bin_.free
        for position, amount in enumerate(asked):
            if amount:
                free[position] -= amount * count
        if is_new:
            for position, amount in enumerate(OVERHEAD):
                free[position] -= amount
        assignment = Assignment(slot, job, which, job.assigned[which], count, was_idle, is_new, slot.limit)
        limit = job.requests[which].resource.workers_per_executor
        if limit != MAX:
            slot.limit = int(limit) if slot.limit == MAX else min(int(slot.limit), int(limit))
        slot.held += count
        bin_.assignments.append(assignment)
        job.assigned[which] += count
        job.spread.add(bin_, count)
        self._log.append(assignment)

    def _undo(self, mark: int) -> None:
        touched: dict[int, Bin] = {}
        while len(self._log) > mark:
            assignment = self._log.pop()
            slot, job, bin_ = assignment.slot, assignment.job, assignment.slot.bin
            bin_.assignments.pop()
            for position, amount in enumerate(vector(job.asked[assignment.which])):
                bin_.free[position] += amount * assignment.count
            if assignment.is_new:
                for position, amount in enumerate(OVERHEAD):
                    bin_.free[position] += amount
            slot.held -= assignment.count
            slot.limit = assignment.limit_before
            job.assigned[assignment.which] -= assignment.count
            job.spread.add(bin_, -assignment.count)
            if assignment.was_idle:
                bin_.idle[slot.image].insert(0, slot.executor_id)
            if assignment.was_idle or assignment.is_new:
                job.slots.pop()
            touched[id(bin_)] = bin_
        for bin_ in touched.values():
            for trees, number in bin_.leaves:
                trees.update(number, bin_.free)

    def _index(self, scope: str, placement: Placement, image: ContainerImage) -> Index:
        """Return the bins of a scope that a placement admits, whoever asks; each kind is looked for once."""
        fixed = tuple(one for one in placement.constraints if not one.operator.counts_workers)
        key = (scope, placement.nodes, fixed, image)
        if key not in self._indices:
            bins = self._scoped.get(scope, [])
            if placement.nodes:
                mine = {id(bin_) for bin_ in bins} if scope != FREE else None
                bins = sorted(
                    (
                        bin_
                        for host in dict.fromkeys(placement.nodes)
                        for bin_ in self._at.get(host, ())
                        if not bin_.excluded and (id(bin_) in mine if mine is not None else not bin_.holder)
                    ),
                    key=lambda bin_: bin_.order,
                )
            if fixed:
                bins = [bin_ for bin_ in bins if all(one.admits(bin_.host, bin_.attributes) for one in fixed)]
            self._indices[key] = Index(bins, self._least or [0] * len(NAMES), image)
        return self._indices[key]

    def close(self) -> None:
        """Drop the capacity trees: nothing is assigned any more."""
        for bin_ in self.bins:
            bin_.leaves.clear()
        self._indices.clear()
