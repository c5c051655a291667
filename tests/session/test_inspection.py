"""Looks into workers on the embedded Mesos: stacks and profiles of those that work, hang, or are stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from t2notebook import cli
from t2notebook.model.states import JobState
from tests.session.conftest import eventually


def worker() -> Any:
    def work(env: Any) -> Any:
        import os
        import threading
        import time

        def in_python() -> int:
            found = 0
            while not os.path.exists(env.config["go"]):
                found += sum(range(100))
            return found

        def in_c() -> int:
            return sum(range(10**13))

        def waits() -> None:
            with lock:
                pass

        if env.worker_id == 0:
            lock = threading.Lock()
            lock.acquire()
            side = threading.Thread(target=waits, name="side")
            side.start()
            value = in_python()
            lock.release()
            side.join()
            return value > 0
        if env.worker_id == 1:
            with open(env.config["pid"], "w") as file:
                file.write(str(os.getpid()))
            time.sleep(120)
        if env.worker_id == 2:
            return in_c()
        os.execv("/bin/sleep", ["sleep", "120"])

    return work


@pytest.fixture(scope="module")
def job(t2: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Worker 0 works in Python until `go` is there, 1 sleeps, 2 hangs in C, 3 has become another program."""
    folder = tmp_path_factory.mktemp("inside")
    config = {"go": str(folder / "go"), "pid": str(folder / "pid")}
    resources = (t2.ComputeResource(cpu=0.2, ram_mega_bytes=64, instances=4),)
    job = t2.submit(t2.Twister2Job("inside", worker(), resources, config=config))
    eventually(lambda: job.state is JobState.STARTED and os.path.exists(config["pid"]), 30)
    job.folder = folder
    yield job
    job.kill()


def test_every_thread_with_the_lines_of_the_code(job: Any) -> None:
    eventually(lambda: "in in_python" in job.stack(0))
    text = job.stack(0)
    assert text.startswith(f"Worker 0 on {job.tasks.host[0]}, pid ")
    main, side = text.partition("\n  side\n")[::2]
    assert ("value = in_python()" in main and "while not os.path.exists" in main) or "sum(range(100))" in main
    assert "with lock:" in side and "in waits" in side
    assert "executor.py" not in text and "_bootstrap" not in text, "frames of ours are nobody's business"


def test_one_that_hangs_in_c(job: Any) -> None:
    text = job.stack(2)
    assert "its main thread has been in C code for 1 s or longer" in text
    assert "return sum(range(10**13))" in text and "in in_c" in text


def test_one_that_is_stopped_and_one_that_became_another_program(job: Any) -> None:
    pid = int((job.folder / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        assert f"it is stopped; 'kill -CONT {pid}' on its agent lets it go on" in job.stack(1)
        assert "it is stopped" in job.profile(1, 0.2).note
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: "time.sleep(120)" in job.stack(1))
    eventually(lambda: "another program runs in its process" in job.stack(3))
    assert job.tasks.state.tolist() == ["RUNNING"] * 4, "no look ends a worker"


def test_a_profile_says_where_the_time_goes(job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    profile = job.profile(0, 1.0)
    assert 0.5 < profile.seconds < 10 and profile.count > 1
    functions = profile.frame.set_index("function").total
    assert functions["in_python"] > 0.8 * profile.seconds and functions["waits"] > 0.8 * profile.seconds
    assert "_on_look" not in functions
    assert cli.main(["profile", job.job_id, "0", "--seconds", "0.3"]) == 0
    assert "MainThread" in capsys.readouterr().out
    assert cli.main(["stack", job.job_id, "0"]) == 0
    assert "in in_python" in capsys.readouterr().out


def test_wrong_questions_are_one_line(t2: Any, job: Any) -> None:
    with pytest.raises(IndexError, match="workers 0 to 3, not 4"):
        job.stack(4)
    with pytest.raises(t2.Twister2Error, match=r"from 0\.1 to 40"):
        job.profile(0, 100)


def test_a_worker_that_is_looked_at_all_the_time_comes_to_its_end(t2: Any, job: Any, tmp_path: Path) -> None:
    """System calls are interrupted again and again, by stacks and a profile; nothing of that reaches the code."""

    def work(env: Any) -> Any:
        import os
        import socket
        import subprocess
        import sys
        import threading
        import time

        rounds = 0
        while not os.path.exists(env.config["go"]):
            here, there = socket.socketpair()
            threading.Timer(0.01, lambda s=there: s.send(b"x")).start()
            assert here.recv(1) == b"x"
            assert (
                subprocess.run([sys.executable, "-S", "-c", "print(7)"], capture_output=True).stdout == b"7\n"
            )
            time.sleep(0.002)
            rounds += 1
        return rounds

    busy = t2.submit(
        t2.Twister2Job(
            "busy", work, t2.ComputeResource(cpu=0.2, ram_mega_bytes=64), config={"go": str(tmp_path / "go")}
        )
    )
    eventually(lambda: busy.state is JobState.STARTED, 30)
    texts = [busy.stack(0) for _ in range(40)]
    assert sum("in work" in text for text in texts) > 30
    assert busy.profile(0, 1.0).count > 5
    (tmp_path / "go").touch()
    assert busy.results(60)[0] > 0


def test_workers_that_have_ended_are_not_looked_into(t2: Any, job: Any) -> None:
    (job.folder / "go").touch()
    assert job.result(0, 30) is True
    eventually(lambda: "it is FINISHED" in job.stack(0))
    done = t2.submit(lambda: 1, ram_mega_bytes=64)
    done.results(30)
    with pytest.raises(t2.Twister2Error, match=r"no worker of job .* runs now; it is COMPLETED"):
        done.stack()
