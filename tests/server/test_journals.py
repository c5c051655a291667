"""The folder of journals as the server reads it: each once, and again when it has changed."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from t2notebook.config import data_dir
from t2notebook.journal import FILE
from t2notebook.journal.content import read_content
from t2notebook.server import job_list, journals
from t2notebook.server.clearing import Cleared
from t2notebook.server.journals import Journals
from tests.server import made_journals


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = data_dir() / "sessions"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def rows(found: Journals, wanted: bool = True) -> list[str]:
    return [
        row["job_id"] for part in found.scan(lambda _: wanted) for rows in part.dead.values() for row in rows
    ]


def test_what_has_not_changed_is_not_read_again(sessions: Path) -> None:
    made = made_journals.make(sessions, 3, 2)
    found = Journals()
    assert rows(found, wanted=False) == []
    assert sorted(rows(found)) == sorted(made)
    assert rows(found) == []
    found.forget(next(iter(sessions.iterdir())))
    assert len(rows(found)) == 2


def test_many_come_in_parts_the_newest_first(sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "CHUNK", 0.0)
    made = made_journals.make(sessions, 4, 1)
    parts = list(Journals().scan(lambda _: True))
    assert [len(part.dead) for part in parts] == [1, 1, 1, 1, 0]
    assert [part.known is None for part in parts] == [True] * 4 + [False]
    assert [row["job_id"] for part in parts for rows in part.dead.values() for row in rows] == made[::-1]


def test_a_journal_that_was_not_closed_is_read_with_its_log(sessions: Path) -> None:
    (job_id,) = made_journals.make(sessions, 1, 1)
    (directory,) = sessions.iterdir()
    with sqlite3.connect(directory / FILE) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("UPDATE meta SET value = 'changed' WHERE name = 'master'")
        db.commit()
        assert (directory / f"{FILE}-wal").stat().st_size
        content = read_content(directory)
    db.close()
    assert content.meta["master"] == "changed" and list(content.jobs) == [job_id]


def test_a_file_that_is_no_journal_hides_no_other(sessions: Path) -> None:
    made = made_journals.make(sessions, 2, 1)
    (sessions / "20270101T000000-1").mkdir()
    (sessions / "20270101T000000-1" / FILE).write_text("not a database")
    assert sorted(rows(Journals())) == sorted(made)


def test_a_page_that_opens_has_the_jobs_read_before_anybody_looks(
    sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_journals.make(sessions, 30, 1)

    async def scenario() -> None:
        jobs = job_list.JobList()
        jobs.start()
        try:
            await jobs.refreshed()
            assert not jobs.rows and not jobs.is_complete
            jobs.warm()
            await jobs.refreshed()
            heard: list[dict[str, object]] = []
            jobs.listen(heard.append)
            assert heard[0]["complete"] is True
            assert sorted(row["job_id"] for row in heard[0]["jobs"]) == sorted(made)
            jobs.unlisten(heard.append)
            assert not jobs.is_awake
        finally:
            await jobs.stop()

    asyncio.run(scenario())


def test_who_looks_while_they_are_read_misses_none(sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "CHUNK", 0.0)
    made = made_journals.make(sessions, 20, 1)

    async def scenario() -> None:
        jobs = job_list.JobList()
        jobs.refresh()  # a pass that reads no dead one
        jobs.warm()
        heard: list[dict[str, object]] = []
        await asyncio.sleep(0.03)
        jobs.listen(heard.append)
        try:
            await jobs.refreshed()
            assert sorted(jobs.rows) == sorted(made)
            told = [row["job_id"] for change in heard for row in change.get("jobs", ())]
            assert sorted(told) == sorted(made)
            assert [change["complete"] for change in heard if "complete" in change][-1] is True
        finally:
            await jobs.stop()

    asyncio.run(scenario())


def test_a_journal_that_was_removed_is_not_said_to_be_another_users(tmp_path: Path) -> None:
    from t2notebook.model.errors import UnknownJob
    from t2notebook.server.actions import JobLocation

    with pytest.raises(UnknownJob, match="is gone: it was cleared or removed"):
        JobLocation("ada-pi-1", str(tmp_path / "20260101T000000-1"))


@pytest.mark.usefixtures("sessions")
def test_two_servers_keep_what_either_has_cleared_off_the_list() -> None:
    one, other = Cleared(), Cleared()
    one.add(["ada-pi-1"])
    other.add(["ada-pi-2"])
    assert all(job_id in Cleared() for job_id in ("ada-pi-1", "ada-pi-2"))
