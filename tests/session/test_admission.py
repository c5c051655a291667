"""Admission of jobs: what is taken in is kept whole, and of what is refused nothing is left."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from t2notebook.jobmaster.hosted import SECRET
from t2notebook.journal import Journal, Lease
from t2notebook.journal.job_store import Jobs
from t2notebook.model.errors import JournalError, NotOwner
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.states import JobState
from t2notebook.scheduler import inputs
from t2notebook.scheduler.runner import Runner
from t2notebook.session.admission import Admission, NotSubmitted
from t2notebook.session.job_commands import JobCommands

CONTENT = b"a package"


class Desk:
    """Admission to one journal; `scheduled` has the ids of the jobs that the scheduler was given."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.jobs = Jobs(Journal(directory / "s", Lease.mine()))
        self.scheduled: list[str] = []
        self.fed: list[inputs.Input] = []
        self.admission = Admission(self.jobs, JobCommands(self.jobs, lambda: cast("Runner", self), str))

    def feed(self, told: inputs.Input) -> None:
        """Stand where the scheduler is."""
        self.fed.append(told)
        if isinstance(told, inputs.Submitted):
            self.scheduled.append(told.job_id)

    def package(self) -> Path:
        path = self.directory / "made.t2"
        path.write_bytes(CONTENT)
        return path

    @property
    def kept(self) -> list[bytes]:
        return [path.read_bytes() for path in self.jobs.journal.packages.iterdir()]


def spec(**fields: Any) -> JobSpec:
    resource = ComputeResource(ram_mega_bytes=64, instances=2)
    return JobSpec("pi", "ada", (resource,), "0" * 64, len(CONTENT), "3.11", **fields)


def at_desk(directory: Path, test: Callable[[Desk], Awaitable[None]]) -> None:
    async def main() -> None:
        desk = Desk(directory)
        try:
            await test(desk)
        finally:
            desk.jobs.journal.close()

    asyncio.run(main())


def test_a_job_is_kept_with_its_package_and_scheduled(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        package = desk.package()
        job = await desk.admission.admit(spec(), package, "k", {"KEY": "value"})
        assert desk.kept == [CONTENT]
        assert not package.exists(), "it is moved, not copied"
        assert desk.scheduled == [job.job_id]
        assert (job.owner, job.credentials) == ("k", {"KEY": "value"})
        assert job.package, "one so small goes along with its launches"
        assert [known.job_id for known in desk.jobs] == [job.job_id]

    at_desk(tmp_path, test)


def test_a_package_comes_from_another_file_system_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(source: Any, target: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    async def test(desk: Desk) -> None:
        monkeypatch.setattr(os, "replace", replace)
        await desk.admission.admit(spec(), desk.package(), "k")
        assert desk.kept == [CONTENT]

    at_desk(tmp_path, test)


def test_a_package_that_cannot_be_kept_is_refused_with_the_folder(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        with pytest.raises(NotSubmitted, match=r"nothing was submitted: .*JUPYTER_DATA_DIR"):
            await desk.admission.admit(spec(), tmp_path / "none.t2", "k")
        assert (list(desk.jobs), desk.scheduled) == ([], [])

    at_desk(tmp_path, test)


@pytest.mark.parametrize("error", [JournalError("the disk is full"), NotOwner("another session has it")])
def test_what_cannot_be_written_down_leaves_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: JournalError
) -> None:
    async def test(desk: Desk) -> None:
        async def refuse(*_: Any) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(desk.jobs, "create", refuse)
            expected = NotOwner if isinstance(error, NotOwner) else NotSubmitted
            with pytest.raises(expected, match=str(error)):
                await desk.admission.admit(spec(), desk.package(), "k")
            assert (desk.kept, desk.scheduled) == ([], [])
        await desk.admission.admit(spec(), desk.package(), "k")
        with monkeypatch.context() as patch:
            patch.setattr(desk.jobs, "create", refuse)
            with pytest.raises(expected, match=str(error)):
                await desk.admission.admit(spec(), desk.package(), "k")
        assert desk.kept == [CONTENT], "the job before has the same package"

    at_desk(tmp_path, test)


def test_a_job_master_on_the_cluster_is_placed_before_its_job_and_once(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        master = ComputeResource(cpu=0.1, ram_mega_bytes=64)
        job = await desk.admission.admit(spec(job_master=master), desk.package(), "k")
        serving = desk.jobs.table.job_master_of(job.job_id)
        assert serving is not None
        assert desk.scheduled == [serving.job_id, job.job_id]
        assert serving.credentials == {SECRET: job.secret}
        await desk.admission.add_job_master(job)
        assert len(desk.scheduled) == 2

    at_desk(tmp_path, test)


def test_a_job_whose_job_master_cannot_be_submitted_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(desk: Desk) -> None:
        def refuse(*_: Any) -> JobSpec:
            raise JournalError("the disk is full")

        monkeypatch.setattr("t2notebook.session.cluster_job_masters.spec_of", refuse)
        master = ComputeResource(cpu=0.1, ram_mega_bytes=64)
        with pytest.raises(NotSubmitted, match="the disk is full"):
            await desk.admission.admit(spec(job_master=master), desk.package(), "k")
        (job,) = desk.jobs
        why = "its job master cannot be submitted: the disk is full"
        assert desk.fed == [inputs.KillJob(job.job_id, "SESSION", why)]
        assert job.view.state is JobState.PENDING

    at_desk(tmp_path, test)
