"""The process at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

_UCRED = struct.Struct("3i")  # unix(7), SO_PEERCRED
_LOCAL_PEERPID = 2  # macOS, sys/un.h
#: Part of each session's command line, which names the module that it runs.
_SESSION = "t2notebook.session"
#: Seconds for a connection, and for `ps`; characters of a command line that people are shown.
_PATIENCE, _LONGEST = 2.0, 60


def pid_of(sock: socket.socket) -> int:
    """Return the pid of the process that listens at the other end; 0 where it cannot be told."""
    try:
        if sys.platform == "darwin":
            return int(sock.getsockopt(0, _LOCAL_PEERPID))
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(credentials)[0])
    except (OSError, AttributeError):
        return 0


def command_of(pid: int) -> str:
    """Return the command line of a process; empty where it cannot be told."""
    try:
        if Path("/proc/self/cmdline").exists():
            return (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode("utf-8", "replace")
                .strip()
            )
        command = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def is_foreign(pid: int) -> bool:
    """Whether a process is seen to be no session, by its command line; in doubt it is taken for one."""
    command = command_of(pid)
    return bool(command) and _SESSION not in command and pid != os.getpid()


def listener_at(path: Path) -> int:
    """Return the pid of the process that listens at a socket; 0 where there is none, or it cannot be told."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PATIENCE)
            probe.connect(str(path))
            return pid_of(probe)
    except OSError:
        return 0


def called(pid: int) -> str:
    """Return what people are to read of a process: its pid, and the beginning of its command line."""
    command = " ".join(command_of(pid).split())
    short = command if len(command) <= _LONGEST else command[: _LONGEST - 1] + "…"
    return f"process {pid}" + (f" ({short})" if short else "")
