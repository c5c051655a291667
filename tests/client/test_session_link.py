"""A link that goes on with the session that has taken its jobs over."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.client import session_link
from t2notebook.client.job_replica import JobReplica
from t2notebook.client.session_http import SessionEnding
from t2notebook.client.session_link import Link


class Found:
    """A connection to a session, told apart by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_same(self, other: Found) -> bool:
        return self.name == other.name


def resumed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, leads_to: list[str]
) -> tuple[list[str], JobReplica]:
    """Let a link of two jobs resume, whose journals lead to sessions of these names, one after the other."""
    watched: list[str] = []
    names = iter(leads_to)
    link = Link.__new__(Link)
    link._is_wanted = True
    monkeypatch.setattr(session_link, "read_events", lambda *_, **__: [])
    monkeypatch.setattr(session_link, "reach", lambda *_: Found(next(names)))
    monkeypatch.setattr(link, "_attach", lambda connection: None)
    monkeypatch.setattr(link, "_watch", lambda replica, connection: watched.append(replica.job_id))
    replicas = [JobReplica("one"), JobReplica("two")]
    for replica in replicas:
        replica.directory = str(folder)
    try:
        link._resume_once(replicas)
    except SessionEnding:
        watched.append("again")
    return watched, replicas[1]


def test_a_session_that_is_killed_while_jobs_are_found_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second job's session was another one because the first one's had died: the job was called lost."""
    watched, second = resumed(monkeypatch, tmp_path, ["a", "b", "b"])
    assert watched == ["one", "again"]
    assert second.is_awaited


def test_a_job_that_another_living_session_has_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watched, second = resumed(monkeypatch, tmp_path, ["a", "b", "a"])
    assert watched == ["one"]
    assert "t2.attach" in second.lost_because
