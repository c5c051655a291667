"""The allocator: who is offered what, by dominant-resource fairness. Pure: told what happens, asked for offers.

Rules, as in Mesos's hierarchical allocator and as recorded: everything that is free on an agent is offered to
one framework, the one with the smallest dominant share (roles first, then the frameworks of the role); a
decline's filter hides what is within the refused resources until it expires; recovered resources wait for the
next batch (the caller's timer, 1 s); suppressed and inactive frameworks get nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from t2notebook.localmesos.resources import Resources

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
    """What a framework does not want to see again on an agent, and until when (the caller's clock)."""

    resources: Resources
    until: float


@dataclass
class _Client:
    """A framework as the allocator sees it."""

    roles: tuple[str, ...]
    gpus: bool
    active: bool = True
    suppressed: set[str] = field(default_factory=set)
    allocated: dict[str, Resources] = field(default_factory=dict)
    filters: dict[tuple[str, str], list[Filter]] = field(default_factory=dict)


@dataclass
class _Agent:
    total: Resources
    allocated: Resources = field(default_factory=Resources)
    active: bool = True


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
    """Tracks totals, allocations (offers included) and filters."""

    def __init__(self, *, interval: float = 1.0, seed: int | None = None) -> None:
        self.interval = interval
        self._frameworks: dict[str, _Client] = {}
        self._agents: dict[str, _Agent] = {}
        self._sum = Resources()
        self._random = random.Random(seed)

    # What happened

    def add_framework(
        self, framework_id: str, roles: Iterable[str], *, gpus: bool, suppressed: Iterable[str]
    ) -> None:
        """Add a framework, or make a known one active again (its filters are gone, its allocation stays)."""
        known = self._frameworks.get(framework_id)
        client = _Client(tuple(roles), gpus, suppressed=set(suppressed))
        if known is not None:
            client.allocated = known.allocated
        self._frameworks[framework_id] = client

    def remove_framework(self, framework_id: str) -> None:
        """Forget a framework; its resources must have been recovered before."""
        self._frameworks.pop(framework_id, None)

    def deactivate_framework(self, framework_id: str) -> None:
        """Offer nothing to a framework until it is added again."""
        client = self._frameworks.get(framework_id)
        if client is not None:
            client.active = False
            client.filters.clear()

    def add_agent(
        self, agent_id: str, total: Resources, used: Iterable[tuple[str, str, Resources]] = ()
    ) -> None:
        """Add an agent (or make a known one active again) with what it already runs: (framework, role, what)."""
        if agent_id in self._agents:
            self._agents[agent_id].active = True
            return
        self._agents[agent_id] = _Agent(total)
        self._sum = self._sum + total
        for framework_id, role, resources in used:
            self.allocate_now(framework_id, role, agent_id, resources)

    def deactivate_agent(self, agent_id: str) -> None:
        """Offer nothing of this agent until it is added again."""
        if agent_id in self._agents:
            self._agents[agent_id].active = False

    def remove_agent(self, agent_id: str) -> None:
        """Forget an agent; its resources must have been recovered before."""
        agent = self._agents.pop(agent_id, None)
        if agent is not None:
            self._sum = self._sum - agent.total
            for client in self._frameworks.values():
                for key in [key for key in client.filters if key[0] == agent_id]:
                    del client.filters[key]

    def allocate_now(self, framework_id: str, role: str, agent_id: str, resources: Resources) -> None:
        """Note resources that are taken without an offer of this allocator (an agent that came back)."""
        if agent_id in self._agents:
            agent = self._agents[agent_id]
            agent.allocated = agent.allocated + resources
        client = self._frameworks.get(framework_id)
        if client is not None:
            client.allocated[role] = client.allocated.get(role, Resources()) + resources

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
        client = self._frameworks.get(framework_id)
        if client is None:
            return
        client.allocated[role] = client.allocated.get(role, Resources()) - resources
        duration = 0.0 if refuse is None else refuse_duration(refuse, self.interval)
        if duration and client.active and agent is not None:
            client.filters.setdefault((agent_id, role), []).append(Filter(resources, now + duration))

    def suppress(self, framework_id: str, roles: Iterable[str]) -> None:
        """Stop offering in these roles."""
        self._frameworks[framework_id].suppressed.update(roles)

    def revive(self, framework_id: str, roles: Iterable[str]) -> None:
        """Offer again in these roles, and forget the filters of them."""
        client = self._frameworks[framework_id]
        wanted = set(roles)
        client.suppressed -= wanted
        for key in [key for key in client.filters if key[1] in wanted]:
            del client.filters[key]

    # Questions

    def share(self, framework_id: str, role: str) -> float:
        """Give a framework's dominant share in a role: its largest fraction of any of the cluster's scalars."""
        return self._share(self._frameworks[framework_id].allocated.get(role, Resources()))

    def _share(self, resources: Resources) -> float:
        best = 0.0
        for name, value in resources.scalars.items():
            total = self._sum.scalars.get(name, 0)
            if total:
                best = max(best, value / total)
        return best

    def free(self, agent_id: str) -> Resources:
        """Give what an agent has that is neither allocated nor offered."""
        agent = self._agents[agent_id]
        return agent.total - agent.allocated

    def filters_active(self) -> int:
        """Count the filters (expired ones that nobody met since included)."""
        return sum(len(found) for client in self._frameworks.values() for found in client.filters.values())

    # Decisions

    def allocate(self, now: float, agents: Iterable[str] | None = None) -> list[Grant]:
        """Decide on offers, and book them as allocated.

        Parameters
        ----------
        agents
            Only these (an agent that was just added); None for all.
        """
        candidates = [a for a in (self._agents if agents is None else agents) if a in self._agents]
        self._random.shuffle(candidates)
        wanting = {
            (role, framework_id)
            for framework_id, client in self._frameworks.items()
            if client.active
            for role in client.roles
            if role not in client.suppressed
        }
        grants: list[Grant] = []
        if not wanting:
            return grants
        role_total: dict[str, Resources] = {}
        for client in self._frameworks.values():
            for role, resources in client.allocated.items():
                role_total[role] = role_total.get(role, Resources()) + resources
        # Insertion order breaks ties, so equals take turns by their own allocation and the rest is stable.
        order = [
            key for f, c in self._frameworks.items() for key in ((r, f) for r in c.roles) if key in wanting
        ]
        for agent_id in candidates:
            agent = self._agents[agent_id]
            if not agent.active:
                continue
            available = agent.total - agent.allocated
            if not _allocatable(available):
                continue
            ranked = sorted(
                order,
                key=lambda key: (
                    self._share(role_total.get(key[0], Resources())),
                    self.share(key[1], key[0]),
                ),
            )
            for role, framework_id in ranked:
                client = self._frameworks[framework_id]
                if not client.gpus and agent.total.scalars.get("gpus"):
                    continue
                if self._filtered(client, agent_id, role, available, now):
                    continue
                self.allocate_now(framework_id, role, agent_id, available)
                role_total[role] = role_total.get(role, Resources()) + available
                grants.append(Grant(framework_id, role, agent_id, available))
                break
        return grants

    def _filtered(self, client: _Client, agent_id: str, role: str, available: Resources, now: float) -> bool:
        found = client.filters.get((agent_id, role))
        if not found:
            return False
        alive = [one for one in found if one.until > now]
        if len(alive) != len(found):
            client.filters[(agent_id, role)] = alive
        return any(one.resources.contains(available) for one in alive)


def _allocatable(resources: Resources) -> bool:
    return any(resources.scalars.get(name, 0) >= least for name, least in MINIMUM)
