"""Events on disk: a session's journal, and who owns it."""

from __future__ import annotations

from .journal import Journal
from .lease import RENEW, Lease, is_owned
from .reader import (
    FILE,
    Unfinished,
    owner_is_alive,
    read_events,
    read_jobs,
    read_meta,
    read_unfinished,
    result_path,
    session_directories,
)
from .retention import prune

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
