"""Old directories of an agent: when each may go, sooner on a full disk, and their removal off the event loop.

The rules are those of Mesos's `slave/gc.cpp` and `Slave::age`: a directory goes when it is `gc_delay` old, or as
old as is allowed when the disk was last looked at: gc_delay * max(0, 1 - gc_disk_headroom - usage).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable

log = logging.getLogger(__name__)

TRASH = "trash"


def allowed_age(delay: float, headroom: float, usage: float) -> float:
    """Give the age (seconds) that nothing may be older than.

    Parameters
    ----------
    delay
        `gc_delay` (seconds).
    headroom, usage
        `gc_disk_headroom`, and the share of the disk that is in use (0 to 1).
    """
    return delay * max(0.0, 1.0 - headroom - usage)


class Schedule:
    """Directories by the time at which they go (seconds of one clock). Pure; a change costs log n."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, path: str) -> bool:
        return path in self._due

    def add(self, path: str, due: float) -> None:
        """Note when a directory goes, instead of what was noted before."""
        self._due[path] = due
        heapq.heappush(self._heap, (due, path))

    def discard(self, path: str) -> bool:
        """Take a directory out; tell whether it was noted."""
        return self._due.pop(path, None) is not None

    def next_due(self) -> float | None:
        """Give the time of the first."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, until: float) -> list[str]:
        """Give what is due by a time, and forget it."""
        found = []
        while (due := self.next_due()) is not None and due <= until:
            path = heapq.heappop(self._heap)[1]
            del self._due[path]
            found.append(path)
        return found


class Collector:
    """Removes an agent's old directories, inside its loop.

    Parameters
    ----------
    work_dir
        The agent's; its disk is watched.
    delay, headroom, interval
        `gc_delay` and `disk_watch_interval` (seconds), `gc_disk_headroom` (a share of the disk).
    lives
        Tells whether something in a directory still runs: then it stays, whatever was noted.
    on_removed
        Gets each directory as soon as nobody can see it any more.
    usage
        Gives the share of the disk that is in use (for tests).
    """

    def __init__(
        self,
        work_dir: str,
        delay: float,
        headroom: float,
        interval: float,
        lives: Callable[[str], bool],
        on_removed: Callable[[str], None],
        usage: Callable[[str], float] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._work_dir = work_dir
        self._trash = os.path.join(work_dir, TRASH)
        self._delay, self._headroom, self._interval = delay, headroom, interval
        self._lives, self._on_removed = lives, on_removed
        self._usage = usage or disk_usage
        self._schedule = Schedule()
        self._timer: asyncio.TimerHandle | None = None
        self._removing: asyncio.Task[None] | None = None
        self._waiting: list[str] = []
        self.removed = 0
        try:
            # Now, since a disk that is full later may have no room for it.
            os.makedirs(self._trash, 0o700, exist_ok=True)
            for name in os.listdir(self._trash):  # what an earlier agent had no time for
                self._remove(os.path.join(self._trash, name))
        except OSError as error:
            log.error("cannot use %s: %s", self._trash, error.strerror)

    @property
    def pending(self) -> int:
        """Give the number of directories that are noted."""
        return len(self._schedule)

    def add(self, directory: str, *, fresh: bool) -> None:
        """Note a directory: its age counts from its last change, or from now."""
        try:
            if fresh:
                os.utime(directory)
            age = time.time() - os.stat(directory).st_mtime
        except OSError:
            return
        self._schedule.add(directory, self._loop.time() + self._delay - age)
        self._set_timer()

    def discard(self, directory: str) -> None:
        """Take a directory back."""
        self._schedule.discard(directory)

    def drop(self, directory: str) -> None:
        """Remove a directory now: nobody sees it from here on."""
        if os.path.isdir(directory):
            self._remove(self._hidden(directory))

    async def watch(self) -> None:
        """Look at the disk now and then, and remove what is too old for it."""
        while True:
            try:
                usage = await asyncio.to_thread(self._usage, self._work_dir)
            except OSError as error:
                log.error("Failed to get disk usage: %s", error.strerror)
            else:
                age = allowed_age(self._delay, self._headroom, usage)
                log.info("Current disk usage %.2f%%. Max allowed age: %.2fdays", 100 * usage, age / 86400)
                self._collect(self._loop.time() + self._delay - age)
            await asyncio.sleep(self._interval)

    def _set_timer(self) -> None:
        due = self._schedule.next_due()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return  # it will look again
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._due)

    def _due(self) -> None:
        self._timer = None
        self._collect(self._loop.time())
        self._set_timer()

    def _collect(self, until: float) -> None:
        for directory in self._schedule.take(until):
            if not self._lives(directory):
                self._hide(directory)

    def _hide(self, directory: str) -> None:
        """Move a directory away at once, so that a new one can take its place, and have it removed."""
        if os.path.lexists(directory):  # else it went with a directory around it
            self._remove(self._hidden(directory))
            log.info("Deleted '%s'", directory)
            self.removed += 1
        self._on_removed(directory)

    def _hidden(self, directory: str) -> str:
        """Give the place that a directory was moved to, or its own where it cannot be moved."""
        hidden = os.path.join(self._trash, uuid.uuid4().hex)
        try:
            os.makedirs(self._trash, 0o700, exist_ok=True)
            os.rename(directory, hidden)
        except OSError as error:
            log.warning("cannot move '%s' away to delete it: %s", directory, error.strerror)
            return directory
        return hidden

    def _remove(self, hidden: str) -> None:
        self._waiting.append(hidden)
        if self._removing is None or self._removing.done():
            self._removing = self._loop.create_task(self._remove_all())

    async def _remove_all(self) -> None:
        """Remove one after another, in a thread: it may last, and others want the disk, too."""
        while self._waiting:
            await asyncio.to_thread(_remove_tree, self._waiting.pop())


def _remove_tree(directory: str) -> None:
    """Remove what can be removed, and tell of what cannot."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("Failed to delete '%s': %s", directory, error)
        shutil.rmtree(directory, ignore_errors=True)


def disk_usage(path: str) -> float:
    """Give the share of a path's disk that is in use, as Mesos counts it (what is kept for root is free).

    Raises
    ------
    OSError
        There is no such path.
    """
    status = os.statvfs(path)
    return 1.0 - status.f_bfree / status.f_blocks if status.f_blocks else 0.0
