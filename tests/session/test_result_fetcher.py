"""A small result comes with the news of its worker's end; the session takes what its job has signed, once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from t2notebook.client.results import load_result
from t2notebook.journal.job_store import JobRecord
from t2notebook.model.events import EventKind
from t2notebook.protocol import archive, auth
from t2notebook.protocol.launch import compressed_result
from t2notebook.session.result_fetcher import ResultFetcher
from t2notebook.worker.process.result import pack_value
from tests.scheduler.stage import Stage, on_stage


def carried(
    job: JobRecord, value: Any, worker_id: int = 0, incarnation: int = 0, secret: str = ""
) -> Mapping[str, str]:
    pieces = archive.pieces(*pack_value(value, worker_id))
    path = f"/v1/jobs/{job.job_id}/workers/{worker_id}/result?incarnation={incarnation}"
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    return compressed_result(pieces, auth.sign(secret or job.secret, "PUT", path, digest))


def results(job: JobRecord) -> list[int | None]:
    return [event.worker_id for event in job.events if event.kind is EventKind.RESULT]


def launched(stage: Stage) -> JobRecord:
    job = stage.submit(workers=2)
    stage.offer()
    return job


def test_a_result_that_its_job_has_signed_is_taken_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        job, fetcher = launched(stage), ResultFetcher(stage.jobs, lambda job, worker_id: None)
        fetcher.take(job, 1, carried(job, {"pi": 3.14}, 1))
        fetcher.take(job, 1, carried(job, "another", 1))
        assert results(job) == [1] and job.view.workers[1].result == "ok"
        assert load_result(stage.jobs.journal.directory, job.job_id, 1) == {"pi": 3.14}
        path = stage.jobs.result_path(job.job_id, 1)
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700

    on_stage(tmp_path, scenario)


@pytest.mark.parametrize(
    "how", ["another secret", "another worker", "another incarnation", "no record", "no archive"]
)
def test_what_its_job_has_not_signed_is_left_to_the_sandbox(tmp_path: Path, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        job, fetcher = launched(stage), ResultFetcher(stage.jobs, lambda job, worker_id: None)
        record: Any = {
            "another secret": lambda: carried(job, 1, secret=auth.new_secret()),
            "another worker": lambda: carried(job, 1, worker_id=1),
            "another incarnation": lambda: carried(job, 1, incarnation=1),
            "no record": lambda: "text",
            "no archive": lambda: compressed_result([b"noise"], "5196"),
        }[how]()
        fetcher.take(job, 0, record)
        assert not results(job) and not stage.jobs.result_path(job.job_id, 0).exists()

    on_stage(tmp_path, scenario)


def test_of_a_job_that_is_over_nothing_is_taken(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        job, fetcher = launched(stage), ResultFetcher(stage.jobs, lambda job, worker_id: None)
        stage.kill(job, "USER", "enough")
        fetcher.take(job, 0, carried(job, 1))
        assert not results(job)

    on_stage(tmp_path, scenario)
