"""The allocator: who is offered what. Pure: told what happens, asked for offers.

Rules, as in Mesos's hierarchical allocator and as recorded: everything that is free on an agent is offered to
one framework, the one that the sorter ranks first (by dominant-resource fairness, or by strict priority); a
decline's filter hides what is within the refused resources until it expires; recovered resources wait for the
next batch (the caller's timer, 1 s); suppressed and inactive frameworks get nothing.

Costs: a batch looks only at agents that have something free, and at those that every framework refused not
again before something changed for them. An allocation moves one pair in the sorter.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...common.resources import Resources
from .sorter import POLICIES, Sorter

MINIMUM = (("cpus", 10), ("mem", 32_000))
"""An offer needs 0.01 cpus or 32 MiB (--min_allocatable_resources)."""

DEFAULT_REFUSE = 5.0
LONGEST_REFUSE = 365 * 86400.0


@dataclass(frozen=True)
class Grant:
    """One offer to make."""

    framework_id: str
    role: str
    agent_id: str
    resources: Resources


@dataclass(frozen=True)
class Filter:
    """Resources of an agent that a framework refused, and the end of that (the caller's clock)."""

    resources: Resources
    until: float


@dataclass
class _Client:
    """A framework as the allocator sees it.

    Attributes
    ----------
    seen
        Every role it holds or held something in; those of `roles` among them.
    filters
        By role, then by agent.
    """

    roles: tuple[str, ...]
    gpus: bool
    active: bool = True
    suppressed: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    filters: dict[str, dict[str, list[Filter]]] = field(default_factory=dict)


@dataclass
class _Agent:
    """An agent as the allocator sees it; `quiet` says that nobody wants it: in which epoch, and until when."""

    total: Resources
    free: Resources
    allocated: Resources = field(default_factory=Resources)
    active: bool = True
    quiet: tuple[int, float] = (-1, 0.0)


def refuse_duration(seconds: float | None, interval: float = 1.0) -> float:
    """Give how long a decline's filter holds; 0 means that there is none.

    Negative means the default, a year is the most, and a filter never ends before the next batch.
    """
    if seconds is None or seconds < 0 or seconds != seconds:
        seconds = DEFAULT_REFUSE
    if seconds == 0:
        return 0.0
    return max(interval, min(seconds, LONGEST_REFUSE))


class Allocator:
    """Tracks totals, allocations (offers included) and filters.

    Parameters
    ----------
    policy
        A name in `sorter.POLICIES`.
    weights
        By role; 1.0 for who is not named.
    """

    def __init__(
        self,
        *,
        interval: float = 1.0,
        seed: int | None = None,
        policy: str = "drf",
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.interval = interval
        self._frameworks: dict[str, _Client] = {}
        self._agents: dict[str, _Agent] = {}
        self._open: dict[str, None] = {}
        self._sum: dict[str, int] = {}
        self._sorter = Sorter(POLICIES[policy], weights)
        self._random = random.Random(seed)
        self._epoch = 0

    # What happened

    def add_framework(
        self, framework_id: str, roles: Iterable[str], *, gpus: bool, suppressed: Iterable[str]
    ) -> None:
        """Add a framework, or make a known one active again (its filters are gone, its allocation stays).

        Parameters
        ----------
        gpus
            It is offered agents with GPUs, too.
        suppressed
            Roles in which it wants no offers.
        """
        known = self._frameworks.get(framework_id)
        client = _Client(tuple(roles), gpus, suppressed=set(suppressed))
        if known is not None:
            client.seen = known.seen
        self._frameworks[framework_id] = client
        self._rank(framework_id, client)

    def _rank(self, framework_id: str, client: _Client) -> None:
        """Tell the sorter in which roles a framework wants offers."""
        client.seen.update(client.roles)
        eager = False
        for role in client.seen:
            self._sorter.add(role, framework_id)
            wants = client.active and role in client.roles and role not in client.suppressed
            self._sorter.activate(role, framework_id, wants)
            eager = eager or wants
        if eager:
            self._epoch += 1

    def remove_framework(self, framework_id: str) -> None:
        """Forget a framework; its resources must have been recovered before."""
        client = self._frameworks.pop(framework_id, None)
        for role in client.seen if client is not None else ():
            self._sorter.remove(role, framework_id)

    def deactivate_framework(self, framework_id: str) -> None:
        """Offer nothing to a framework until it is added again."""
        client = self._frameworks.get(framework_id)
        if client is not None:
            client.active = False
            client.filters.clear()
            self._rank(framework_id, client)

    def add_agent(
        self, agent_id: str, total: Resources, used: Iterable[tuple[str, str, Resources]] = ()
    ) -> None:
        """Add an agent (or make a known one active again) with what it already runs: (framework, role, what).

        Parameters
        ----------
        total
            All its resources.
        used
            Framework, role and resources, each.
        """
        known = self._agents.get(agent_id)
        if known is not None:
            known.active = True
            self._touch(agent_id, known)
            return
        agent = self._agents[agent_id] = _Agent(total, total)
        for name, value in total.scalars.items():
            self._sum[name] = self._sum.get(name, 0) + value
        self._sorter.resize(self._sum)
        self._touch(agent_id, agent)
        for framework_id, role, resources in used:
            self.allocate_now(framework_id, role, agent_id, resources)

    def deactivate_agent(self, agent_id: str) -> None:
        """Offer nothing of this agent until it is added again."""
        agent = self._agents.get(agent_id)
        if agent is not None:
            agent.active = False
            self._touch(agent_id, agent)

    def remove_agent(self, agent_id: str) -> None:
        """Forget an agent; its resources must have been recovered before."""
        agent = self._agents.pop(agent_id, None)
        if agent is None:
            return
        self._open.pop(agent_id, None)
        for name, value in agent.total.scalars.items():
            self._sum[name] -= value
        self._sorter.resize(self._sum)
        for client in self._frameworks.values():
            for found in client.filters.values():
                found.pop(agent_id, None)

    def _touch(self, agent_id: str, agent: _Agent) -> None:
        """Note that an agent changed: what is free, and whether a batch has to look at it."""
        agent.free = agent.total - agent.allocated if agent.allocated else agent.total
        agent.quiet = (-1, 0.0)
        if agent.active and _allocatable(agent.free):
            self._open[agent_id] = None
        else:
            self._open.pop(agent_id, None)

    def allocate_now(self, framework_id: str, role: str, agent_id: str, resources: Resources) -> None:
        """Note resources that are taken without an offer of this allocator (an agent that came back).

        Parameters
        ----------
        resources
            Held by the framework in this role on the agent.
        """
        agent = self._agents.get(agent_id)
        if agent is not None:
            agent.allocated = agent.allocated + resources
            self._touch(agent_id, agent)
        client = self._frameworks.get(framework_id)
        if client is not None:
            if role not in client.seen:
                client.seen.add(role)
                self._sorter.add(role, framework_id)
            self._sorter.take(role, framework_id, resources.scalars)

    def recover(
        self,
        framework_id: str,
        role: str,
        agent_id: str,
        resources: Resources,
        *,
        now: float = 0.0,
        refuse: float | None = None,
    ) -> None:
        """Take resources back.

        Parameters
        ----------
        refuse
            Seconds of a filter on exactly these resources; None for none at all (a task that ended).
        """
        if not resources:
            return
        agent = self._agents.get(agent_id)
        if agent is not None:
            agent.allocated = agent.allocated - resources
            self._touch(agent_id, agent)
        client = self._frameworks.get(framework_id)
        if client is None:
            return
        if role in client.seen:
            self._sorter.release(role, framework_id, resources.scalars)
        duration = 0.0 if refuse is None else refuse_duration(refuse, self.interval)
        if duration and client.active and agent is not None:
            filters = client.filters.setdefault(role, {})
            alive = [one for one in filters.get(agent_id, ()) if one.until > now]
            filters[agent_id] = [*alive, Filter(resources, now + duration)]

    def suppress(self, framework_id: str, roles: Iterable[str]) -> None:
        """Stop offering in these roles."""
        client = self._frameworks[framework_id]
        client.suppressed.update(roles)
        self._rank(framework_id, client)

    def revive(self, framework_id: str, roles: Iterable[str]) -> None:
        """Offer again in these roles, and forget the filters of them."""
        client = self._frameworks[framework_id]
        for role in roles:
            client.suppressed.discard(role)
            client.filters.pop(role, None)
        self._rank(framework_id, client)

    # Questions

    def share(self, framework_id: str, role: str) -> float:
        """Give a framework's dominant share in a role: its largest fraction of any of the cluster's scalars."""
        return self._sorter.share(role, framework_id)

    def free(self, agent_id: str) -> Resources:
        """Give what an agent has that is neither allocated nor offered."""
        return self._agents[agent_id].free

    def filters_active(self) -> int:
        """Count the filters (expired ones that nobody met since included)."""
        clients = self._frameworks.values()
        return sum(len(one) for c in clients for found in c.filters.values() for one in found.values())

    # Decisions

    def allocate(self, now: float, agents: Iterable[str] | None = None) -> list[Grant]:
        """Decide on offers, and book them as allocated.

        Parameters
        ----------
        agents
            Only these (an agent that was just added); None for all.
        """
        if not self._sorter.active:
            return []
        candidates = [a for a in (self._open if agents is None else agents) if a in self._open]
        self._random.shuffle(candidates)
        grants: list[Grant] = []
        for agent_id in candidates:
            agent = self._agents[agent_id]
            epoch, until = agent.quiet
            if epoch == self._epoch and now < until:
                continue
            grant, until = self._choose(agent_id, agent, now)
            if grant is None:
                agent.quiet = (self._epoch, until)
            else:
                grants.append(grant)
                self.allocate_now(grant.framework_id, grant.role, agent_id, grant.resources)
        return grants

    def _choose(self, agent_id: str, agent: _Agent, now: float) -> tuple[Grant | None, float]:
        """Find who gets an agent's free resources; if nobody does, give the time to ask again as well."""
        available, earliest = agent.free, math.inf
        has_gpus = bool(agent.total.scalars.get("gpus"))
        for role, framework_id in self._sorter.order():
            client = self._frameworks[framework_id]
            if has_gpus and not client.gpus:
                continue
            ends = _refused_until(client.filters.get(role, {}).get(agent_id), available, now)
            if ends <= now:
                return Grant(framework_id, role, agent_id, available), ends
            earliest = min(earliest, ends)
        return None, earliest


def _refused_until(filters: list[Filter] | None, available: Resources, now: float) -> float:
    """Give when the first of the filters that hide these resources ends; `now` when none does."""
    if not filters:
        return now
    hiding = [one.until for one in filters if one.until > now and one.resources.contains(available)]
    return min(hiding, default=now)


def _allocatable(resources: Resources) -> bool:
    return any(resources.scalars.get(name, 0) >= least for name, least in MINIMUM)
