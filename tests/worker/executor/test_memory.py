"""A worker that takes more memory than it asked for is named and ended; its neighbours go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from t2notebook.worker.executor import memory, process_memory
from t2notebook.worker.executor.event_loop import Loop
from t2notebook.worker.executor.memory import MIB, MemoryWatch
from t2notebook.worker.executor.process_memory import anonymous, family, own, proportional
from tests.worker.fakes import FakeAgent, FakeSession, eventually
from tests.worker.test_executor_ends import gone, sleeper, start

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="memory is watched through /proc"
)
REASON = "REASON_CONTAINER_LIMITATION_MEMORY"


def greedy(env: Any) -> None:
    import os
    import subprocess
    import sys
    import time

    how, mib = env.config["how"], env.config["mib"]
    time.sleep(env.config.get("pause", 0))
    if how == "bytes":
        kept = bytearray(mib << 20)
    elif how == "shared":
        import mmap

        shared = mmap.mmap(-1, mib << 20)
        for place in range(0, mib << 20, 4096):
            shared[place] = 1
    elif how == "fork":
        for _ in range(2):
            if os.fork() == 0:
                kept = bytearray((mib // 2) << 20)  # noqa: F841
                time.sleep(60)
    elif how == "exec":
        code = f"import time; kept = bytearray({mib} << 20); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    time.sleep(60)


def status_of(agent: FakeAgent, task_id: str) -> dict[str, Any]:
    agent.end_of(task_id, timeout=20)
    return [status for status in agent.updates if status["task_id"]["value"] == task_id][-1]


@pytest.mark.parametrize("how", ["bytes", "shared", "fork", "exec"])
def test_the_one_that_took_too_much_is_named_and_ended(
    session: FakeSession, agent: FakeAgent, how: str
) -> None:
    neighbours = start(session, agent, sleeper, "neighbour")
    digest = session.add(greedy, {"how": how, "mib": 200})
    agent.launch(session.launch(digest, worker_id=2, mem=64.0), "greedy")
    status = status_of(agent, "greedy")
    assert (status["state"], status["reason"]) == ("TASK_FAILED", REASON)
    used = int(status["message"].removeprefix("worker 2 used ").partition(" ")[0])
    assert 64 <= used <= 230  # the kernel lets it have no more, where it has a control group
    assert status["message"].startswith(f"worker 2 used {used} MiB of its 64 MiB")
    if how in ("fork", "exec"):  # unless the kernel has ended one of them first, in its control group
        assert " with " in status["message"] or used <= 70
    assert agent.states("neighbour") == ["TASK_RUNNING"] and not gone(neighbours, 0.2)
    eventually(
        lambda: not [pid for pid in family(agent.process.pid) if pid not in (agent.process.pid, *neighbours)]
    )  # type: ignore[union-attr]


def test_the_limit_is_the_same_after_larger_workers(session: FakeSession, agent: FakeAgent) -> None:
    large = session.launch(session.add(lambda env: len(bytearray(200 << 20))), mem=512.0)
    assert agent.end_of(agent.launch(large, "large"))["state"] == "TASK_FINISHED"
    digest = session.add(greedy, {"how": "bytes", "mib": 200})
    agent.launch(session.launch(digest, mem=64.0), "small")
    assert status_of(agent, "small")["reason"] == REASON


def test_pages_of_files_and_what_was_never_touched_are_nobodys(
    session: FakeSession, agent: FakeAgent, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(150):
            file.write(os.urandom(MIB))

    def work(env: Any) -> int:
        import mmap
        import time

        untouched = mmap.mmap(-1, 1 << 30)
        with open(env.config, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        total = sum(mapped[place] for place in range(0, len(mapped), 4096))
        time.sleep(1.5)
        return total * 0 + len(untouched) // (1 << 30)

    assert agent.end_of(agent.launch(session.launch(session.add(work, str(path)), mem=64.0)))["state"] == (
        "TASK_FINISHED"
    )


def test_what_forked_children_share_counts_once(session: FakeSession, agent: FakeAgent) -> None:
    def work(env: Any) -> int:
        import os
        import time

        kept = bytearray(60 << 20)
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                time.sleep(2.5)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        return len(kept) >> 20

    task_id = agent.launch(session.launch(session.add(work), mem=128.0))
    assert agent.end_of(task_id)["state"] == "TASK_FINISHED", "five processes with the same 60 MiB"


def test_a_worker_that_the_kernel_killed_for_its_memory_is_told_so(
    session: FakeSession, agent: FakeAgent
) -> None:
    def work(env: Any) -> None:
        import os
        import time

        kept = bytearray(188 << 20)
        time.sleep(0.5)
        os.kill(os.getpid(), 9 * bool(kept))

    agent.launch(session.launch(session.add(work), worker_id=3, mem=200.0), "task")
    status = status_of(agent, "task")
    assert status["reason"] == REASON
    assert "worker 3 used 1" in status["message"] and "probably for lack of memory" in status["message"]


def test_a_worker_that_is_killed_while_it_takes_too_much_is_killed(
    session: FakeSession, agent: FakeAgent
) -> None:
    def work(env: Any) -> None:
        import os
        import signal
        import time

        def grow(*_: Any) -> None:
            env.config["kept"] = bytearray(200 << 20)
            time.sleep(60)

        signal.signal(signal.SIGTERM, grow)
        print(os.getpid(), flush=True)
        time.sleep(60)

    start(session, agent, work, "task")
    began = time.monotonic()
    agent.kill("task", 30.0)
    assert status_of(agent, "task")["state"] == "TASK_KILLED"
    assert time.monotonic() - began < 20, "its grace period is no licence"


def test_workers_go_before_the_executor_when_memory_runs_out(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None

    def points(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    (pid,) = start(session, agent, sleeper)
    assert points(pid) == min(1000, points(agent.process.pid) + 300)


# The parts.


@contextmanager
def child(code: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}\nprint(flush=True)\nimport time\ntime.sleep(60)"],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_what_a_process_has() -> None:
    before = anonymous()
    kept = bytearray(50 * MIB)
    assert 49 * MIB < anonymous() - before < 60 * MIB and kept
    with child("kept = bytearray(50 << 20)") as pid:
        assert 50 * MIB < anonymous(pid) < 80 * MIB
        exact = proportional([pid])
        assert exact is None or 50 * MIB < exact < 80 * MIB
    assert anonymous(pid) == 0 and proportional([pid]) is None


class Recording:
    """A loop whose timers are never due."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        pass


def watched(pid: int, inherited: int = 0) -> Any:
    watch = MemoryWatch(Recording())  # type: ignore[arg-type]
    watch.add("a", pid, 1 << 40, inherited, lambda used, pids: None)
    return watch._watched["a"]


needs_exact = pytest.mark.skipif(proportional([os.getpid()]) is None, reason="the kernel says nothing exact")


@needs_exact
def test_a_program_that_a_worker_runs_has_inherited_nothing() -> None:
    """Of each process that a worker started 14 MiB were taken off, and a worker that slept had nothing."""
    code = "kept = bytearray(30 << 20)"
    with child(code) as pid:
        worker = watched(pid, inherited=13 * MIB)
        worker.look_around()
        assert worker.measure()[0] < 30 * MIB, "as long as nothing more is known"
        worker.measure_exactly()
        assert 30 * MIB < worker.measure()[0] < 60 * MIB
        exact = own([pid])
        assert exact is not None and exact.less[pid] < 5 * MIB


@needs_exact
def test_pages_that_were_copied_count_and_those_of_the_executor_do_not() -> None:
    code = (  # a small process of its own: what a parent writes after a fork becomes its child's alone, too
        "import os, sys, time\n"
        "kept = bytearray(b'x' * (40 << 20))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    kept[: 20 << 20] = bytes(20 << 20)\n"
        "    print(os.getpid(), flush=True)\n"
        "sys.stdin.readline() if pid else time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            worker = watched(pid, inherited=anonymous(process.pid))
            worker.look_around()
            worker.measure_exactly()
            assert 20 * MIB <= worker.measure()[0] < 35 * MIB
        finally:
            os.kill(pid, signal.SIGKILL)


def test_what_came_and_went_between_two_looks_counts() -> None:
    flags = "flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE"
    code = f"import mmap, sys; sys.stdin.readline(); mmap.mmap(-1, 150 << 20, {flags}).close()\nprint(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}\nsys.stdin.readline()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        worker = watched(process.pid)

        def look() -> None:
            worker.look_around()
            worker.note(worker.measure()[0], time.monotonic())

        eventually(lambda: anonymous(process.pid) > MIB)
        look()
        assert process.stdin is not None and process.stdout is not None
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        look()
        assert worker.now < 50 * MIB and 150 * MIB <= worker.most < 190 * MIB
        print(file=process.stdin, flush=True)
    before = worker.most
    worker.resident = 30 * MIB  # an executor's, and not that of a process that runs many tests
    worker.note_end(0)
    worker.note_end(100 * MIB)
    assert worker.most == before
    worker.note_end(400 * MIB)
    assert 350 * MIB < worker.most < 600 * MIB, "the kernel's last word"


@pytest.mark.parametrize("lists", [True, False])
def test_a_family(monkeypatch: pytest.MonkeyPatch, lists: bool) -> None:
    if lists and not memory.LISTS_CHILDREN:
        pytest.skip("this kernel does not list children")
    monkeypatch.setattr(process_memory, "LISTS_CHILDREN", lists)
    nested = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9)'])"
    )
    with child(nested) as pid:
        pids = family(pid)
        assert len(pids) == 2 and pids[0] == pid
        assert set(pids) < set(family(os.getpid()))
        os.kill(pids[1], 9)
    assert family(pid) in ([pid], [])


def test_looking_costs_no_more_than_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes long is followed by a long pause, and one at all processes by a long time without another."""
    pauses: list[float] = []
    around: list[int] = []

    class Recording:
        def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
            pauses.append(seconds)

    def slowly(pid: int) -> list[int]:
        around.append(pid)
        time.sleep(0.03)
        return [pid]

    watch = MemoryWatch(Recording())  # type: ignore[arg-type]
    watch.add("a", os.getpid(), 1 << 40, 0, lambda used, pids: None)
    watch._watched["a"].added -= memory.YOUNG
    monkeypatch.setattr(memory, "sizes", lambda pid: (time.sleep(0.004), 1, 0)[1:])
    monkeypatch.setattr(memory, "family", slowly)
    for _ in range(4):
        watch._look()
    assert pauses[0] == memory.INTERVAL
    assert all(0.35 < pause <= memory.LONGEST for pause in pauses[1:])
    assert len(around) == 1 and watch._look_around_at > time.monotonic() + 2
    assert watch.remove("a") > 0 and watch.remove("a") == 0


@pytest.mark.skipif(not memory.LISTS_CHILDREN, reason="the kernel does not list children")
def test_processes_that_a_new_worker_starts_are_seen_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a worker that begins with a pool they were seen after a second, when the container was full."""

    watch = MemoryWatch(Recording())  # type: ignore[arg-type]
    watch.add("a", os.getpid(), 1 << 40, 0, lambda used, pids: None)
    watch._look()
    with subprocess.Popen(["sleep", "60"]) as child:
        watch._look()
        assert child.pid in watch.figures("a")[0]
        child.kill()


def test_hundreds_of_workers_take_no_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    loop = Loop()
    watch = MemoryWatch(loop)
    for number in range(300):
        watch.add(str(number), os.getpid(), 1 << 40, 0, lambda used, pids: None)
    watch._look()
    signal.set_wakeup_fd(-1)
    loop.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_false_alarm_is_not_looked_into_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, asked = Loop(), []
    try:
        watch = MemoryWatch(loop)
        monkeypatch.setattr(memory, "proportional", lambda pids: (time.sleep(0.03), asked.append(1), 0)[2])
        watch.add("a", os.getpid(), 1, 0, lambda used, pids: pytest.fail("a false alarm"))
        deadline = time.monotonic() + 0.45
        while time.monotonic() < deadline:
            loop.run_once()
        assert len(asked) == 1
        watch.remove("a")
    finally:
        signal.set_wakeup_fd(-1)
        loop.close()
