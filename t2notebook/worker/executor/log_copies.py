"""Copies of workers' output on the job's persistent volume, made when a worker has ended, however that was: by helper
processes, since a volume may be slow.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

from ...protocol.launch import WorkerLaunch
from ..process.checkpoint_files import make_private
from . import fork
from .event_loop import Loop

#: Seconds that a copy may take; what it has written by then is removed.
PATIENCE = 120.0
FOLDER, STREAMS = "logs", ("stdout", "stderr")


class LogCopies:
    """The copies that an executor makes.

    Parameters
    ----------
    loop : Loop
    say : callable
        Writes a line to the executor's own output.
    """

    def __init__(self, loop: Loop, say: Callable[[str], None]) -> None:
        self._loop, self._say = loop, say
        self._helpers: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._helpers)

    def make(self, launch: WorkerLaunch, directory: str) -> None:
        """Copy what a worker has written, if its job has a persistent volume.

        Parameters
        ----------
        launch : WorkerLaunch
        directory : str
            The worker's own.
        """
        if not launch.persistent_volume:
            return
        try:
            with fork.forking():
                pid = fork.spawn(lambda: _help(launch, directory, self._say), keep=(), group=False)
        except OSError as error:
            self._say(f"the output of worker {launch.worker_id} cannot be copied: {error}")
            return
        self._helpers.add(pid)
        self._loop.call_later(PATIENCE, lambda: self._give_up(pid))

    def reap(self) -> None:
        """Collect the helpers that have ended."""
        for pid in list(self._helpers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._helpers.discard(pid)

    def _give_up(self, pid: int) -> None:
        if pid in self._helpers:  # else its number may be somebody else's by now
            os.kill(pid, signal.SIGKILL)


def _help(launch: WorkerLaunch, directory: str, say: Callable[[str], None]) -> int:
    try:
        copy_logs(launch, directory)
    except (OSError, ImportError, ValueError) as error:
        say(
            f"the output of worker {launch.worker_id} cannot be copied to {launch.persistent_volume}: {error}"
        )
    return 0


def copy_logs(launch: WorkerLaunch, directory: str) -> None:
    """Copy a worker's output to ``<volume>/<job_id>/logs/worker-<id>-<restart_count>.stdout`` and ``.stderr``.

    Parameters
    ----------
    launch : WorkerLaunch
    directory : str
        The worker's own.

    Raises
    ------
    OSError, ImportError, ValueError
        When the volume cannot be written here.
    """
    root, place = launch.persistent_volume.rstrip("/"), f"{launch.job_id}/{FOLDER}"
    for stream in STREAMS:
        source = os.path.join(directory, stream)
        if not os.path.exists(source):  # it never came to run
            continue
        name = f"worker-{launch.worker_id}-{launch.restart_count}.{stream}"
        if "://" in root:
            from fsspec.core import url_to_fs

            fs, path = url_to_fs(f"{root}/{place}/{name}")
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            fs.put_file(source, path)
            continue
        make_private(root, place)
        target = os.path.join(root, place, name)
        part = f"{target}.part"
        with open(source, "rb") as read, open(_create(part), "wb") as write:
            shutil.copyfileobj(read, write, 1 << 20)
        os.replace(part, target)


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
