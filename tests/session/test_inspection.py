"""Looks into workers on the embedded Mesos: stacks and profiles of those that work, hang, or are stopped."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from t2notebook import cli
from t2notebook.model.states import JobState
from t2notebook.worker.executor.inspection import TAKE
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


def test_ten_looks_at_once(job: Any) -> None:
    """All but the first were told that somebody else was looking."""
    with ThreadPoolExecutor(10) as pool:
        in_c = list(pool.map(lambda _: job.stack(2), range(10)))
        profile = pool.submit(job.profile, 0, 0.5)
        in_python = list(pool.map(lambda _: job.stack(0), range(9)))
    assert all("return sum(range(10**13))" in text for text in in_c), in_c
    assert all("in in_python" in text for text in in_python), in_python
    assert profile.result().count > 1


def test_tasks_of_an_event_loop_and_code_that_does_not_listen(t2: Any) -> None:
    """Of a worker that waits in asyncio nothing was shown but the selector; one that blocks signals was said to be in C
    code.
    """

    def work(env: Any) -> None:
        import asyncio
        import os
        import signal
        import time

        async def wait_for(what: str) -> None:
            await asyncio.sleep(60)

        async def gather() -> None:
            await asyncio.gather(wait_for("one"), asyncio.create_task(wait_for("two"), name="the second"))

        if env.worker_id == 0:
            asyncio.run(gather())
        if env.worker_id == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        elif env.worker_id == 2:
            for number in range(signal.SIGRTMIN, signal.SIGRTMAX):
                signal.signal(number, signal.SIG_IGN)
        else:
            os.closerange(3, 64)
        time.sleep(60)

    job = t2.submit(work, workers=4, cpu=0.2, ram_mega_bytes=64)
    eventually(lambda: job.state is JobState.STARTED, 30)
    eventually(lambda: "task the second\n" in job.stack(0))
    text = job.stack(0)
    assert "in gather\n      await asyncio.gather(" in text and text.count("in wait_for") == 2
    eventually(lambda: "its code blocks the signal that asks it" in job.stack(1))
    eventually(lambda: "its code ignores the signal that asks it" in job.stack(2))
    eventually(lambda: "has closed the file descriptors for the answer" in job.stack(3))
    job.kill()


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


def test_a_worker_that_ends_while_it_is_profiled_leaves_what_was_seen(t2: Any, tmp_path: Path) -> None:
    """Ten seconds of a worker that ended after nine were thrown away."""

    def work(env: Any) -> None:
        import os
        import time

        while not os.path.exists(env.config["go"]):
            time.sleep(0.01)

    resources = (t2.ComputeResource(cpu=0.2, ram_mega_bytes=64),)
    job = t2.submit(t2.Twister2Job("ends", work, resources, config={"go": str(tmp_path / "go")}))
    eventually(lambda: job.state is JobState.STARTED, 30)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(job.profile, 0, 40)
        time.sleep(2 * TAKE)
        (tmp_path / "go").touch()
        profile = asked.result(60)
    assert profile.note == "the worker has ended" and profile.count > 1
    assert profile.seconds > 0.5 and profile.frame.set_index("function").total["work"] > 0.4 * profile.seconds


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
