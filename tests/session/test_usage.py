"""Use on the embedded Mesos: what workers use is measured, told, kept and summed up."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from t2notebook import cli
from t2notebook.client.top import top_text
from t2notebook.journal import read_events
from t2notebook.model.events import EventKind
from t2notebook.model.states import JobState
from tests.session.conftest import eventually


def worker() -> Any:
    def busy(env: Any) -> int:
        import subprocess
        import time

        kept = bytearray(60 << 20)
        if env.worker_id == 0:
            with open("data", "wb") as file:
                file.write(bytes(5 << 20))
            child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        while not os.path.exists(env.config["go"]):
            time.sleep(0.05)
        if env.worker_id == 0:
            child.kill()
            child.wait()
        return len(kept)

    return busy


@pytest.fixture(scope="module")
def ran(t2: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A job of two workers, one of which keeps a cpu busy in a child: itself at its end, and its frames before."""
    folder = tmp_path_factory.mktemp("use")
    job = t2.submit(
        t2.Twister2Job(
            "busy",
            worker(),
            (t2.ComputeResource(cpu=0.5, ram_mega_bytes=256, instances=2),),
            config={"go": str(folder / "go")},
        )
    )
    eventually(lambda: job.tasks.cpu_used.notna().all() and job.tasks.cpu_used[0] > 0.2, 30)
    eventually(lambda: len(job.usage) >= 6, 30)
    running, top = job.tasks, top_text(job.view(), "cpu")
    again = t2.attach(job.job_id)
    assert again.await_use(10)
    (folder / "go").touch()
    assert job.results(30) == [60 << 20] * 2
    return job, running, top


def test_tasks_say_what_workers_use(ran: Any) -> None:
    job, running, _ = ran
    assert (running.mem_now > 60).all() and (running.mem_peak >= running.mem_now).all()
    assert (running.mem_peak < 256).all()
    assert running.cpu_used[0] > 3 * running.cpu_used[1], "a child counts with its worker"
    assert job.tasks.mem_now.isna().all() and (job.tasks.mem_peak > 60).all()
    assert job.tasks.cpu_used[0] > 0.2


def test_usage_over_time(ran: Any) -> None:
    usage = ran[0].usage
    assert list(usage.columns) == ["time", "worker_id", "cpu", "mem", "read", "written", "gpu", "gpu_mem"]
    assert usage.time.is_monotonic_increasing and set(usage.worker_id) == {0, 1}
    first = usage[usage.worker_id == 0]
    assert first.written.is_monotonic_increasing and first.written.max() >= 5 << 20
    assert first.cpu.max() > 0.3 and first.mem.max() > 60


def test_the_journal_has_it_thinly(ran: Any) -> None:
    job = ran[0]
    events = read_events(Path(job._connection.replica.directory), job.job_id)
    kinds = [event.kind for event in events]
    assert EventKind.USE not in kinds and kinds.count(EventKind.USAGE) >= 2
    assert "USAGE" not in set(job.events.kind), "figures are no change of state"


def test_top(ran: Any, capsys: pytest.CaptureFixture[str]) -> None:
    job, _, top = ran
    head, columns, first, second = top.splitlines()
    assert head.startswith(f"busy [{job.job_id}]: STARTED, 2 running: ") and " of 1 cpus, " in head
    assert columns.split()[:4] == ["worker", "state", "host", "cpu"]
    assert first.split()[0] == "0" and second.split()[0] == "1", "by cpu"
    assert cli.main(["top", job.job_id]) == 0
    shown = capsys.readouterr().out
    assert "cpu-seconds" in shown and "finished" in shown


def test_a_short_job_has_its_use_as_well(t2: Any) -> None:
    job = t2.submit(lambda env: sum(range(2_000_000)), ram_mega_bytes=64)
    job.results(30)
    assert job.state is JobState.COMPLETED
    assert job.tasks.cpu_used[0] > 0.1 and 0 <= job.tasks.mem_peak[0] < 40
    assert len(job.usage) == 1 and job.usage.cpu[0] > 0.1
