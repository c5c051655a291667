"""Feasibility: whether the cluster as it is could ever take the workers that wait, by its agents' totals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from ...model.job import MAX
from ...model.placement import value_of
from .bins import is_admitted
from .cluster_inventory import Cluster
from .diagnosis import vetoes_of
from .no_offers import besides, needs_of_unit, out_of_reach, scarcity
from .offers import EXECUTOR, NAMES, Offer, asked_by
from .packer import Packer
from .requests import ResourceRequest
from .vetoes import MOST_ROWS, NO_GPUS, Infeasible, Veto, extras, listed, number, quantity


def find_infeasible(
    cluster: Cluster, requests: Iterable[ResourceRequest], gpus: bool = True
) -> dict[str, Infeasible]:
    """Return, by job, why nothing in the cluster as it is can take its workers; jobs that can be taken are
    left out.

    A request is tried as if the agents were empty, with its executor's own share counted: one executor's
    workers, or the whole gang. Hosts that are excluded or down for maintenance count, since that passes.

    Parameters
    ----------
    cluster : Cluster
    requests : iterable of ResourceRequest
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    found: dict[str, Infeasible] = {}
    agents = [one.total for one in cluster.open(gpus=gpus)]
    empty = Packer(agents, locations={}, excluded={}, held={}, known={}, gpus=gpus, now=0.0)
    by_job: dict[str, list[ResourceRequest]] = {}
    for request in requests:
        by_job.setdefault(request.job_id, []).append(request)
    sentences: dict[Any, str] = {}
    for job_id, mine in by_job.items():
        for request in mine:
            probe = _probe(request)
            (job,) = empty.jobs([probe])
            if empty.would_fit(job):
                continue
            key = (probe.resource, probe.placement, len(probe.worker_ids))
            if key not in sentences:
                sentences[key] = _sentence(cluster, agents, probe, gpus)
            rows: Iterator[Veto] = (
                veto for bin_ in empty.bins for veto in vetoes_of(bin_, job, 0, False, in_all=True)
            )
            rows = chain(rows, out_of_reach(cluster, job_id, gpus=gpus))
            found[job_id] = Infeasible(sentences[key], tuple(islice(rows, MOST_ROWS)))
            break
        else:
            if mine[0].gang:
                (job,) = empty.jobs(mine)
                if not empty.would_fit(job):
                    total = sum(len(request.worker_ids) for request in mine)
                    sentence = (
                        f"this cluster cannot hold the whole gang: {job.fits} of {total} workers would "
                        f"fit on its {_agents(len(agents))} if nothing else ran there"
                    )
                    if more := besides(cluster, _probe(mine[0]), gpus=gpus):
                        sentence = f"{sentence}; {more}"
                    row = Veto(
                        job_id,
                        "gang",
                        f"gang: {job.fits} of {total} workers fit",
                        offered=job.fits,
                        asked=total,
                    )
                    found[job_id] = Infeasible(sentence, (row,))
    return found


def scarcities(
    cluster: Cluster, requests: Iterable[ResourceRequest], gpus: bool = True
) -> dict[str, Infeasible]:
    """Return, by job, why the master offers nothing for its workers, if the cluster could hold them.

    Jobs that ask for the same have one reason, which is found once: all agents are looked at for it.

    Parameters
    ----------
    cluster : Cluster
    requests : iterable of ResourceRequest
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    by_job: dict[str, list[ResourceRequest]] = {}
    for request in requests:
        by_job.setdefault(request.job_id, []).append(request)
    known: dict[Any, Infeasible] = {}
    found: dict[str, Infeasible] = {}
    for job_id, mine in by_job.items():
        key = tuple((one.resource, one.placement, one.gang, len(one.worker_ids)) for one in mine)
        if key not in known:
            known[key] = scarcity(cluster, mine, _probe(mine[0]), gpus=gpus)
        found[job_id] = known[key]
    return found


def _probe(request: ResourceRequest) -> ResourceRequest:
    """Return the least of a request that can be placed by itself: the workers of one executor."""
    limit = request.resource.workers_per_executor
    unit = 1 if limit == MAX else int(limit)
    waiting = request.number_of_workers or len(request.worker_ids)
    return replace(request, worker_ids=request.worker_ids[:unit], gang=False, number_of_workers=waiting)


def _sentence(cluster: Cluster, agents: Sequence[Offer], request: ResourceRequest, gpus: bool) -> str:
    if request.resource.gpus and not gpus:
        return NO_GPUS
    if not agents:
        return _nobody(cluster, gpus)
    more = besides(cluster, request, gpus=gpus)
    return _lack(agents, request) + (f"; {more}" if more else "")


def _nobody(cluster: Cluster, gpus: bool) -> str:
    """Say why no agent is offered, whatever is asked."""
    if not cluster.agents:
        lost = cluster.unreachable
        return "this cluster has no agents" + (
            f"; {lost} {'is' if lost == 1 else 'are'} unreachable" if lost else ""
        )
    absent = cluster.absent
    if cluster.kept(gpus=gpus):
        which = " that takes tasks" if absent else ""
        return (
            f"every agent of this cluster{which} has GPUs, and Mesos keeps such agents from this session; "
            "set t2.configure(gpus=True), then submit again"
        )
    reasons = Counter(one.absent for one in absent)
    first = listed([f"{one.host} {one.absent}" for one in absent], 3) if len(absent) <= 3 else ""
    counted = ", ".join(
        f"{count} {'agent' if count == 1 else 'agents'} {_many(text, count)}"
        for text, count in reasons.items()
    )
    return f"no agent of this cluster takes tasks: {first or counted}"


_PLURAL = {"is": "are", "has": "have"}


def _many(text: str, count: int) -> str:
    """Put a sentence about one agent into the plural, if it is about more."""
    verb, _, rest = text.partition(" ")
    return text if count == 1 else f"{_PLURAL[verb]} {rest}"


def _lack(agents: Sequence[Offer], request: ResourceRequest) -> str:
    nodes, constraints = request.placement.nodes, request.placement.constraints
    named = [agent for agent in agents if not nodes or agent.host in nodes]
    if not named:
        hosts = listed(sorted({agent.host for agent in agents}))
        return f"no agent of this cluster is among the nodes {listed(nodes)}; there are {hosts}"
    for constraint in constraints:
        if not any(constraint.admits(agent.host, agent.attributes) for agent in named):
            values = {value_of(constraint.attribute, agent.host, agent.attributes) for agent in named}
            there = sorted(value for value in values if value is not None)
            what = (
                f"{constraint.attribute} is {listed(there)}" if there else f"none has {constraint.attribute}"
            )
            return f"no agent of this cluster satisfies {constraint}; {what}"
    fitting = [agent for agent in named if is_admitted(agent.host, agent.attributes, request.placement)]
    if not fitting:
        return f"no agent of this cluster satisfies all of {request.placement.where}"
    return _too_small(fitting, request, "" if len(fitting) == len(agents) else " that it may run on")


def _too_small(agents: Sequence[Offer], request: ResourceRequest, which: str) -> str:
    unit = len(request.worker_ids)
    needed = needs_of_unit(request)
    asked = {name: amount * unit for name, amount in asked_by(request.resource).items()}
    what = "such a worker" if unit == 1 else f"{unit} such workers in one executor"
    head = f"no agent of this cluster{which} can hold {what}"
    count = len(agents)
    short = []
    for name, amount in needed.items():
        largest = max(agent.free.get(name, 0) for agent in agents)
        if largest < amount:
            have = f"the largest of {_agents(count)} has" if count > 1 else "the only one has"
            share = extras(name, EXECUTOR.get(name, 0), 1)
            short.append(f"{quantity(name, amount)} asked{share}, {have} {number(name, largest)}")
    if short:
        return f"{head}: {'; '.join([*short, *_would_do(agents, asked, unit)])}"
    both = " and ".join(quantity(name, amount) for name, amount in needed.items())
    none = f"none of {_agents(count)} has {both} at once"
    return f"{head}: {'; '.join([none, *_would_do(agents, asked, unit)])}"


def _would_do(agents: Sequence[Offer], asked: Mapping[str, int], unit: int) -> Iterator[str]:
    """Say how large each of `unit` workers in one executor may be, on the agent that comes nearest; nothing if it
    lacks a resource altogether.
    """

    def capacity(agent: Offer) -> dict[str, int]:
        return {
            name: max(0, agent.free.get(name, 0) - EXECUTOR.get(name, 0)) // unit
            for name in NAMES
            if name in asked
        }

    nearest = max(
        map(capacity, agents), key=lambda one: sum(min(1.0, one[name] / asked[name] * unit) for name in one)
    )
    largest = " and ".join(quantity(name, amount) for name, amount in nearest.items())
    if all(nearest.values()):
        yield f"at most {largest} for {'a worker' if unit == 1 else 'each'} would do"


def _agents(count: int) -> str:
    return f"{count} agent{'s' * (count != 1)}"
