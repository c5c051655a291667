"""The debugger on the embedded Mesos: a worker waits, somebody looks around in it and lets it go on."""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.client.debugging import CannotType
from t2notebook.model.states import JobState
from t2notebook.views.snapshot import snapshot
from tests.session.conftest import eventually, sessions_of

Typed = Callable[..., None]


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Have somebody type these lines; an exception's class is raised in place of one."""

    def script(*lines: Any) -> None:
        left = iter(lines)

        def read(prompt: str = "") -> str:
            line = next(left)
            if isinstance(line, type):
                raise line
            print(f"{prompt}{line}")
            return str(line)

        monkeypatch.setattr(builtins, "input", read)

    return script


def held(job: Any) -> None:
    eventually(lambda: job.held_workers() or job.state.is_final, 30)
    assert job.held_workers(), job.tasks.message.tolist()


def test_a_breakpoint_holds_the_worker_and_its_peers_clocks(
    t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(env: Any) -> int:
        secret = {"a": 40 + env.worker_id}

        def inner(x: int) -> int:
            y = x + 1
            if env.worker_id == 0:
                breakpoint()
            return y

        got = inner(secret["a"])
        env.worker_controller.wait_on_barrier(2)
        return got

    job = t2.submit(work, workers=2, cpu=0.2, ram_mega_bytes=64, time_limit=4)
    held(job)
    began = time.monotonic()
    record = snapshot(job.view())
    assert record["rows"][0]["text"]["state"] == "waits in the debugger"
    assert record["waiting_for"].startswith(
        "worker 0 waits in the debugger (breakpoint() in inner at test_debugger.py:"
    )
    assert job.tasks.message[0].startswith("waits in the debugger: breakpoint()")
    types(
        "p y",
        "l",
        "up",
        "p secret",
        "interact",
        "print(secret['a'] * 2)",
        "exit()",
        "down",
        KeyboardInterrupt,
    )
    job.debug(0)
    shown = capsys.readouterr().out
    assert "(Pdb) p y\n41\n" in shown and "->" in shown and "return y" in shown
    assert "{'a': 40}" in shown and ">>> print(secret['a'] * 2)\n80\n" in shown
    assert "executor.py" not in shown and "Detached; worker 0 waits in the debugger" in shown
    assert job.held_workers().keys() == {0}, "it lives, and waits"
    time.sleep(max(0.0, 4.5 - (time.monotonic() - began)))  # longer than the barrier's time, and the job's
    types("c")
    job.debug()
    assert "-> return y" in capsys.readouterr().out, "where it is"
    assert job.results(30) == [41, 42]
    assert job.events.kind.tolist().count("HELD") == 2


def test_an_exception_holds_a_job_that_is_debugged(
    t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    def bad(env: Any) -> float:
        divisor = {"k": 0}
        return 1 / divisor["k"]

    job = t2.submit(bad, cpu=0.2, ram_mega_bytes=64, debug=True)
    held(job)
    types("p divisor", "q")
    job.debug(0)
    shown = capsys.readouterr().out
    assert "ZeroDivisionError: division by zero\nWorker 0 waits where it was raised" in shown
    assert "{'k': 0}" in shown and '-> return 1 / divisor["k"]' in shown
    assert job.wait(30) is JobState.FAILED
    with pytest.raises(ZeroDivisionError):
        job.results()


def test_q_ends_the_worker_whatever_its_code_catches(t2: Any, types: Typed) -> None:
    def work(env: Any) -> None:
        try:
            breakpoint()
            print("on")
        except Exception:
            pass

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    types("q")
    job.debug()
    assert job.wait(30) is JobState.FAILED
    assert "worker 0 was ended in the debugger" in str(job.error())


def test_nobody_comes_or_nobody_can_type(t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    def work(env: Any) -> int:
        breakpoint()
        return 7

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64, debug_timeout=2)
    held(job)
    with pytest.raises(
        TimeoutError, match=r"after 0\.05 s; it goes on: worker 0 waits in the debugger \(breakpoint"
    ):
        job.results(0.05)
    types(NotImplementedError)
    with pytest.raises(CannotType, match="nothing can be typed here"):
        job.debug()
    assert job.results(30) == [7], "it goes on by itself"
    told = capsys.readouterr().err
    assert (
        told.count(f"%twister2 debug {job.job_id} 0, or 't2notebook debug {job.job_id} 0' in a terminal\n")
        == 1
    ), "whoever waits in a script sees nothing else"
    with pytest.raises(t2.Twister2Error, match=r"no worker of job .* waits in the debugger"):
        job.debug()
    for wrong in (0, -1, True, "1"):
        with pytest.raises(t2.SubmitError, match="debug_timeout"):
            t2.submit(work, debug_timeout=wrong)


def test_processes_that_a_worker_forked_pass_a_breakpoint_over(t2: Any) -> None:
    def work(env: Any) -> int:
        import os

        pid = os.fork()
        if pid == 0:
            breakpoint()
            os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    assert job.results(30) == [3]
    assert "breakpoint() is passed over" in job.logs(0, stream="stderr")


def test_threads_take_turns_and_a_look_disturbs_none_of_them(
    t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the first were lost: nobody could attach to them, and the worker waited for ever."""

    def work(env: Any) -> list[int]:
        import os
        import threading

        def side(number: int) -> None:
            half = number
            breakpoint()
            found.append(2 * half)

        found: list[int] = []
        threads = [threading.Thread(target=side, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        breakpoint()
        if os.fork() == 0:
            os._exit(0)
        return sorted(found)

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    text = job.stack(0)
    assert "waits in the debugger (breakpoint() in side at test_debugger.py:" in text
    assert "found.append(2 * half)" in text and "pdb.py" not in text, (
        "what the debugger does is nobody's business"
    )
    # The first goes past its own end, the main thread's steps over a fork; each stop follows the one before.
    types("w", "n", "n", "n", "c", "c", "n", "n", "c")
    job.debug()
    shown = capsys.readouterr().out
    assert shown.count("Worker 0 waits in the debugger.") == 4 and "threading.py" not in shown
    assert job.results(30) == [[0, 2, 4]]


def test_q_in_a_thread_ends_the_worker(t2: Any, types: Typed) -> None:
    def work(env: Any) -> None:
        import threading
        import time

        def side() -> None:
            found = 1
            breakpoint()
            print(found)

        thread = threading.Thread(target=side)
        thread.start()
        try:
            thread.join()
            time.sleep(60)
        except Exception:
            time.sleep(60)

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    types("q")
    job.debug()
    assert job.wait(30) is JobState.FAILED
    assert "worker 0 was ended in the debugger" in str(job.error())


def test_a_breakpoint_in_a_loop_is_one_conversation(
    t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(env: Any) -> int:
        total, large = 0, list(range(50_000))
        for number in range(3):
            breakpoint()
            total += number
        return total * bool(large)

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    types("p number", "c", "p number", "p large", "c", "p number", "c")
    job.debug()
    shown = capsys.readouterr().out
    for number in range(3):
        assert f"(Pdb) p number\n{number}\n" in shown
    assert " characters are left out]\n" in shown and "49999]" in shown, "of a long output the end is shown"
    assert job.results(30) == [3]


def test_an_exception_without_a_message_or_that_cannot_say_it(t2: Any, types: Typed) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def work(env: Any) -> None:
        if env.worker_id:
            raise Odd
        raise AssertionError

    job = t2.submit(work, workers=2, cpu=0.2, ram_mega_bytes=64, debug=True, keep_going=True)
    eventually(lambda: len(job.held_workers()) == 2, 30)
    assert job.held_workers()[0] == "AssertionError, which nobody caught"
    assert job.held_workers()[1].endswith("Odd: <its message cannot be shown>, which nobody caught")
    types("q")
    job.debug(1)
    types("q")
    job.debug(0)
    assert job.wait(30) is JobState.FAILED


def test_a_killed_session_forgets_no_held_worker(t2: Any, home: Path, types: Typed) -> None:
    import os
    import signal

    def work(env: Any) -> int:
        breakpoint()
        return 5

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    for pid in sessions_of(home):
        os.kill(pid, signal.SIGKILL)
    other = t2.attach(job.job_id)

    def debugged() -> bool:
        types("c")
        try:
            return bool(other.attach_debugger(0))
        except t2.Twister2Error:  # the worker has not asked the new session yet
            return False

    eventually(debugged, 60)
    assert other.results(30) == [5]


def test_a_waiting_cell_opens_it_itself(
    t2: Any, types: Typed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2notebook.notebook.errors import Interrupted
    from t2notebook.notebook.magics import waiting

    def work(env: Any) -> int:
        breakpoint()
        return 3

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    types(KeyboardInterrupt)
    with pytest.raises(Interrupted, match="you left the debugger"):
        waiting.wait(job, None)
    types("c")
    waiting.wait(job, None)
    assert job.results(5) == [3]


def test_pdbs_own_set_trace_holds_as_well(t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    def work(env: Any) -> int:
        import pdb

        found = 6
        pdb.set_trace(header="look at this")
        return found

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    assert job.held_workers()[0].startswith("pdb.set_trace() in work at test_debugger.py:")
    types("p found", "c")
    job.debug()
    shown = capsys.readouterr().out
    assert "look at this\n" in shown and "(Pdb) p found\n6\n" in shown and "-> return found" in shown
    assert job.results(30) == [6]


def test_a_call_of_a_pool_is_left_at_its_end(
    t2: Any, types: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(number: int, stops: bool) -> int:
        if stops:
            breakpoint()
        return 2 * number

    with t2.Executor(1, cpu=0.2, ram_mega_bytes=64) as executor:
        future = executor.submit(twice, 1, True)
        held(executor.job)
        eventually(lambda: f"%twister2 debug {executor.job.job_id} 0" in capsys.readouterr().err, 30)
        types("n", "n")  # past its end
        executor.job.debug()
        assert "worker 0 goes on" in capsys.readouterr().out.lower()
        assert future.result(30) == 2
        assert executor.submit(twice, 2, False).result(30) == 4, "the next one is not stopped in"
        eventually(lambda: not executor.job.held_workers(), 30)
        future = executor.submit(twice, 1, True)
        held(executor.job)
        types("q")
        executor.job.debug()
        with pytest.raises(t2.JobFailed, match="ended in the debugger"):
            future.result(30)
        assert executor.submit(twice, 3, False).result(30) == 6, "its worker goes on"


def test_a_terminal_debugs_detaches_and_comes_back(t2: Any) -> None:
    pexpect = pytest.importorskip("pexpect")

    def work(env: Any) -> int:
        found = 40
        breakpoint()
        return found + 2

    job = t2.submit(work, cpu=0.2, ram_mega_bytes=64)
    held(job)
    command = ["-m", "t2notebook", "debug", job.job_id]
    with pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=30) as terminal:
        terminal.expect_exact("(Pdb) ")
        assert "-> return found + 2" in terminal.before
        terminal.sendline("p found")
        terminal.expect_exact("40\r\n")
        terminal.expect_exact("(Pdb) ")
        terminal.sendintr()
        terminal.expect_exact("Detached; worker 0 waits in the debugger")
        terminal.expect(pexpect.EOF)
    assert job.held_workers().keys() == {0}
    with pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=30) as terminal:
        terminal.expect_exact("(Pdb) ")
        assert "-> return found + 2" in terminal.before, "where it is"
        terminal.sendline("c")
        terminal.expect("Worker 0 (goes on|has ended).")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 0
    assert job.results(30) == [42]


@pytest.mark.slow
def test_the_job_master_on_the_cluster_holds_as_well(t2: Any, types: Typed) -> None:
    def work(env: Any) -> int:
        if env.worker_id == 0:
            breakpoint()
        env.worker_controller.wait_on_barrier(3)
        return int(env.worker_id)

    job = t2.submit(work, workers=2, cpu=0.2, ram_mega_bytes=64, job_master="cluster")
    held(job)
    time.sleep(3.5)  # longer than the barrier's time
    types("w", "c")
    job.debug(0)
    assert job.results(30) == [0, 1]
    assert job.events.kind.tolist().count("HELD") == 2
