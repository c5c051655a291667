"""Absence of offers for workers that the cluster could hold: resources in use, offered to others, kept from this
session, or beyond a role's quota. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from .bins import is_admitted
from .cluster_inventory import AgentReport, Amounts, Cluster
from .offers import EXECUTOR, NAMES, Offer, asked_by
from .packer import Packer
from .requests import ResourceRequest
from .vetoes import MOST_ROWS, Infeasible, Veto, listed, number, quantity

#: A sentence names so many agents at the most.
SHOWN = 3


def needs_of_unit(request: ResourceRequest) -> dict[str, int]:
    """Return what an executor with all workers of a request asks of an agent, thousandths by name."""
    asked = asked_by(request.resource)
    return {
        name: asked.get(name, 0) * len(request.worker_ids) + EXECUTOR.get(name, 0)
        for name in NAMES
        if name in asked or name in EXECUTOR
    }


def would_fit(agents: Iterable[Offer], requests: Sequence[ResourceRequest], *, gpus: bool) -> bool:
    """Return whether all of a job's requests fit on agents of which nothing else is used.

    Parameters
    ----------
    agents : iterable of Offer
        All that the agents have, in the form of offers.
    requests : sequence of ResourceRequest
        Of one job.
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    empty = Packer(agents, locations={}, excluded={}, held={}, known={}, gpus=gpus, now=0.0)
    (job,) = empty.jobs(requests)
    return empty.would_fit(job)


def out_of_reach(cluster: Cluster, job_id: str, *, gpus: bool) -> Iterator[Veto]:
    """Yield why agents are not offered at all: they take no tasks, or have GPUs.

    Parameters
    ----------
    cluster : Cluster
    job_id : str
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    for one in cluster.kept(gpus=gpus):
        have = quantity("gpus", one.total.free["gpus"])
        text = f"{one.host}: has {have}, so Mesos keeps it from this session; set t2.configure(gpus=True)"
        yield Veto(job_id, "gpus", text, agent=one.total.agent, host=one.host)
    for one in cluster.absent:
        yield Veto(job_id, "agent", f"{one.host}: {one.absent}", agent=one.total.agent, host=one.host)


def besides(cluster: Cluster, request: ResourceRequest, *, gpus: bool) -> str:
    """Say which agents could take such workers, and are not offered; empty if none.

    Parameters
    ----------
    cluster : Cluster
    request : ResourceRequest
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    texts = []
    if able := _able(cluster.kept(gpus=gpus), request):
        have = "has" if len(able) == 1 else "have"
        texts.append(
            f"{_hosts(able)} could hold it, but {have} GPUs, and Mesos keeps such agents from this session; "
            "set t2.configure(gpus=True), then submit again"
        )
    if able := _able(cluster.absent, request):
        texts.append(f"{able[0].host} could hold it, but {able[0].absent}")
    for one in cluster.open(gpus=gpus):
        for role in one.reserved:
            if would_fit([one.with_reserved(role)], [request], gpus=True) and not would_fit(
                [one.total], [request], gpus=True
            ):
                return "; ".join(
                    [*texts, f"{one.host} could hold it, with what is reserved there for the role {role}"]
                )
    return "; ".join(texts)


def scarcity(
    cluster: Cluster, requests: Sequence[ResourceRequest], probe: ResourceRequest, *, gpus: bool
) -> Infeasible:
    """Say why workers that would fit on empty agents are offered nothing.

    Parameters
    ----------
    cluster : Cluster
    requests : sequence of ResourceRequest
        All of the job.
    probe : ResourceRequest
        The least of them that can be placed by itself.
    gpus : bool
        Whether this framework has the capability GPU_RESOURCES.
    """
    job_id = probe.job_id
    able = _able(cluster.open(gpus=gpus), probe)
    needs = needs_of_unit(probe)
    roomy: list[AgentReport] = []
    promised: list[AgentReport] = []
    short: list[AgentReport] = []
    for one in able:
        is_roomy = all(one.left_of(name) >= amount for name, amount in needs.items())
        is_promised = not is_roomy and all(
            one.left_of(name, with_offered=True) >= amount for name, amount in needs.items()
        )
        (roomy if is_roomy else promised if is_promised else short).append(one)
    rows = list(_shortages(job_id, islice(short, MOST_ROWS), needs))
    rows += [
        Veto(
            job_id,
            "offer",
            f"{one.host}: what is free is offered to another framework now",
            agent=one.total.agent,
            host=one.host,
        )
        for one in promised[:MOST_ROWS]
    ]
    if quota := _quota(cluster, needs):
        sentence = quota
        rows.insert(0, Veto(job_id, "quota", quota))
    elif roomy and requests[0].gang and not would_fit([one.left() for one in able], requests, gpus=gpus):
        sentence = "what is free holds some of its workers, but not the whole gang"
    elif roomy:
        sentence = f"{_hosts(roomy)} {'has' if len(roomy) == 1 else 'have'} room, but {_held_back(cluster)}"
    elif promised:
        sentence = f"what is free on {_hosts(promised)} is offered to another framework now"
    else:
        more = f"; and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
        sentence = f"nothing large enough is free: {'; '.join(row.message for row in rows[:SHOWN])}{more}"
    rows += out_of_reach(cluster, job_id, gpus=gpus)
    return Infeasible(sentence, tuple(islice(rows, MOST_ROWS)), besides(cluster, probe, gpus=gpus))


def _able(agents: Iterable[AgentReport], request: ResourceRequest) -> list[AgentReport]:
    """Return the agents that could take such workers if nothing else ran there."""
    needs, placement = needs_of_unit(request), request.placement
    return [
        one
        for one in agents
        if is_admitted(one.host, one.total.attributes, placement) and _holds(one.total.free, needs)
    ]


def _holds(free: Amounts, needs: Amounts) -> bool:
    return all(free.get(name, 0) >= amount for name, amount in needs.items())


def _hosts(agents: Sequence[AgentReport]) -> str:
    return listed(sorted({one.host for one in agents}), SHOWN)


def _shortages(job_id: str, agents: Iterable[AgentReport], needs: Amounts) -> Iterator[Veto]:
    for one in agents:
        for name, amount in needs.items():
            free = one.left_of(name, with_offered=True)
            if free < amount:
                have = f"{number(name, free)} of {quantity(name, one.total.free.get(name, 0))} free"
                text = f"{one.host}: {have}, {number(name, amount)} asked"
                yield Veto(
                    job_id,
                    name,
                    text,
                    agent=one.total.agent,
                    host=one.host,
                    offered=free / 1000,
                    asked=amount / 1000,
                )
                break


def _quota(cluster: Cluster, needs: Amounts) -> str:
    for name in cluster.own_roles:
        if (role := cluster.roles.get(name)) is None:
            continue
        for resource, amount in needs.items():
            have = role.consumed.get(resource, 0)
            if resource in role.limit and have + amount > role.limit[resource]:
                most = quantity(resource, role.limit[resource])
                return (
                    f"the quota of the role {name} allows {most}, of which {number(resource, have)} are in use; "
                    f"{number(resource, amount)} more asked"
                )
    return ""


def _held_back(cluster: Cluster) -> str:
    owed = [
        name
        for name, role in cluster.roles.items()
        if name not in cluster.own_roles
        and any(role.consumed.get(resource, 0) < amount for resource, amount in role.guarantee.items())
    ]
    if owed:
        which = f"role{'s' * (len(owed) > 1)} {listed(sorted(owed))}"
        return f"Mesos may hold it back for the guaranteed quota of the {which}"
    return "the master has not offered it to this session yet"
