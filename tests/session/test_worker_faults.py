"""Faults of workers that know each other, really done: sessions killed, workers stopped, disks that are full."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook import LocalMesos
from t2notebook.journal import FILE, session_directories
from t2notebook.worker.process.job_master_client import JobMasterClient
from tests.session.conftest import eventually, processes, sessions_of
from tests.session.test_restarts import agent_of, workers_alive

SMALL_DISK = os.geteuid() == 0 and shutil.which("mount") is not None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if not SMALL_DISK or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Write a file until there is no room for another byte."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return filler


@pytest.mark.slow
def test_a_session_killed_while_a_thousand_workers_join(
    t2: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a thousand real channels comes to the next session, and all pass the barrier that some were at."""
    count = 1000
    with LocalMesos(agents=0, simulate=50, simulate_duration="fixed:600") as mesos:
        monkeypatch.setenv("T2_MASTER", mesos.master)
        job = t2.submit(lambda env: None, workers=count, cpu=0.1, ram=32, workers_per_executor=10)
        eventually(lambda: job.state.value == "STARTED", 120)
        url = job._connection.link.connection.get("/v1/info")["worker_url"]
        (directory,) = [
            one
            for one in session_directories(home / "data" / "t2notebook" / "sessions")
            if _secret(one, job.job_id)
        ]
        secret = _secret(directory, job.job_id)
        results: dict[int, Any] = {}
        clients = [
            JobMasterClient(url, secret, {"job_id": job.job_id, "worker_id": worker, "incarnation": 0})
            for worker in range(count)
        ]

        def join(worker: int) -> None:
            record = {"kind": "barrier", "barrier": "DEFAULT", "timeout": 300}
            results[worker] = clients[worker].ask(record)[0]["result"]

        threads = [threading.Thread(target=join, args=(worker,), daemon=True) for worker in range(count)]
        for thread in threads:
            thread.start()
        eventually(lambda: sum(bool(client.welcome) for client in clients) > count // 4, 60)
        for pid in sessions_of(home):
            os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join(180)
        assert results == dict.fromkeys(range(count), "SUCCESS")
        for client in clients:
            client.close()
        job.kill()
        job.wait(60)
        t2.shutdown()


def _secret(directory: Path, job_id: str) -> str:
    with sqlite3.connect(directory / FILE) as db:
        row = db.execute("SELECT secret FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    db.close()
    return row[0] if row else ""


@pytest.mark.slow
def test_a_session_killed_while_workers_commit(t2: Any, home: Path, tmp_path: Path) -> None:
    def work(env: Any) -> Any:
        begun = env.checkpoint.init_variable("step", 0)
        data = bytearray(env.checkpoint.init_variable("data", bytes(1 << 20)))
        for step in range(begun, 120):
            data[step] = env.worker_id + 1
            env.checkpoint.update_variable("step", step + 1)
            env.checkpoint.update_variable("data", bytes(data))
            env.checkpoint.commit()
        return env.checkpoint.version, sum(data), env.restart_count

    job = t2.submit(work, workers=2, cpu=0.5, ram=128, persistent_volume=str(tmp_path / "volume"))
    eventually(lambda: job.state.value == "STARTED")
    for _ in range(3):
        time.sleep(0.4)
        for pid in sessions_of(home):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: sessions_of(home) or job.state.is_final)
    assert job.results(90) == [(120, 120, 0), (120, 240, 0)]


@pytest.mark.slow
def test_workers_that_were_stopped_for_too_long_can_do_nothing_when_they_are_back(
    t2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their machine stood still for longer than is waited for it: others have taken their places."""
    back, volume = tmp_path / "back", tmp_path / "volume"

    def work(env: Any) -> Any:
        import os
        import time

        back, told = env.config["back"], env.config["told"]
        env.worker_controller.get_all_workers(60)
        env.checkpoint.init_variable("who", None)
        place = env.persistent_volume
        if env.restart_count:
            env.checkpoint.update_variable("who", "new")
            env.checkpoint.commit()
            env.worker_controller.wait_on_barrier(120)
            while not os.path.exists(f"{told}/end"):
                time.sleep(0.02)
            env.send_to_driver("new")
            left = os.path.exists(f"{env.persistent_volume}/mine")
            return env.checkpoint.init_variable("who"), env.checkpoint.version, left
        open(f"{told}/ready-{env.worker_id}", "w").close()
        while not os.path.exists(back):
            time.sleep(0.01)
        try:
            if env.worker_id == 0:
                env.send_to_driver("old")
            elif env.worker_id == 1:
                env.checkpoint.update_variable("who", "old")
                env.checkpoint.commit()
            elif env.worker_id == 2:
                open(f"{env.persistent_volume}/mine", "w").close()
            else:
                env.worker_controller.wait_on_barrier(60)
            done = "done"
        except BaseException as error:
            done = type(error).__name__
        with open(f"{told}/{env.worker_id}", "w") as file:
            file.write(done)
        assert place
        time.sleep(600)

    count = 4
    with LocalMesos(agents=2, cpus=2, mem=1024) as mesos:
        monkeypatch.setenv("T2_MASTER", mesos.master)
        job = t2.submit(
            work,
            workers=count,
            cpu=0.2,
            ram=64,
            persistent_volume=str(volume),
            unreachable_timeout=0.5,
            config={"back": str(back), "told": str(tmp_path)},
        )
        got: list[Any] = []
        job.on_message(lambda worker_id, value: got.append((worker_id, value)))
        eventually(lambda: len(list(tmp_path.glob("ready-*"))) == count, 60)
        agent = agent_of(job, mesos)
        stopped = list(workers_alive(job))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert mesos.faults is not None
        mesos.faults.drop(agent)
        try:
            eventually(lambda: job.tasks.restarts.tolist() == [1] * count, 60)
            eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * count, 60)
            back.touch()
            time.sleep(0.5)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        eventually(lambda: all((tmp_path / str(worker)).exists() for worker in range(count)), 60)
        assert [(tmp_path / str(worker)).read_text() for worker in range(count)] == ["Superseded"] * count
        mesos.faults.heal(agent)
        (tmp_path / "end").touch()
        assert job.results(90) == [("new", 1, False)] * count
        eventually(lambda: len(got) == count)
        assert sorted(got) == [(worker, "new") for worker in range(count)]
        t2.shutdown()


def test_a_disk_that_fills_during_a_checkpoint(t2: Any, disk: Path) -> None:
    def work(env: Any) -> Any:
        import os

        import t2notebook as t2

        env.checkpoint.init_variable("x", b"")
        told = []
        for size in (1 << 20, 4 << 20, 1 << 10):
            env.checkpoint.update_variable("x", os.urandom(size))
            try:
                told.append(env.checkpoint.commit())
            except t2.CheckpointError as error:
                told.append(str(error).replace(env.config["disk"], "DISK"))
        return told

    job = t2.submit(work, cpu=0.5, ram=64, persistent_volume=f"{disk}/volume", config={"disk": str(disk)})
    ((first, failed, again),) = job.results(60)
    assert (first, again) == (1, 2)
    assert failed == (
        "checkpoint 2 cannot be written to DISK/volume: No space left on device; version 1 stays the last one"
    )
    assert not list(disk.rglob("*.part*"))


@pytest.mark.slow
def test_a_disk_that_is_really_full_under_the_journal(
    clean: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Barriers, messages and results wait for room, and lose nothing."""
    import t2notebook as t2
    from t2notebook import client

    t2.shutdown()
    client.stop_cluster()
    eventually(lambda: not processes(clean), 30)  # the next session lies on that disk
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(disk))
    go = str(tmp_path / "go")

    def work(env: Any) -> Any:
        import os
        import time

        while not os.path.exists(go):
            time.sleep(0.02)
        for number in range(3):
            env.send_to_driver((number, bytes(20_000)))
            env.worker_controller.wait_on_barrier(120)
        return env.worker_id

    try:
        job = t2.submit(work, workers=3, cpu=0.5, ram=64)
        got: list[tuple[int, int]] = []
        job.on_message(lambda worker_id, value: got.append((worker_id, value[0])))
        eventually(lambda: job.state.value == "STARTED", 60)
        filler = fill(disk)
        Path(go).touch()
        time.sleep(3)
        assert not job.state.is_final
        filler.unlink()
        assert job.results(90) == [0, 1, 2]
        eventually(lambda: len(got) == 9)
        for worker in range(3):
            assert [number for who, number in got if who == worker] == [0, 1, 2]
    finally:
        t2.shutdown()
        client.stop_cluster()
