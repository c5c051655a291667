"""Text that UTF-8 cannot carry, from a worker and from a kernel, through everything to the frames."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.states import JobState

ODD = "caf\udce9.txt \0 \ud83d"
SHOWN = "caf\\udce9.txt \\x00 \\ud83d"


def readable(frame: Any) -> str:
    """Return a frame as text that can be written to a file."""
    text: str = frame.to_csv(index=False)
    text.encode("utf-8")
    return text


def test_a_worker_that_fails_over_such_a_name_ends_and_says_so(t2: Any) -> None:
    def fail(env: Any) -> None:
        import os

        os.sched_yield()
        raise ValueError(f"cannot read {env.config['name']}")

    jobs = [t2.submit(fail, name=ODD, config={"name": ODD}, ram_mega_bytes=64) for _ in range(2)]
    for job in jobs:
        assert job.wait(30) is JobState.FAILED
        assert SHOWN in job.tasks.message[0] and SHOWN in readable(job.tasks)
        assert SHOWN in readable(job.events)
        with pytest.raises(t2.JobFailed) as failure:
            job.results()
        assert f"ValueError: cannot read {SHOWN}" in str(failure.value)
        str(failure.value).encode("utf-8")
    assert t2.submit(lambda: 1, ram_mega_bytes=64).results(30) == [1], "what they held is free"
    assert SHOWN in readable(t2.jobs())
    assert jobs[0].name == SHOWN


def test_such_text_in_progress_logs_and_results(t2: Any) -> None:
    def work(env: Any) -> str:
        import os
        import sys

        env.progress(0.5, text=f"{env.config} \x1b[2J")
        print(f"reading {env.config}")
        sys.stdout.flush()
        os.write(1, b"\xff\xfe bytes \xc3")
        return str(env.config["name"])

    job = t2.submit(work, config={"name": ODD}, ram_mega_bytes=64)
    assert job.results(30) == [ODD], "a value travels as it is"
    log = job.logs(0)
    log.encode("utf-8")
    assert log.startswith("reading {'name': 'caf\\udce9.txt") and log.endswith("\ufffd bytes \ufffd"), log
    assert len(job.logs(0).encode()) > 20
    readable(job.tasks)


def test_a_job_that_is_killed_ends_whatever_its_worker_said(t2: Any) -> None:
    def fail(env: Any) -> None:
        raise ValueError("cannot read caf\udce9.txt")

    job = t2.submit(fail, ram_mega_bytes=64)
    job.kill()
    assert job.wait(60).is_final


def test_old_journals_with_such_names_are_read(t2: Any, home: Path) -> None:
    job = t2.submit(lambda: 1, name="plain", ram_mega_bytes=64)
    job.wait(30)
    (journal,) = [
        path
        for path in (home / "data").rglob("journal.sqlite")
        if sqlite3.connect(path).execute("SELECT 1 FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
    ]
    with sqlite3.connect(journal) as db:
        (spec,) = db.execute("SELECT spec FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
        spec = json.dumps({**json.loads(spec), "name": ODD})
        db.execute("UPDATE jobs SET spec = ? WHERE job_id = ?", (spec, job.job_id))
        for seq, text in db.execute(
            "SELECT seq, record FROM events WHERE job_id = ?", (job.job_id,)
        ).fetchall():
            record = {**json.loads(text), "message": ODD}
            record["data"] = {**record.get("data", {}), "name": ODD}
            db.execute("UPDATE events SET record = ? WHERE seq = ?", (json.dumps(record), seq))
    assert SHOWN in readable(t2.jobs())
