"""The embedded Mesos of a session: one cluster per user, started by whoever needs it first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..localmesos import running, spawn_shared
from ..model.errors import SessionError
from ..model.overhead import with_executors


class Cluster:
    """The user's embedded Mesos, found or being started.

    Parameters
    ----------
    runtime_dir : Path
    config : dict
        The fields of `Config`.
    """

    def __init__(self, runtime_dir: Path, config: dict[str, Any]) -> None:
        self._runtime_dir = runtime_dir
        cpus, mem = with_executors(config["local_cpus"], config["local_mem"])
        with _named(runtime_dir):
            self._handle = spawn_shared(
                runtime_dir,
                agents=config["local_agents"],
                cpus=cpus,
                mem=mem,
                idle=config["local_linger"],
            )
        self.master = ""

    def wait(self) -> str:
        """Wait until its master listens; return ``host:port``."""
        with _named(self._runtime_dir):
            self.master = self._handle.wait().master
        return self.master

    def abandon(self) -> None:
        """End it where nobody else can know of it yet: the session could not start."""
        self._handle.abandon()

    def is_gone(self) -> bool:
        """Whether it has ended, or another has taken its place."""
        info = running(self._runtime_dir)
        return info is None or info.master != self.master


@contextmanager
def _named(runtime_dir: Path) -> Iterator[None]:
    """Say which folder it is, and which setting names another, when nothing can be written there.

    Raises
    ------
    SessionError
    """
    try:
        yield
    except OSError as error:
        raise SessionError(
            f"the embedded Mesos cannot start: {error.strerror or error} ({error.filename or runtime_dir}); "
            "JUPYTER_RUNTIME_DIR names another folder for it"
        ) from None
