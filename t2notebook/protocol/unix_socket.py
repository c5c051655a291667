"""Unix sockets of sessions, as both sides look at them."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

#: The header with the name of the session that a request is for, and that an answer is from.
SESSION_HEADER = "X-T2-Session"
#: Advice to those whose place of sockets is taken.
ELSEWHERE = "let JUPYTER_RUNTIME_DIR name another folder"


def is_listening(path: Path, timeout: float) -> bool:
    """Return whether a process listens at a socket, found out within `timeout` seconds."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout)
            probe.connect(str(path))
            return True
    except OSError:
        return False


def in_the_way(path: Path) -> str:
    """Return in one line what keeps a session's socket from its place; empty if nothing does.

    Old sockets, links and empty files are no loss: they are replaced.
    """
    try:
        status = path.lstat()
    except OSError:
        return ""  # nothing, or nothing that we can know of
    if stat.S_ISDIR(status.st_mode):
        what = "a folder"
    elif stat.S_ISREG(status.st_mode) and status.st_size:
        what = f"a file of {status.st_size} bytes"
    else:
        return ""
    return f"the place of this session's socket, {path}, is taken by {what}: move it away, or {ELSEWHERE}"
