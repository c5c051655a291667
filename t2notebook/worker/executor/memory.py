"""Keeps each worker to the memory that it asked for: looks at `/proc`, and says who took more.

A container's limit holds for an executor with all its workers. On Mesos it is raised as workers come and never lowered
while the executor lives, and who exceeds it takes the neighbours along. So every worker, with the processes that it
has started, is measured by itself: anonymous memory beyond what it inherited at the fork, and shared memory. Pages of
files are not counted, which the kernel can drop; what is shared with others counts in part, as soon as it matters.
Where workers have control groups (`memory_groups`), the kernel holds them besides.

The cheap figure, looked at all the time, errs: of what was inherited some pages are copied when they are written to,
and a program that a worker runs has inherited nothing. An exact one, now and then, says by how much. What came and went
between two looks stands in the kernel's own record of the most.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice

from .event_loop import Loop, Timer
from .memory_groups import MemoryGroups
from .process_memory import LISTS_CHILDREN, anonymous, family, own, proportional, resident, resident_of, sizes

__all__ = ["LEAST", "MIB", "MemoryWatch", "anonymous", "resident"]

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
#: Part of a cpu for exact measurements of workers, one by one.
EXACT_SHARE = 0.005
#: Bytes by which the kernel's record of the most has to be above what was seen to count: it is kept a thread at a time.
_SLACK = 2 * MIB


@dataclass
class _Watched:
    """A worker: its limits, its processes (the first one first), and what was measured.

    `corrections` is, by process, what makes its own anonymous memory of all of it; `highs` the kernel's record of the
    most that each had when it was last looked at, and what it had of pages of files then.
    """

    limit: int
    inherited: int
    resident: int
    over: Callable[[int, list[int]], None]
    pids: list[int]
    corrections: dict[int, int] = field(default_factory=dict)
    highs: dict[int, tuple[int, int]] = field(default_factory=dict)
    highest: int = 0
    has_children: bool = False
    shared: int = 0
    repeated: int = 0
    hidden: int = 0
    held: int = 0
    now: int = 0
    most: int = 0
    peak: int = 0
    peak_at: float = 0.0
    quiet_until: float = 0.0
    added: float = field(default_factory=time.monotonic)
    measured: float = 0.0

    def look_around(self) -> None:
        """Find the processes that it has started, its shared memory, and what came and went since the last time."""
        self.pids = family(self.pids[0])
        self.has_children = self.has_children or len(self.pids) > 1
        self.shared = sum(map(self.look_at_high, self.pids))
        self.highs = {pid: self.highs[pid] for pid in self.pids}

    def look_at_high(self, pid: int) -> int:
        """Note if a process has had more for a moment since the last time; return its shared memory."""
        is_now = resident_of(pid)
        high, files = self.highs.get(pid, (0, is_now.files))
        if is_now.high > max(high, is_now.now) + _SLACK:
            more = (is_now.high - min(files, is_now.files)) - (is_now.now - is_now.files)
            self.hidden = max(self.hidden, more)
        self.highs[pid] = is_now.high, is_now.files
        self.highest = max(self.highest, is_now.high)
        return is_now.shared

    def measure(self) -> tuple[int, int]:
        """Return what it uses, and what it may use: of what its processes share each is given all there."""
        used = may = 0
        inherited = self.inherited
        for pid in self.pids:
            has, rest = sizes(pid)
            if rest > self.highs.get(pid, (0, 0))[1] + _SLACK:
                self.look_at_high(pid)  # before pages of files hide what there was
            used += max(0, has + self.corrections.get(pid, -inherited))
            may += max(0, has - self.inherited)
            if pid == self.pids[0]:
                inherited = (
                    has  # until more is known of a process, it counts with what it has beyond the first one
                )
        used = max(used + max(0, self.shared - self.repeated), self.held)
        return used, max(may + self.shared, used)

    def measure_exactly(self) -> None:
        """Find out by how much the cheap figure errs."""
        shared = sum(resident_of(pid).shared for pid in self.pids)
        exact = own(self.pids)
        if exact is not None:
            self.corrections = {pid: -less for pid, less in exact.less.items()}
            self.repeated = max(0, shared - exact.shared)

    def note(self, used: int, now: float) -> None:
        """Remember the most of the last seconds, since a dying process has less and less."""
        self.now = used
        if used >= self.peak or now - self.peak_at > RECENT:
            self.peak, self.peak_at = used, now
        # Beyond its limit only what has been confirmed counts.
        self.most = max(self.most, min(used + self.hidden, self.limit))
        self.hidden = 0

    def note_end(self, grown: int) -> None:
        """Take the kernel's last word on the most that a process of it had, beyond the executor at the fork."""
        if not grown or not self.highest:
            return
        high = grown + self.resident
        if high <= self.highest + _SLACK:
            return
        if not self.has_children:  # else it may have been one of them, of which nothing is known
            first = self.pids[0]
            high += self.corrections.get(first, -self.inherited) - self.highs.get(first, (0, 0))[1]
        high = min(high, self.limit)
        self.most, self.peak = max(self.most, high), max(self.peak, high)  # it was so after the last look

    def confirm(self) -> None:
        """Measure exactly before anything is ended."""
        began = time.monotonic()
        self.look_around()
        exact, (_, used) = proportional(self.pids), self.measure()
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
        self._look_around_at = self._look_at_groups_at = self._measure_at = 0.0

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
        self._watched[key] = _Watched(limit, inherited, resident(), over, [pid])
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

    def note_children(self, key: str) -> None:
        """Learn that a worker has had processes of its own, which may have come and gone between two looks."""
        if (watched := self._watched.get(key)) is not None:
            watched.has_children = True

    def note_end(self, key: str, grown: int) -> None:
        """Take the kernel's last word on a worker that has ended.

        Parameters
        ----------
        key : str
        grown : int
            Bytes by which the largest of its processes was larger than the executor at the fork; 0 if nobody knows.
        """
        if (watched := self._watched.get(key)) is not None:
            watched.note_end(grown)

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
            watched.held = self._groups.held(key)
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
        elif LISTS_CHILDREN:
            young = (one for one in self._watched.values() if began - one.added < YOUNG)
            for watched in islice(young, MOST_YOUNG):
                watched.look_around()
        for watched in list(self._watched.values()):
            now = time.monotonic()
            used, may = watched.measure()
            watched.note(used, now)
            if may > watched.limit and now >= watched.quiet_until:
                watched.confirm()
        self._measure_next()
        if self._watched:
            pause = (time.monotonic() - began) / SHARE
            self._timer = self._loop.call_later(min(LONGEST, max(INTERVAL, pause)), self._look)

    def _measure_next(self) -> None:
        """Measure the workers exactly for which that is the longest ago, if it is time for some."""
        now = time.monotonic()
        if now < self._measure_at:
            return
        due = (one for one in self._watched.values() if now - one.measured >= SLOW)
        began = time.thread_time()
        # New ones are measured together: they may not live for long.
        for number, one in enumerate(nsmallest(MOST_YOUNG, due, key=lambda watched: watched.measured)):
            if number and one.measured:
                break
            one.measured = now
            one.measure_exactly()
        self._measure_at = now + (time.thread_time() - began) / EXACT_SHARE
