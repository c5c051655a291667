"""Who owns a session's journal: a process told apart from any other by host, boot, pid and start time."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .store import read_meta


@dataclass(frozen=True)
class Lease:
    """A process, for good: a pid that was given away again has another start time, or another boot."""

    host: str
    boot: str
    pid: int
    start: str

    @classmethod
    def mine(cls) -> Lease:
        """Return this process's."""
        return cls(socket.gethostname(), _boot_id(), os.getpid(), _start_time(os.getpid()))

    @property
    def is_alive(self) -> bool:
        """Whether the process lives. One on another host is taken to."""
        if self.host != socket.gethostname():
            return True
        return self.boot == _boot_id() and _start_time(self.pid) == self.start != ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)


def owner_is_alive(directory: Path) -> bool:
    """Whether a session's journal has a living owner."""
    try:
        owner = read_meta(directory).get("owner", "")
        return bool(owner) and Lease(**json.loads(owner)).is_alive
    except Exception:  # an unreadable journal is left alone, whoever it belongs to
        return True


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Return when a process started, as the system counts; empty if there is none. `ps` where there is no
    /proc.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # a zombie only waits to be buried
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    import subprocess

    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()
