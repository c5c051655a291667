"""Faults that a cluster or a machine really has; each row of the README's table names its test."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook import ComputeResource, LocalMesos, Twister2Job
from t2notebook.model.job import FaultTolerance
from t2notebook.model.states import JobState
from tests.session.conftest import eventually

FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")


def work(go: str) -> Any:
    """Return a worker that runs until a file is there, and returns its restart count."""

    def wait(env: Any) -> int:
        import os
        import time

        while not os.path.exists(go):
            time.sleep(0.05)
        restarts: int = env.restart_count
        return restarts

    return wait


def job_of(worker: Any, workers: int = 2, **faults: Any) -> Twister2Job:
    resource = ComputeResource(cpu=0.5, ram_mega_bytes=64, instances=workers, workers_per_executor="max")
    return Twister2Job("faults", worker, [resource], faults=FaultTolerance(**faults))


@pytest.fixture
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2, cpus=2, mem=1024) as cluster:
        yield cluster


@pytest.fixture
def on(t2: Any, mesos: LocalMesos, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("T2_MASTER", mesos.master)
    yield t2
    t2.shutdown()


@pytest.mark.parametrize(("work_dir", "pause"), [("kept", 0.0), ("kept", 3.0), ("empty", 0.5)])
def test_a_master_that_restarts_finds_the_job_as_it_was(
    on: Any, mesos: LocalMesos, tmp_path: Path, work_dir: str, pause: float
) -> None:
    go = tmp_path / "go"
    job = on.submit(job_of(work(str(go))))
    eventually(lambda: list(job.tasks.state) == ["RUNNING", "RUNNING"])
    assert mesos.faults is not None
    mesos.faults.kill("master")
    registries = list(Path(mesos.work_dir).rglob("registry.jsonl"))
    assert registries, "it had written down which agents there are"
    if work_dir == "empty":
        for path in registries:
            path.unlink()
    time.sleep(pause)
    mesos.faults.start("master")
    go.touch()
    assert job.results(timeout=60) == [0, 0]
    assert job.tasks.restarts.tolist() == [0, 0]
    after = on.submit(job_of(lambda env: env.worker_id))
    assert after.results(timeout=60) == [0, 1], "the session goes on with the new master"


def test_updates_that_come_many_times_count_once(on: Any, mesos: LocalMesos) -> None:
    assert mesos.faults is not None
    mesos.faults.repeat(3)
    job = on.submit(job_of(lambda env: env.worker_id))
    assert job.results(timeout=30) == [0, 1]
    states = job.events[job.events.kind == "STATUS"].groupby("worker_id").state.apply(list)
    assert states.tolist() == [["RUNNING", "FINISHED"]] * 2


def test_updates_that_come_late_lose_nothing(on: Any, mesos: LocalMesos) -> None:
    assert mesos.faults is not None
    mesos.faults.delay(1.0)
    job = on.submit(job_of(lambda env: env.worker_id))
    assert job.results(timeout=30) == [0, 1]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small disk")
def test_a_full_disk_on_an_agent_is_said_and_the_result_comes_all_the_same(
    t2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox cannot take the result, so it comes straight to the session."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        with LocalMesos(agents=1, cpus=2, mem=1024, work_dir=disk) as mesos:
            monkeypatch.setenv("T2_MASTER", mesos.master)

            def fill(env: Any) -> tuple[int, bytes]:
                import os

                with open("filler", "wb", buffering=0) as file:
                    try:
                        while file.write(bytes(1 << 16)):
                            pass
                    except OSError as error:
                        number = error.errno or 0
                    # Room for what the agent writes down, and not for the result.
                    file.truncate(os.path.getsize("filler") - (1 << 18))
                return number, bytes(1 << 20)

            job = t2.submit(job_of(fill, workers=1))
            try:
                ((number, result),) = job.results(timeout=60)
                assert (number, len(result)) == (28, 1 << 20), "ENOSPC, as the worker saw it"
            finally:
                t2.shutdown()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.skipif(not FAKETIME, reason="no faketime here (tools/setup-debian installs it)")
@pytest.mark.parametrize("jump", [pytest.param("+7200", marks=pytest.mark.slow), "-7200"])
def test_a_clock_that_jumps_restarts_nothing_and_holds_nothing_up(
    t2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str
) -> None:
    go, clock = tmp_path / "go", tmp_path / "clock"
    clock.write_text("+0")
    stay = work(str(go))

    def crash_once(env: Any) -> int:
        import os

        if env.restart_count == 0:
            os._exit(3)
        return 7

    with LocalMesos(agents=1, cpus=3, mem=1024) as mesos:
        with pytest.MonkeyPatch.context() as patch:  # the session alone lives by this clock
            patch.setenv("LD_PRELOAD", FAKETIME[0])
            patch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
            patch.setenv("FAKETIME_NO_CACHE", "1")
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            patch.setenv("T2_MASTER", mesos.master)
            first = t2.submit(job_of(stay, launch_timeout=20, unreachable_timeout=20))
        monkeypatch.setenv("T2_MASTER", mesos.master)
        eventually(lambda: list(first.tasks.state) == ["RUNNING", "RUNNING"])
        before = first.events.time.max()
        clock.write_text(jump)
        second = t2.submit(job_of(crash_once, workers=1))
        assert second.results(timeout=30) == [7], "a pause before a restart is no matter of the clock"
        shift = (second.events.time.max() - before).total_seconds()
        assert abs(shift - int(jump)) < 120, "the session's clock did jump"
        go.touch()
        assert first.results(timeout=30) == [0, 0]
        assert first.wait() is JobState.COMPLETED
        t2.shutdown()
