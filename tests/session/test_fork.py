"""Processes that a notebook's own process forks or spawns: each has a link, and locks, of its own."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.errors import JobFailed
from t2notebook.model.states import JobState
from tests.session.conftest import end, eventually, kernel, processes

FORK = multiprocessing.get_context("fork")
#: CPython 3.12 and later warn of each fork beside a thread, which is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Path]:
    """A file that lets workers end."""
    path = tmp_path / "go"
    yield path
    path.touch()


def waiting(go: Path) -> Callable[..., str]:
    name = str(go)

    def work(env: Any) -> str:
        import os
        import time

        while not os.path.exists(name):
            time.sleep(0.02)
        return f"worker {env.worker_id}"

    return work


def in_child(work: Callable[[], Any], timeout: float = 40) -> Any:
    """Return what `work` returns in a fork of this process; fail if it hangs."""
    ours, theirs = FORK.Pipe(duplex=False)

    def run() -> None:
        try:
            theirs.send(work())
        except BaseException as error:
            theirs.send(error)

    child = FORK.Process(target=run)
    child.start()
    theirs.close()
    try:
        assert ours.poll(timeout), "the child hangs"
        value = ours.recv()
    finally:
        child.join(10)
        if child.is_alive():
            child.kill()
    if isinstance(value, BaseException):
        raise value
    # Where coverage is measured, its own end in a forked child now and then fails to save what it has seen.
    assert child.exitcode == 0 or "coverage" in sys.modules
    return value


def test_a_child_waits_for_the_parents_job(t2: Any, go: Path) -> None:
    job = t2.submit(waiting(go), workers=2, cpu=0.5, ram_mega_bytes=64)
    eventually(lambda: job.state is JobState.STARTED)

    def work() -> Any:
        before = job.state.value, len(job.tasks)
        go.touch()
        return before, job.wait(30).value, job.results(), len(job.events) > 4, t2.attach(job.job_id) is job

    assert in_child(work) == (("STARTED", 2), "COMPLETED", ["worker 0", "worker 1"], True, True)
    assert job.wait(30) is JobState.COMPLETED and job.results() == ["worker 0", "worker 1"]


def test_a_child_submits_and_its_end_kills_nothing_of_the_parents(t2: Any, go: Path) -> None:
    job = t2.submit(waiting(go), cpu=0.5, ram_mega_bytes=64)
    eventually(lambda: job.state is JobState.STARTED)
    assert in_child(lambda: t2.submit(lambda: 6 * 7, cpu=0.5, ram_mega_bytes=64).results(30)) == [42]
    assert in_child(lambda: 1) == 1
    assert job.state is JobState.STARTED
    go.touch()
    assert job.results(30) == ["worker 0"]


def test_what_a_child_runs_at_its_exit_kills_nothing_of_the_parents(home: Path, go: Path) -> None:
    """In a process of its own: at their exit, other libraries that tests use wait for threads that a child has not."""
    process = kernel(f"""
        import atexit, os, signal, time
        import t2notebook as t2

        def work():
            while not os.path.exists({str(go)!r}):
                time.sleep(0.02)
            return "done"

        job = t2.submit(work, cpu=0.5, ram_mega_bytes=64)
        while job.state.value != "STARTED":
            time.sleep(0.02)
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            try:
                t2.submit(lambda: 1, cpu=0.5, ram_mega_bytes=64).results(30)
                atexit._run_exitfuncs()
            finally:
                os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        time.sleep(0.3)
        print(job.state.value)
        open({str(go)!r}, "w").close()
        print(job.results(30))
    """)
    assert process.communicate(timeout=90)[0].splitlines() == ["7", "STARTED", "['done']"]


def test_children_of_pools_submit_and_wait_and_kill(t2: Any, go: Path) -> None:
    job = t2.submit(waiting(go), cpu=0.5, ram_mega_bytes=64)
    pool = concurrent.futures.ProcessPoolExecutor(2, FORK, initializer=_give, initargs=(job,))
    with pool:
        answers = [pool.submit(_submit, number) for number in range(4)]
        assert [answer.result(60) for answer in answers] == [0, 1, 4, 9]
        assert pool.submit(_kill).result(60) == "KILLED"
    assert job.wait(30) is JobState.KILLED
    with pytest.raises(JobFailed, match="killed by the user"):
        job.results()
    with FORK.Pool(2) as others:
        assert others.map(_submit, range(2)) == [0, 1]


_given: list[Any] = []


def _give(job: Any) -> None:
    _given.append(job)


def _submit(number: int) -> int:
    import t2notebook

    (result,) = t2notebook.submit(lambda: number * number, cpu=0.5, ram_mega_bytes=64).results(30)
    return int(result)


def _kill() -> str:
    _given[0].kill()
    return str(_given[0].wait(30))


def test_locks_that_other_threads_hold_while_a_process_is_forked(t2: Any) -> None:
    """A fork takes the locks of all threads along, and one thread."""
    from t2notebook.client import job_connection, session_link

    job = t2.submit(lambda: 1, cpu=0.5, ram_mega_bytes=64)
    assert job.results(30) == [1]
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        connection = job._connection
        locks = connection.replica.changed, connection.link._lock, job_connection._reopening
        with session_link._links_lock, locks[0], locks[1], locks[2]:
            held.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    try:
        assert in_child(lambda: (job.results(30), _submit(3), job.state.value)) == ([1], 9, "COMPLETED")
    finally:
        release.set()
        holder.join()
    assert job.results(30) == [1]


def test_a_dead_kernel_is_not_kept_alive_by_its_children(t2: Any, home: Path, tmp_path: Path) -> None:
    """The session sees that a kernel is gone though a child of it lives on."""
    code = """
        import os, sys, time
        import t2notebook as t2
        assert t2.submit(lambda: 1, cpu=0.5, ram_mega_bytes=64).results(30) == [1]
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        print("ready", flush=True)
        time.sleep(60)
    """
    t2.shutdown()
    eventually(lambda: not processes(home), timeout=30)
    process = kernel(code)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    end(process, signal.SIGKILL)
    eventually(
        lambda: not [one for one in processes(home).values() if "t2notebook.session" in one], timeout=15
    )
    for pid, command in processes(home).items():
        if "-u -c" in command:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["spawn", "forkserver", "loky"])
def test_processes_that_begin_anew(t2: Any, home: Path, tmp_path: Path, how: str) -> None:
    if how == "loky":
        pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing
            import t2notebook as t2

            def work(number):
                return t2.submit(lambda: number + 1, cpu=0.5, ram_mega_bytes=64).results(40)[0]

            if __name__ == "__main__":
                assert work(0) == 1
                if {how!r} == "loky":
                    import joblib
                    print(joblib.Parallel(2)(joblib.delayed(work)(number) for number in range(3)))
                else:
                    with multiprocessing.get_context({how!r}).Pool(2) as pool:
                        print(pool.map(work, range(3)))
                t2.shutdown()
            """
        )
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )
    assert (done.stdout, done.returncode) == ("[1, 2, 3]\n", 0), done.stderr
