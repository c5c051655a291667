from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

from t2notebook.journal import FILE, Journal, prune, read_events, read_jobs, read_meta, session_directories
from t2notebook.journal.job_store import Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.reducer import reduce

SPEC = JobSpec("pi", "ada", (ComputeResource(instances=2),), "0" * 64, 10, "3.11")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s")
    jobs = Jobs(journal)
    job = jobs.create_now(SPEC, "kernel-1")
    jobs.record(
        Event(EventKind.LAUNCHED, job.job_id, 2.0, 0, "t0", "STAGING", data={"host": "h"}),
        Event(EventKind.PROGRESS, job.job_id, 2.5, 0, "t0", data={"progress": 0.5}),
    )
    journal.set_meta(framework_id="F")
    assert read_meta(tmp_path / "s")["framework_id"] == "F"
    assert read_jobs(tmp_path / "s") == {job.job_id: SPEC}
    events = read_events(tmp_path / "s", job.job_id)
    assert events == job.events, "what is transient is not kept"
    assert [event.seq for event in events] == [1, 2]
    assert read_events(tmp_path / "s", job.job_id, after=1) == events[1:]
    again = reduce(job.job_id, events)
    assert [worker.state for worker in again.workers] == [worker.state for worker in job.view.workers]
    journal.close()


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    job = Jobs(first).create_now(SPEC, "kernel-1")
    first.close()
    second = Journal(tmp_path)
    (event,) = second.append([Event(EventKind.KILL, job.job_id, 3.0)])
    assert event.seq == 2
    second.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s")
    Jobs(journal).create_now(SPEC, "kernel-1")
    for path in (tmp_path / "s").rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    journal.close()


def test_ids_of_jobs_submitted_at_once_differ(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    jobs = Jobs(journal, clock=lambda: 1.7e9)
    assert len({jobs.create_now(SPEC, "k").job_id for _ in range(20)}) == 20
    journal.close()


def test_an_event_that_was_written_survives_sigkill(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from t2notebook.journal.job_store import Jobs
        from t2notebook.journal import Journal
        from t2notebook.model.events import Event, EventKind
        from tests.journal.test_journal import SPEC

        jobs = Jobs(Journal(Path(sys.argv[1])))
        job = jobs.create_now(SPEC, "k")
        for number in range(100000):
            jobs.record(Event(EventKind.STATUS, job.job_id, 1.0, 0, "t", "RUNNING", message=str(number)))
            print(number, flush=True)
    """
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    last = -1
    for line in process.stdout:
        last = int(line)
        if last >= 50:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    last = int(rest[-1]) if rest else last
    (job_id,) = read_jobs(tmp_path)
    told = [int(event.message) for event in read_events(tmp_path, job_id)[1:]]
    assert told[: last + 1] == list(range(last + 1))


def test_the_quota_takes_the_oldest_of_the_ended(tmp_path: Path) -> None:
    for number in range(4):
        Journal(tmp_path / f"s{number}").close()
        (tmp_path / f"s{number}" / "results" / "big").write_bytes(bytes(100_000))
        os.utime(tmp_path / f"s{number}" / FILE, (1000 + number, 1000 + number))
    assert [path.name for path in session_directories(tmp_path)] == ["s0", "s1", "s2", "s3"]
    removed = prune(tmp_path, [tmp_path / "s0"], max_bytes=400_000, max_age=1e12)
    assert [path.name for path in removed] == ["s1"]
    assert (tmp_path / "s0").exists()
    removed = prune(tmp_path, [], max_bytes=1 << 40, max_age=10.0)
    assert [path.name for path in removed] == ["s0", "s2", "s3"]
