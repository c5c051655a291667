"""Results of workers, through a real executor process."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2notebook.model.errors import PackageError
from t2notebook.protocol.launch import MOST_WITH_END
from t2notebook.worker.executor.status_updates import RUNNING_DELAY
from tests.busy import longer
from tests.worker.fakes import FakeAgent, FakeSession, told

Run = Callable[..., dict[str, Any]]


def cell(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell pi>", "exec"), namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def test_results(session: FakeSession, agent: FakeAgent) -> None:
    digest = session.add(lambda env: (env.worker_id, env.number_of_workers, env.config["x"]), {"x": 7})
    ids = [agent.launch(session.launch(digest, number)) for number in range(4)]
    for number, task_id in enumerate(ids):
        assert agent.end_of(task_id) == {"state": "TASK_FINISHED", "message": "", "exit_code": 0}
        assert session.result(number) == (number, 4, 7)
        assert agent.states(task_id) == ["TASK_RUNNING", "TASK_FINISHED"]
    assert session.facts()["kind"] == "result"
    gets = [path for method, path in session.requests if method == "GET"]
    assert len(gets) == 1, "four workers share one fetch"
    assert session.carried == 4, "small ones come with the ends of their workers"


@pytest.mark.parametrize(
    "how", ["large", "a thread", "an exit hook"], ids=lambda how: str(how).replace(" ", "-")
)
def test_a_result_that_does_not_come_with_its_workers_end_is_sent_before(
    run: Run, session: FakeSession, how: str
) -> None:
    def work(env: Any) -> bytes:
        import atexit
        import threading

        if env.config == "a thread":
            threading.Thread(target=time.sleep, args=(0.2,)).start()
        elif env.config == "an exit hook":
            atexit.register(time.sleep, 0.2)
        return os.urandom(2 * MOST_WITH_END if env.config == "large" else 8)

    assert run(work, how)["state"] == "TASK_FINISHED"
    assert len(session.result()) in (8, 2 * MOST_WITH_END) and not session.carried
    assert ("PUT", "/v1/jobs/tester-job-1/workers/0/result?incarnation=0") in session.requests


def test_a_worker_that_ends_at_once_needs_one_update(
    session: FakeSession, agent: FakeAgent, run: Run
) -> None:
    assert run(lambda env: 1)["state"] == "TASK_FINISHED"
    (status,) = agent.updates
    assert 0 < told(status)["ran"] < 10 and set(told(status)["phases"]) == {"fetch", "start", "run", "result"}
    assert run(lambda env: time.sleep(3 * RUNNING_DELAY))["state"] == "TASK_FINISHED"
    running, finished = agent.updates[1:]
    assert [running["state"], finished["state"]] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert "ran" not in told(finished) and set(told(running)["phases"]) == {"fetch"}


def test_a_worker_at_home(run: Run, session: FakeSession, agent: FakeAgent) -> None:
    def look(env: Any) -> dict[str, Any]:
        import signal
        import sys
        import tempfile

        print("to stdout")
        print("to stderr \N{SNOWMAN}", file=sys.stderr)
        return {
            "cwd": os.getcwd(),
            "environ": dict(os.environ),
            "tmp": tempfile.gettempdir(),
            "group": os.getpgid(0) == os.getpid(),
            "session": os.getsid(0) == os.getpid(),
            "stdin": sys.stdin.read(),
            "fds": {
                fd: os.readlink(f"/proc/self/fd/{fd}")
                for fd in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{fd}")
            },
            "umask_handlers": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)],
            "main": sorted(vars(sys.modules["__main__"])),
        }

    assert run(look, cpus=2.7)["state"] == "TASK_FINISHED"
    found = session.result()
    home = str(agent.sandbox / "task-1")
    environ = found["environ"]
    assert found["cwd"] == environ["HOME"] == home
    assert found["tmp"] == environ["TMPDIR"] == f"{home}/tmp"
    assert {environ[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")} == {
        "2"
    }
    assert (environ["T2_JOB_ID"], environ["T2_WORKER_ID"], environ["T2_NUMBER_OF_WORKERS"]) == (
        "tester-job-1",
        "0",
        "4",
    )
    assert found["group"] and not found["session"]
    assert found["stdin"] == ""
    assert [int(handler) for handler in found["umask_handlers"]] == [0, 0]
    assert "main" not in found["main"], "the executor's own __main__"
    others = [target for fd, target in found["fds"].items() if int(fd) > 2]
    # The package (mapped), the pipe to the executor, its directory for sockets, and what its executor looks by: a
    # socket, and a file for dumps. The listing is gone by then.
    expected = r"/memfd:t2-package|/memfd:t2notebook-stacks|pipe:|socket:|.*/task-1/tmp$"
    assert all(re.match(expected, target) for target in others), others
    assert sum(target.startswith("socket:") for target in others) <= 1, others
    assert (agent.sandbox / "task-1" / "stdout").read_text() == "to stdout\n"
    assert (agent.sandbox / "task-1" / "stderr").read_text() == "to stderr \N{SNOWMAN}\n"


def test_logs_show_while_the_worker_runs(session: FakeSession, agent: FakeAgent) -> None:
    def chat(env: Any) -> None:
        print("line one")
        time.sleep(30)

    task_id = agent.launch(session.launch(session.add(chat)))
    agent.running(task_id)
    path = agent.sandbox / task_id / "stdout"
    deadline = time.monotonic() + 5
    while not (path.exists() and path.read_text() == "line one\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_randomness_differs(session: FakeSession, agent: FakeAgent) -> None:
    def draw(env: Any) -> Any:
        import random
        import uuid

        return random.random(), str(uuid.uuid4()), np.random.random()

    digest = session.add(draw)
    ids = [agent.launch(session.launch(digest, number)) for number in range(3)]
    for task_id in ids:
        agent.end_of(task_id)
    for column in zip(*(session.result(number) for number in range(3)), strict=True):
        assert len(set(column)) == 3


def test_coroutines_and_functions_without_env(run: Run, session: FakeSession) -> None:
    async def later(env: Any) -> int:
        import asyncio

        await asyncio.sleep(0)
        return env.worker_id + 10

    run(later)
    assert session.result() == 10
    run(lambda: "no env")
    assert session.result() == "no env"
    run(os.getpid)
    assert session.result() > 1


def test_arrays_come_back_writable(run: Run, session: FakeSession) -> None:
    data = np.arange(100_000.0)
    run(lambda env: data * 2)
    assert (session.result() == data * 2).all()

    def write(env: Any) -> float:
        data[0] = 5.0
        return float(data[0])

    assert run(write)["state"] == "TASK_FINISHED"
    assert session.result() == 5.0


def test_progress(run: Run, session: FakeSession) -> None:
    def work(env: Any) -> None:
        for step in range(10):
            env.progress(step + 1, 10, f"step {step + 1}")

    run(work)
    assert [record["progress"] for _, record in session.progress] == [0.1, 1.0]
    assert ("POST", "/v1/jobs/tester-job-1/workers/0/progress?incarnation=0") in session.requests


def test_exceptions_with_the_cells_lines(run: Run, session: FakeSession, agent: FakeAgent) -> None:
    source = "def f(env):\n    x = {'a': 1}\n    return x['b']\n"
    end = run(cell(source), sources={"<cell pi>": source})
    assert end == {"state": "TASK_FAILED", "message": "KeyError: 'b'", "exit_code": 1}
    facts = session.facts()
    assert facts["ok"] is False
    assert facts["error"]["type"] == "KeyError" and facts["error"]["message"] == "'b'"
    traceback = facts["error"]["traceback"]
    assert traceback.startswith(
        "Traceback (most recent call last):\n  File \"<cell pi>\", line 3, in f\n    return x['b']\n"
    )
    assert (agent.sandbox / "task-1" / "stderr").read_text() == traceback
    assert isinstance(session.result(), KeyError)


def test_shipped_modules(run: Run, session: FakeSession, agent: FakeAgent) -> None:
    helper = "import nowhere_at_all\ndef fail():\n    raise RuntimeError('from the helper')\n"
    source = "def f(env):\n    import helper\n    helper.fail()\n"
    end = run(cell(source), modules={"helper": helper.replace("import nowhere_at_all\n", "\n")})
    assert end["message"] == "RuntimeError: from the helper"
    assert (
        '  File "helper.py", line 3, in fail\n    raise RuntimeError('
        in session.facts()["error"]["traceback"]
    )
    end = run(cell(source), modules={"helper": helper})
    assert end["message"].startswith("ModuleNotFoundError: No module named 'nowhere_at_all'; module nowhere_")
    assert "module nowhere_at_all is missing on the agent" in session.facts()["error"]["traceback"]


def test_a_module_that_only_the_notebook_has(run: Run, session: FakeSession) -> None:
    import sys
    import types

    module = types.ModuleType("only_in_the_notebook")
    exec("def f(env): return 1", vars(module))
    sys.modules["only_in_the_notebook"] = module
    try:
        end = run(module.f)
    finally:
        del sys.modules["only_in_the_notebook"]
    assert end["state"] == "TASK_FAILED"
    assert "module only_in_the_notebook is missing on the agent" in end["message"]
    assert "install it there, or put it beside the notebook" in end["message"]
    assert isinstance(session.result(), PackageError)


def test_results_that_cannot_be_pickled(run: Run, session: FakeSession) -> None:
    def lock(env: Any) -> Any:
        import threading

        return {"fine": 1, "lock": threading.Lock()}

    end = run(lock, worker_id=2)
    assert end["state"] == "TASK_FAILED"
    assert end["message"] == "the result of worker 2 cannot be pickled: dict value ['lock'] is a _thread.lock"
    assert isinstance(session.result(2), PackageError)
    assert session.facts(2)["error"]["traceback"] == f"PackageError: {end['message']}\n", (
        "no frames of pickle's"
    )
    end = run(cell("class A:\n    def __reduce__(self): return 1 / 0\n\ndef f(env): return [A()]\n"))
    traceback = session.facts()["error"]["traceback"]
    assert '"<cell pi>", line 2, in __reduce__' in traceback.splitlines()[1], "the user's own frames"
    assert "cloudpickle" not in traceback
    end = run(lambda env: env)
    assert end["message"] == (
        "the result of worker 0 cannot be pickled: it is a t2notebook.worker.process.environment.WorkerEnvironment "
        "(env belongs to its worker and cannot be pickled; pass on what you need of it)"
    )


def test_sys_exit(run: Run, session: FakeSession) -> None:
    import sys

    assert run(lambda env: sys.exit(0))["state"] == "TASK_FINISHED"
    assert session.result() is None
    end = run(lambda env: sys.exit(3))
    assert end == {"state": "TASK_FAILED", "message": "SystemExit: 3", "exit_code": 3}
    end = run(lambda env: sys.exit("no data"))
    assert end == {"state": "TASK_FAILED", "message": "SystemExit: no data", "exit_code": 1}


def test_keyboard_interrupt(run: Run, session: FakeSession) -> None:
    def interrupt(env: Any) -> None:
        import signal

        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    assert run(interrupt) == {"state": "TASK_FAILED", "message": "KeyboardInterrupt", "exit_code": 1}
    assert session.facts()["error"]["type"] == "KeyboardInterrupt"


def test_a_session_that_is_away(idle_agent: FakeAgent, session: FakeSession) -> None:
    idle_agent.start()
    session.hook = lambda method, path: 503 if method == "PUT" and len(session.requests) < 4 else None
    task_id = idle_agent.launch(
        session.launch(session.add(lambda env: "late" + os.urandom(MOST_WITH_END).hex()))
    )
    assert idle_agent.end_of(task_id)["state"] == "TASK_FINISHED"
    assert session.result().startswith("late")
    session.hook = lambda method, path: 400 if method == "PUT" else None
    task_id = idle_agent.launch(
        session.launch(session.add(lambda env: os.urandom(2 * MOST_WITH_END))), "left"
    )
    end = idle_agent.end_of(task_id)
    assert end["state"] == "TASK_FINISHED"
    assert end["message"].startswith("the result is in the sandbox: ")
    assert (idle_agent.sandbox / "left" / "result.t2").exists()


def test_an_older_incarnation_stops(run: Run, session: FakeSession) -> None:
    session.hook = lambda method, path: 409 if method == "PUT" else None
    end = run(lambda env: os.urandom(2 * MOST_WITH_END))
    assert (end["state"], end["exit_code"]) == ("TASK_FINISHED", 0)
    assert "its result came too late" in end["message"]

    def forever(env: Any) -> None:
        for step in range(100):
            env.progress(step, 100)
            time.sleep(0.25)

    session.hook = lambda method, path: 409 if method == "POST" else None
    end = run(forever)
    assert (end["state"], end["exit_code"]) == ("TASK_KILLED", 0)
    assert "told by the session to stop" in end["message"]


def test_a_process_that_the_users_code_forked_sends_no_result(run: Run, session: FakeSession) -> None:
    def fork(env: Any) -> str:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return "parent"
        env.progress(0.5)
        return "child"

    assert run(fork)["state"] == "TASK_FINISHED"
    assert session.result() == "parent"
    assert session.carried == 1
    assert not [method for method, _ in session.requests if method == "PUT"]


def test_multiprocessing_in_a_worker(run: Run, session: FakeSession) -> None:
    def pool(env: Any) -> list[int]:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, -2, -3])

    assert run(pool)["state"] == "TASK_FINISHED"
    assert session.result() == [1, 2, 3]


def test_sockets_of_multiprocessing_in_a_deep_sandbox(session: FakeSession, tmp_path: Path) -> None:
    def manage(env: Any) -> list[int]:
        import multiprocessing

        with multiprocessing.Manager() as manager:
            shared = manager.list()
            process = multiprocessing.get_context("spawn").Process(target=shared.append, args=(7,))
            process.start()
            process.join()
            return list(shared)

    agent = FakeAgent(tmp_path / ("deep" * 30))
    try:
        agent.start()
        end = agent.end_of(agent.launch(session.launch(session.add(manage)), "task"))
        assert end["state"] == "TASK_FINISHED", end
        assert session.result() == [7]
    finally:
        agent.close()


def test_secrets_and_packages_stay_out_of_the_sandbox(
    run: Run, session: FakeSession, agent: FakeAgent
) -> None:
    marker = "f6f1c1de-only-in-the-package"
    source = "def f(env):\n    raise ValueError(len(marker))\n"
    function = cell(source)
    function.__globals__["marker"] = marker
    run(function, sources={"<cell pi>": source})
    run(lambda env: 1)
    package = next(iter(session.packages))
    for path in agent.sandbox.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert session.secret.encode() not in data and bytes.fromhex(session.secret) not in data, path
            assert marker.encode() not in data and session.packages[package][:4096] not in data, path
    assert sorted(os.listdir(agent.sandbox / "task-2")) == [
        "result.sig",
        "result.t2",
        "stderr",
        "stdout",
        "tmp",
    ]
    assert sorted(os.listdir(agent.sandbox)) == ["stderr", "stdout", "task-1", "task-2"]
    assert Path(f"/proc/{agent.process.pid}/environ").read_bytes().find(session.secret.encode()) < 0  # type: ignore[union-attr]


def test_warm_executors_answer_fast(session: FakeSession, agent: FakeAgent) -> None:
    times = []
    for round_ in range(5):
        session.results.clear()
        digest = session.add(lambda env, round_=round_: (round_, env.worker_id))
        started = time.perf_counter()
        ids = [agent.launch(session.launch(digest, number, job_id=f"job-{round_}")) for number in range(4)]
        times.append(session.wait_results(4) - started)
        for task_id in ids:
            agent.end_of(task_id)
    assert min(times[1:]) < longer(0.15)  # about 0.03 s on two idle cores
