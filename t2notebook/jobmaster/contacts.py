"""Agents that have reached the server for workers, by the addresses of their requests."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection
from functools import lru_cache


class Contacts:
    """Addresses from which agents, executors and workers have come.

    Parameters
    ----------
    clock : callable
        Seconds that no adjustment moves.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: set[str] = set()
        self._strangers = (
            0,
            0,
            False,
        )  # how many had come, of how many agents, and whether others are among them
        self._fetching: dict[str, float] = {}

    def heard(self, address: str) -> None:
        """Note that a request has come."""
        self._seen.add(canonical(address))

    def fetch_begun(self, address: str) -> None:
        """Note that somebody there fetches the executor."""
        self.heard(address)
        self._fetching.setdefault(canonical(address), self._clock())

    def fetch_ended(self, address: str) -> None:
        """Note that somebody there has it."""
        self._fetching.pop(canonical(address), None)

    def fetching_for(self, address: str) -> float | None:
        """Return for how many seconds somebody there has been fetching the executor, or None."""
        begun = self._fetching.get(canonical(address))
        return None if begun is None else self._clock() - begun

    def has_reached(self, address: str, agents: Collection[str]) -> bool:
        """Return whether an agent, or what runs on it, may have come.

        Parameters
        ----------
        address : str
            The agent's; empty if it is not known.
        agents : collection of str
            The addresses of all agents, as `canonical` gives them. Who comes from none of them (through a router that
            hides addresses, from a container with one of its own) may be anybody's.
        """
        if not address or canonical(address) in self._seen:
            return bool(self._seen)
        sizes = len(self._seen), len(agents)  # both only grow
        if self._strangers[:2] != sizes:
            self._strangers = (*sizes, any(one not in agents for one in self._seen))
        return self._strangers[2]


@lru_cache(maxsize=65536)
def canonical(address: str) -> str:
    """Return an address in the one way in which it is written here: an IPv4 address within IPv6 as such."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
