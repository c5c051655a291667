"""Ownership of files: a journal or a socket of somebody else is not looked at, whatever its permissions are."""

from __future__ import annotations

import os
from pathlib import Path

from ..journal import FILE
from ..model.errors import SessionError, UnknownJob


class NotOurs(SessionError):
    """A journal or a socket that belongs to another user."""


def is_ours(*paths: Path) -> bool:
    """Whether all of these exist and are this user's own, no links included."""
    try:
        return all(path.lstat().st_uid == os.geteuid() for path in paths)
    except OSError:
        return False


def is_our_journal(directory: Path) -> bool:
    """Whether a session's directory and the journal in it are this user's own."""
    return is_ours(directory, directory / FILE)


def check_journal(directory: Path) -> None:
    """Refuse another user's journal, and one that is gone.

    Raises
    ------
    NotOurs
    UnknownJob
        When it was removed.
    """
    if not os.path.lexists(directory / FILE):
        raise UnknownJob(f"the journal in {directory} is gone: it was cleared or removed")
    if not is_our_journal(directory):
        raise NotOurs(f"the journal in {directory} belongs to another user")


def check_socket(path: Path) -> None:
    """Refuse another user's socket; one that is not there is somebody else's concern.

    Raises
    ------
    NotOurs
    """
    if path.exists() and not is_ours(path):
        raise NotOurs(f"the socket {path} belongs to another user")
