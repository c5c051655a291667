"""Forecast of how many workers of one kind a cluster holds: on what is free now, and once all has ended. Pure.

The workers are packed as they would be into offers (`Packer`), so what an executor needs for itself, placement and GPUs
count. It is an upper bound: who else asks meanwhile, and what Mesos holds back for others, cannot be told beforehand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...model.placement import value_of
from .bins import FREE, is_admitted
from .cluster_inventory import AgentReport, Cluster
from .offers import EXECUTOR, NAMES, Offer, asked_by
from .packer import Packer
from .requests import ResourceRequest, RunningExecutor


@dataclass(frozen=True)
class Fits:
    """A number of workers, and on how many agents they are."""

    workers: int
    agents: int


@dataclass(frozen=True)
class Forecast:
    """An answer to "how many workers of this kind fit".

    Attributes
    ----------
    now, later : Fits
        On what is free now; on the whole cluster, once all that runs there has ended.
    planned, waiting : dict
        By agent: how many of the asked workers would start there now, and how many more where others have to end first.
    quota : str
        The role whose quota bounds both; empty if none does.
    largest : dict
        By resource, thousandths: the most that one worker can have on an agent that may take it.
    """

    now: Fits
    later: Fits
    planned: dict[str, int]
    waiting: dict[str, int]
    quota: str
    largest: dict[str, int]


def forecast(
    cluster: Cluster,
    request: ResourceRequest,
    executors: Iterable[RunningExecutor] = (),
    *,
    gpus: bool,
) -> Forecast:
    """Return how many workers like those of a request fit.

    Parameters
    ----------
    cluster : Cluster
    request : ResourceRequest
        Of the workers that are asked for.
    executors : iterable of RunningExecutor
        This framework's; one that waits, warm, needs nothing more for itself.
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    agents = cluster.open(gpus=gpus)
    # What is offered to somebody at this moment may be declined again.
    free = [one.left(with_offered=True) for one in agents]
    warm = [executor for executor in executors if not executor.job_id]
    now = _packed(free, _as_many_as(free, request), warm, gpus)
    totals = [one.total for one in agents]
    later = _packed(totals, _as_many_as(totals, request), (), gpus)
    quota, left = _quota(cluster, request)
    planned = _packed(free, request, warm, gpus)
    rest = len(request.worker_ids) - planned.total()
    waiting = _left_for(later - planned, rest)
    bound = quota if left < now.total() else ""
    return Forecast(
        Fits(int(min(now.total(), left)), len(now)),
        Fits(later.total(), len(later)),
        dict(planned),
        waiting,
        bound,
        _largest(agents, request),
    )


def attributes_of_cluster(cluster: Cluster, *, gpus: bool) -> dict[str, list[str]]:
    """Return the attributes that agents have, each with its values, as ``--where`` takes them.

    Parameters
    ----------
    cluster : Cluster
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    found: dict[str, set[str]] = {}
    for one in cluster.open(gpus=gpus):
        for name in one.total.attributes:
            if (value := value_of(name, one.host, one.total.attributes)) is not None:
                found.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in sorted(found.items())}


def _packed(
    offers: Iterable[Offer], request: ResourceRequest, executors: Iterable[RunningExecutor], gpus: bool
) -> Counter[str]:
    """Return the numbers of workers by agent."""
    packer = Packer(offers, executors, locations={}, excluded={}, held={}, known={}, gpus=gpus, now=0.0)
    (job,) = packer.jobs([request])
    packer.assign(job, 0, (FREE,))
    counts = {bin_.agent: sum(one.count for one in bin_.assignments) for bin_ in packer.bins}
    packer.close()
    return Counter({agent: count for agent, count in counts.items() if count})


def _as_many_as(offers: Iterable[Offer], request: ResourceRequest) -> ResourceRequest:
    """Return a request for as many workers as there are resources for, wherever they may be."""
    asked = asked_by(request.resource)
    most = sum(min(offer.free.get(name, 0) // each for name, each in asked.items()) for offer in offers)
    return replace(request, worker_ids=range(most), number_of_workers=most)


def _left_for(room: Mapping[str, int], workers: int) -> dict[str, int]:
    found = {}
    for agent, count in room.items():
        if (some := min(count, workers)) > 0:
            found[agent] = some
            workers -= some
    return found


def _quota(cluster: Cluster, request: ResourceRequest) -> tuple[str, float]:
    """Return the role whose quota bounds the workers the most, and how many it lets us have now."""
    asked = asked_by(request.resource)
    found: list[tuple[float, str]] = [(math.inf, "")]
    for name in cluster.own_roles:
        if (role := cluster.roles.get(name)) is None:
            continue
        for resource, limit in role.limit.items():
            if each := asked.get(resource, 0):
                left = limit - role.consumed.get(resource, 0) - EXECUTOR.get(resource, 0)
                found.append((max(0, left // each), name))
    workers, name = min(found)
    return name, workers


def _largest(agents: Iterable[AgentReport], request: ResourceRequest) -> dict[str, int]:
    found: dict[str, Any] = dict.fromkeys(NAMES, 0)
    for one in agents:
        if is_admitted(one.host, one.total.attributes, request.placement):
            for name in NAMES:
                found[name] = max(found[name], one.total.free.get(name, 0) - EXECUTOR.get(name, 0))
    return found
