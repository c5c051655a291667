"""Events on disk: a session's journal, and who owns it."""

from __future__ import annotations

from .lease import RENEW, Lease, is_owned, owner_is_alive
from .store import (
    FILE,
    Journal,
    Unfinished,
    prune,
    read_events,
    read_jobs,
    read_meta,
    read_unfinished,
    result_path,
    session_directories,
)

__all__ = [
    "FILE",
    "RENEW",
    "Journal",
    "Lease",
    "Unfinished",
    "is_owned",
    "owner_is_alive",
    "prune",
    "read_events",
    "read_jobs",
    "read_meta",
    "read_unfinished",
    "result_path",
    "session_directories",
]
