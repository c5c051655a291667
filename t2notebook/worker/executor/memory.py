"""Keeps each worker to the memory that it asked for: looks at `/proc`, and says who took more.

A container's limit holds for an executor with all its workers. On Mesos it is raised as workers come and never lowered
while the executor lives, and who exceeds it takes the neighbours along. So every worker, with the processes that it
has started, is measured by itself: anonymous memory beyond what it inherited at the fork, and shared memory. Pages of
files are not counted, which the kernel can drop; what is shared with others counts in part, as soon as it matters.
Where workers have control groups (`memory_groups`), the kernel holds them besides.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from .event_loop import Loop, Timer
from .memory_groups import MemoryGroups

MIB = 1 << 20
#: Mesos gives no container less (`isolators/cgroups/subsystems/memory.cpp`), and neither is a worker kept to less.
LEAST = 32 * MIB
#: Seconds between two looks: memory fills at up to 2 GB/s. With many workers less often, so that it costs 1 % of a cpu.
INTERVAL, SHARE, LONGEST = 0.05, 0.01, 1.0
#: Seconds between two looks, at the least, at what costs more to find out: a worker's processes, its shared memory.
SLOW = 1.0
#: And at the most.
LONGEST_SLOW = 5.0
#: After an exact measurement that found nothing wrong, the next one is so many times later as that one took.
PATIENCE = 50
#: Seconds for which the most that a worker used is remembered.
RECENT = 2.0
#: Seconds that a worker has lived before it gets a control group of its own.
SETTLED = 0.2
#: Until then, and where there are no groups for as long, the processes that a worker starts are looked for each time,
#: but those of so many workers at the most: one that begins with a pool may fill its container in a tenth of a second.
YOUNG, MOST_YOUNG = 2 * SETTLED, 8
#: Looks for processes that a worker starts while it is put into its group.
_PASSES = 3
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


def resident() -> int:
    """Return the memory of this process in bytes as `ru_maxrss` counts it; 0 where there is no `/proc`."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


@dataclass
class _Watched:
    """A worker: its limits, its processes (the first one first), and what was measured."""

    limit: int
    inherited: int
    over: Callable[[int, list[int]], None]
    pids: list[int]
    shared: int = 0
    now: int = 0
    most: int = 0
    peak: int = 0
    peak_at: float = 0.0
    quiet_until: float = 0.0
    added: float = field(default_factory=time.monotonic)

    def look_around(self) -> None:
        """Find the processes that it has started, and its shared memory."""
        self.pids = family(self.pids[0])
        self.shared = sum(_status(pid, b"RssShmem:") for pid in self.pids)

    def measure(self) -> int:
        """Return what it uses, or more: what its processes share is counted for each of them."""
        return self.shared + sum(max(0, anonymous(pid) - self.inherited) for pid in self.pids)

    def note(self, used: int, now: float) -> None:
        """Remember the most of the last seconds, since a dying process has less and less."""
        self.now = used
        if used >= self.peak or now - self.peak_at > RECENT:
            self.peak, self.peak_at = used, now
        # Beyond its limit only what has been confirmed counts: what processes share stands in each of them.
        self.most = max(self.most, min(used, self.limit))

    def confirm(self) -> None:
        """Measure exactly before anything is ended."""
        began = time.monotonic()
        self.look_around()
        exact, used = proportional(self.pids), self.measure()
        used = used if exact is None else min(used, exact)
        if used > self.limit:
            self.most = max(self.most, used)
            self.quiet_until = float("inf")
            self.over(used, self.pids)
        else:
            now = time.monotonic()
            self.quiet_until = now + max(INTERVAL, PATIENCE * (now - began))


class MemoryWatch:
    """Measures workers while there are any.

    Parameters
    ----------
    loop : Loop
    groups : MemoryGroups, optional
        Control groups that workers are put into, where that can be.
    """

    def __init__(self, loop: Loop, groups: MemoryGroups | None = None) -> None:
        self._loop, self._groups = loop, groups or MemoryGroups("")
        self._watched: dict[str, _Watched] = {}
        self._timer: Timer | None = None
        self._look_around_at = self._look_at_groups_at = 0.0

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
        self._watched[key] = _Watched(limit, inherited, over, [pid])
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def remove(self, key: str) -> int:
        """Stop watching a worker; return the most that it used in its last seconds."""
        watched = self._watched.pop(key, None)
        if self._groups.has(key):
            self._groups.remove(key)
        return 0 if watched is None else watched.peak

    def figures(self, key: str) -> tuple[list[int], int, int, int]:
        """Return a worker's processes, and the bytes that it uses now, has used at the most in its last seconds, and at
        the most ever; nothing of one that is not watched.
        """
        watched = self._watched.get(key)
        if watched is None:
            return [], 0, 0, 0
        return watched.pids, watched.now, min(watched.peak, watched.most), watched.most

    def ran_out(self, key: str) -> int:
        """Return the bytes that a worker's control group has had when the kernel ended one of its processes for want of
        more; 0 if that has not been so.
        """
        return self._groups.most(key) if self._groups.ran_out(key) else 0

    def _enter_groups(self) -> None:
        """Put the next worker that is to have a control group into it; not more than one, as that takes a moment."""
        now = time.monotonic()
        for key, watched in self._watched.items():
            is_due = now - watched.added > SETTLED or watched.now > watched.limit / 4
            if is_due and self._groups.is_possible and not self._groups.has(key):
                self._groups.enter(key, watched.pids[0], watched.limit)
                known = {watched.pids[0]}
                # What is started while this goes on is in the group already, or is found by the next pass.
                for _ in range(_PASSES):
                    if not (started := [pid for pid in family(watched.pids[0]) if pid not in known]):
                        return
                    self._groups.follow(key, started)
                    known.update(started)
                return

    def _look_at_groups(self) -> None:
        """Find workers of which the kernel has ended a child for want of memory; it may end the next one."""
        if (now := time.monotonic()) < self._look_at_groups_at:
            return
        self._look_at_groups_at = now + SLOW
        for key, watched in list(self._watched.items()):
            if watched.quiet_until != float("inf") and (had := self.ran_out(key)):
                watched.most = max(watched.most, had)
                watched.quiet_until = float("inf")
                watched.look_around()
                watched.over(had, watched.pids)

    def _look(self) -> None:
        self._timer = None
        self._enter_groups()
        self._look_at_groups()
        began = time.monotonic()
        if began >= self._look_around_at:
            for watched in self._watched.values():
                watched.look_around()
            began, before = time.monotonic(), began
            # On a busy machine this takes long without costing much, so the pause has an end.
            self._look_around_at = began + min(LONGEST_SLOW, max(SLOW, (began - before) / SHARE))
        elif _LISTS_CHILDREN:
            young = (one for one in self._watched.values() if began - one.added < YOUNG)
            for watched in islice(young, MOST_YOUNG):
                watched.look_around()
        for watched in list(self._watched.values()):
            now = time.monotonic()
            used = watched.measure()
            watched.note(used, now)
            if used > watched.limit and now >= watched.quiet_until:
                watched.confirm()
        if self._watched:
            pause = (time.monotonic() - began) / SHARE
            self._timer = self._loop.call_later(min(LONGEST, max(INTERVAL, pause)), self._look)


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
