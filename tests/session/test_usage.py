"""Use on the embedded Mesos: what workers use is measured, told, kept and summed up."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from t2notebook import cli
from t2notebook.client.top import top_text
from t2notebook.journal import read_events
from t2notebook.model.events import EventKind
from t2notebook.model.states import JobState
from t2notebook.model.use_advice import advice
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


def kinds() -> list[Any]:
    """Workers whose memory is easily overlooked, each for longer than the shortest time after which advice is given."""

    def sleeps(env: Any) -> None:
        import time

        time.sleep(6)

    def touches_what_it_inherited(env: Any) -> None:
        import gc
        import time

        gc.unfreeze()
        gc.collect()
        time.sleep(6)

    def peaks_for_a_moment(env: Any) -> None:
        import mmap
        import time

        populated = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        for pause in (3, 3, 0):
            mmap.mmap(-1, 60 << 20, flags=populated).close()
            time.sleep(pause)

    def runs_programs(env: Any) -> None:
        import subprocess
        import sys

        code = "import json, time; kept = bytearray(8 << 20); time.sleep(6)"
        for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]:
            process.wait()

    def forks_a_pool(env: Any) -> None:
        import multiprocessing
        import time

        kept = bytearray(b"x" * (40 << 20))
        with multiprocessing.get_context("fork").Pool(3) as pool:
            pool.map(time.sleep, [1.0] * 18)
        assert kept

    def writes_files_in_memory(env: Any) -> None:
        import os
        import time

        time.sleep(1)
        file = os.memfd_create("kept")
        os.write(file, bytes(50 << 20))
        time.sleep(5)

    return [
        sleeps,
        touches_what_it_inherited,
        peaks_for_a_moment,
        runs_programs,
        forks_a_pool,
        writes_files_in_memory,
    ]


@pytest.mark.slow
def test_the_memory_that_is_advised_is_enough_for_the_same_job(t2: Any) -> None:
    """32 MiB were said to do for most of these."""
    amount = re.compile(r"--ram (\d+)")
    first = [t2.submit(work, cpu=0.1, ram_mega_bytes=512) for work in kinds()]
    advised = {}
    for work, job in zip(kinds(), first, strict=True):
        job.results(60)
        assert (job.tasks.mem_peak > 1).all(), "nobody has nothing"
        found = amount.search(advice(job.view().workers))
        assert found is not None, (work.__name__, job.tasks.mem_peak.tolist())
        advised[work] = int(found[1])
    again = {work: t2.submit(work, cpu=0.1, ram_mega_bytes=ram) for work, ram in advised.items()}
    for work, job in again.items():
        assert job.wait(60) is JobState.COMPLETED, (work.__name__, advised[work], job.tasks.message.tolist())


def test_the_least_memory_is_enough_for_one_that_does_next_to_nothing(t2: Any, tmp_path: Path) -> None:
    """It is what an advice may say, and what a worker inherits from its executor is more than half of it."""

    def touches_what_it_inherited(env: Any) -> int:
        import gc
        import os
        import time

        gc.unfreeze()
        gc.collect()
        while not os.path.exists(env.config["go"]):
            time.sleep(0.05)
        return 1

    resources = (t2.ComputeResource(cpu=0.1, ram_mega_bytes=32, instances=2),)
    config = {"go": str(tmp_path / "go")}
    job = t2.submit(t2.Twister2Job("least", touches_what_it_inherited, resources, config=config))
    eventually(lambda: bool((job.tasks.mem_now > 1).all()), 30)
    (tmp_path / "go").touch()
    assert job.results(30) == [1, 1]
    assert (job.tasks.mem_peak > 1).all() and (job.tasks.mem_peak < 32).all()
