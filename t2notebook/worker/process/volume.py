"""The persistent volume of a worker: its directory, and a note of its incarnation that fences older ones off."""

from __future__ import annotations

import os

from ...protocol.launch import WorkerLaunch
from .checkpoint_files import make_private
from .superseded import Superseded

_INCARNATIONS = "incarnations"


class PersistentVolume:
    """A worker's part of its job's persistent volume.

    A worker that was away for long and has been replaced meanwhile shares its directory with the one in its place. Each
    incarnation leaves a note beside the directory, which asks neither session nor network, and looks for newer ones
    whenever the directory is asked for, and when it cannot reach who would tell it.

    Parameters
    ----------
    launch : WorkerLaunch

    Attributes
    ----------
    place : str
        ``<root>/<job_id>/worker-<id>``; empty if the job has none.
    """

    def __init__(self, launch: WorkerLaunch) -> None:
        root = launch.persistent_volume
        self._root, self._job_id = root, launch.job_id
        self._worker, self._incarnation = f"worker-{launch.worker_id}", launch.restart_count
        self.place = f"{root.rstrip('/')}/{launch.job_id}/{self._worker}" if root else ""
        self._is_directory = bool(root) and "://" not in root
        self._notes = f"{root.rstrip('/')}/{launch.job_id}/{_INCARNATIONS}/{self._worker}"

    def claim(self) -> None:
        """Make the directory, and leave the note.

        Raises
        ------
        OSError
            When the volume cannot be used on this agent.
        Superseded
            When a newer incarnation has been here.
        """
        if not self._is_directory:
            return
        make_private(self._root, f"{self._job_id}/{self._worker}")
        make_private(self._root, f"{self._job_id}/{_INCARNATIONS}/{self._worker}")
        os.close(os.open(f"{self._notes}/{self._incarnation}", os.O_WRONLY | os.O_CREAT, 0o600))
        self.check()

    def check(self) -> None:
        """Stop this worker if it has been replaced.

        Raises
        ------
        Superseded
        """
        if not self._is_directory:
            return
        try:
            newest = max((int(name) for name in os.listdir(self._notes) if name.isdigit()), default=0)
        except OSError:
            return  # somebody has removed the notes, or the volume: whoever uses it finds out
        if newest > self._incarnation:
            raise Superseded("a newer worker has its persistent volume")
