"""Hosts on which workers keep failing are avoided for a time that doubles. Pure; the clock is the caller's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Failures without a success between them from which on a host is avoided.
TOLERATED = 2
#: How long the first time, and how long at the most, seconds.
FIRST, LONGEST = 30.0, 3600.0


@dataclass(frozen=True)
class Avoided:
    """A host that gets no workers: until when (seconds), and how many workers failed there."""

    until: float
    failures: int


@dataclass
class _Host:
    failures: int = 0
    until: float = 0.0


class Hosts:
    """Keeps book of failures by host.

    From the second failure without a success between them, a host is avoided for 30 s; each further failure
    doubles that, up to an hour. A success clears all. One host that is known is always left: where there is
    nowhere else to go, waiting would help nobody; if all are bad, it is the one that is free again first.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def seen(self, hosts: Iterable[str]) -> None:
        """These hosts exist: there is somewhere else to go."""
        for host in hosts:
            self._hosts.setdefault(host, _Host())

    def gone(self, host: str) -> None:
        """A host is no longer part of the cluster."""
        self._hosts.pop(host, None)

    def failed(self, host: str, now: float) -> None:
        """A worker failed there, by no fault of the job's own code that is known."""
        book = self._hosts.setdefault(host, _Host())
        book.failures += 1
        if book.failures >= TOLERATED:
            # 2.0 ** of more than a thousand failures would overflow
            book.until = now + min(LONGEST, FIRST * 2.0 ** min(book.failures - TOLERATED, 20))

    def succeeded(self, host: str) -> None:
        """A worker ended well there: the host is good again."""
        self._hosts[host] = _Host()

    def avoided(self, now: float) -> dict[str, Avoided]:
        """Return the hosts that are to be avoided now."""
        found = {
            host: Avoided(book.until, book.failures) for host, book in self._hosts.items() if book.until > now
        }
        if found and len(found) == len(self._hosts):
            del found[min(found, key=lambda host: (found[host].until, host))]
        return found
