"""Checkpoints of a job: each worker commits versions of its variables, and all of them go back to one that all have.

The workers that have variables are a family. After a failure, and when a job is restarted, each member starts from
the last version that every member has committed; which one that is, the first member who needs it writes down for all.
"""

from __future__ import annotations

import json
from typing import Any

from ...model.errors import CheckpointError
from ...protocol.launch import WorkerLaunch
from .checkpoint_files import Files, files_at
from .controller import Discovery
from .snapshots import Snapshots

_FOLDER = "checkpoints"
#: How many of its versions a worker keeps beyond the one that all have.
_SPARE = 2


class Checkpoint:
    """Variables of a worker that outlive it: ``env.checkpoint``.

    Parameters
    ----------
    root : str
        The job's persistent volume: a directory that all agents have, or an address of fsspec; empty: none.
    launch : WorkerLaunch
    client : Discovery
    """

    def __init__(self, root: str, launch: WorkerLaunch, client: Discovery) -> None:
        self._root, self._launch, self._client = root, launch, client
        self._store: Files | None = None
        self._values: dict[str, Any] = {}
        self._restored: dict[str, Any] = {}
        self._version = 0
        self._faults = -1

    @property
    def version(self) -> int:
        """The last version that was committed or restored; 0 before the first."""
        return self._version

    def init_variable(self, name: str, default: Any = None) -> Any:
        """Return the value of a variable at the last commit that all workers have made, else `default`.

        After a failure (`t2.JobFaulty`), it gives the value to begin anew with.

        Parameters
        ----------
        name : str
        default : object

        Raises
        ------
        CheckpointError
            When there is no place for checkpoints, or one is damaged.
        """
        self._client.connect()
        faults = self._client.faults or 0
        if faults != self._faults:
            self._restore(faults)
            self._faults = faults
        if name not in self._values:
            self._values[name] = self._restored.pop(name, default)
        return self._values[name]

    def update_variable(self, name: str, value: Any) -> None:
        """Give a variable a new value, which the next commit writes; it is not copied until then.

        Raises
        ------
        CheckpointError
            When there is no such variable, or it cannot be checkpointed.
        """
        if name not in self._values:
            raise CheckpointError(f"there is no variable {name!r}; call init_variable first")
        self._values[name] = value

    def commit(self) -> int:
        """Write all variables, all or nothing, and return the version that they are now.

        Raises
        ------
        CheckpointError
            When they cannot be written; the last version stays as it is.
        """
        if self._faults < 0:
            raise CheckpointError("there are no variables; call init_variable first")
        version = self._version + 1
        # Whoever has been replaced is told to stop, and writes nothing more where its successor does.
        self._client.ask({"kind": "hello"})
        snapshots = self._snapshots()
        try:
            snapshots.save(
                version, self._values, faults=self._faults, number_of_workers=self._client.number_of_workers
            )
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {version} cannot be written to {self._root}: {error.strerror or error}; "
                f"version {self._version} stays the last one"
            ) from error
        self._version = version
        self._tidy(snapshots)
        return version

    def _restore(self, faults: int) -> None:
        """Go back to the version that counts since the last failure."""
        snapshots = self._snapshots()
        # One that came to a job that was scaled up goes on where the others are.
        is_new = self._faults < 0 and self._client.is_new
        try:
            snapshots.begin()
            if is_new:
                version = self._common(self._launch.job_id, but=self._launch.worker_id)
                snapshots.go_on_from(version, is_new=True)
            else:
                version = self._agreed(faults) if faults or snapshots.versions() else 0
            self._values.clear()
            self._restored = {}
            own, first = snapshots.history()
            if version in own:
                self._restored = snapshots.load(version)
            elif not version or (not own and not first):
                self._restored = self._inherited()
            elif version != first:
                raise CheckpointError(
                    f"version {version} of worker {self._launch.worker_id} has been removed"
                )
            for newer in sorted((one for one in own if one > version), reverse=True):
                snapshots.remove(newer)
            if not is_new and self._launch.restart_count:
                snapshots.go_on_from(version)
        except OSError as error:
            raise CheckpointError(
                f"checkpoints in {self._root} cannot be reached: {error.strerror or error}"
            ) from error
        self._version = version

    def _agreed(self, faults: int) -> int:
        """Return the version that all members have; the same for all since the last failure."""
        path = f"{self._launch.job_id}/{_FOLDER}/restore-{faults:06d}.json"
        files = self._files()
        try:
            decided = json.loads(files.read(path))
        except FileNotFoundError:
            files.create(path, json.dumps({"version": self._common(self._launch.job_id)}).encode())
            decided = json.loads(files.read(path))
        return int(decided["version"])

    def _common(self, job_id: str, but: int = -1) -> int:
        """Return the last version that every member of a job has; those that have left are none.

        Parameters
        ----------
        job_id : str
        but : int
            A worker that does not count.
        """
        names = self._files().names(f"{job_id}/{_FOLDER}")
        members = {int(name[7:]) for name in names if name.startswith("worker-") and name[7:].isdigit()}
        number = self._client.number_of_workers
        if job_id != self._launch.job_id and 0 in members:  # the first worker never leaves
            first = Snapshots(self._files(), self._path(job_id, 0))
            if version := first.latest():
                number = int(first.facts(version).get("number_of_workers") or number)
        counting = [one for one in members if one != but and one < (number or len(members))]
        return min(
            (Snapshots(self._files(), self._path(job_id, one)).latest() for one in counting), default=0
        )

    def _inherited(self) -> dict[str, Any]:
        """Return what this worker had in the job that this one goes on with."""
        for job_id in self._launch.restore_jobs:
            if version := self._common(job_id):
                snapshots = Snapshots(self._files(), self._path(job_id))
                # One that the earlier job had not, or not yet, begins with nothing.
                return snapshots.load(version) if version in snapshots.versions() else {}
        return {}

    def _tidy(self, snapshots: Snapshots) -> None:
        """Remove versions that nobody goes back to."""
        own = snapshots.versions()
        if len(own) > 2 * _SPARE:
            common = self._common(self._launch.job_id)
            for old in own[:-_SPARE]:
                if old < common:
                    snapshots.remove(old)

    def _files(self) -> Files:
        if self._store is None:
            if not self._root:
                raise CheckpointError(
                    "there is no place for checkpoints: submit the job with persistent_volume=..., a directory that "
                    "all agents have or an address of fsspec (--persistent-volume)"
                )
            try:
                self._store = files_at(self._root)
            except (ImportError, ValueError) as error:
                raise CheckpointError(f"{self._root} cannot be used on this agent: {error}") from error
        return self._store

    def _path(self, job_id: str = "", worker_id: int | None = None) -> str:
        worker_id = self._launch.worker_id if worker_id is None else worker_id
        return f"{job_id or self._launch.job_id}/{_FOLDER}/worker-{worker_id}"

    def _snapshots(self) -> Snapshots:
        return Snapshots(self._files(), self._path(), self._launch.restart_count)
