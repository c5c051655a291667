"""The sorter: in which order roles and frameworks are served. Pure, and kept sorted step by step.

A tree, as Mesos's hierarchical allocator has it: roles ("eng/web" lies within "eng"), and in each role its
frameworks. On every level a policy ranks the siblings by what they hold; an allocation moves one child a
level, so it costs a binary search in each, not a sort of everything.

Policies, the two that the Mesos paper names:

========  =========================================================================================
drf       the smallest weighted dominant share first (of all scalars, the largest fraction held)
priority  the greatest weight first, whatever it holds; equals by their dominant share
========  =========================================================================================
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping

Key = tuple[float, ...]
Policy = Callable[[float, float], Key]
"""(dominant share, weight) -> what siblings are ranked by, the smallest first."""


def drf(share: float, weight: float) -> Key:
    """Rank by weighted dominant share."""
    return (share / weight,)


def priority(share: float, weight: float) -> Key:
    """Rank by weight alone; equals share fairly."""
    return (-weight, share)


POLICIES: dict[str, Policy] = {"drf": drf, "priority": priority}

_OWN = "."
"""The name of a role's own frameworks among its children, as in Mesos ("." is no valid role component)."""


class _Node:
    __slots__ = (
        "active",
        "children",
        "count",
        "held",
        "key",
        "label",
        "name",
        "parent",
        "ranked",
        "serial",
        "weight",
    )

    def __init__(self, parent: _Node | None, name: str, serial: int, weight: float) -> None:
        self.parent = parent
        self.name = name
        self.serial = serial
        self.weight = weight
        self.held: dict[str, int] = {}
        self.count = 0
        self.children: dict[str, _Node] = {}
        self.ranked: list[tuple[Key, _Node]] = []
        self.active = 0
        self.key: Key = ()
        self.label: tuple[str, str] | None = None


class Sorter:
    """Ranks the (role, framework) pairs.

    Parameters
    ----------
    weights
        By role; 1.0 for who is not named.
    """

    def __init__(self, policy: Policy = drf, weights: Mapping[str, float] | None = None) -> None:
        self._policy = policy
        self._weights = dict(weights or {})
        self._total: dict[str, int] = {}
        self._serial = itertools.count()
        self._root = _Node(None, "", next(self._serial), 1.0)
        self._leaves: dict[tuple[str, str], _Node] = {}
        self._stale = False

    def resize(self, total: Mapping[str, int]) -> None:
        """Set the cluster's scalars (thousandths); everything is ranked anew at the next question."""
        self._total = dict(total)
        self._stale = True

    def add(self, role: str, client: str) -> None:
        """Add a pair, inactive; a known one stays as it is."""
        if (role, client) in self._leaves:
            return
        node, path = self._root, ""
        for part in role.split("/"):
            path = f"{path}/{part}" if path else part
            node = self._child(node, part, self._weights.get(path, 1.0))
        leaf = self._child(self._child(node, _OWN, 1.0), client, 1.0)
        leaf.label = (role, client)
        self._leaves[(role, client)] = leaf

    def _child(self, node: _Node, name: str, weight: float) -> _Node:
        found = node.children.get(name)
        if found is None:
            found = node.children[name] = _Node(node, name, next(self._serial), weight)
            found.key = self._key(found)
        return found

    def remove(self, role: str, client: str) -> None:
        """Forget a pair and what it holds; roles that are empty then go, too."""
        leaf = self._leaves.get((role, client))
        if leaf is None:
            return
        self.release(role, client, dict(leaf.held))
        self.activate(role, client, False)
        del self._leaves[(role, client)]
        node = leaf
        while node.parent is not None and not node.children:
            del node.parent.children[node.name]
            node = node.parent

    def activate(self, role: str, client: str, active: bool) -> None:
        """Have a pair ranked, or not.

        Parameters
        ----------
        role, client
            The pair.
        active
            Whether it is ranked.
        """
        leaf = self._leaves[(role, client)]
        if bool(leaf.active) == active:
            return
        step = 1 if active else -1
        node = leaf
        while node.parent is not None:
            before = node.active
            node.active += step
            if not self._stale:
                if not before:
                    insort(node.parent.ranked, (node.key, node))
                elif not node.active:
                    self._unrank(node)
            node = node.parent

    def take(self, role: str, client: str, scalars: Mapping[str, int]) -> None:
        """Note that a pair holds more.

        Parameters
        ----------
        scalars
            Thousandths by name.
        """
        self._change(role, client, scalars, 1)

    def release(self, role: str, client: str, scalars: Mapping[str, int]) -> None:
        """Note that a pair holds less (never less than nothing).

        Parameters
        ----------
        scalars
            Thousandths by name.
        """
        self._change(role, client, scalars, -1)

    def _change(self, role: str, client: str, scalars: Mapping[str, int], sign: int) -> None:
        node = self._leaves[(role, client)]
        if sign < 0:
            scalars = {name: min(value, node.held.get(name, 0)) for name, value in scalars.items()}
        while node.parent is not None:
            ranked = node.active and not self._stale
            if ranked:
                self._unrank(node)
            held = node.held
            for name, value in scalars.items():
                held[name] = held.get(name, 0) + sign * value
            if sign > 0:
                node.count += 1
            if not self._stale:
                node.key = self._key(node)
            if ranked:
                insort(node.parent.ranked, (node.key, node))
            node = node.parent

    def _unrank(self, node: _Node) -> None:
        assert node.parent is not None
        ranked = node.parent.ranked
        del ranked[bisect_left(ranked, (node.key,))]

    def _key(self, node: _Node) -> Key:
        # Equals are served by how often they were, then in the order in which they came.
        return (*self._policy(self._share(node.held), node.weight), node.count, node.serial)

    def _share(self, held: Mapping[str, int]) -> float:
        best = 0.0
        for name, value in held.items():
            total = self._total.get(name)
            if total and value > best * total:
                best = value / total
        return best

    @property
    def active(self) -> bool:
        """Tell whether there is any active pair."""
        return any(node.active for node in self._root.children.values())

    def share(self, role: str, client: str) -> float:
        """Give a pair's dominant share: its largest fraction of any of the cluster's scalars."""
        leaf = self._leaves.get((role, client))
        return 0.0 if leaf is None else self._share(leaf.held)

    def order(self) -> Iterator[tuple[str, str]]:
        """Give the active pairs, who is to be served first foremost; ends being valid with the next change."""
        if self._stale:
            self._stale = False
            self._rank(self._root)
        return self._walk(self._root)

    def _rank(self, node: _Node) -> None:
        for child in node.children.values():
            child.key = self._key(child)
            self._rank(child)
        node.ranked = sorted((child.key, child) for child in node.children.values() if child.active)

    def _walk(self, node: _Node) -> Iterator[tuple[str, str]]:
        for _, child in node.ranked:
            if child.label is not None:
                yield child.label
            else:
                yield from self._walk(child)
