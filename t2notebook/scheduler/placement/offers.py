"""Offers: their amounts, to match with, and the `Resource` objects that tasks and executors are made from. Pure.

All amounts are whole thousandths, as Mesos counts, so that sums are exact; a port counts as one whole.
Resources with other reservations stay objects of their own: an ACCEPT must name each as it was offered, with
its role, reservations and `allocation_info`, or the master answers TASK_ERROR.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from ...model.job import ComputeResource
from ...model.overhead import EXECUTOR_CPUS, EXECUTOR_MEM
from ...model.placement import Attributes, attributes_of

Json = dict[str, Any]

#: An executor's own resources, counted in every fit: 0.1 cpus and 64 MiB.
EXECUTOR = {"cpus": round(EXECUTOR_CPUS * 1000), "mem": round(EXECUTOR_MEM * 1000)}
#: The resources that are matched, in the order of every vector of amounts.
NAMES = ("cpus", "mem", "disk", "gpus", "ports")
_FIRST_PORT = 31000


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
        "ports": thousandths(resource.ports),
    }
    return {name: amount for name, amount in asked.items() if amount}


def vector(amounts: Mapping[str, int]) -> list[int]:
    """Return amounts in the order of `NAMES`."""
    return [amounts.get(name, 0) for name in NAMES]


@dataclass(frozen=True)
class Offer:
    """An offer: one agent's free resources.

    Parameters
    ----------
    id, agent, host : str
    free : mapping
        Thousandths by name, summed over reservations.
    executors : frozenset of str
        This framework's executors on the agent.
    role : str
        The role to which it is allocated; one ACCEPT takes offers of one agent and one role.
    attributes : mapping
    resources : tuple
        The offered `Resource` objects that can be used. Empty: plain ones are made of `free`.
    maintenance : tuple or None
        The time in which the agent will be unavailable: start and end, seconds by the caller's clock.
    """

    id: str
    agent: str
    host: str
    free: Mapping[str, int]
    executors: frozenset[str] = frozenset()
    role: str = ""
    attributes: Attributes = field(default_factory=dict)
    resources: tuple[Mapping[str, Any], ...] = ()
    maintenance: tuple[float, float] | None = None

    @classmethod
    def from_mesos(cls, offer: Mapping[str, Any], ahead: float = 0.0) -> Offer:
        """Read a Mesos offer (JSON of v1's `Offer`).

        `ahead` is by how many seconds the calendar, in which maintenance is planned, is ahead of the
        caller's clock. Revocable and shared resources, those of a resource provider, and disks that are
        volumes or have a source are left out: a plain task cannot use them.
        """
        resources, free = usable(offer.get("resources", ()))
        return cls(
            id=offer["id"]["value"],
            agent=offer["agent_id"]["value"],
            host=offer.get("hostname", ""),
            free=free,
            executors=frozenset(executor["value"] for executor in offer.get("executor_ids", ())),
            role=offer.get("allocation_info", {}).get("role", ""),
            attributes=attributes_of(offer.get("attributes", ())),
            resources=resources,
            maintenance=_window(offer.get("unavailability"), ahead),
        )


def usable(items: Iterable[Mapping[str, Any]]) -> tuple[tuple[Mapping[str, Any], ...], dict[str, int]]:
    """Return the resources that a plain task can use, and their sums by name."""
    resources = tuple(item for item in items if _is_plain(item))
    free = dict.fromkeys(NAMES, 0)
    for item in resources:
        free[item["name"]] += _amount_of(item)
    return resources, free


class OfferLedger:
    """The resources of one agent's offers, from which amounts are taken; reserved ones first, since nobody else can
    use them.

    Attributes
    ----------
    touched : set of str
        The offers of which something was taken.
    """

    def __init__(self, offers: Iterable[Offer]) -> None:
        self.touched: set[str] = set()
        self._entries: dict[str, list[_Entry]] = {name: [] for name in NAMES}
        for offer in offers:
            for item in offer.resources or _plain(offer.free):
                self._entries[item["name"]].append(_Entry(offer.id, item))
        for entries in self._entries.values():
            entries.sort(key=lambda entry: not entry.is_reserved)

    def take_for(
        self, count: int, asked: Mapping[str, int]
    ) -> Iterator[tuple[tuple[Json, ...], tuple[int, ...]]]:
        """Yield for each of `count` workers what `take` returns; those who get the same share one tuple.

        Raises
        ------
        ValueError
            When there is not so much.
        """
        sources = []
        for name, amount in asked.items():
            entry = next((entry for entry in self._entries[name] if entry.left), None)
            if entry is None or name == "ports" or entry.left < amount * count:
                for _ in range(count):
                    yield self.take(asked)
                return
            sources.append((entry, amount))
        shared = self.take(asked)
        for entry, amount in sources:
            entry.left -= amount * (count - 1)
        yield from repeat(shared, count)

    def take(self, asked: Mapping[str, int]) -> tuple[tuple[Json, ...], tuple[int, ...]]:
        """Return `Resource` objects with just these amounts, and the ports among them.

        Raises
        ------
        ValueError
            When there is not so much.
        """
        taken: list[Json] = []
        ports: list[int] = []
        for name, amount in asked.items():
            first = len(taken)
            for entry in self._entries[name]:
                if not amount:
                    break
                part = min(amount, entry.left)
                if not part:
                    continue
                amount -= part
                self.touched.add(entry.offer_id)
                _add(entry.take(part, ports), taken, first)
            if amount:
                raise ValueError(f"there is too little {name}")
        return tuple(taken), tuple(ports)


class _Entry:
    """One offered `Resource` object, and what is left of it."""

    __slots__ = ("_item", "_made", "_ports", "left", "offer_id")

    def __init__(self, offer_id: str, item: Mapping[str, Any]) -> None:
        self.offer_id = offer_id
        self.left = _amount_of(item)
        self._item = item
        self._made: dict[int, Json] = {}
        self._ports = list(_spans(item)) if item["name"] == "ports" else []

    @property
    def is_reserved(self) -> bool:
        return bool(self._item.get("reservations")) or self._item.get("role", "*") != "*"

    def take(self, amount: int, ports: list[int]) -> Json:
        self.left -= amount
        if self._item["name"] != "ports":
            if amount not in self._made:  # the same for many workers, and never changed
                self._made[amount] = {**self._item, "scalar": {"value": amount / 1000}}
            return self._made[amount]
        count, spans = amount // 1000, []
        while count:
            begin, end = self._ports[0]
            last = min(end, begin + count - 1)
            spans.append({"begin": begin, "end": last})
            ports += range(begin, last + 1)
            count -= last - begin + 1
            self._ports[:1] = [(last + 1, end)] if last < end else []
        return {**self._item, "ranges": {"range": spans}}


def _add(item: Json, taken: list[Json], first: int) -> None:
    """Add a `Resource` to those from `first` on; what differs from one by its amount alone becomes one with it."""
    if len(taken) == first:
        taken.append(item)
        return
    value = "ranges" if "ranges" in item else "scalar"
    for number in range(first, len(taken)):
        other = taken[number]
        if {**other, value: None} == {**item, value: None}:
            if value == "ranges":
                taken[number] = {**other, value: {"range": other[value]["range"] + item[value]["range"]}}
            else:
                both = thousandths(other[value]["value"]) + thousandths(item[value]["value"])
                taken[number] = {**other, value: {"value": both / 1000}}
            return
    taken.append(item)


def scalars(amounts: Mapping[str, int]) -> list[Json]:
    """Return plain `Resource` objects of these amounts."""
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": amount / 1000}}
        for name, amount in amounts.items()
    ]


def _plain(free: Mapping[str, int]) -> Sequence[Json]:
    items = scalars({name: amount for name, amount in free.items() if name != "ports" and amount})
    if count := free.get("ports", 0) // 1000:
        span = {"begin": _FIRST_PORT, "end": _FIRST_PORT + count - 1}
        items.append({"name": "ports", "type": "RANGES", "ranges": {"range": [span]}})
    return items


def _is_plain(item: Mapping[str, Any]) -> bool:
    if item["name"] not in NAMES or "revocable" in item or "shared" in item or "provider_id" in item:
        return False
    if item["name"] == "disk" and item.get("disk"):
        return False
    return ("ranges" in item) if item["name"] == "ports" else ("scalar" in item)


def _amount_of(item: Mapping[str, Any]) -> int:
    if item["name"] == "ports":
        return 1000 * sum(end - begin + 1 for begin, end in _spans(item))
    return thousandths(item["scalar"]["value"])


def _spans(item: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for part in item["ranges"].get("range", ()):
        yield int(part["begin"]), int(part["end"])


def _window(unavailability: Mapping[str, Any] | None, ahead: float) -> tuple[float, float] | None:
    if unavailability is None:
        return None
    start = unavailability["start"]["nanoseconds"] / 1e9 - ahead
    duration = unavailability.get("duration")
    return start, start + duration["nanoseconds"] / 1e9 if duration else float("inf")
