"""Control groups of memory, one a worker, below the executor's own, where the executor may make some (Linux, v1).

The kernel holds a worker to its limit then, at once and whatever its neighbours do. To enter a group takes the kernel
some 14 ms, so a worker enters when it has lived for a moment, by its executor's hand; what it had before counts for the
executor's group, and `memory` watches the sum as everywhere. In the hierarchy of v2 a group that has processes of its
own, as that of an executor, cannot have such groups below it (cgroups(7), "no internal processes").
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_PREFIX = "t2-worker-"


class MemoryGroups:
    """The groups of an executor's workers.

    Parameters
    ----------
    own : str
        The folder of the executor's own group; empty if it may not make others below it.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._limits: dict[str, int] = {}

    @classmethod
    def here(cls) -> MemoryGroups:
        """Return those below this process's own group."""
        return cls(own_group())

    @property
    def is_possible(self) -> bool:
        """Whether groups can be made, as far as is known."""
        return bool(self._own)

    def has(self, key: str) -> bool:
        """Return whether a worker has one."""
        return key in self._limits

    def enter(self, key: str, pid: int, limit: int) -> None:
        """Put a worker's process into a group of its own; where that fails, no more are tried.

        Parameters
        ----------
        key : str
        pid : int
            What it has started meanwhile stays where it is; `follow` brings it along.
        limit : int
            Bytes.
        """
        if not self._own:
            return
        path = self._path(key)
        try:
            os.mkdir(path)
            _write(path, "memory.limit_in_bytes", limit)
            _write(path, "cgroup.procs", pid)
        except ProcessLookupError:
            self._drop(path)  # it has just ended
        except OSError:
            self._drop(path)
            self._own = ""
        else:
            self._limits[key] = limit

    def follow(self, key: str, pids: Iterable[int]) -> None:
        """Put processes that a worker had started before it entered its group into it, too."""
        if key not in self._limits:
            return
        for pid in pids:
            try:
                _write(self._path(key), "cgroup.procs", pid)
            except OSError:
                pass  # it has ended

    def ran_out(self, key: str) -> bool:
        """Return whether the kernel has ended a process of a worker's since its group was full."""
        if key not in self._limits:
            return False
        for line in _read(self._path(key), "memory.oom_control").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return value.strip() not in ("", "0")
        # Before Linux 4.13 nothing says so but the limit that has been met.
        return False

    def held(self, key: str) -> int:
        """Return the memory in a worker's group that the kernel cannot drop, in bytes; 0 without one.

        That is anonymous memory, and shared memory with the files of a tmpfs, which stand in no process.
        """
        if key not in self._limits:
            return 0
        total = 0
        for line in _read(self._path(key), "memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name in ("total_rss", "total_shmem") and value.isdigit():
                total += int(value)
        return total

    def most(self, key: str) -> int:
        """Return the most memory that a worker's group has had, pages of files included, in bytes; 0 without one."""
        if key not in self._limits:
            return 0
        try:
            return int(_read(self._path(key), "memory.max_usage_in_bytes"))
        except ValueError:
            return 0

    def remove(self, key: str) -> None:
        """Remove a worker's group, and those whose last process has ended since."""
        self._limits.pop(key, None)
        if not self._own:
            return
        try:
            names = os.listdir(self._own)
        except OSError:
            return
        known = {os.path.basename(self._path(one)) for one in self._limits}
        for name in names:
            if name.startswith(_PREFIX) and name not in known and self._is_free(name):
                self._drop(os.path.join(self._own, name))

    def _path(self, key: str) -> str:
        return os.path.join(self._own, f"{_PREFIX}{os.getpid()}-{key}")

    @staticmethod
    def _is_free(name: str) -> bool:
        """Return whether a group is ours, or that of an executor that is no more."""
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        return pid == str(os.getpid()) or (pid.isdigit() and not os.path.exists(f"/proc/{pid}"))

    @staticmethod
    def _drop(path: str) -> None:
        try:
            os.rmdir(path)
        except OSError:
            pass  # something in it is ending yet: the next one tries again


def own_group(mounts: str = "/proc/self/mountinfo", groups: str = "/proc/self/cgroup") -> str:
    """Return the folder of this process's group in the memory hierarchy of v1, empty if it cannot be written.

    Parameters
    ----------
    mounts, groups : str
        Files of proc(5).
    """
    path = ""
    for line in _read(os.path.dirname(groups), os.path.basename(groups)).splitlines():
        _, controllers, name = (*line.split(":", 2), "", "")[:3]
        if "memory" in controllers.split(","):
            path = name
    for line in _read(os.path.dirname(mounts), os.path.basename(mounts)).splitlines():
        fields, _, kind = line.partition(" - ")
        words = kind.split()
        if not path or len(words) < 3 or words[0] != "cgroup" or "memory" not in words[2].split(","):
            continue
        root, point = fields.split()[3:5]
        if root != "/" and (path + "/").startswith(root.rstrip("/") + "/"):
            path = path[len(root.rstrip("/")) :] or "/"  # a container sees a part of the hierarchy
        folder = os.path.normpath(point + path)
        # The root group is the machine's: nobody's limits belong there.
        if folder != os.path.normpath(point) and os.access(os.path.join(folder, "cgroup.procs"), os.W_OK):
            return folder
    return ""


def _read(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(folder: str, name: str, value: object) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(str(value))
