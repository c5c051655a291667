"""Use of a worker (cpu, memory, bytes, GPUs) as its executor measures it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

#: Seconds that a worker has to run before its use stands in a view.
SHOWN = 2.0


@dataclass(frozen=True, slots=True)
class Use:
    """Figures of one task of a worker, the processes that it has started included.

    Parameters
    ----------
    seconds : float
        Since its process was made.
    cpu : float
        Cpu-seconds so far.
    cpu_peak : float
        The most cpus that it used for a second; over all of it, if that was shorter.
    mem, mem_peak : float
        Memory of its own, MiB: now (in a record of some time: the most in that time), and the most so far. Pages of
        files do not count, which the kernel can drop.
    read, written : int
        Bytes that it has read and written so far: files, pipes, devices.
    gpu : float, optional
        GPUs in use, 0.5 for half of one; None where there is none, or nobody says.
    gpu_mem : float, optional
        Memory on GPUs, MiB.
    waited : float
        Seconds in which its main thread could have run, and others had the cpus; known when it has ended.
    """

    seconds: float
    cpu: float
    cpu_peak: float
    mem: float
    mem_peak: float
    read: int = 0
    written: int = 0
    gpu: float | None = None
    gpu_mem: float | None = None
    waited: float = 0.0

    @property
    def cpu_used(self) -> float:
        """Mean cpus."""
        return self.cpu / self.seconds if self.seconds > 0 else 0.0

    def to_list(self) -> list[float | None]:
        """Return a JSON-ready record; short, as there are many."""
        figures: list[float | None] = [
            round(self.seconds, 2),
            round(self.cpu, 3),
            round(self.cpu_peak, 2),
            round(self.mem, 1),
            round(self.mem_peak, 1),
            self.read,
            self.written,
        ]
        if self.gpu is not None or self.gpu_mem is not None or self.waited:
            figures += [self.gpu, self.gpu_mem]
        if self.waited:
            figures.append(round(self.waited, 2))
        return figures

    @classmethod
    def from_list(cls, record: Any) -> Use:
        """Inverse of `to_list`.

        Raises
        ------
        ValueError
            When it is none.
        """
        if not isinstance(record, list) or not 7 <= len(record) <= 10:
            raise ValueError("no record of use")
        for index, value in enumerate(record):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not ((is_number and math.isfinite(value)) or (value is None and index in (7, 8))):
                raise ValueError("no record of use")
        return cls(*record)


class Thinning:
    """Chooses what is kept of the looks at a job's workers: the more seldom the older the job is.

    Two kept looks are `SHARE` of the job's age apart, at least `SHORTEST` and at most `LONGEST` seconds: some 25 in the
    first 25 seconds, some 170 in two hours, 430 in a day. Between them nothing is lost but details: cpu and bytes
    count on, of memory the most is kept.

    Parameters
    ----------
    began : float
        When the job began to run, in seconds since 1970.
    """

    SHARE, SHORTEST, LONGEST = 0.04, 0.9, 300.0

    def __init__(self, began: float) -> None:
        self._began = began
        self._last = -math.inf
        self._waiting: dict[int, tuple[int, Use]] = {}

    def add(self, now: float, uses: Iterable[tuple[int, int, Use]]) -> list[tuple[int, int, Use]]:
        """Take a look at some workers, and return what is to be kept now; mostly nothing.

        Parameters
        ----------
        now : float
            Seconds since 1970.
        uses : iterable of (worker id, restart count, Use)
        """
        for worker_id, restarts, use in uses:
            before = self._waiting.get(worker_id)
            if before is not None and before[0] == restarts:
                use = replace(
                    use, mem=max(use.mem, before[1].mem), gpu_mem=_most(use.gpu_mem, before[1].gpu_mem)
                )
            self._waiting[worker_id] = restarts, use
        if now - self._last < min(self.LONGEST, max(self.SHORTEST, self.SHARE * (now - self._began))):
            return []
        self._last = now
        kept = [(worker_id, restarts, use) for worker_id, (restarts, use) in sorted(self._waiting.items())]
        self._waiting.clear()
        return kept


def _most(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def workers_use(data: Mapping[str, Any]) -> Iterator[tuple[int, int, Use]]:
    """Yield the worker, its restart count and its use of each record in the data of an event."""
    records = data.get("workers")
    for record in records if isinstance(records, list) else ():
        if isinstance(record, list) and len(record) > 2 and isinstance(record[0], int) and record[0] >= 0:
            try:
                yield record[0], int(record[1]), Use.from_list(record[2:])
            except (ValueError, TypeError):
                continue


def use_of(data: Mapping[str, Any]) -> Use | None:
    """Return the use that a status update tells, None if it tells none."""
    try:
        return Use.from_list(data.get("use"))
    except ValueError:
        return None
