"""Whether this cluster as it is could ever take the workers that wait: by what its agents have in all. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..model.job import MAX
from ..model.placement import attributes_of_agent, value_of
from .demands import Demand
from .offers import EXECUTOR, NAMES, Offer, asked_by, usable
from .places import is_admitted
from .refusals import NO_GPUS, Refusal, extras, listed, number, quantity
from .rounds import Round
from .unplaced import lacks

#: Never more rows in ``job.why`` than a person can look through.
MOST_ROWS = 1000


@dataclass(frozen=True)
class Verdict:
    """That workers can never start here: a sentence for people, and why, agent by agent."""

    sentence: str
    refusals: tuple[Refusal, ...]


def totals_of(slaves: Mapping[str, Any], roles: Collection[str]) -> list[Offer]:
    """Return what each active agent has in all for a framework of these roles, in the form of offers.

    Parameters
    ----------
    slaves : mapping
        What the master's ``/slaves`` answers (Mesos, ``docs/endpoints/master/slaves.md``).
    roles : collection of str
        Resources that are reserved for one, or for a role above it, count; those of others do not.
    """
    totals = []
    for record in slaves.get("slaves", ()):
        if not record.get("active", True) or record.get("deactivated") or record.get("drain_info"):
            continue
        items = list(record.get("unreserved_resources_full", ()))
        for reserved_for, some in record.get("reserved_resources_full", {}).items():
            if any(role == reserved_for or role.startswith(f"{reserved_for}/") for role in roles):
                items += some
        resources, free = usable(items)
        totals.append(
            Offer(
                id="",
                agent=record["id"],
                host=record.get("hostname", ""),
                free=free,
                attributes=attributes_of_agent(record.get("attributes", {})),
                resources=resources,
            )
        )
    return totals


def verdicts(agents: Sequence[Offer], demands: Iterable[Demand], gpus: bool = True) -> dict[str, Verdict]:
    """Return, by job, why nothing in the cluster as it is can take its workers; jobs that can be taken are
    left out.

    A demand is tried as if the agents were empty, with its executor's own share counted: one executor's
    workers, or the whole gang. Who is avoided or down for maintenance counts as there, since that passes.
    """
    found: dict[str, Verdict] = {}
    empty = Round(agents, spots={}, avoided={}, held={}, known={}, gpus=gpus, now=0.0)
    by_job: dict[str, list[Demand]] = {}
    for demand in demands:
        by_job.setdefault(demand.job_id, []).append(demand)
    sentences: dict[Any, str] = {}
    for job_id, mine in by_job.items():
        for demand in mine:
            probe = _probe(demand)
            (job,) = empty.jobs([probe])
            if empty.would_fit(job):
                continue
            key = (probe.resource, probe.placement, len(probe.worker_ids))
            if key not in sentences:
                sentences[key] = _sentence(agents, probe, gpus)
            rows: Iterator[Refusal] = (
                refusal for place in empty.places for refusal in lacks(place, job, 0, False, in_all=True)
            )
            found[job_id] = Verdict(
                sentences[key], tuple(row for row, _ in zip(rows, range(MOST_ROWS), strict=False))
            )
            break
        else:
            if mine[0].gang:
                (job,) = empty.jobs(mine)
                if not empty.would_fit(job):
                    total = sum(len(demand.worker_ids) for demand in mine)
                    sentence = (
                        f"this cluster cannot hold the whole gang: {job.fits} of {total} workers would "
                        f"fit on its {_agents(len(agents))} if nothing else ran there"
                    )
                    row = Refusal(
                        job_id,
                        "gang",
                        f"gang: {job.fits} of {total} workers fit",
                        offered=job.fits,
                        asked=total,
                    )
                    found[job_id] = Verdict(sentence, (row,))
    return found


def _probe(demand: Demand) -> Demand:
    """Return the least of a demand that can be placed by itself: the workers of one executor."""
    limit = demand.resource.workers_per_executor
    unit = 1 if limit == MAX else int(limit)
    waiting = demand.number_of_workers or len(demand.worker_ids)
    return replace(demand, worker_ids=demand.worker_ids[:unit], gang=False, number_of_workers=waiting)


def _sentence(agents: Sequence[Offer], demand: Demand, gpus: bool) -> str:
    if demand.resource.gpus and not gpus:
        return NO_GPUS
    if not agents:
        return "this cluster has no agents"
    nodes, constraints = demand.placement.nodes, demand.placement.constraints
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
    fitting = [agent for agent in named if is_admitted(agent.host, agent.attributes, demand.placement)]
    if not fitting:
        return f"no agent of this cluster satisfies all of {demand.placement.where}"
    return _too_small(fitting, demand, "" if len(fitting) == len(agents) else " that it may run on")


def _too_small(agents: Sequence[Offer], demand: Demand, which: str) -> str:
    unit = len(demand.worker_ids)
    asked = {name: amount * unit for name, amount in asked_by(demand.resource).items()}
    needed = {
        name: asked.get(name, 0) + EXECUTOR.get(name, 0)
        for name in NAMES
        if name in asked or name in EXECUTOR
    }
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

    def room(agent: Offer) -> dict[str, int]:
        return {
            name: max(0, agent.free.get(name, 0) - EXECUTOR.get(name, 0)) // unit
            for name in NAMES
            if name in asked
        }

    nearest = max(
        map(room, agents), key=lambda one: sum(min(1.0, one[name] / asked[name] * unit) for name in one)
    )
    largest = " and ".join(quantity(name, amount) for name, amount in nearest.items())
    if all(nearest.values()):
        yield f"at most {largest} for {'a worker' if unit == 1 else 'each'} would do"


def _agents(count: int) -> str:
    return f"{count} agent{'s' * (count != 1)}"
