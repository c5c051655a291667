"""The process at the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct
import sys

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
