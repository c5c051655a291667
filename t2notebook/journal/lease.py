"""Leases of journals: a journal's owner is a process, told from any other by boot, pid namespace, pid and start time.

A host's name only shows where it is: it may change, and two hosts may have the same. On the owner's own host its end is
certain at once. From elsewhere (a home directory that hosts share, a container with process numbers of its own) it
cannot be seen; there the owner is taken to be dead when its lease has not been renewed for `EXPIRES` seconds, so the
hosts' clocks have to agree within half a minute.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..model.process import start_time

#: Seconds between two renewals of a lease, and after which one that was not renewed counts for nothing.
RENEW, EXPIRES = 15.0, 60.0


@dataclass(frozen=True)
class Lease:
    """A process, for good: a pid that was given away again has another start time, or another boot.

    Parameters
    ----------
    host, boot : str
    pid : int
    start : str
        As the system counts it.
    space : str
        The pid namespace, where there is such a thing: in a container, pids mean other processes.
    """

    host: str
    boot: str
    pid: int
    start: str
    space: str = ""

    @classmethod
    def mine(cls) -> Lease:
        """Return this process's."""
        return cls(socket.gethostname(), _boot_id(), os.getpid(), start_time(os.getpid()), _pid_space())

    def is_alive(self, renewed: float, now: float | None = None) -> bool:
        """Whether the process lives.

        Parameters
        ----------
        renewed, now : float
            When the lease was last renewed, and the time it is; seconds since 1970. They decide only where the
            process cannot be seen from here.
        """
        if self.is_here:
            return start_time(self.pid) == self.start != ""
        if self.boot != _boot_id() and self.host == socket.gethostname():
            return False  # it was before the last boot
        return (time.time() if now is None else now) - renewed < EXPIRES

    @property
    def is_here(self) -> bool:
        """Whether the process, if it lives, can be seen from here."""
        boot = _boot_id()
        # Where the system names no boots, the host's name has to do.
        is_this_host = self.boot == boot if boot or self.boot else self.host == socket.gethostname()
        return is_this_host and self.space == _pid_space()

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"the session with pid {self.pid} on {self.host}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    def encode(self) -> str:
        """Return the text for the journal; equal for the same process only."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> Lease | None:
        """Inverse of `encode`; None for whatever else."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


def is_owned(meta: Mapping[str, str]) -> bool:
    """Whether the facts of a journal name an owner that lives."""
    lease = Lease.decode(meta.get("owner", ""))
    return lease is not None and lease.is_alive(float(meta.get("renewed") or 0.0))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _macos_boot_id() if sys.platform == "darwin" else ""


@cache
def _macos_boot_id() -> str:
    import subprocess

    answer = subprocess.run(
        ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


def _pid_space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
