"""Admission of jobs: a job's package is moved into a journal's keeping, the job is written down, and then scheduled."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..jobmaster.hosted import SECRET
from ..journal.job_store import JobRecord, Jobs
from ..model.errors import JournalError, NotOwner, SessionError
from ..model.job import JobSpec
from ..protocol.launch import MOST_WITH_LAUNCH, compressed_package
from . import cluster_job_masters
from .job_commands import JobCommands


class NotSubmitted(SessionError):
    """A job could not be kept; nothing of it was."""


class Admission:
    """The admission of a framework's jobs.

    Parameters
    ----------
    jobs : Jobs
    commands : JobCommands
        On the same jobs.
    """

    def __init__(self, jobs: Jobs, commands: JobCommands) -> None:
        self._jobs, self._commands = jobs, commands
        self._served: set[str] = set()  # jobs that have a job master on the cluster, or are about to

    async def admit(
        self,
        spec: JobSpec,
        package: Path,
        client: str,
        credentials: Mapping[str, str] | None = None,
    ) -> JobRecord:
        """Take a job in: when this returns it is in the journal, and scheduled or soon to be.

        Parameters
        ----------
        spec : JobSpec
        package : Path
            Where the package lies now.
        client : str
            The kernel's id.
        credentials : mapping, optional
            Secrets of the job, kept in memory only.

        Raises
        ------
        NotSubmitted
            When it cannot be kept; then nothing was submitted.
        NotOwner
            When the journal is another session's.
        """
        kept = self._jobs.journal.packages / f"{spec.package}.t2"
        try:
            self._jobs.journal.keep()
            _move(package, kept)
        except NotOwner:
            raise
        except OSError as error:
            why = f"{kept.parent} cannot be written: {error.strerror or error}"
            raise NotSubmitted(
                f"nothing was submitted: {why}; JUPYTER_DATA_DIR names another folder"
            ) from None
        try:
            job = await self._create(spec, client, credentials)
            if spec.job_master is not None:
                await self.add_job_master(job)
            self._commands.schedule(job)
        except JournalError as error:
            if all(other.spec.package != spec.package for other in self._jobs):
                kept.unlink(missing_ok=True)
            if isinstance(error, NotOwner):
                raise
            raise NotSubmitted(f"nothing was submitted: {error}") from None
        return job

    async def add_job_master(self, job: JobRecord) -> None:
        """Take in the job that is another's job master on the cluster, unless it has one; it is to be placed first.

        Raises
        ------
        JournalError, PackageError
            When it cannot be written down; then the job ends.
        """
        if job.job_id in self._served or self._jobs.table.job_master_of(job.job_id) is not None:
            return
        self._served.add(job.job_id)
        try:
            spec = cluster_job_masters.spec_of(job, self._jobs.journal.packages)
            self._commands.schedule(await self._create(spec, job.owner, {SECRET: job.secret}))
        except Exception as error:
            self._commands.kill(job, "SESSION", f"its job master cannot be submitted: {error}")
            raise

    async def _create(self, spec: JobSpec, client: str, credentials: Mapping[str, str] | None) -> JobRecord:
        """Have a job written down, and have a small package of its go along with its launches."""
        job = await self._jobs.create(spec, client, credentials)
        if spec.package_size <= 4 * MOST_WITH_LAUNCH:
            with contextlib.suppress(OSError):  # those who fetch it say what is wrong with it
                package = (self._jobs.journal.packages / f"{spec.package}.t2").read_bytes()
                job.package = compressed_package(package, spec.number_of_workers)
        return job


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
