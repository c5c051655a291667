from __future__ import annotations

from pathlib import Path

from t2notebook.journal import Journal
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.session.retention import Quota


def submit(jobs: Jobs, package: str) -> JobRecord:
    spec = JobSpec("pi", "ada", (ComputeResource(),), package, 100, "3.11")
    (jobs.journal.packages / f"{package}.t2").write_bytes(bytes(100))
    return jobs.create_now(spec, "k")


def finish(jobs: Jobs, job: JobRecord, size: int) -> None:
    path = jobs.result_path(job.job_id, 0)
    path.parent.mkdir()
    path.write_bytes(bytes(size))
    jobs.record(
        Event(EventKind.LAUNCHED, job.job_id, 1.0, 0, "t", "STAGING"),
        Event(EventKind.RESULT, job.job_id, 2.0, 0, "t", data={"ok": True, "size": size}),
        Event(EventKind.STATUS, job.job_id, 3.0, 0, "t", "FINISHED"),
    )


def test_the_oldest_ended_jobs_make_room_and_active_ones_keep_theirs(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    jobs = Jobs(journal)
    jobs.listen(Quota(jobs, max_bytes=1000).on_event)
    active = submit(jobs, "a" * 64)
    first, second = submit(jobs, "b" * 64), submit(jobs, "c" * 64)
    finish(jobs, first, 300)
    finish(jobs, second, 300)
    assert jobs.result_path(first.job_id, 0).exists()
    third = submit(jobs, "c" * 64)
    finish(jobs, third, 300)
    assert not jobs.result_path(first.job_id, 0).exists()
    assert not (journal.packages / f"{'b' * 64}.t2").exists()
    assert jobs.result_path(second.job_id, 0).exists()
    submit(jobs, "d" * 64)
    submit(jobs, "e" * 64)
    assert not jobs.result_path(second.job_id, 0).exists()
    assert (journal.packages / f"{'c' * 64}.t2").exists(), "the third job's package is the same"
    assert (journal.packages / f"{active.spec.package}.t2").exists()
    journal.close()
