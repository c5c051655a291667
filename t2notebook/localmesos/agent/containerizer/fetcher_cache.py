"""The fetcher's cache: files that were fetched with `cache: true`, keyed by user and URI, until the agent ends.

The directory is an ordinary one, which others may empty, fill or forbid: a file counts only while it is as it was
when it was fetched.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field

CACHE_LIMIT = 2 * 1024**3


class CacheError(Exception):
    """The cache cannot be used; the URI itself may be had all the same."""


_Mark = tuple[int, ...]
"""By which a file is known again: who writes to it, cuts it, replaces it or gives it to another user changes that."""


@dataclass
class Entry:
    """A file of the cache; who holds `lock` may fill it. `path` is None while there is none."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    path: str | None = None
    size: int = 0
    mark: _Mark = ()
    used: float = 0.0

    def fault(self) -> str:
        """Say what became of the file since it was fetched; empty if it is as it was."""
        assert self.path is not None
        try:
            mark = mark_of(os.lstat(self.path))
            with open(self.path, "rb"):
                pass
        except OSError as error:
            return error.strerror or str(error)
        return "" if mark == self.mark else "it was changed since it was fetched"


def mark_of(status: os.stat_result) -> _Mark:
    """Give the mark of a file."""
    return (status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns)


class Cache:
    """Files that were fetched with `cache: true`, until the agent ends."""

    def __init__(self, directory: str, limit: int = CACHE_LIMIT) -> None:
        self._directory = directory
        self._limit = limit
        self._entries: dict[tuple[str, str], Entry] = {}
        self._lock = threading.Lock()
        self._count = 0

    def entry(self, user: str, uri: str) -> Entry:
        """Find or make an entry; who holds its lock may fill it."""
        with self._lock:
            return self._entries.setdefault((user, uri), Entry())

    def new_path(self, name: str) -> str:
        """Give a path for a new file.

        Raises
        ------
        CacheError
            There is no directory for it, and none can be made.
        """
        with self._lock:
            self._count += 1
            try:
                os.makedirs(self._directory, exist_ok=True)
            except OSError as error:
                raise CacheError(f"Failed to create '{self._directory}': {error.strerror}") from None
            return os.path.join(self._directory, f"c{self._count:07d}-{name}"[:250])

    def drop(self, entry: Entry) -> None:
        """Forget a file, and remove it if it is there."""
        if entry.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
            entry.path = None

    def make_room(self, size: int) -> bool:
        """Remove the longest unused files until `size` bytes fit; False when they cannot.

        One that cannot be removed keeps its room.
        """
        if size > self._limit:
            return False
        with self._lock:
            filled = [e for e in self._entries.values() if e.path is not None and not e.lock.locked()]
            total = sum(e.size for e in self._entries.values() if e.path is not None)
            for entry in sorted(filled, key=lambda e: e.used):
                if total + size <= self._limit:
                    break
                assert entry.path is not None
                try:
                    os.unlink(entry.path)
                except FileNotFoundError:
                    pass  # somebody was quicker
                except OSError:
                    continue
                total -= entry.size
                entry.path = None
            return total + size <= self._limit
