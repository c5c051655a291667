"""Exact arithmetic on Mesos resources: scalars in thousandths, ports as disjoint inclusive ranges.

Mesos rounds every scalar to three decimals (fixed point, `src/common/values.cpp`), so that 0.1 + 0.2 is 0.3
and whatever was taken from an offer fits again when it comes back. `Resources` is a value: never changed,
comparable, with `+`, `-` and `contains`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Ranges = tuple[tuple[int, int], ...]

# The order in which a real agent's first offer lists them.
_ORDER = ("ports", "cpus", "gpus", "mem", "disk")


class ResourceError(ValueError):
    """A resource that is not valid; the text is Mesos's."""


def milli(value: float) -> int:
    """Round to three decimals, half away from zero as `std::llround` does, in thousandths.

    Raises
    ------
    ResourceError
        The value is not finite.
    """
    if not math.isfinite(value):
        raise ResourceError("Invalid scalar resource: value is not finite")
    scaled = value * 1000.0
    return math.floor(scaled + 0.5) if scaled >= 0 else math.ceil(scaled - 0.5)


def _coalesce(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def _subtract(minuend: Ranges, subtrahend: Ranges) -> Ranges:
    result = []
    for begin, end in minuend:
        for low, high in subtrahend:
            if high < begin or low > end:
                continue
            if low > begin:
                result.append((begin, low - 1))
            begin = high + 1
            if begin > end:
                break
        if begin <= end:
            result.append((begin, end))
    return tuple(result)


def _within(inner: Ranges, outer: Ranges) -> bool:
    return all(any(low <= begin and end <= high for low, high in outer) for begin, end in inner)


@dataclass(frozen=True)
class Resources:
    """A bag of resources; what is zero or empty is not in it.

    Attributes
    ----------
    scalars
        Thousandths by name: `{"cpus": 500}` is half a cpu; mem and disk are thousandths of MiB.
    ranges
        Sorted disjoint inclusive ranges by name.
    """

    scalars: Mapping[str, int] = field(default_factory=dict)
    ranges: Mapping[str, Ranges] = field(default_factory=dict)

    @classmethod
    def of(cls, *, ports: Iterable[tuple[int, int]] = (), **scalars: float) -> Resources:
        """Make resources by hand: `Resources.of(cpus=4, mem=4096, ports=[(31000, 31999)])`."""
        amounts = {name: milli(value) for name, value in scalars.items()}
        found = _coalesce(ports)
        return cls({name: v for name, v in amounts.items() if v}, {"ports": found} if found else {})

    @classmethod
    def from_json(cls, items: Iterable[Mapping[str, Any]]) -> Resources:
        """Read a list of v1 `Resource` messages.

        A reserved, revocable, shared or persistent resource keeps a name of its own ("disk{...}"): nothing here
        offers such resources, so whoever asks for one is told that it is more than what is available.
        """
        scalars: dict[str, int] = {}
        ranges: dict[str, Ranges] = {}
        for item in items:
            name = item["name"] + _qualifier(item)
            if item["type"] == "SCALAR":
                amount = scalars.get(name, 0) + milli(item.get("scalar", {}).get("value", 0.0))
                scalars[name] = amount
            elif item["type"] == "RANGES":
                found = [(r["begin"], r["end"]) for r in item.get("ranges", {}).get("range", [])]
                ranges[name] = _coalesce([*ranges.get(name, ()), *found])
            else:
                scalars[name + "{set}"] = 1000 * len(item.get("set", {}).get("item", []))
        return cls({k: v for k, v in scalars.items() if v}, {k: v for k, v in ranges.items() if v})

    def __add__(self, other: Resources) -> Resources:
        if not self or not other:
            return self or other
        scalars = dict(self.scalars)
        for name, value in other.scalars.items():
            scalars[name] = scalars.get(name, 0) + value
        ranges = dict(self.ranges)
        for name, spans in other.ranges.items():
            ranges[name] = _coalesce([*ranges.get(name, ()), *spans])
        return Resources({k: v for k, v in scalars.items() if v}, ranges)

    def __sub__(self, other: Resources) -> Resources:
        """Take `other` away; what is not there cannot be taken (Mesos clamps at zero, too)."""
        if self == other:
            return Resources()
        scalars = dict(self.scalars)
        for name, value in other.scalars.items():
            scalars[name] = max(0, scalars.get(name, 0) - value)
        ranges = dict(self.ranges)
        for name, spans in other.ranges.items():
            ranges[name] = _subtract(ranges.get(name, ()), spans)
        return Resources({k: v for k, v in scalars.items() if v}, {k: v for k, v in ranges.items() if v})

    def __bool__(self) -> bool:
        return bool(self.scalars or self.ranges)

    def __hash__(self) -> int:
        return hash((frozenset(self.scalars.items()), frozenset(self.ranges.items())))

    def contains(self, other: Resources) -> bool:
        """Tell whether `other` could be taken from this."""
        return all(self.scalars.get(name, 0) >= value for name, value in other.scalars.items()) and all(
            _within(spans, self.ranges.get(name, ())) for name, spans in other.ranges.items()
        )

    def amount(self, name: str) -> float:
        """Give a scalar's amount, 0.0 when there is none."""
        return self.scalars.get(name, 0) / 1000.0

    def _names(self) -> list[str]:
        known = [name for name in _ORDER if name in self.scalars or name in self.ranges]
        return known + sorted((set(self.scalars) | set(self.ranges)) - set(_ORDER))

    def to_json(self, role: str | None = None, *, allocated: str | None = None) -> list[dict[str, Any]]:
        """Write as v1 `Resource` messages.

        Parameters
        ----------
        role
            What the (deprecated) `role` field says; None leaves it out.
        allocated
            The role of `allocation_info`; None leaves it out.
        """
        items = []
        for name in self._names():
            item: dict[str, Any] = {"name": name}
            if name in self.scalars:
                item.update(type="SCALAR", scalar={"value": self.scalars[name] / 1000.0})
            else:
                spans = [{"begin": begin, "end": end} for begin, end in self.ranges[name]]
                item.update(type="RANGES", ranges={"range": spans})
            if role is not None:
                item["role"] = role
            if allocated is not None:
                item["allocation_info"] = {"role": allocated}
            items.append(item)
        return items

    def summary(self) -> dict[str, Any]:
        """Write as `/state` does: always disk, mem, gpus and cpus, then the rest as text."""
        result: dict[str, Any] = {name: self.amount(name) for name in ("disk", "mem", "gpus", "cpus")}
        for name, value in sorted(self.scalars.items()):
            result.setdefault(name, value / 1000.0)
        for name, spans in self.ranges.items():
            result[name] = _ranges_text(spans)
        return result

    def text(self, allocated: str = "*") -> str:
        """Write as Mesos's messages do: `cpus(allocated: *):4; ports(allocated: *):[31000-31999]`."""
        return "; ".join(
            f"{name}(allocated: {allocated}):"
            + (_number(self.scalars[name]) if name in self.scalars else _ranges_text(self.ranges[name]))
            for name in self._names()
        )


def _number(value: int) -> str:
    return f"{value / 1000:.3f}".rstrip("0").rstrip(".")


def _ranges_text(spans: Ranges) -> str:
    return "[" + ", ".join(f"{begin}-{end}" for begin, end in spans) + "]"


_APART = ("provider_id", "reservation", "disk", "revocable", "shared")
_APART_SET = frozenset(_APART)


def _qualifier(item: Mapping[str, Any]) -> str:
    odd = [] if _APART_SET.isdisjoint(item) else [name for name in _APART if name in item]
    if item.get("reservations") or item.get("role", "*") != "*":
        odd.append("reserved")
    return "{" + ",".join(odd) + "}" if odd else ""


def text_of(items: Iterable[Mapping[str, Any]], allocated: str) -> str:
    """Write a request's own list, in its own order, as Mesos's messages do."""
    parts = []
    for item in items:
        one = Resources.from_json([item])
        if one:
            parts.append(one.text(allocated))
    return "; ".join(parts)


def check(items: Iterable[Mapping[str, Any]]) -> None:
    """Check a request's resources one by one.

    Raises
    ------
    ResourceError
        "Resource 'cpus:-1' is invalid: ..." as recorded.
    """
    for item in items:
        name, kind = item["name"], item["type"]
        if kind == "SCALAR":
            value = item.get("scalar", {}).get("value")
            if value is None:
                raise ResourceError(f"Resource '{name}' is invalid: Invalid scalar resource")
            if not math.isfinite(value) or value < 0:
                shown = f"{value:g}"
                raise ResourceError(
                    f"Resource '{name}:{shown}' is invalid: Invalid scalar resource: value <= 0"
                )
        elif kind == "RANGES":
            spans = [(r["begin"], r["end"]) for r in item.get("ranges", {}).get("range", [])]
            ordered = sorted(spans)
            overlap = any(after[0] <= before[1] for before, after in itertools.pairwise(ordered))
            if any(begin > end or begin < 0 for begin, end in spans) or overlap:
                raise ResourceError(
                    f"Resource '{name}:{_ranges_text(tuple(spans))}' is invalid: Invalid ranges resource"
                )
        elif kind == "TEXT":
            raise ResourceError(f"Resource '{name}' is invalid: Unsupported resource type")
