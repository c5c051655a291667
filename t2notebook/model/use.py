"""Use of a worker (cpu, memory, bytes, GPUs) as its executor measures it, and advice from it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reducer import WorkerView

#: Seconds that a worker has to run before its use stands in a view.
SHOWN = 2.0
#: Seconds that a worker has to run before it is said what would have been enough for it.
TELLING = 5.0
#: Part of what was asked for that counts as much less, and how many times as much counts as much more.
LITTLE, MUCH = 0.5, 1.25
#: Part of its time that a worker may have waited for a cpu; of one that waited longer nobody knows what it needs.
STARVED = 0.1
#: Room that an advice leaves above what was used.
_ROOM = 1.25
_CPUS = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)
#: MiB; Mesos gives no container less than the first.
_LEAST_MEM = 32


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


def advice(workers: Sequence[WorkerView]) -> str:
    """Return in one line what workers that have ended would have needed, if that is much less or more than they asked.

    Parameters
    ----------
    workers : sequence of WorkerView
    """
    groups: dict[tuple[float, float], list[Use]] = {}
    for worker in workers:
        if worker.use is not None and worker.state.is_terminal:
            groups.setdefault((worker.cpus, worker.mem), []).append(worker.use)
    parts = [
        part
        for (cpus, mem), uses in groups.items()
        if max(use.seconds for use in uses) >= TELLING and (part := _advice(cpus, mem, uses))
    ]
    return "; ".join(parts)


def _advice(cpus: float, mem: float, uses: Iterable[Use]) -> str:
    uses = list(uses)
    # What ran for a moment says little about cpus.
    cpu_peak = max(use.cpu_peak for use in uses)
    mem_peak = max(use.mem_peak for use in uses)
    enough_cpu, enough_mem = _enough_cpus(cpu_peak), _enough_mem(mem_peak)
    options = []
    # One that had to wait for a cpu would have used more.
    is_known = all(use.waited < STARVED * use.seconds for use in uses)
    if (is_known and cpu_peak < LITTLE * cpus and enough_cpu < cpus) or (
        cpu_peak > MUCH * cpus and enough_cpu > cpus
    ):
        options.append(f"--cpus {enough_cpu:g}")
    if mem_peak < LITTLE * mem and enough_mem <= mem - _LEAST_MEM:
        options.append(f"--ram {enough_mem:g}")
    if not options:
        return ""
    amount = f"{cpu_peak:.1f}" if cpu_peak >= 0.05 else "0.1"
    unit = "cpu" if cpus == 1 else "cpus"
    return (
        f"used at most {amount} of {cpus:g} {unit} and {math.ceil(mem_peak):g} of {mem:g} MiB a worker: "
        f"{' '.join(options)} would do"
    )


def _enough_cpus(used: float) -> float:
    # Threads that are always busy are measured as a little more, or less, than whole cpus.
    wanted = _ROOM * used if used < 0.9 else used - 0.05
    return next((step for step in _CPUS if step >= wanted), float(math.ceil(wanted)))


def _enough_mem(used: float) -> float:
    wanted = max(float(_LEAST_MEM), _ROOM * used)
    step = 2.0 ** math.floor(math.log2(wanted))
    return next(amount for amount in (step, 1.5 * step, 2 * step) if amount >= wanted)
