"""Jobs whose job master runs as a task on Mesos."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import ROOT, eventually, sessions_of


def job_master_of(home: Path, job_id: str) -> int | None:
    """Return the pid of a job's master on the cluster, by the folder in the sandbox that is its own."""
    from t2notebook.journal import read_jobs, session_directories  # this module travels to workers, too

    masters = [
        master
        for directory in session_directories(home / "data" / "t2notebook" / "sessions")
        for master, spec in read_jobs(directory).items()
        if spec.serves == job_id
    ]
    for entry in Path("/proc").iterdir():
        try:
            folder = Path(os.readlink(entry / "cwd")).name if entry.name.isdigit() else ""
        except OSError:
            continue
        if any(folder.startswith(f"{master}-") for master in masters):
            return int(entry.name)
    return None


def meet(env: Any) -> Any:
    import os
    import time

    controller = env.worker_controller
    workers = controller.get_all_workers(timeout=60)
    gate, passed = env.config["gate"], 0
    controller.wait_on_barrier(60)
    env.progress(0.25, text="at the gate")
    open(f"{gate}-{env.worker_id}", "w").close()
    while not os.path.exists(gate):
        time.sleep(0.02)
    for number in range(5):
        controller.wait_on_barrier(120)
        passed = number + 1
    env.send((env.worker_id + 1) % env.number_of_workers, f"from {env.worker_id}")
    heard = next(env.messages(timeout=60))
    env.send_to_driver({"worker": env.worker_id, "heard": heard})
    env.progress(0.75, text="said all")
    controller.wait_on_barrier(120)
    open(f"{gate}-{env.worker_id}-done", "w").close()
    return [one.worker_id for one in workers], passed, heard


def all_there(gate: Path, what: str = "", workers: int = 3) -> bool:
    return all(Path(f"{gate}-{number}{what}").exists() for number in range(workers))


RESULTS = [([0, 1, 2], 5, f"from {(number - 1) % 3}") for number in range(3)]


def test_barriers_and_messages_through_a_job_master_on_the_cluster(
    t2: Any, home: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    job = t2.submit(meet, workers=3, cpu=0.5, ram=64, job_master="cluster", config={"gate": str(gate)})
    heard: list[Any] = []
    job.on_message(lambda worker_id, obj: heard.append((worker_id, obj)))
    assert job.results(90) == RESULTS
    eventually(lambda: len(heard) == 3)
    assert sorted(one[1]["worker"] for one in heard) == [0, 1, 2]
    assert job.job_id in t2.jobs().job_id.tolist() and not any("jobmaster" in one for one in t2.jobs().job_id)
    eventually(lambda: job_master_of(home, job.job_id) is None, 30)


@pytest.mark.slow
def test_the_driver_sends_through_it(t2: Any) -> None:
    def echo(env: Any) -> list[Any]:
        got = []
        for obj in env.messages(timeout=60):
            env.send_to_driver(obj)
            got.append(obj)
            if obj == "end":
                return got
        return got

    job = t2.submit(echo, workers=2, cpu=0.5, ram=64, job_master="cluster")
    heard: list[Any] = []
    job.on_message(lambda worker_id, obj: heard.append((worker_id, obj)))
    job.send(0, "one")
    job.broadcast(b"x" * 2_000_000)
    job.broadcast("end")
    assert job.results(90) == [["one", b"x" * 2_000_000, "end"], [b"x" * 2_000_000, "end"]]
    eventually(lambda: len(heard) == 5)


def test_a_job_goes_on_and_ends_without_a_session(t2: Any, home: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = t2.submit(meet, workers=3, cpu=0.5, ram=64, job_master="cluster", config={"gate": str(gate)})
    heard: list[Any] = []
    job.on_message(lambda worker_id, obj: heard.append(obj))
    eventually(lambda: all_there(gate), 60)
    pids = sessions_of(home)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # not killed yet: the kernel would start the next one at once
    try:
        gate.touch()
        eventually(lambda: all_there(gate, "-done"), 60)
        time.sleep(0.5)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert job.results(90) == RESULTS
    eventually(lambda: len(heard) == 3, 30)
    assert not job.tasks.restarts.any()
    eventually(lambda: job_master_of(home, job.job_id) is None, 30)


@pytest.mark.slow
def test_a_session_that_is_killed_finds_progress(t2: Any, home: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = t2.submit(meet, workers=3, cpu=0.5, ram=64, job_master="cluster", config={"gate": str(gate)})
    eventually(lambda: all_there(gate), 60)
    for pid in sessions_of(home):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: set(job.tasks.progress) == {0.25}, 60)
    gate.touch()
    assert job.results(90) == RESULTS


@pytest.mark.parametrize("volume", [pytest.param(False), pytest.param(True, marks=pytest.mark.slow)])
def test_a_job_master_that_is_killed_comes_back_with_its_state(
    t2: Any, home: Path, tmp_path: Path, volume: bool
) -> None:
    def work(env: Any) -> Any:
        import os
        import time

        gate = env.config["gate"]
        if env.worker_id == 0:
            env.send(1, "before")
            open(f"{gate}-0", "w").close()
            env.worker_controller.wait_on_barrier(120)  # it waits while the job master dies
            return "passed"
        open(f"{gate}-1", "w").close()
        while not os.path.exists(gate):
            time.sleep(0.02)
        got = next(env.messages(timeout=60))
        env.worker_controller.wait_on_barrier(120)
        return got

    gate = tmp_path / "gate"
    job = t2.submit(
        work,
        workers=2,
        cpu=0.5,
        ram=64,
        job_master="cluster",
        config={"gate": str(gate)},
        persistent_volume=str(tmp_path / "volume") if volume else "",
    )
    eventually(lambda: all_there(gate, workers=2), 60)
    time.sleep(0.3)
    pid = job_master_of(home, job.job_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    gate.touch()
    assert job.results(90) == ["passed", "before"]
    assert not job.tasks.restarts.any()


@pytest.mark.slow
def test_a_job_master_that_dies_for_good_ends_its_job_and_says_why(
    t2: Any, home: Path, tmp_path: Path
) -> None:
    def wait(env: Any) -> None:
        open(env.config["marker"], "w").close()
        env.worker_controller.wait_on_barrier(300)
        env.worker_controller.wait_on_barrier(300)

    marker = tmp_path / "there"
    job = t2.submit(
        wait,
        workers=2,
        cpu=0.5,
        ram=64,
        job_master="cluster",
        max_worker_restarts=0,
        config={"marker": str(marker)},
    )
    eventually(marker.exists, 60)
    # A worker waits for its job master only when it asks it something.
    eventually(lambda: job_master_of(home, job.job_id) is not None, 60)
    pid = job_master_of(home, job.job_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(t2.JobFailed, match=r"its job master ended: .*no restart is allowed"):
        job.results(60)


@pytest.mark.slow
def test_a_job_master_that_waits_for_resources_says_so(t2: Any) -> None:
    def wait(env: Any) -> None:
        env.worker_controller.wait_on_barrier(300)

    job = t2.submit(
        wait, workers=1, cpu=0.5, ram=64, job_master=t2.ComputeResource(cpu=900, ram_mega_bytes=64)
    )
    eventually(lambda: "its job master waits" in job.view().waiting_for or job.state.is_final, 60)
    job.kill()
    with pytest.raises(t2.SubmitError, match="give 'session', 'cluster'"):
        t2.submit(wait, job_master="mars")


@pytest.mark.slow
def test_a_port_that_is_taken(t2: Any, home: Path, tmp_path: Path) -> None:
    def port_of(env: Any) -> int:
        return int(env.additional_ports[0])

    gate = tmp_path / "gate"
    gate.touch()
    first = t2.submit(port_of, workers=1, cpu=0.5, ram=64, ports=1).results(60)[0]
    with socket.create_server(("127.0.0.1", first)):
        job = t2.submit(meet, workers=3, cpu=0.5, ram=64, job_master="cluster", config={"gate": str(gate)})
        assert job.results(90) == RESULTS


@pytest.mark.slow
def test_a_worker_scales_the_job_through_it(t2: Any) -> None:
    def work(env: Any) -> Any:
        controller = env.worker_controller
        if env.worker_id == 0:
            assert env.scale_up_workers(2) == 3
        workers = controller.get_all_workers(60) if env.worker_id else []
        while len(workers) < 3:
            workers = controller.get_all_workers(60)
        controller.wait_on_barrier(60)
        return [one.worker_id for one in workers]

    job = t2.submit(work, workers=1, cpu=0.5, ram=64, scalable=True, job_master="cluster")
    assert job.results(90) == [[0, 1, 2]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("fails", [True, False])
def test_a_kernel_that_ends_names_the_jobs_that_were_submitted_alone(
    t2: Any, home: Path, fails: bool
) -> None:
    code = f"""
        import t2notebook as t2

        def work(env):
            import time
            if {fails}:
                raise ValueError("as it comes")
            time.sleep(300)

        job = t2.submit(work, workers=1, cpu=0.5, ram=64, job_master="cluster")
        if {fails}:
            job.wait(60)
        print(job.job_id, flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    assert "jobmaster" not in done.stderr
    assert (f"killed job {done.stdout.strip()}," in done.stderr) is not fails
    eventually(lambda: job_master_of(home, done.stdout.strip()) is None, 30)
