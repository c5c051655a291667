"""Ends of workers without a result: exit codes, signals, kills, shutdowns."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.protocol.launch import Cause, decode_status_data
from tests.busy import longer
from tests.worker.fakes import FakeAgent, FakeSession

Run = Callable[..., dict[str, Any]]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], timeout: float = 5) -> bool:
    deadline = time.monotonic() + timeout
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def written(path: Path, timeout: float = 5) -> str:
    deadline = time.monotonic() + timeout
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"nothing in {path}"
        time.sleep(0.01)
    return path.read_text().strip()


def sleeper(env: Any) -> None:
    import os
    import time

    print(os.getpid())
    time.sleep(60)


def stubborn(env: Any) -> None:
    import os
    import signal
    import subprocess
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"])
    print(os.getpid(), child.pid)
    while True:
        time.sleep(1)


def start(
    session: FakeSession, agent: FakeAgent, worker: Callable[..., Any], task_id: str = "task", **info: Any
) -> list[int]:
    """Launch a worker that prints pids, and return them."""
    agent.launch(session.launch(session.add(worker)), task_id, **info)
    agent.running(task_id)
    return [int(word) for word in written(agent.sandbox / task_id / "stdout").split()]


def test_exit_codes_and_signals(run: Run) -> None:
    assert run(lambda env: os._exit(3)) == {
        "state": "TASK_FAILED",
        "message": "exited with code 3 without a result",
        "exit_code": 3,
    }
    assert run(lambda env: os._exit(0))["message"] == "exited with code 0 without a result"
    assert run(lambda env: os.kill(os.getpid(), 9)) == {
        "state": "TASK_FAILED",
        "message": "killed by signal 9 (SIGKILL), possibly out of memory",
        "exit_code": -9,
    }
    assert run(lambda env: os.kill(os.getpid(), 15))["message"] == "killed by signal 15 (SIGTERM)"


def test_last_words(run: Run) -> None:
    def speak(env: Any) -> None:
        import sys

        print("first\nthe license server is down", file=sys.stderr)
        os._exit(9)

    assert run(speak)["message"].endswith("stderr ends: first | the license server is down")

    def crash(env: Any) -> None:
        import ctypes

        ctypes.string_at(0)

    end = run(crash)
    assert end["exit_code"] == -11
    assert (
        end["message"] == "killed by signal 11 (SIGSEGV); stderr ends: Fatal Python error: Segmentation fault"
    )


def test_what_a_worker_leaves_behind_is_ended(run: Run, session: FakeSession) -> None:
    def leave(env: Any) -> int:
        import subprocess

        return subprocess.Popen(["sleep", "60"]).pid

    assert run(leave)["state"] == "TASK_FINISHED"
    assert gone([session.result()])

    def raise_(env: Any) -> None:
        import subprocess

        raise ValueError(subprocess.Popen(["sleep", "60"]).pid)

    run(raise_)
    assert gone([session.result().args[0]])


def test_kill(session: FakeSession, agent: FakeAgent) -> None:
    pids = start(session, agent, sleeper)
    agent.kill("task")
    assert agent.end_of("task") == {"state": "TASK_KILLED", "message": "", "exit_code": -15}
    assert agent.states("task") == ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
    assert gone(pids)


def test_kill_without_the_killing_state(session: FakeSession, idle_agent: FakeAgent) -> None:
    idle_agent.capabilities = ()
    idle_agent.start()
    start(session, idle_agent, sleeper)
    idle_agent.kill("task")
    idle_agent.end_of("task")
    assert idle_agent.states("task") == ["TASK_RUNNING", "TASK_KILLED"]


def test_a_stubborn_worker_has_its_grace_period_and_no_more(session: FakeSession, agent: FakeAgent) -> None:
    policy = {"kill_policy": {"grace_period": {"nanoseconds": 700_000_000}}}
    pids = start(session, agent, stubborn, **policy)
    began = time.monotonic()
    agent.kill("task")
    for _ in range(5):  # repeated kills do not put it off
        time.sleep(0.1)
        agent.kill("task")
    assert agent.end_of("task")["exit_code"] == -9
    assert 0.6 < time.monotonic() - began < longer(1.5)
    assert gone(pids)


def test_a_kill_can_bring_its_own_grace_period(session: FakeSession, agent: FakeAgent) -> None:
    start(session, agent, stubborn)
    began = time.monotonic()
    agent.kill("task")
    agent.kill("task", grace=0.2)
    agent.end_of("task")
    assert time.monotonic() - began < longer(2)


def test_a_worker_that_left_its_group_is_killed_as_well(session: FakeSession, agent: FakeAgent) -> None:
    def leave_the_group(env: Any) -> None:
        os.setpgid(0, os.getpgid(os.getppid()))
        print(os.getpid())
        time.sleep(60)

    pids = start(session, agent, leave_the_group)
    agent.kill("task")
    assert agent.end_of("task")["state"] == "TASK_KILLED"
    assert gone(pids)


def test_a_kill_while_the_package_is_fetched(session: FakeSession, agent: FakeAgent) -> None:
    digest = session.add(sleeper)

    def slow(method: str, path: str) -> int | None:
        time.sleep(3)
        return None

    session.hook = slow
    agent.launch(session.launch(digest), "task")
    agent.wait(lambda: agent.states("task") == ["TASK_STARTING"], "a slow fetch does not show")
    began = time.monotonic()
    agent.kill("task")
    assert agent.end_of("task")["state"] == "TASK_KILLED"
    assert time.monotonic() - began < longer(1.5)
    assert agent.states("task") == ["TASK_STARTING", "TASK_KILLED"]
    assert not (agent.sandbox / "task").exists()


def test_what_is_unknown_or_known_already_is_ignored(session: FakeSession, agent: FakeAgent) -> None:
    agent.kill("never-heard-of")
    digest = session.add(lambda env: env.worker_id)
    agent.launch(session.launch(digest), "task")
    agent.launch(session.launch(digest), "task")
    agent.end_of("task")
    agent.launch(session.launch(digest), "task")
    agent.kill("task")
    agent.send({"type": "MESSAGE", "message": {"data": "cGluZw=="}})
    agent.send({"type": "MESSAGE", "message": {"data": "eyJraW5kIjogIm5ldyJ9"}})
    agent.send({"type": "SOMETHING_NEW"})
    agent.launch(session.launch(digest), "another")
    agent.end_of("another")
    assert agent.states("task") == ["TASK_RUNNING", "TASK_FINISHED"]
    log = agent.log()
    for line in (
        "kill of never-heard-of",
        "second launch of task",
        "message of kind new",
        "type SOMETHING_NEW",
    ):
        assert line in log


def test_shutdown_without_workers_is_immediate(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None
    agent.end_of(agent.launch(session.launch(session.add(lambda env: 1))))
    began = time.perf_counter()
    agent.send({"type": "SHUTDOWN"})
    assert agent.process.wait(5) == 0
    assert time.perf_counter() - began < longer(0.5)  # about 3 ms on an idle machine


def test_shutdown_with_workers(session: FakeSession, idle_agent: FakeAgent) -> None:
    idle_agent.start(MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="2secs")
    assert idle_agent.process is not None
    pids = start(session, idle_agent, sleeper, "easy") + start(session, idle_agent, stubborn, "stubborn")
    began = time.perf_counter()
    idle_agent.send({"type": "SHUTDOWN"})
    assert idle_agent.process.wait(5) == 0
    assert time.perf_counter() - began < 2, "the agent would have destroyed it"
    assert idle_agent.end_of("easy")["state"] == idle_agent.end_of("stubborn")["state"] == "TASK_KILLED"
    assert gone(pids)


def test_sigterm_is_a_shutdown(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None
    pids = start(session, agent, sleeper)
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(5) == 0
    assert agent.end_of("task")["state"] == "TASK_KILLED"
    assert gone(pids)


def test_workers_die_with_their_executor(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None
    pids = start(session, agent, sleeper)
    agent.process.kill()
    assert gone(pids)


def test_an_idle_executor_ends(session: FakeSession, idle_agent: FakeAgent) -> None:
    import sys

    command = [sys.executable, "-m", "t2notebook.worker.executor.executor", "--idle-timeout", "0.4"]
    idle_agent.start(command)
    assert idle_agent.process is not None
    for number in range(3):
        time.sleep(0.2)
        idle_agent.end_of(idle_agent.launch(session.launch(session.add(lambda env: 1)), f"task-{number}"))
    assert idle_agent.process.wait(2) == 0


@pytest.mark.parametrize("task_id", ["a/b", "..", "."])
def test_a_task_id_never_leads_out_of_the_sandbox(
    session: FakeSession, agent: FakeAgent, task_id: str
) -> None:
    agent.launch(session.launch(session.add(lambda env: 1)), task_id)
    end = agent.end_of(task_id)
    assert end["state"] == "TASK_FAILED" and "cannot be the name of a directory" in end["message"]


def test_a_directory_that_cannot_be_made(session: FakeSession, agent: FakeAgent) -> None:
    (agent.sandbox / "task").write_text("in the way")
    agent.launch(session.launch(session.add(lambda env: 1)), "task")
    assert "cannot start a process for the worker" in agent.end_of("task")["message"]


def cause_of_the_end(agent: FakeAgent) -> object:
    return decode_status_data(agent.updates[-1].get("data")).get("cause")


def test_an_exit_code_that_asks_for_another_start(run: Run, agent: FakeAgent) -> None:
    def work(env: Any) -> None:
        import sys

        sys.exit(75)

    status = run(work)
    assert status["state"] == "TASK_FAILED"
    assert cause_of_the_end(agent) == Cause.ANEW


def test_modules_are_imported_before_the_workers_and_with_one_thread(run: Run) -> None:
    def work(env: Any) -> Any:
        import os
        import sys

        return "colorsys" in sys.modules, os.environ["OPENBLAS_NUM_THREADS"]

    status = run(work, preload=("colorsys", "no_such_module"), cpus=3.0)
    assert status["state"] == "TASK_FINISHED", "what cannot be imported is no reason to fail"


def test_a_worker_has_the_jobs_credentials_and_nowhere_else_are_they(
    session: FakeSession, agent: FakeAgent, run: Run
) -> None:
    def work(env: Any) -> Any:
        import os

        return env.credentials, "hush" in str(os.environ)

    run(work, credentials={"key": "hush"})
    assert session.result() == ({"key": "hush"}, False)
    for path in agent.sandbox.rglob("*"):
        if path.is_file() and "result" not in path.name:
            assert b"hush" not in path.read_bytes(), path


def test_a_worker_without_its_credentials_says_so_and_may_be_tried_again(run: Run, agent: FakeAgent) -> None:
    status = run(lambda env: 1, credentials={"key": None})
    assert status["state"] == "TASK_FAILED" and "credentials (key)" in status["message"]
    assert cause_of_the_end(agent) is None
