"""Isolation of an agent's containers, to their memory and cpus: by the kernel's control groups, else by watching them.

Watching knows memory only. It looks once a second; a container that forks and frees faster than that is not seen.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from ...common import processes
from .cgroups import Cgroups
from .limits import Limits, over_limit_message

log = logging.getLogger(__name__)

CGROUPS, WATCHING = "cgroups/cpu,cgroups/mem", "posix/cpu,posix/mem"
"""Mesos's names of both."""

MEMORY_SETTLES = 3.0
"""A task's end lowers its container's limit before its memory is back; so long the higher limit holds."""

OOM_PAUSE, OOM_LOOKS = 0.01, 50
REMOVAL_PAUSE, REMOVALS = 0.05, 100
"""Seconds, and how often: the kernel kills a moment after it says that memory ran out; a group stays busy
for a moment after its last process."""


class Isolator:
    """The limits of one agent's containers, inside its loop.

    Parameters
    ----------
    cgroups
        None where there are none to be had: then containers are watched.
    owner
        Whose groups these are.
    on_over_memory
        Gets a container that used too much memory, and Mesos's message about it.
    """

    def __init__(
        self, cgroups: Cgroups | None, owner: str, on_over_memory: Callable[[str, str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._cgroups = cgroups
        self._owner = owner
        self._on_over_memory = on_over_memory
        self._listening: dict[str, int] = {}
        self._known: dict[str, Limits] = {}
        self._settling: dict[str, list[tuple[float, int]]] = {}
        if cgroups is not None:
            try:
                cgroups.open(owner)
            except OSError as error:
                self._give_up(error)
            else:
                self._sweep(cgroups, REMOVALS)

    @property
    def name(self) -> str:
        """Give Mesos's names of it (`--isolation`)."""
        return WATCHING if self._cgroups is None else CGROUPS

    def keep_only(self, living: set[str]) -> None:
        """Remove the groups of containers that an earlier agent had and that are gone."""
        if self._cgroups is not None:
            for container_id in self._cgroups.containers(self._owner) - living:
                self.release(container_id)

    def limit(self, container_id: str, limits: Limits) -> None:
        """Set a container's limits, before its first process starts and whenever they change."""
        before = self._known.get(container_id)
        self._known[container_id] = limits
        if self._cgroups is None or before == limits:
            return
        try:
            self._cgroups.limit(self._owner, container_id, limits)
            if before is None:
                self._listen(container_id)
        except OSError as error:
            # It runs on all the same, and is watched.
            log.warning("container %s has no control group: %s", container_id, error)
            self.release(container_id)
            self._known[container_id] = limits

    def procs_files(self, container_id: str) -> list[str]:
        """Give the `cgroup.procs` files of a container's groups: a process that writes to them enters."""
        return [] if self._cgroups is None else self._cgroups.procs_files(self._owner, container_id)

    def over_memory(self, container_id: str) -> str | None:
        """Give Mesos's message if the kernel found no memory for a container any more."""
        return None if self._cgroups is None else self._cgroups.over_memory(self._owner, container_id)

    def release(self, container_id: str) -> None:
        """Forget a container, of which nothing is left."""
        self._known.pop(container_id, None)
        self._settling.pop(container_id, None)
        event = self._listening.pop(container_id, None)
        if event is not None:
            self._loop.remove_reader(event)
            os.close(event)
        if self._cgroups is not None:
            self._remove(self._cgroups, container_id, REMOVALS)

    def check_memory(self, container_id: str, leaders: list[int]) -> None:
        """Check whether a container keeps to its memory (to be called once a second).

        Parameters
        ----------
        leaders
            The first processes of it and of those nested in it.
        """
        if self.procs_files(container_id):
            text = self.over_memory(container_id)
        else:
            text = self._watch(container_id, leaders) if processes.LINUX else None
        if text is not None:
            self._on_over_memory(container_id, text)

    def _watch(self, container_id: str, leaders: list[int]) -> str | None:
        known = self._known.get(container_id)
        current = None if known is None else known.memory_bytes
        now = self._loop.time()
        before = self._settling.get(container_id, [])
        if current is None:
            return None
        kept = [one for one in before if now - one[0] < MEMORY_SETTLES]
        self._settling[container_id] = [*kept, (now, current)]
        limit = max(one[1] for one in self._settling[container_id])
        pids = [pid for leader in leaders for pid in (leader, *processes.descendants(leader))]
        used = usage_bytes(pids, limit)
        if used <= limit:
            return None
        statistics = f"processes {len(pids)}\nrss {used}"
        return over_limit_message(limit, used >> 20 << 20, statistics)

    def _listen(self, container_id: str) -> None:
        assert self._cgroups is not None
        event = self._cgroups.listen(self._owner, container_id)
        if event is None:
            return

        def happened() -> None:
            os.eventfd_read(event)
            look_again(OOM_LOOKS)

        def look_again(attempts: int) -> None:
            # The event comes before the kernel has killed; nothing counts until then.
            text = self.over_memory(container_id)
            if text is not None:
                self._on_over_memory(container_id, text)
            elif attempts and container_id in self._listening:
                self._loop.call_later(OOM_PAUSE, look_again, attempts - 1)

        self._listening[container_id] = event
        self._loop.add_reader(event, happened)

    def _remove(self, cgroups: Cgroups, container_id: str, attempts: int) -> None:
        if not cgroups.remove(self._owner, container_id) and attempts:
            self._loop.call_later(REMOVAL_PAUSE, self._remove, cgroups, container_id, attempts - 1)

    def _sweep(self, cgroups: Cgroups, attempts: int) -> None:
        if not cgroups.sweep() and attempts:
            self._loop.call_later(REMOVAL_PAUSE, self._sweep, cgroups, attempts - 1)

    def _give_up(self, error: OSError) -> None:
        log.warning("no control groups after all (%s): containers are watched", error)
        self._cgroups = None


def usage_bytes(pids: list[int], limit: int) -> int:
    """Measure a container's resident memory.

    The sum of the processes' RSS counts shared pages once a process, which is unfair to an executor that forks
    its workers; so when that sum is above the limit, the exact (and slower) proportional sizes decide.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as file:
                total += int(file.read().split()[1]) * page
        except (OSError, IndexError):
            continue
    if total <= limit:
        return total
    exact = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                exact += sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        except PermissionError:
            return total
        except OSError:
            continue
    return exact
