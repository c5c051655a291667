"""Jobs found by id, by the beginning of one, and by name, in the journals of sessions that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.client import locator
from t2notebook.client.offline import read_job
from t2notebook.config import Config
from t2notebook.model.errors import UnknownJob
from t2notebook.model.states import JobState
from tests.server.made_journals import make


@pytest.fixture
def job_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two sessions' journals: two ended jobs each, and one in the second that had not ended."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    return make(locator.sessions(), 2, 2, lost=1)


def test_a_whole_id_and_the_beginning_of_one(job_ids: list[str]) -> None:
    for job_id in job_ids:
        whole, directory = locator.find(job_id)
        assert whole == job_id
        assert locator.find(job_id[:-2]) == (job_id, directory)


def test_a_beginning_that_several_share_names_them(job_ids: list[str]) -> None:
    with pytest.raises(UnknownJob, match="is the beginning of several jobs: ") as caught:
        locator.find("ada-")
    assert all(job_id in str(caught.value) for job_id in job_ids)


@pytest.mark.parametrize("text", ["", "nothing", "../..", "ada-analysis-9"])
def test_what_is_no_job_is_refused_in_one_line(job_ids: list[str], text: str) -> None:
    with pytest.raises(UnknownJob, match=r"^no job .*t2\.jobs\(\) lists"):
        locator.find(text)


def test_a_name_means_the_newest_job_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    older = make(locator.sessions(), 1, 1)
    found = locator.named("analysis-0")
    assert [(one.job_id, one.has_ended) for one in found] == [(older[0], True)]
    assert locator.find("analysis-0")[0] == older[0]
    assert locator.named("analysis") == []


def test_a_file_that_is_no_journal_hides_nothing(job_ids: list[str]) -> None:
    strange = locator.sessions() / "20250101T000000-0"
    strange.mkdir()
    (strange / "journal.sqlite").write_text("not a database")
    assert locator.find(job_ids[0])[0] == job_ids[0]


def test_settings_come_from_the_journal_and_what_it_lacks_from_here() -> None:
    found = locator.config_of({"config": '{"master": "h:1", "of_a_later_version": 1}'})
    assert found.master == "h:1"
    assert found.session_linger == Config().session_linger


def test_a_job_is_read_as_its_journal_has_it_and_an_unfinished_one_is_lost(job_ids: list[str]) -> None:
    whole, directory = locator.find(job_ids[0])
    spec, replica = read_job(directory, whole)
    assert spec.number_of_workers == len(replica.view.workers) == 4
    assert replica.view.state is JobState.COMPLETED
    assert replica.lost_because == ""
    _, lost = read_job(locator.find(job_ids[-1])[1], job_ids[-1])
    assert lost.view.state is JobState.STARTED
    assert lost.lost_because == "its session has ended"
    assert not lost.is_awaited
