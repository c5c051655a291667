"""Health of hosts: those on which workers keep failing are excluded for a time that doubles. Pure; the clock is the
caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

#: Failures without a success between them from which on a host is excluded.
TOLERATED = 2
#: Workers of one job that fail together, with their executor, are one failure: within so many seconds.
TOGETHER = 0.4
#: How long the first time, and how long at the most, seconds.
FIRST, LONGEST = 30.0, 3600.0
#: Characters of a reason that are kept.
LONGEST_WHY = 200


@dataclass(frozen=True)
class Excluded:
    """A host that gets no workers: until when (seconds), how often workers failed there, and of what the last time."""

    until: float
    failures: int
    why: str = ""


@dataclass
class _Host:
    is_gone: bool = False
    by_job: dict[str, int] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    why: str = ""

    @property
    def failures(self) -> int:
        return sum(self.by_job.values())

    @property
    def until(self) -> float:
        if self.failures < TOLERATED:
            return 0.0
        # 2.0 ** of more than a thousand failures would overflow
        return max(self.last.values()) + min(LONGEST, FIRST * 2.0 ** min(self.failures - TOLERATED, 20))


class HostHealth:
    """Failures of workers by host, and the hosts that are excluded for them.

    From the second failure without a success between them, a host is excluded for 30 s; each further failure
    doubles that, up to an hour. A success clears all, and a job that fails in the end takes its failures along:
    they were its own. One host of the cluster is always left: where there is nowhere else to go, waiting would help
    nobody; if all are bad, it is the one that is free again first.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def seen(self, hosts: Iterable[str]) -> None:
        """Note that hosts are part of the cluster: there is somewhere else to go."""
        for host in hosts:
            self._hosts.setdefault(host, _Host()).is_gone = False

    def gone(self, host: str) -> None:
        """Note that a host is no longer part of the cluster; if it comes back, its failures count as before."""
        if (known := self._hosts.get(host)) is not None:
            known.is_gone = True

    def failed(self, host: str, job_id: str, now: float, why: str = "") -> None:
        """Note that a worker failed there, by no fault of the job's own code that is known.

        Parameters
        ----------
        host, job_id : str
        now : float
            Seconds, by the clock of all times here.
        why : str
            Of what; its first line is kept.
        """
        book = self._hosts.setdefault(host, _Host())
        line = why.partition("\n")[0]
        book.why = line if len(line) <= LONGEST_WHY else f"{line[:LONGEST_WHY]}…"
        if now - book.last.get(job_id, -TOGETHER) >= TOGETHER:
            book.by_job[job_id] = book.by_job.get(job_id, 0) + 1
            book.last[job_id] = now

    def forget_job(self, job_id: str) -> None:
        """Forget a job's failures: it has failed wherever it was tried, which says nothing of the hosts."""
        for book in self._hosts.values():
            book.by_job.pop(job_id, None)
            book.last.pop(job_id, None)

    def succeeded(self, host: str) -> None:
        """Note that a worker ended well there: the host is good again."""
        self._hosts[host] = _Host(self._hosts[host].is_gone if host in self._hosts else False)

    def excluded(self, now: float) -> dict[str, Excluded]:
        """Return the hosts that get no workers now."""
        found = {
            host: Excluded(book.until, book.failures, book.why)
            for host, book in self._hosts.items()
            if book.until > now
        }
        here = [host for host, book in self._hosts.items() if not book.is_gone]
        if here and all(host in found for host in here):
            del found[min(here, key=lambda host: (found[host].until, host))]
        for host in [host for host, book in self._hosts.items() if book.is_gone and host not in found]:
            del self._hosts[host]
        return found
