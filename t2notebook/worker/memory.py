"""Keeps each worker to the memory that it asked for: looks at `/proc`, and says who took more.

A container's limit holds for an executor with all its workers. On Mesos it is raised as workers come and never lowered
while the executor lives, and who exceeds it takes the neighbours along. So every worker, with the processes that it
has started, is measured by itself: anonymous memory beyond what it inherited at the fork, and shared memory. Pages of
files are not counted, which the kernel can drop; what is shared with others counts in part, as soon as it matters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .loop import Loop, Timer

MIB = 1 << 20
#: Mesos gives no container less (`isolators/cgroups/subsystems/memory.cpp`), and neither is a worker kept to less.
LEAST = 32 * MIB
#: Seconds between two looks: memory fills at up to 2 GB/s. With many workers less often, so that it costs 1 % of a cpu.
INTERVAL, SHARE, LONGEST = 0.05, 0.01, 1.0
#: Seconds between two looks at what a process costs more to say: its children, its shared memory.
SLOW = 1.0
#: After an exact measurement that found nothing wrong, the next one is so many times later as that one took.
PATIENCE = 50
#: Seconds for which the most that a worker used is remembered.
RECENT = 2.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Some kernels are built without it.
_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def anonymous(pid: int | str = "self") -> int:
    """Return the anonymous memory of a process in bytes; 0 where there is no `/proc`."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return _anonymous(file.read())
    except (OSError, ValueError, IndexError):
        return 0


@dataclass
class _Watched:
    pid: int
    limit: int
    inherited: int
    over: Callable[[int, list[int]], None]
    files: dict[int, int] = field(default_factory=dict)  # pid -> descriptor of its statm
    shared: int = 0
    used: int = 0
    peak: int = 0
    peak_at: float = 0.0
    quiet_until: float = 0.0

    def note(self, used: int, now: float) -> None:
        """Take a measurement; remember the highest of the last seconds, since a dying process has less and less."""
        self.used = used
        if used >= self.peak or now - self.peak_at > RECENT:
            self.peak, self.peak_at = used, now


class MemoryWatch:
    """Measures workers while there are any.

    Parameters
    ----------
    loop : Loop
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._watched: dict[str, _Watched] = {}
        self._timer: Timer | None = None
        self._slow = 0.0

    def add(
        self, key: str, pid: int, limit: int, inherited: int, over: Callable[[int, list[int]], None]
    ) -> None:
        """Watch a worker.

        Parameters
        ----------
        key : str
        pid : int
            Of its first process.
        limit, inherited : int
            What it may use, and what it had of the executor's at the fork; bytes.
        over : callable
            Called once with what it uses (bytes) and the pids of its processes, when that is more than the limit.
        """
        self._watched[key] = _Watched(pid, limit, inherited, over)
        self._open(self._watched[key], [pid])
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def remove(self, key: str) -> int:
        """Stop watching a worker; return the most that it used in its last seconds."""
        watched = self._watched.pop(key, None)
        if watched is None:
            return 0
        for descriptor in watched.files.values():
            os.close(descriptor)
        return watched.peak

    def _look(self) -> None:
        self._timer = None
        began = time.monotonic()
        is_slow = began - self._slow >= SLOW
        if is_slow:
            self._slow = began
        for key, watched in list(self._watched.items()):
            if is_slow:
                self._look_around(watched)
            sizes = self._sizes(watched)
            watched.note(watched.shared + sum(max(0, size - watched.inherited) for size in sizes), began)
            if watched.used > watched.limit and time.monotonic() >= watched.quiet_until:
                self._confirm(key, watched)
        if self._watched:
            spent = time.monotonic() - began
            # A slow look is a twentieth of all.
            pause = spent / SHARE / (SLOW / INTERVAL if is_slow else 1)
            self._timer = self._loop.call_later(min(LONGEST, max(INTERVAL, pause)), self._look)

    def _look_around(self, watched: _Watched) -> None:
        """Find the processes that a worker has started, and its shared memory."""
        pids = family(watched.pid)
        for pid in watched.files.keys() - set(pids):
            os.close(watched.files.pop(pid))
        self._open(watched, pids)
        watched.shared = sum(_status(pid, b"RssShmem:") for pid in pids)

    @staticmethod
    def _open(watched: _Watched, pids: Iterable[int]) -> None:
        for pid in pids:
            if pid not in watched.files:
                try:
                    watched.files[pid] = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    pass  # it has ended, or there is no /proc

    @staticmethod
    def _sizes(watched: _Watched) -> Iterable[int]:
        for descriptor in watched.files.values():
            try:
                yield _anonymous(os.pread(descriptor, 256, 0))
            except (OSError, ValueError, IndexError):
                continue  # ended: the descriptor stands for the process, not for its number

    def _confirm(self, key: str, watched: _Watched) -> None:
        """Measure exactly before anything is ended: what processes share was counted for each of them."""
        began = time.monotonic()
        self._look_around(watched)
        pids = list(watched.files)
        exact = proportional(pids)
        cheap = watched.shared + sum(max(0, size - watched.inherited) for size in self._sizes(watched))
        used = cheap if exact is None else min(cheap, exact)
        if used > watched.limit:
            watched.quiet_until = float("inf")
            watched.over(used, pids)
        elif key in self._watched:
            now = time.monotonic()
            watched.quiet_until = now + max(INTERVAL, PATIENCE * (now - began))


def family(pid: int) -> list[int]:
    """Return a process and those that descend from it."""
    if not _LISTS_CHILDREN:
        return _family_of_all(pid)
    found = [pid]
    for one in found:  # it grows meanwhile
        try:
            threads = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{one}/task/{thread}/children", "rb") as file:
                    found += [int(child) for child in file.read().split()]
            except (OSError, ValueError):
                continue  # it has ended
    return list(dict.fromkeys(found))


def proportional(pids: Iterable[int]) -> int | None:
    """Return the anonymous and shared memory of processes in bytes, each page divided among those that have it; None
    when the kernel does not say.
    """
    total, told = 0, False
    for pid in pids:
        fields: dict[bytes, int] = {}
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    name, _, rest = line.partition(b":")
                    if rest.endswith(b"kB\n"):
                        fields[name] = int(rest[:-3]) * 1024
        except PermissionError:
            return None
        except (OSError, ValueError):
            continue  # it has ended
        if b"Pss_Anon" not in fields:  # before Linux 5.4
            return None
        told = True
        total += fields[b"Pss_Anon"] + fields.get(b"Pss_Shmem", 0)
    return total if told else None


def _family_of_all(pid: int) -> list[int]:
    """The same, where the kernel does not list children."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _anonymous(statm: bytes) -> int:
    fields = statm.split()
    return (int(fields[1]) - int(fields[2])) * _PAGE


def _status(pid: int, name: bytes) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0
