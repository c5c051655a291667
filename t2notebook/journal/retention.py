"""Retention of ended sessions' journals: age and quota."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from .reader import FILE, session_directories


def prune(root: Path, alive: Iterable[Path], *, max_bytes: int, max_age: float) -> list[Path]:
    """Remove ended sessions, oldest first, that are older than `max_age` seconds or over the quota.

    Parameters
    ----------
    root : Path
        Where the sessions' directories lie.
    alive : iterable of Path
        Directories that have a living owner; they are counted, never removed.
    max_bytes : int
        The quota for all of them together.
    max_age : float
        Seconds since the last write.

    Returns
    -------
    list of Path
        What was removed.
    """
    kept = set(alive)
    directories = list(session_directories(root))
    sizes = {
        path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in directories
    }
    total = sum(sizes.values())
    removed = []
    for path in directories:
        if path in kept:
            continue
        age = time.time() - (path / FILE).stat().st_mtime
        if total > max_bytes or age > max_age:
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]
            removed.append(path)
    return removed
