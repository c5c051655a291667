"""Use of each worker, measured once a second from `/proc`: cpu, memory, bytes read and written; GPUs by `nvidia-smi`.

The figures are cheap ones (`memory`): nothing is looked at that the kernel has to add up first. A worker's processes
count with it, also those that have ended and that it has waited for: the kernel adds these to their parent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...model.use import Use
from .memory import MIB, MemoryWatch

#: Seconds between two looks.
INTERVAL = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class _Worker:
    began: float
    seen: float
    since: float
    spent: float = 0.0
    cpu: float = 0.0
    cpu_peak: float = 0.0
    read: int = 0
    written: int = 0
    gpu: float | None = None
    gpu_mem: float | None = None


class UsageSampler:
    """Measures workers whose memory is watched.

    Parameters
    ----------
    memory : MemoryWatch
        Knows their processes, by the same keys.
    """

    def __init__(self, memory: MemoryWatch) -> None:
        self._memory = memory
        self._workers: dict[str, _Worker] = {}

    def add(self, key: str, began: float) -> None:
        """Measure a worker whose process was made at `began`, on the monotonic clock."""
        self._workers[key] = _Worker(began, began, began)

    def sample(self) -> None:
        """Look at all of them."""
        for key, worker in self._workers.items():
            now = time.monotonic()
            cpu, read, written = 0.0, 0, 0
            for pid in self._memory.figures(key)[0]:
                spent, has_waited_for = _spent(pid)
                cpu += spent
                if has_waited_for:
                    self._memory.note_children(key)
                got, put = transferred(pid)
                read, written = read + got, written + put
            # A process that nobody has waited for takes its figures along.
            worker.read, worker.written = max(worker.read, read), max(worker.written, written)
            self._note_cpu(worker, max(worker.cpu, cpu), now)

    def note_gpus(self, uses: Mapping[int, tuple[float | None, float | None]]) -> None:
        """Take what processes use of GPUs: by pid, how many and how much of their memory (MiB)."""
        for key, worker in self._workers.items():
            found = [uses[pid] for pid in self._memory.figures(key)[0] if pid in uses]
            worker.gpu = sum(gpu or 0.0 for gpu, _ in found) if found else None
            worker.gpu_mem = sum(mem or 0.0 for _, mem in found) if found else None

    def use(self, key: str) -> Use | None:
        """Return a worker's figures as they are known."""
        worker = self._workers.get(key)
        if worker is None:
            return None
        _, now, _, most = self._memory.figures(key)
        return _use(worker, worker.seen - worker.began, now, most)

    def remove(self, key: str, cpu: float, grown: int = 0, waited: float = 0.0) -> Use | None:
        """Return the last figures of a worker that has ended; to be called before its memory is forgotten.

        Parameters
        ----------
        key : str
        cpu : float
            Seconds of cpu as the kernel has counted them to its end; 0 if it does not say.
        grown : int
            Bytes by which it grew, for one that ended before anybody had looked at it.
        waited : float
            Seconds that it waited for a cpu.
        """
        worker = self._workers.pop(key, None)
        if worker is None:
            return None
        now = time.monotonic()
        self._note_cpu(worker, max(worker.cpu, cpu), now)
        if not worker.cpu_peak:
            worker.cpu_peak = worker.cpu / max(now - worker.began, 0.1)
        self._memory.note_end(key, grown)
        _, _, recent, most = self._memory.figures(key)
        return replace(_use(worker, now - worker.began, recent or grown, most), waited=waited)

    @staticmethod
    def _note_cpu(worker: _Worker, cpu: float, now: float) -> None:
        worker.cpu = cpu
        if now - worker.since >= 0.9 * INTERVAL:  # over less the clock's ticks would be a large part of it
            worker.cpu_peak = max(worker.cpu_peak, (cpu - worker.spent) / (now - worker.since))
            worker.since, worker.spent = now, cpu
        worker.seen = now


def _use(worker: _Worker, seconds: float, mem: int, most: int) -> Use:
    return Use(
        seconds=max(seconds, 0.0),
        cpu=worker.cpu,
        cpu_peak=worker.cpu_peak,
        mem=mem / MIB,
        mem_peak=max(mem, most) / MIB,
        read=worker.read,
        written=worker.written,
        gpu=worker.gpu,
        gpu_mem=worker.gpu_mem,
    )


def cpu_seconds(pid: int) -> float:
    """Return the cpu time of a process, and of those that it has started and waited for; 0 for one that is gone."""
    return _spent(pid)[0]


def _spent(pid: int) -> tuple[float, bool]:
    """Return the cpu time of a process with those that it has waited for, and whether there have been any."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    try:  # proc(5): utime, stime, cutime and cstime are the fields 14 to 17, of which the third comes first here
        # Field 11, cminflt: no process runs without a page fault.
        return sum(int(field) for field in fields[11:15]) / _TICKS, fields[8] != b"0"
    except (ValueError, IndexError):
        return 0.0, False


def waited_seconds(pid: int) -> float:
    """Return how long the main thread of a process could have run and did not, since others had the cpus."""
    fields = _read(f"/proc/{pid}/schedstat").split()
    return int(fields[1]) / 1e9 if len(fields) > 1 and fields[1].isdigit() else 0.0


def transferred(pid: int) -> tuple[int, int]:
    """Return the bytes that a process has read and written, of which some may have come from the page cache."""
    lines = _read(f"/proc/{pid}/io").split(b"\n", 2)
    try:  # proc(5): rchar, wchar
        return int(lines[0].rpartition(b" ")[2]), int(lines[1].rpartition(b" ")[2])
    except (ValueError, IndexError):
        return 0, 0


def _read(path: str) -> bytes:
    """Return a small file's bytes, nothing where there is none: a third of what `open` costs."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
