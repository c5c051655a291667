"""Unix sockets of sessions, as both sides look at them."""

from __future__ import annotations

import socket
from pathlib import Path


def is_listening(path: Path, timeout: float) -> bool:
    """Return whether a process listens at a socket, found out within `timeout` seconds."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout)
            probe.connect(str(path))
            return True
    except OSError:
        return False
