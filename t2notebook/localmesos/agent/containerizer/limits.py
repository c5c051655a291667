"""Limits of a container: cpu, memory, and the message for who exceeds them."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20

MIN_MEMORY = 32 * MIB

PERIOD_US, MIN_QUOTA_US = 100_000, 1000

_MESSAGE = "Memory limit exceeded: Requested: {} Maximum Used: {}\n\nMEMORY STATISTICS: \n{}\n"


@dataclass(frozen=True)
class Limits:
    """Cpus and memory that a container may use.

    Attributes
    ----------
    cpus, mem
        What its executor and tasks asked for; MiB.
    cpu_limit, mem_limit
        The sums of `TaskInfo.limits` if a task has some: they may be `inf`; else None.
    """

    cpus: float
    mem: float
    cpu_limit: float | None = None
    mem_limit: float | None = None

    @property
    def most_cpus(self) -> float:
        """Give the most cpus."""
        return self.cpus if self.cpu_limit is None else self.cpu_limit

    @property
    def most_mem(self) -> float:
        """Give the most memory."""
        return self.mem if self.mem_limit is None else self.mem_limit

    @property
    def memory_bytes(self) -> int | None:
        """Give the hard memory limit; None when there is none."""
        mem = self.most_mem
        return None if mem == float("inf") else max(int(mem * MIB), MIN_MEMORY)

    def quota_us(self, *, cfs: bool) -> int | None:
        """Give the cpu time within each period; -1 for any, None when no quota is wanted at all."""
        if self.cpu_limit == float("inf"):
            return -1
        return (
            max(int(self.most_cpus * PERIOD_US), MIN_QUOTA_US) if cfs or self.cpu_limit is not None else None
        )


def over_limit_message(limit: int | None, most: int, statistics: str) -> str:
    """Say in Mesos's words that a container used too much memory.

    Parameters
    ----------
    limit
        Bytes; None for no limit of its own.
    most
        The most that it used at once (bytes).
    statistics
        Lines about its memory.
    """
    return _MESSAGE.format("-1" if limit is None else bytes_text(limit), bytes_text(most), statistics)


def bytes_text(count: int) -> str:
    """Write a number of bytes as stout does: in the largest unit that keeps it whole."""
    for unit, size in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"
