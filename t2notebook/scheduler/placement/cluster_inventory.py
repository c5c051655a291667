"""The agents of a cluster and our roles in it, as the leading master tells of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...model.placement import attributes_of_agent
from .offers import NAMES, Offer, thousandths, usable

Amounts = Mapping[str, int]


@dataclass(frozen=True)
class AgentReport:
    """An agent; all amounts are thousandths by name.

    Parameters
    ----------
    total : Offer
        All that it has for this framework, in the form of an offer.
    absent : str
        The reason why it takes no tasks: ``is deactivated``; empty if it takes some.
    used : mapping
        Resources of tasks and executors of all frameworks.
    offered : mapping
        Resources that are offered at this moment, to any framework.
    reserved : mapping
        By role: further resources, reserved for others.
    """

    total: Offer
    absent: str = ""
    used: Amounts = field(default_factory=dict)
    offered: Amounts = field(default_factory=dict)
    reserved: Mapping[str, Amounts] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The name of its host."""
        return self.total.host

    def left(self, *, with_offered: bool = False) -> Offer:
        """Return what nobody has, as an offer."""
        free = {name: self.left_of(name, with_offered=with_offered) for name in self.total.free}
        return replace(self.total, free=free)

    def left_of(self, name: str, *, with_offered: bool = False) -> int:
        """Return how much of a resource nobody has, in thousandths; with `with_offered`, or is only offered."""
        free = self.total.free.get(name, 0) - self.used.get(name, 0)
        return max(0, free if with_offered else free - self.offered.get(name, 0))

    def with_reserved(self, role: str) -> Offer:
        """Return what it would have if what is reserved for a role were ours."""
        more = self.reserved[role]
        return replace(
            self.total, free={name: self.total.free.get(name, 0) + more.get(name, 0) for name in NAMES}
        )


@dataclass(frozen=True)
class RoleReport:
    """A role's quota: the most that it may have, what it is guaranteed, and what it has. Thousandths by name."""

    limit: Amounts
    guarantee: Amounts
    consumed: Amounts


@dataclass(frozen=True)
class Cluster:
    """All that bears on what this framework is offered.

    Parameters
    ----------
    agents : tuple of AgentReport
    filters_gpus : bool
        Whether agents with GPUs are offered only to frameworks with the capability GPU_RESOURCES (Mesos's
        ``--filter_gpu_resources``).
    own_roles : tuple of str
    roles : mapping
        By name, all of which the master tells.
    unreachable : int
        The number of agents that are unreachable; told where no other is left.
    """

    agents: tuple[AgentReport, ...] = ()
    filters_gpus: bool = True
    own_roles: tuple[str, ...] = ()
    roles: Mapping[str, RoleReport] = field(default_factory=dict)
    unreachable: int = 0

    @classmethod
    def of(cls, totals: Iterable[Offer]) -> Cluster:
        """Return a cluster of which nothing is used."""
        return cls(tuple(AgentReport(total) for total in totals))

    def open(self, *, gpus: bool) -> list[AgentReport]:
        """Return the agents that can be offered to a framework that has GPU_RESOURCES, or has not."""
        return [one for one in self.agents if not one.absent and not self._is_kept(one, gpus)]

    def kept(self, *, gpus: bool) -> list[AgentReport]:
        """Return the agents that are not offered to such a framework because they have GPUs."""
        return [one for one in self.agents if not one.absent and self._is_kept(one, gpus)]

    @property
    def absent(self) -> list[AgentReport]:
        """The agents that take no tasks."""
        return [one for one in self.agents if one.absent]

    def _is_kept(self, agent: AgentReport, gpus: bool) -> bool:
        return self.filters_gpus and not gpus and agent.total.free.get("gpus", 0) > 0


def read_cluster(
    slaves: Mapping[str, Any],
    own_roles: Collection[str],
    roles: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Cluster:
    """Read what a master answers (Mesos, ``docs/endpoints/master/``).

    Parameters
    ----------
    slaves, roles, flags, metrics : mapping
        The answers of ``/slaves``, ``/roles``, ``/flags`` and ``/metrics/snapshot``; None for what it does not tell.
    own_roles : collection of str
        This framework's. What is reserved for one, or for a role above it, is ours.
    """
    agents = [_agent(record, own_roles) for record in slaves.get("slaves", ())]
    for record in slaves.get("recovered_slaves", ()):
        total = Offer("", record["id"], record.get("hostname", ""), dict.fromkeys(NAMES, 0))
        agents.append(AgentReport(total, "has not returned to the new master yet"))
    filters = (flags or {}).get("flags", {}).get("filter_gpu_resources", "true")
    return Cluster(
        tuple(agents),
        str(filters).lower() != "false",
        tuple(own_roles),
        {record["name"]: _role(record) for record in (roles or {}).get("roles", ())},
        int((metrics or {}).get("master/slaves_unreachable", 0)),
    )


def _agent(record: Mapping[str, Any], own_roles: Collection[str]) -> AgentReport:
    items = list(record.get("unreserved_resources_full", ()))
    others: dict[str, Amounts] = {}
    for role, some in record.get("reserved_resources_full", {}).items():
        if _is_ours(role, own_roles):
            items += some
        else:
            others[role] = usable(some)[1]
    resources, free = usable(items)
    total = Offer(
        id="",
        agent=record["id"],
        host=record.get("hostname", ""),
        free=free,
        attributes=attributes_of_agent(record.get("attributes", {})),
        resources=resources,
    )
    return AgentReport(
        total,
        _absence(record),
        _of_ours(record.get("used_resources_full", ()), own_roles),
        _of_ours(record.get("offered_resources_full", ()), own_roles),
        others,
    )


def _absence(record: Mapping[str, Any]) -> str:
    if not record.get("active", True):
        return "is disconnected from the master"
    if drain := record.get("drain_info"):
        return "has been drained" if drain.get("state") == "DRAINED" else "is being drained"
    return "is deactivated" if record.get("deactivated") else ""


def _is_ours(role: str, own_roles: Collection[str]) -> bool:
    return any(own == role or own.startswith(f"{role}/") for own in own_roles)


def _of_ours(items: Iterable[Mapping[str, Any]], own_roles: Collection[str]) -> Amounts:
    def role_of(item: Mapping[str, Any]) -> str:
        reservations = item.get("reservations") or [{"role": item.get("role", "*")}]
        return str(reservations[-1].get("role", "*"))

    return usable(item for item in items if (role := role_of(item)) == "*" or _is_ours(role, own_roles))[1]


def _role(record: Mapping[str, Any]) -> RoleReport:
    quota = record.get("quota") or {}

    def amounts(name: str) -> Amounts:
        found = quota.get(name) or {}
        return {key: thousandths(value) for key, value in found.items() if isinstance(value, int | float)}

    return RoleReport(amounts("limit"), amounts("guarantee"), amounts("consumed"))
