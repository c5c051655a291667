"""The session is killed again and again, at random points, while jobs come and run: nothing is lost, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.config import data_dir
from t2notebook.journal import read_jobs, session_directories
from t2notebook.journal.reader import FILE
from tests.session.conftest import eventually, sessions_of


@pytest.fixture
def cluster(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The embedded Mesos outlives the time in which there is no session."""
    from t2notebook import client

    monkeypatch.setenv("T2_LOCAL_LINGER", "10")
    yield clean
    import t2notebook as t2

    t2.shutdown()
    client.stop_cluster()


def submit(folder: str, seconds: float) -> Any:
    import t2notebook as t2

    def work(env: Any) -> tuple[int, int]:
        with open(f"{folder}/{env.job_id}", "a") as file:
            file.write(f"{env.worker_id} {env.restart_count}\n")
        __import__("time").sleep(seconds)
        return env.worker_id, env.restart_count

    deadline = time.monotonic() + 30
    while True:
        try:
            return t2.submit(work, workers=2, cpu=0.3, ram_mega_bytes=64)
        except t2.SessionError:  # the session was killed under the request
            assert time.monotonic() < deadline


def chaos(home: Path, folder: Path, rounds: int, seed: int) -> None:
    import t2notebook as t2
    from t2notebook import client

    chance = random.Random(seed)
    jobs = []
    earlier = set(t2.jobs().job_id)
    for _ in range(rounds):
        jobs.append(submit(str(folder), chance.uniform(0.0, 0.8)))
        time.sleep(chance.choice([0.0, 0.02, 0.05, 0.1, 0.2, 0.4]) * chance.random())
        for session in sessions_of(home):
            os.kill(session, signal.SIGKILL)
    for job in jobs:
        values = job.results(timeout=90)
        assert [worker_id for worker_id, _ in values] == [0, 1]
        starts = Counter((folder / job.job_id).read_text().splitlines())
        assert set(starts.values()) == {1}, f"an incarnation ran twice: {starts}"
        for (worker_id, incarnation), row in zip(values, job.tasks.itertuples(), strict=True):
            assert row.restarts == incarnation, "the result is of the worker that counts"
            assert starts[f"{worker_id} {incarnation}"] == 1
        launched = job.events[job.events.kind == "LAUNCHED"]
        assert launched.task_id.is_unique
    # Also of what was handed over at the very moment of a kill, and of which no kernel knows.

    def unfinished() -> list[str]:
        frame = t2.jobs()
        rows = frame[~frame.job_id.isin(earlier) & (frame.state != "COMPLETED")]
        return [f"{row.job_id} {row.state} {row.session} {row.message}" for row in rows.itertuples()]

    deadline = time.monotonic() + 60
    while left := unfinished():
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    directories = list(session_directories(data_dir() / "sessions"))
    assert sum(len(read_jobs(path)) for path in directories) >= rounds
    for path in directories:
        assert_without_gaps(path)
    info = client.cluster_info()
    assert info is not None

    def alive() -> list[str]:
        with urllib.request.urlopen(f"http://{info['master']}/state", timeout=10) as answer:
            state = json.load(answer)
        return [task["id"] for framework in state["frameworks"] for task in framework["tasks"]]

    eventually(lambda: not alive(), timeout=30)


def assert_without_gaps(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(f"file:{path / FILE}?mode=ro", uri=True) as database:
        numbers = [seq for (seq,) in database.execute("SELECT seq FROM events ORDER BY seq")]
    database.close()
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_session_that_is_killed_again_and_again(cluster: Path, tmp_path: Path) -> None:
    chaos(cluster, tmp_path, rounds=5, seed=int(time.time()))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(6))
def test_a_session_that_is_killed_many_times(cluster: Path, tmp_path: Path, seed: int) -> None:
    chaos(cluster, tmp_path, rounds=25, seed=seed)
