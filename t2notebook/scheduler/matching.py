"""Which workers go where: offers and demands in, launches and refusals out. Pure; no I/O, no clock.

All amounts are whole thousandths, as Mesos counts, so that sums are exact.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.job import MAX, ComputeResource

#: What an executor itself takes, counted in every fit: 0.1 cpus and 64 MiB.
EXECUTOR = {"cpus": 100, "mem": 64_000}
_NAMES = ("cpus", "mem", "disk", "gpus")
_UNITS = {"cpus": "cpus", "mem": "MiB memory", "disk": "MiB disk", "gpus": "GPUs"}


def thousandths(value: float) -> int:
    """Return `value` as whole thousandths, rounded as Mesos rounds."""
    return round(value * 1000)


def asked_by(resource: ComputeResource) -> dict[str, int]:
    """Return what one worker asks for, by Mesos's resource names."""
    asked = {
        "cpus": thousandths(resource.cpu),
        "mem": thousandths(resource.ram_mega_bytes),
        "disk": thousandths(resource.disk_giga_bytes * 1024),
        "gpus": thousandths(resource.gpus),
    }
    return {name: amount for name, amount in asked.items() if amount}


@dataclass(frozen=True)
class Offer:
    """An offer: one agent's free resources, summed over reservations; and which executors of ours it runs."""

    id: str
    agent: str
    host: str
    free: Mapping[str, int]
    executors: frozenset[str] = frozenset()

    @classmethod
    def from_mesos(cls, offer: Mapping[str, Any]) -> Offer:
        """Read a Mesos offer (JSON of v1's `Offer`)."""
        free = dict.fromkeys(_NAMES, 0)
        for resource in offer.get("resources", ()):
            if resource["name"] in free and "scalar" in resource:
                free[resource["name"]] += thousandths(resource["scalar"]["value"])
        return cls(
            id=offer["id"]["value"],
            agent=offer["agent_id"]["value"],
            host=offer.get("hostname", ""),
            free=free,
            executors=frozenset(executor["value"] for executor in offer.get("executor_ids", ())),
        )


@dataclass(frozen=True)
class Demand:
    """Workers of one job that wait for the same resources."""

    job_id: str
    worker_ids: Sequence[int]
    resource: ComputeResource


@dataclass(frozen=True)
class RunningExecutor:
    """An executor of ours on an agent: how many workers it runs, and of which job (empty: it waits, warm)."""

    executor_id: str
    agent: str
    job_id: str = ""
    workers: int = 0


@dataclass(frozen=True)
class Launch:
    """A worker to be launched on an offer, in an executor that may be new."""

    offer: Offer
    executor_id: str
    job_id: str
    worker_id: int
    resource: ComputeResource
    new_executor: bool


@dataclass(frozen=True)
class Refusal:
    """Why an offer could not take a worker of a job: what it lacked. Amounts in thousandths."""

    offer: Offer
    job_id: str
    lacked: str
    offered: int
    asked: int
    overhead: int = 0

    @property
    def message(self) -> str:
        """In words: ``h3: 2.0 cpus free, 4.0 asked``."""
        free, asked = _amount(self.offered), _amount(self.asked)
        extra = f", {_amount(self.overhead)} of it for the executor" if self.overhead else ""
        return f"{self.offer.host}: {free} {_UNITS[self.lacked]} free, {asked} asked{extra}"


@dataclass
class Plan:
    """What to do with a set of offers: launches by offer id; what is left over is declined."""

    launches: dict[str, list[Launch]] = field(default_factory=lambda: defaultdict(list))
    refusals: list[Refusal] = field(default_factory=list)
    declined: list[Offer] = field(default_factory=list)


def match(
    offers: Iterable[Offer],
    demands: Sequence[Demand],
    executors: Iterable[RunningExecutor] = (),
    new_executor_id: Callable[[], str] | None = None,
) -> Plan:
    """Place as many workers as fit.

    Parameters
    ----------
    offers : iterable of Offer
    demands : sequence of Demand
        In order of precedence. One that does not fit never keeps a later one from being placed.
    executors : iterable of RunningExecutor
        The living executors of this framework; agents with a waiting one are tried first.
    new_executor_id : callable, optional
        Names a new executor.

    Returns
    -------
    Plan
        Each offer is either in `launches` or in `declined`, never both, never neither.
    """
    fresh = new_executor_id or (f"executor-{number}" for number in itertools.count()).__next__
    by_agent: dict[str, list[RunningExecutor]] = defaultdict(list)
    for executor in executors:
        by_agent[executor.agent].append(executor)
    places = [_Place(offer, by_agent.get(offer.agent, ()), fresh) for offer in offers]
    places.sort(key=lambda place: not place.idle)
    plan = Plan()
    for demand in demands:
        waiting = list(reversed(demand.worker_ids))
        asked = asked_by(demand.resource)
        for place in places:
            while waiting and place.put(demand, asked, waiting[-1], plan):
                waiting.pop()
            if not waiting:
                break
        if waiting:
            plan.refusals += [refusal for place in places for refusal in place.refusals(demand, asked)]
    plan.declined = [place.offer for place in places if place.offer.id not in plan.launches]
    return plan


class _Place:
    """An offer while it is being filled."""

    def __init__(self, offer: Offer, executors: Iterable[RunningExecutor], fresh: Callable[[], str]) -> None:
        self.offer = offer
        self.free = dict(offer.free)
        self.idle = [executor.executor_id for executor in executors if not executor.job_id]
        self._fresh = fresh
        self._open: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
        for executor in executors:
            if executor.job_id:
                self._open[executor.job_id].append((executor.executor_id, executor.workers, False))

    def put(self, demand: Demand, asked: Mapping[str, int], worker_id: int, plan: Plan) -> bool:
        """Place one worker here if it fits."""
        limit = demand.resource.workers_per_executor
        mine = self._open[demand.job_id]
        needed = dict(asked)
        chosen = next(
            (index for index, (_, held, _) in enumerate(mine) if limit == MAX or held < int(limit)), None
        )
        if chosen is None and not self.idle:
            needed = _plus_executor(needed)
        if any(self.free.get(name, 0) < amount for name, amount in needed.items()):
            return False
        if chosen is not None:
            executor_id, held, new = mine[chosen]
            mine[chosen] = (executor_id, held + 1, new)
        elif self.idle:
            executor_id, new = self.idle.pop(0), False
            mine.append((executor_id, 1, new))
        else:
            executor_id, new = self._fresh(), True
            mine.append((executor_id, 1, new))
        for name, amount in needed.items():
            self.free[name] -= amount
        plan.launches[self.offer.id].append(
            Launch(self.offer, executor_id, demand.job_id, worker_id, demand.resource, new)
        )
        return True

    def refusals(self, demand: Demand, asked: Mapping[str, int]) -> list[Refusal]:
        """Return what is lacking here for one more worker."""
        limit = demand.resource.workers_per_executor
        has_room = any(limit == MAX or held < int(limit) for _, held, _ in self._open[demand.job_id])
        needed = asked if has_room or self.idle else _plus_executor(asked)
        return [
            Refusal(
                self.offer, demand.job_id, name, self.free.get(name, 0), amount, amount - asked.get(name, 0)
            )
            for name, amount in needed.items()
            if self.free.get(name, 0) < amount
        ]


def _plus_executor(asked: Mapping[str, int]) -> dict[str, int]:
    return {name: asked.get(name, 0) + EXECUTOR.get(name, 0) for name in {**asked, **EXECUTOR}}


def _amount(thousandth: int) -> str:
    text = f"{thousandth / 1000:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text
