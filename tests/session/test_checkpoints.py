"""Checkpoints, volumes, restarted and cleared jobs, time limits and variables, in real jobs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import eventually, sessions_of


def climb(env: Any) -> Any:
    """Climb from the last commit to the top, unless something stops it on the way."""
    import os
    import time

    import t2notebook as t2

    stops = env.config["stops"]
    began = []
    while True:
        env.worker_controller.wait_on_init_barrier(60)
        step = env.checkpoint.init_variable("step", 0)
        began.append(step)
        try:
            while step < 10:
                env.worker_controller.wait_on_barrier(60)
                step += 1
                env.checkpoint.update_variable("step", step)
                marker = f"{stops}/{step}-{env.worker_id}"
                if os.path.exists(marker):
                    os.unlink(marker)
                    os.kill(os.getpid(), 9)
                env.checkpoint.commit()
                time.sleep(env.config.get("pause", 0))
            env.worker_controller.wait_on_barrier(60)
            return began, step, env.restart_count
        except t2.JobFaulty:
            continue


def test_a_worker_killed_between_update_and_commit(t2: Any, tmp_path: Path) -> None:
    for name in ("4-1", "7-0"):
        (tmp_path / name).touch()
    volume = tmp_path / "volume"
    job = t2.submit(
        climb, workers=3, cpu=0.5, ram=64, persistent_volume=str(volume), config={"stops": str(tmp_path)}
    )
    results = job.results(90)
    assert [step for _, step, _ in results] == [10, 10, 10]
    assert [count for _, _, count in results] == [1, 1, 0]
    assert results[2][0] == [0, 3, 6], "all go back to the last commit that all have"
    assert (volume / job.job_id / "worker-2").is_dir()
    removed = t2.clear(job.job_id)
    assert any("persistent volume" in one for one in removed)
    assert not (volume / job.job_id).exists()
    with pytest.raises(t2.SessionError, match="have been removed"):
        job.results()
    assert t2.clear(job.job_id) == []


def test_a_restarted_job_resumes_from_its_last_commit(t2: Any, tmp_path: Path) -> None:
    volume = str(tmp_path / "volume")

    def work(env: Any) -> Any:
        import os

        begun = env.checkpoint.init_variable("step", 0)
        for step in range(begun, 6):
            if step == 3 and os.path.exists(env.config["marker"]):
                env.worker_controller.wait_on_barrier(60)  # both have committed the third
                raise ValueError("the disk of step 3 is broken")
            env.checkpoint.update_variable("step", step + 1)
            env.checkpoint.commit()
        return begun

    marker = tmp_path / "broken"
    marker.touch()
    job = t2.submit(
        work,
        workers=2,
        cpu=0.5,
        ram=64,
        persistent_volume=volume,
        config={"marker": str(marker)},
        name="steps",
    )
    with pytest.raises(ValueError, match="step 3"):
        job.results(60)
    marker.unlink()
    again = t2.restart(job.job_id)
    assert again.job_id != job.job_id and again.name == "steps"
    assert again.results(60) == [3, 3]
    third = t2.restart("steps")  # by name: the newest
    assert third.results(60) == [6, 6]
    assert third.spec.restore_jobs == (again.job_id, job.job_id)


def test_what_cannot_be_restarted_or_cleared(t2: Any, tmp_path: Path) -> None:
    def wait(env: Any) -> str:
        import time

        time.sleep(60)
        return "never"

    job = t2.submit(wait, cpu=0.5, ram=64, credentials={"key": "s3cret"})
    with pytest.raises(t2.SubmitError, match="before it is restarted"):
        t2.restart(job.job_id)
    with pytest.raises(t2.Twister2Error, match="before it is cleared"):
        t2.clear(job.job_id)
    job.kill()
    job.wait(30)
    with pytest.raises(t2.SubmitError, match="credentials again"):
        t2.restart(job.job_id)
    with pytest.raises(t2.UnknownJob):
        t2.restart("nobody-knows-it")
    t2.clear(job.job_id)
    with pytest.raises(t2.SubmitError, match=r"package of job .* has been removed"):
        t2.restart(job.job_id, credentials={"key": "s3cret"})


def test_volumes(t2: Any, tmp_path: Path) -> None:
    def work(env: Any) -> tuple[str, str, bool]:
        from pathlib import Path

        Path(env.volatile_volume, "scratch").write_text("x")
        mine = Path(env.persistent_volume, "kept.txt")
        known = mine.exists()
        mine.write_text(str(env.worker_id))
        return env.persistent_volume, env.volatile_volume, known

    volume = tmp_path / "nfs"
    job = t2.submit(work, workers=2, cpu=0.5, ram=64, persistent_volume=str(volume))
    for worker, (persistent, volatile, known) in enumerate(job.results(60)):
        assert persistent == f"{volume}/{job.job_id}/worker-{worker}" and not known
        assert Path(persistent, "kept.txt").read_text() == str(worker)
        eventually(lambda: not Path(volatile).exists())  # noqa: B023
    assert t2.submit(lambda env: env.persistent_volume, cpu=0.5, ram=64).results(60) == [""]
    for wrong in ("relative/path", "~/x", 7):
        with pytest.raises(t2.SubmitError, match="persistent_volume"):
            t2.submit(work, persistent_volume=wrong)


def test_a_volume_that_is_not_there_is_said(t2: Any) -> None:
    job = t2.submit(lambda: 1, cpu=0.5, ram=64, persistent_volume="/proc/t2", max_worker_restarts=0)
    with pytest.raises(t2.JobFailed, match="the persistent volume /proc/t2 cannot be used on"):
        job.results(60)


def test_a_job_ends_at_its_time_limit(t2: Any, home: Path) -> None:
    def wait(env: Any) -> None:
        import time

        time.sleep(60)

    job = t2.submit(wait, workers=2, cpu=0.5, ram=64, time_limit=1.5)
    begun = time.monotonic()
    assert job.wait(30) == "KILLED"
    assert time.monotonic() - begun < 15
    with pytest.raises(t2.JobFailed, match=r"it ran for its time limit of 1.5 s"):
        job.results()
    assert t2.submit(lambda: 1, cpu=0.5, ram=64, time_limit=60).results(30) == [1]
    # A session that takes it over ends it, too.
    job = t2.submit(wait, cpu=0.5, ram=64, time_limit=4)
    eventually(lambda: job.state.value == "STARTED")
    for pid in sessions_of(home):
        os.kill(pid, signal.SIGKILL)
    assert job.wait(60) == "KILLED"
    assert "time limit" in job.error().headline
    for wrong in (0, -1, "x", True):
        with pytest.raises(t2.SubmitError, match="time_limit"):
            t2.submit(wait, time_limit=wrong)


def test_variables_of_the_kernel_travel_by_name(t2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret=1")

    def look(env: Any) -> Any:
        import os

        return os.environ.get("MY_KEY"), os.environ.get("OTHER")

    job = t2.submit(look, cpu=0.5, ram=64, setenv=("MY_KEY",))
    assert job.results(30) == [("s3cret=1", None)]
    assert "s3cret" not in repr(job.spec)
    assert t2.submit(look, cpu=0.5, ram=64).results(30) == [(None, None)]
    with pytest.raises(t2.SubmitError, match="no such environment variable"):
        t2.submit(look, setenv=("NOT_SET_ANYWHERE",))


def test_what_workers_wrote_is_copied_to_the_volume_whatever_became_of_them(t2: Any, tmp_path: Path) -> None:
    def work(env: Any) -> None:
        import os
        import sys

        print("hello from", env.worker_id, env.restart_count)
        print("a complaint", file=sys.stderr)
        if env.worker_id == 1 and env.restart_count == 0:
            os.kill(os.getpid(), 9)
        if env.worker_id == 0:
            raise ValueError("no")

    volume = tmp_path / "volume"
    job = t2.submit(work, workers=2, cpu=0.5, ram=64, persistent_volume=str(volume), keep_going=True)
    job.wait(60)
    logs = volume / job.job_id / "logs"
    names = ["worker-0-0", "worker-1-0", "worker-1-1"]
    expected = sorted(f"{name}.{stream}" for name in names for stream in ("stdout", "stderr"))
    eventually(lambda: logs.is_dir() and sorted(path.name for path in logs.iterdir()) == expected, 30)
    assert (logs / "worker-1-1.stdout").read_text() == "hello from 1 1\n"
    assert (logs / "worker-1-0.stdout").read_text() == "hello from 1 0\n"
    assert "ValueError: no" in (logs / "worker-0-0.stderr").read_text()
    assert logs.stat().st_mode & 0o077 == 0
    t2.clear(job.job_id)
    assert not logs.exists()


def test_the_threads_of_numeric_libraries_follow_from_the_cpus_and_setenv_says_otherwise(
    t2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def threads(env: Any) -> tuple[str, str]:
        import os

        return os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"]

    assert t2.submit(threads, workers=1, cpu=2, ram=64).results(60) == [("2", "2")]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    job = t2.submit(threads, workers=1, cpu=1.5, ram=64, setenv=("OMP_NUM_THREADS",))
    assert job.results(60) == [("3", "1")]
