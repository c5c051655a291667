"""A worker ends as a Python program ends: threads, hooks, files, output; and its result is safe before that."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.fakes import FakeAgent, FakeSession, eventually
from tests.worker.test_executor_ends import gone

Run = Callable[..., dict[str, Any]]
FINISHED = {"state": "TASK_FINISHED", "message": "", "exit_code": 0}


def test_threads_hooks_and_files(run: Run, session: FakeSession, agent: FakeAgent) -> None:
    def work(env: Any) -> str:
        import atexit
        import threading
        import time

        atexit.register(lambda: print("bye"))
        global rows
        rows = open("rows.txt", "w")  # noqa: SIM115
        rows.write("rows")
        threading.Thread(target=lambda: (time.sleep(0.3), print("done"))).start()
        return "ok"

    assert run(work) == FINISHED
    assert session.result() == "ok"
    assert (agent.sandbox / "task-1" / "stdout").read_text() == "done\nbye\n"
    assert (agent.sandbox / "task-1" / "rows.txt").read_text() == "rows"


def test_hooks_run_backwards_after_threads_and_a_failing_one_stops_nothing(
    run: Run, agent: FakeAgent
) -> None:
    def work(env: Any) -> None:
        import atexit
        import sys
        import threading
        import time
        import weakref

        def fail() -> None:
            raise ValueError("a hook's own")

        class Thing: ...

        env.config["thing"] = thing = Thing()
        weakref.finalize(thing, print, "finalized")
        atexit.register(print, "first")
        atexit.register(fail)
        atexit.register(sys.exit, 3)
        atexit.register(print, "last")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()

    assert run(work) == FINISHED
    assert (agent.sandbox / "task-1" / "stdout").read_text().split() == [
        "thread",
        "last",
        "first",
        "finalized",
    ]
    assert "a hook's own" in (agent.sandbox / "task-1" / "stderr").read_text()


def test_pending_work_of_pools_is_done_and_children_are_joined(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> None:
        import multiprocessing
        import time
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

        def slow(name: str) -> None:
            time.sleep(0.1)
            with open(name, "w") as file:
                file.write("x")

        context = multiprocessing.get_context("fork")
        env.config["pool"] = pool = ThreadPoolExecutor(1)
        for number in range(3):
            pool.submit(slow, f"thread-{number}")
        context.Process(target=slow, args=("child",)).start()
        env.config["processes"] = processes = ProcessPoolExecutor(1, context)
        for number in range(2):
            processes.submit(time.sleep, 0.1 + number * 0)
        context.Process(target=time.sleep, args=(60,), daemon=True).start()

    assert run(work) == FINISHED
    directory = agent.sandbox / "task-1"
    assert sorted(path.name for path in directory.glob("*-[0-9]")) == ["thread-0", "thread-1", "thread-2"]
    assert (directory / "child").read_text() == "x"


def test_files_of_every_kind_are_whole(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> None:
        import gzip
        import io
        import zipfile

        import __main__  # the notebook's globals

        global cycle

        class Log:
            def __init__(self) -> None:
                self.file = open("log", "w")  # noqa: SIM115

            def __del__(self) -> None:
                self.file.write("closed by its own")

        packed = gzip.open("packed.gz", "wt")  # noqa: SIM115
        packed.write("packed")
        archive = zipfile.ZipFile("archive.zip", "w")
        archive.writestr("name", "value")
        binary = open("binary", "wb", buffering=1 << 16)  # noqa: SIM115
        wrapped = io.TextIOWrapper(io.BufferedWriter(io.FileIO("wrapped", "w")))
        wrapped.write("wrapped")
        binary.write(b"binary")
        cycle = [packed, binary]
        cycle.append(cycle)
        __main__.kept = (archive, wrapped, Log())  # type: ignore[attr-defined]
        work.kept = open("held", "w")  # noqa: SIM115
        work.kept.write("held by a function")

    assert run(work)["state"] == "TASK_FINISHED"
    import gzip
    import zipfile

    directory = agent.sandbox / "task-1"
    assert gzip.decompress((directory / "packed.gz").read_bytes()) == b"packed"
    assert zipfile.ZipFile(directory / "archive.zip").read("name") == b"value"
    texts = {name: (directory / name).read_text() for name in ("binary", "wrapped", "log", "held")}
    assert texts == {
        "binary": "binary",
        "wrapped": "wrapped",
        "log": "closed by its own",
        "held": "held by a function",
    }


def test_daemon_threads_hold_nobody_up_and_lose_no_file(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> int:
        import threading
        import time

        global steps
        steps = open("steps", "w")  # noqa: SIM115
        steps.write("begun")

        def loop() -> None:
            while True:
                steps.tell()
                time.sleep(0.001)

        threading.Thread(target=loop, daemon=True).start()
        return 1

    began = time.monotonic()
    assert run(work) == FINISHED
    assert time.monotonic() - began < 4
    assert (agent.sandbox / "task-1" / "steps").read_text() == "begun"
    assert not (agent.sandbox / "task-1" / "stderr").read_text()


def test_a_thread_that_raises_is_printed(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> int:
        import threading
        import time

        threading.Thread(target=lambda: (time.sleep(0.1), 1 / 0), name="divider").start()
        return 1

    assert run(work) == FINISHED
    stderr = (agent.sandbox / "task-1" / "stderr").read_text()
    assert "Exception in thread divider" in stderr and "ZeroDivisionError" in stderr


def hanging(env: Any) -> str:
    import os
    import threading

    print(os.getpid())
    threading.Thread(target=threading.Event().wait, name="waits-for-ever").start()
    return "made"


def test_a_thread_that_never_ends_loses_no_result_and_is_said(session: FakeSession, agent: FakeAgent) -> None:
    task_id = agent.launch(session.launch(session.add(hanging)))
    session.wait_results(1)
    assert session.result() == "made"
    directory = agent.sandbox / task_id
    eventually(lambda: "waits for thread waits-for-ever" in (directory / "stderr").read_text())
    eventually(lambda: session.progress)
    assert session.progress[-1][1] == {
        "progress": None,
        "text": "its function has returned; waits for thread waits-for-ever",
    }
    assert agent.states(task_id) == ["TASK_RUNNING"], "a program's process lives as long as its threads"
    agent.kill(task_id)
    assert agent.end_of(task_id)["state"] == "TASK_KILLED"
    assert gone([int((directory / "stdout").read_text())])


def test_after_an_error_threads_have_their_time_and_no_more(
    session: FakeSession, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(env: Any) -> None:
        import threading

        from t2notebook.worker.process import finalization

        finalization.ERROR_PATIENCE = 0.5
        threading.Thread(target=threading.Event().wait, name="waits-for-ever").start()
        raise ValueError("no")

    task_id = agent.launch(session.launch(session.add(fail)))
    session.wait_results(1)
    end = agent.end_of(task_id)
    assert end == {"state": "TASK_FAILED", "message": "ValueError: no", "exit_code": 1}
    assert "waits-for-ever, and waits no more" in (agent.sandbox / task_id / "stderr").read_text()


def test_after_an_error_hooks_run(run: Run, agent: FakeAgent) -> None:
    def fail(env: Any) -> None:
        import atexit
        import sys

        atexit.register(print, "cleaned up")
        sys.exit(env.config)

    for number, (value, code) in enumerate([(3, 3), ("no", 1), (None, 0), (0, 0), (-1, 255)], 1):
        end = run(fail, value)
        assert (end["state"], end["exit_code"]) == ("TASK_FAILED" if code else "TASK_FINISHED", code)
        assert (agent.sandbox / f"task-{number}" / "stdout").read_text() == "cleaned up\n"


def test_a_process_that_dies_after_its_result_says_so(run: Run, session: FakeSession) -> None:
    def work(env: Any) -> int:
        import atexit
        import os

        atexit.register(os.kill, os.getpid(), 9) if env.config == "kill" else atexit.register(os._exit, 5)
        return 7

    end = run(work, "kill")
    assert (
        end["message"]
        == "killed by signal 9 (SIGKILL) after its function had returned, possibly out of memory"
    )
    assert (end["state"], session.result()) == ("TASK_FAILED", 7)
    assert run(work)["message"] == "exited with code 5 after its function had returned"


def test_hooks_of_the_executor_are_not_the_workers(session: FakeSession, idle_agent: FakeAgent) -> None:
    (idle_agent.sandbox / "sitecustomize.py").write_text(
        "import atexit, os, tempfile, weakref\n"
        "class T: pass\n"
        "t = T()\n"
        "atexit.register(lambda: open('hooks', 'a').write('x'))\n"
        "weakref.finalize(t, lambda: open('hooks', 'a').write('y'))\n"
    )

    def work(env: Any) -> int:
        import atexit

        atexit.register(print, "mine")
        return 1

    from t2notebook.protocol import archive

    root = str(archive.__file__).rsplit("/t2notebook/", 1)[0]
    idle_agent.start(PYTHONPATH=f"{idle_agent.sandbox}:{root}")
    assert idle_agent.end_of(idle_agent.launch(session.launch(session.add(work)), "task")) == FINISHED
    assert (idle_agent.sandbox / "task" / "stdout").read_text() == "mine\n"
    assert not (idle_agent.sandbox / "task" / "hooks").exists()


def dots(env: Any) -> None:
    import os
    import sys
    import time

    for _ in range(3):
        print(".", end="")
        sys.stderr.write("!")
        sys.stdout.buffer.write(b"-")
    if env.config == "exit":
        os._exit(3)
    time.sleep(60)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_output_without_newlines_shows_at_once(session: FakeSession, agent: FakeAgent, how: str) -> None:
    task_id = agent.launch(session.launch(session.add(dots, how)))
    directory = agent.sandbox / task_id
    eventually(lambda: (directory / "stdout").exists() and (directory / "stdout").read_text() == ".-.-.-")
    assert (directory / "stderr").read_text() == "!!!"
    if how == "kill":
        agent.running(task_id)
        agent.kill(task_id, 0.0)
    agent.end_of(task_id)
    assert (directory / "stdout").read_text() == ".-.-.-"


def test_lines_of_a_pool_are_whole(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> None:
        import multiprocessing

        def shout(letter: str) -> None:
            for _ in range(300):
                print(letter * 50, letter * 50, sep="")

        context = multiprocessing.get_context("fork")
        children = [context.Process(target=shout, args=(letter,)) for letter in "abc"]
        for child in children:
            child.start()
        for child in children:
            child.join()

    assert run(work) == FINISHED
    lines = (agent.sandbox / "task-1" / "stdout").read_text().splitlines()
    assert len(lines) == 900 and {line for line in lines} == {letter * 100 for letter in "abc"}


def test_lines_of_threads_are_whole(run: Run, agent: FakeAgent) -> None:
    """A print of several arguments is several pieces, and each was a write of its own."""

    def work(env: Any) -> None:
        import threading

        def shout(letter: str) -> None:
            for _ in range(300):
                print(letter * 50, letter * 50, 1, 2, 3)

        threads = [threading.Thread(target=shout, args=(letter,)) for letter in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert run(work) == FINISHED
    lines = (agent.sandbox / "task-1" / "stdout").read_text().splitlines()
    assert len(lines) == 900
    assert {line for line in lines} == {f"{letter * 50} {letter * 50} 1 2 3" for letter in "abc"}


def test_a_threads_dots_show_while_it_runs_and_are_all_there(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> None:
        import threading
        import time

        def shout() -> None:
            for _ in range(5):
                print(".", end="")
                time.sleep(0.2)
            with open("stdout") as file:
                seen.append(file.read())
            print("last", end="")

        seen: list[str] = []
        thread = threading.Thread(target=shout)
        thread.start()
        thread.join()
        assert len(seen[0]) >= 4, seen

    assert run(work) == FINISHED
    assert (agent.sandbox / "task-1" / "stdout").read_text() == ".....last"


@pytest.mark.skipif(sys.platform != "linux", reason="libc by name")
def test_exit_functions_of_c_run_where_a_library_has_been_loaded(
    run: Run, session: FakeSession, agent: FakeAgent
) -> None:
    def work(env: Any) -> list[bool]:
        import ctypes

        from t2notebook.worker.process import exit_functions

        told = [exit_functions.may_be_registered()]
        ctypes.CDLL("libresolv.so.2")
        libc = ctypes.CDLL(None)
        global bye  # it is called when nothing else is left
        bye = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)(lambda code, _: print("bye from C", code))
        libc.on_exit(bye, None)
        return [*told, exit_functions.may_be_registered()]

    assert run(work) == FINISHED
    assert session.result() == [False, True]
    assert (agent.sandbox / "task-1" / "stdout").read_text() == "bye from C 0\n"


@pytest.mark.skipif(sys.platform != "linux", reason="libc by name")
@pytest.mark.parametrize("how", ["end", "exit"])
def test_what_c_prints_is_there(run: Run, agent: FakeAgent, how: str) -> None:
    def work(env: Any) -> None:
        import ctypes
        import os

        libc = ctypes.CDLL(None)
        libc.printf(b"a line of C\n")
        if env.config == "exit":
            os._exit(0)
        libc.printf(b"and no newline")

    run(work, how)
    expected = {"end": "a line of C\nand no newline", "exit": "a line of C\n"}[how]
    assert (agent.sandbox / "task-1" / "stdout").read_text() == expected
