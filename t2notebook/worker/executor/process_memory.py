"""Memory of processes, as `/proc` has it: cheap figures, exact ones, and who descends from whom."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Some kernels are built without it.
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
#: Bytes of shared pages from which on processes count as ones that have memory in common.
_SHARING = 1 << 20


def anonymous(pid: int | str = "self") -> int:
    """Return the anonymous memory of a process in bytes; 0 where there is no `/proc`."""
    return sizes(pid)[0]


def sizes(pid: int | str = "self") -> tuple[int, int]:
    """Return the anonymous memory of a process, and its pages of files with its shared memory, in bytes; zeros of one
    that has ended.
    """
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
        rest = int(fields[2]) * _PAGE
        return int(fields[1]) * _PAGE - rest, rest
    except (OSError, ValueError, IndexError):
        return 0, 0


def resident() -> int:
    """Return the memory of this process in bytes as `ru_maxrss` counts it; 0 where there is no `/proc`."""
    return sum(sizes())


class Resident(NamedTuple):
    """Memory of a process in bytes: the most that it ever had, what it has now, and of that pages of files and shared
    memory.
    """

    high: int = 0
    now: int = 0
    files: int = 0
    shared: int = 0


_NAMES = {b"VmHWM": 0, b"VmRSS": 1, b"RssFile": 2, b"RssShmem": 3}


def resident_of(pid: int) -> Resident:
    """Return the memory of a process; zeros of one that has ended."""
    found = [0, 0, 0, 0]
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                name, _, rest = line.partition(b":")
                if (index := _NAMES.get(name)) is not None:
                    found[index] = int(rest.split()[0]) * 1024
                    if index == 3:  # the last one
                        break
    except (OSError, ValueError, IndexError):
        pass
    return Resident(*found)


def family(pid: int) -> list[int]:
    """Return a process and those that descend from it."""
    if not LISTS_CHILDREN:
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
        fields = _rollup(pid)
        if fields is None:
            return None
        if fields:
            told = True
            total += fields[b"Pss_Anon"] + fields.get(b"Pss_Shmem", 0)
    return total if told else None


class Own(NamedTuple):
    """Memory of a family's own in bytes: by process, by how much it is less than all its anonymous memory; and the
    shared one of all.
    """

    less: dict[int, int]
    shared: int


def own(pids: Sequence[int]) -> Own | None:
    """Return what a worker's processes have that nobody else has; None when the kernel does not say.

    Of pages that they have in common with each other each has its part. What they have of the executor's, which they
    have not written to, does not count; where several of them share memory, the kernel does not tell that from their
    own, so that a part of it counts.

    Parameters
    ----------
    pids : sequence of int
    """
    found: dict[int, tuple[int, int, int]] = {}
    shared = 0
    for pid in pids:
        fields = _rollup(pid)
        if fields is None:
            return None
        if fields:
            part = fields[b"Pss_Anon"]
            # Dirty pages of files are private as well, so it is no more than that part.
            found[pid] = fields.get(b"Anonymous", part), min(fields.get(b"Private_Dirty", 0), part), part
            shared += fields.get(b"Pss_Shmem", 0)
    is_shared = sum(part - private > _SHARING for _, private, part in found.values()) > 1
    less = {pid: every - (part if is_shared else private) for pid, (every, private, part) in found.items()}
    return Own(less, shared)


def _rollup(pid: int) -> dict[bytes, int] | None:
    """Return the sums over a process's memory, in bytes; nothing of one that has ended, None when the kernel does not
    say.
    """
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
        return {}
    return fields if b"Pss_Anon" in fields else None  # before Linux 5.4


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
