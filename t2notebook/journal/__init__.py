"""Events on disk: a session's journal, and who owns it."""

from __future__ import annotations

from .lease import Lease, owner_is_alive
from .store import (
    FILE,
    Journal,
    prune,
    read_events,
    read_jobs,
    read_meta,
    result_path,
    session_directories,
)

__all__ = [
    "FILE",
    "Journal",
    "Lease",
    "owner_is_alive",
    "prune",
    "read_events",
    "read_jobs",
    "read_meta",
    "result_path",
    "session_directories",
]
