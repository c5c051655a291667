"""Control groups of the kernel: a container's limits in them (v1 and v2).

What is written is what Mesos's isolators write (`isolators/cgroups/subsystems/{memory,cpu}.cpp`,
`isolators/cgroups2/controllers/`): memory hard, and raised but never lowered while a container lives; cpu as
shares, as a quota only where that was asked for. The groups lie below the group that this program runs in, so
that whatever holds for it holds for its containers: `mesos/<owner>/<container>`. An owner is a launcher's pid and
start: who is dead, has none any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import Protocol

from ...common import processes
from .limits import MIB, MIN_MEMORY, PERIOD_US, Limits, over_limit_message

ROOT = "mesos"


SHARES_PER_CPU, MIN_SHARES = 1024, 2
WEIGHT_PER_CPU, MIN_WEIGHT, MAX_WEIGHT = 100, 1, 10_000


class Kind(Protocol):
    """Differences of the two versions of control groups: the files that are read and written."""

    version: int

    def prepare(self, directories: list[str]) -> None:
        """Make groups that hold groups (v2 has to hand the controllers down)."""

    def limit(self, directories: list[str], limits: Limits, *, cfs: bool, first: bool) -> None:
        """Write limits.

        Parameters
        ----------
        directories
            The container's groups, one a hierarchy.
        cfs
            A container's cpus are also the most that it gets.
        first
            The groups were just made: limits may be lowered.
        """

    def ran_out(self, directory: str) -> bool:
        """Tell whether the kernel found no memory for the group any more."""

    def statement(self, directory: str) -> str:
        """Give Mesos's message about it."""

    def listen(self, directory: str) -> int | None:
        """Give an eventfd that the kernel writes to when memory runs out; None where it has none."""


class V1:
    """One hierarchy for memory, perhaps one for cpu: `directories` in this order."""

    version = 1

    def prepare(self, directories: list[str]) -> None:
        for directory in directories:
            _make(directory)

    def limit(self, directories: list[str], limits: Limits, *, cfs: bool, first: bool) -> None:
        memory, *cpu = directories
        soft = max(int(limits.mem * MIB), MIN_MEMORY)
        _write(memory, "memory.soft_limit_in_bytes", soft)
        hard = limits.memory_bytes
        # A lower one could kill what has not given its memory back yet.
        if first or hard is None or hard > _number(memory, "memory.limit_in_bytes"):
            _write(memory, "memory.limit_in_bytes", -1 if hard is None else hard)
        for directory in cpu:
            _write(directory, "cpu.shares", max(int(limits.cpus * SHARES_PER_CPU), MIN_SHARES))
            quota = limits.quota_us(cfs=cfs)
            if quota is not None:
                _write(directory, "cpu.cfs_period_us", PERIOD_US)
                _write(directory, "cpu.cfs_quota_us", quota)

    def ran_out(self, directory: str) -> bool:
        # A process may also be killed because a group above is full; then this one never failed to get memory.
        killed = _table(directory, "memory.oom_control").get("oom_kill", 0)
        return killed > 0 and _number(directory, "memory.failcnt") > 0

    def statement(self, directory: str) -> str:
        limit = _number(directory, "memory.limit_in_bytes")
        most = _number(directory, "memory.max_usage_in_bytes")
        return over_limit_message(limit, most, read(directory, "memory.stat"))

    def listen(self, directory: str) -> int | None:
        if not hasattr(os, "eventfd"):
            return None
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = -1
        try:
            control = os.open(os.path.join(directory, "memory.oom_control"), os.O_RDONLY | os.O_CLOEXEC)
            _write(directory, "cgroup.event_control", f"{event} {control}")
        except OSError:
            os.close(event)
            return None
        finally:
            if control >= 0:
                os.close(control)
        return event


class V2:
    """One hierarchy for all."""

    version = 2

    def prepare(self, directories: list[str]) -> None:
        for directory in directories:
            _make(directory)
            wanted = {"memory", "cpu"} & set(read(directory, "cgroup.controllers").split())
            given = set(read(directory, "cgroup.subtree_control").split())
            for controller in sorted(wanted - given):
                with contextlib.suppress(*([OSError] if controller == "cpu" else [])):
                    _write(directory, "cgroup.subtree_control", f"+{controller}")

    def limit(self, directories: list[str], limits: Limits, *, cfs: bool, first: bool) -> None:
        (directory,) = directories
        _write(directory, "memory.low", max(int(limits.mem * MIB), MIN_MEMORY))
        hard = limits.memory_bytes
        before = "0" if first else read(directory, "memory.max").strip()
        if hard is None or (before != "max" and hard > int(before)):
            _write(directory, "memory.max", "max" if hard is None else hard)
        if first:
            # The kernel itself kills the container whole then. (Absent before Linux 4.19.)
            with contextlib.suppress(FileNotFoundError):
                _write(directory, "memory.oom.group", 1)
        if os.path.exists(os.path.join(directory, "cpu.weight")):
            weight = max(int(limits.cpus * WEIGHT_PER_CPU), MIN_WEIGHT)
            _write(directory, "cpu.weight", min(weight, MAX_WEIGHT))
            quota = limits.quota_us(cfs=cfs)
            shown = "max" if quota is None or quota < 0 else quota
            _write(directory, "cpu.max", f"{shown} {PERIOD_US}")

    def ran_out(self, directory: str) -> bool:
        return _table(directory, "memory.events").get("oom", 0) > 0

    def statement(self, directory: str) -> str:
        limit = read(directory, "memory.max").strip()
        try:
            most = _number(directory, "memory.peak")
        except FileNotFoundError:  # before Linux 5.19
            most = _number(directory, "memory.current")
        known = None if limit == "max" else int(limit)
        return over_limit_message(known, most, read(directory, "memory.stat"))

    def listen(self, directory: str) -> int | None:
        return None


@dataclass(frozen=True)
class Cgroups:
    """The groups of this program's containers.

    Attributes
    ----------
    parents
        Below which groups they lie: for v1 memory's and perhaps cpu's hierarchy, for v2 the only one.
    cfs
        A container's cpus are also the most that it gets (Mesos's `--cgroups_enable_cfs`).
    """

    kind: Kind
    parents: tuple[str, ...]
    cfs: bool = False

    def open(self, owner: str) -> None:
        """Make an owner's group.

        Raises
        ------
        OSError
            The kernel refuses.
        """
        for parent in self.parents:
            self.kind.prepare(self.above(parent, owner))

    def sweep(self) -> bool:
        """Remove the groups of dead owners; False while something is in one (which is killed)."""
        done = True
        for parent in self.parents:
            for owner in _groups(os.path.join(parent, ROOT)):
                pid, _, start = owner.partition("-")
                if pid.isdigit() and start.isdigit() and not processes.alive(int(pid), start):
                    done = self._remove_tree(os.path.join(parent, ROOT, owner)) and done
        return done

    def close(self, owner: str) -> None:
        """Remove an owner's groups, whatever is in them."""
        for parent in self.parents:
            self._remove_tree(os.path.join(parent, ROOT, owner))
            with contextlib.suppress(OSError):
                _unmake(os.path.join(parent, ROOT))

    def exists(self, owner: str) -> bool:
        """Tell whether an owner has a group."""
        return any(os.path.isdir(os.path.join(parent, ROOT, owner)) for parent in self.parents)

    def containers(self, owner: str) -> set[str]:
        """Give the containers that an owner has groups of."""
        return {name for parent in self.parents for name in _groups(os.path.join(parent, ROOT, owner))}

    def limit(self, owner: str, container_id: str, limits: Limits) -> None:
        """Set a container's limits; its group is made if there is none.

        Parameters
        ----------
        owner
            The launcher that the container belongs to.

        Raises
        ------
        OSError
            The kernel refuses.
        """
        directories = self._directories(owner, container_id)
        first = not all(os.path.isdir(one) for one in directories)
        for one in directories:
            _make(one)
        self.kind.limit(directories, limits, cfs=self.cfs, first=first)

    def procs_files(self, owner: str, container_id: str) -> list[str]:
        """Give the files through which a process comes in; none when the container has no group."""
        directories = self._directories(owner, container_id)
        return [os.path.join(one, "cgroup.procs") for one in directories if os.path.isdir(one)]

    def over_memory(self, owner: str, container_id: str) -> str | None:
        """Give Mesos's message if memory ran out in a container."""
        directory = self._directories(owner, container_id)[0]
        try:
            return self.kind.statement(directory) if self.kind.ran_out(directory) else None
        except (OSError, ValueError):
            return None

    def listen(self, owner: str, container_id: str) -> int | None:
        """Give a descriptor that becomes readable when memory runs out, where there is such a thing."""
        return self.kind.listen(self._directories(owner, container_id)[0])

    def remove(self, owner: str, container_id: str) -> bool:
        """Remove a container's group; False while something is in it (which is killed)."""
        return all([_remove(one) for one in self._directories(owner, container_id)])

    def _directories(self, owner: str, container_id: str) -> list[str]:
        return [os.path.join(parent, ROOT, owner, container_id) for parent in self.parents]

    @staticmethod
    def above(parent: str, owner: str) -> list[str]:
        """Give the groups that an owner's containers' groups lie in, outermost first."""
        return [parent, os.path.join(parent, ROOT), os.path.join(parent, ROOT, owner)]

    @staticmethod
    def _remove_tree(directory: str) -> bool:
        for name in _groups(directory):
            _remove(os.path.join(directory, name))
        return _remove(directory)


def _groups(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [one.name for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _remove(directory: str) -> bool:
    try:
        _unmake(directory)
    except FileNotFoundError:
        return True
    except OSError:
        for name in _groups(directory):  # those that a container's own processes have made
            _remove(os.path.join(directory, name))
        with contextlib.suppress(OSError, ValueError):
            pids = [int(line) for line in read(directory, "cgroup.procs").split()]
            # 0 is a process that this one cannot see, and no order to kill oneself.
            processes.send([pid for pid in pids if pid > 0], signal.SIGKILL)
        return False
    return True


def _make(directory: str) -> None:
    os.makedirs(directory, exist_ok=True)


def _unmake(directory: str) -> None:
    os.rmdir(directory)


def read(directory: str, name: str) -> str:
    """Read one of the kernel's files."""
    with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def _number(directory: str, name: str) -> int:
    return int(read(directory, name))


def _table(directory: str, name: str) -> dict[str, int]:
    pairs = (line.split() for line in read(directory, name).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _write(directory: str, name: str, value: object) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        file.write(str(value))
