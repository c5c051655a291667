"""The process at the other end of a Unix socket: which it is, and whether it is stopped."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

_UCRED = struct.Struct("3i")  # unix(7), SO_PEERCRED
_LOCAL_PEERPID = 2  # macOS, sys/un.h


def pid_of(sock: socket.socket) -> int:
    """Return the pid of the process that listens at the other end; 0 where it cannot be told."""
    try:
        if sys.platform == "darwin":
            return int(sock.getsockopt(0, _LOCAL_PEERPID))
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(credentials)[0])
    except (OSError, AttributeError):
        return 0


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by SIGSTOP or a debugger (proc(5): T, t); False where it cannot be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
