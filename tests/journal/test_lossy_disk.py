"""A power cut: what was committed is on the disk, what was not leaves nothing half; also with a writer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from t2notebook.journal import Journal
from t2notebook.journal.job_store import Jobs
from t2notebook.model.events import Event, EventKind
from tests.journal.lossy_disk import LossyDisk, library
from tests.journal.test_journal import SPEC


@pytest.fixture
def disk() -> Iterator[LossyDisk]:
    sqlite = library()
    if sqlite is None:
        pytest.skip("this Python's sqlite3 has its library inside")
    with LossyDisk(sqlite).mounted() as disk:
        yield disk


def survivors(disk: LossyDisk, directory: Path) -> list[str]:
    """Cut the power; return the messages that the journal still has."""
    target = directory.with_name(f"{directory.name}-after-{disk.syncs}")
    disk.cut_power(directory, target)
    after = Journal(target)
    messages = [event.message for *_, events in after.jobs() for event in events]
    after.close()
    return messages


def test_what_was_recorded_survives_a_power_cut_at_any_time(disk: LossyDisk, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s")
    jobs = Jobs(journal)
    job = jobs.create_now(SPEC, "k")
    for number in range(30):
        jobs.record(Event(EventKind.STATUS, job.job_id, 1.0, 0, "t", "RUNNING", message=str(number)))
        assert survivors(disk, tmp_path / "s")[1:] == [str(one) for one in range(number + 1)]
    journal.close()


def test_the_disk_does_lose_what_was_not_synced(disk: LossyDisk, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s")
    jobs = Jobs(journal)
    job = jobs.create_now(SPEC, "k")
    disk.is_ignoring_syncs = True
    jobs.record(Event(EventKind.STATUS, job.job_id, 1.0, 0, "t", "RUNNING", message="lost"))
    assert survivors(disk, tmp_path / "s") == ["2 workers"]
    journal.close()


def test_nobody_is_told_before_a_group_is_on_the_disk_and_a_group_is_one_sync(
    disk: LossyDisk, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "s")

    async def main() -> None:
        jobs = Jobs(journal, writer=ThreadPoolExecutor(1))
        job = await jobs.create(SPEC, "k")
        told: list[str] = []
        found: list[tuple[int, str]] = []

        def listen(event: Event, _: object) -> None:
            if not told:
                found.append((disk.syncs, survivors(disk, tmp_path / "s")[-1]))
            told.append(event.message)

        jobs.listen(listen)
        before = disk.syncs
        for number in range(100):
            jobs.record(Event(EventKind.STATUS, job.job_id, 1.0, 0, "t", "RUNNING", message=str(number)))
        await jobs.durable()
        # A hundred events that come together wait for the disk once, and all are there with the first.
        assert found == [(before + 1, "99")]
        assert told == [str(number) for number in range(100)]
        jobs.commits.close()

    asyncio.run(main())
    journal.close()
