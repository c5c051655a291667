"""Control groups of memory, one a worker: the kernel ends the one that wants too much, and nobody else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from t2notebook.worker.executor.event_loop import Loop
from t2notebook.worker.executor.memory import SETTLED, MemoryWatch
from t2notebook.worker.executor.memory_groups import MemoryGroups, own_group
from tests.worker.fakes import FakeAgent, FakeSession, eventually
from tests.worker.test_executor_ends import gone, sleeper, start

MIB = 1 << 20


def possible() -> bool:
    groups = MemoryGroups.here()
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as process:
        groups.enter("trial", process.pid, 64 * MIB)
        was = groups.has("trial")
        process.kill()
        process.wait()
        groups.remove("trial")
    return was


needs_groups = pytest.mark.skipif(not possible(), reason="no control groups can be made here (v1, root)")


def folders() -> list[str]:
    return [name for name in os.listdir(own_group()) if name.startswith("t2-worker-")]


@needs_groups
def test_the_kernel_ends_the_one_that_wants_too_much(session: FakeSession, agent: FakeAgent) -> None:
    def greedy(env: Any) -> None:
        import mmap
        import os
        import time
        from pathlib import Path

        name = f"t2-worker-{os.getppid()}-greedy"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and name not in Path("/proc/self/cgroup").read_text():
            time.sleep(0.02)
        # Faster than anybody looks: 2 GB/s.
        kept = mmap.mmap(-1, 600 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        time.sleep(60)
        kept.close()

    neighbours = start(session, agent, sleeper, "neighbour")
    agent.launch(session.launch(session.add(greedy), worker_id=2, mem=64.0), "greedy")
    agent.end_of("greedy", timeout=40)
    status = [one for one in agent.updates if one["task_id"]["value"] == "greedy"][-1]
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    # The figure is the most that its process had, which is more than its group had by what it shares.
    # Who is quicker ends it: the kernel, which says that it wanted more, or whoever watches.
    told = re.match(r"worker 2 used (\d+) MiB of its 64 MiB( and wanted more|$)", status["message"])
    assert told is not None and 60 < int(told[1]) < 80, status["message"]
    assert not gone(neighbours, 0.2) and agent.states("neighbour")[-1] == "TASK_RUNNING"
    eventually(lambda: not [name for name in folders() if name.endswith("-greedy")])


@needs_groups
def test_a_child_that_is_ended_for_it_ends_its_worker_with_the_same_words(
    session: FakeSession, agent: FakeAgent
) -> None:
    def work(env: Any) -> int:
        import os
        import subprocess
        import sys
        import time
        from pathlib import Path

        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and "t2-worker-" not in Path("/proc/self/cgroup").read_text():
            time.sleep(0.02)
        code = "import mmap; mmap.mmap(-1, 600 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == -9
        time.sleep(60)
        return os.getpid()

    agent.launch(session.launch(session.add(work), worker_id=1, mem=64.0), "parent")
    agent.end_of("parent", timeout=40)
    status = [one for one in agent.updates if one["task_id"]["value"] == "parent"][-1]
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert status["message"].startswith("worker 1 used 6"), status["message"]


@needs_groups
def test_files_in_memory_count_though_they_stand_in_no_process() -> None:
    code = (
        "import os, sys; sys.stdin.readline(); f = os.memfd_create('x'); os.write(f, bytes(30 << 20)); "
        "print(flush=True); sys.stdin.readline()"
    )
    watch = MemoryWatch(Loop(), MemoryGroups.here())
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-S", "-c", code], **pipes) as process:
        watch.add("files", process.pid, 128 * MIB, 0, lambda used, pids: None)
        watch._watched["files"].added -= SETTLED + 1
        watch._enter_groups()
        print(file=process.stdin, flush=True)
        assert process.stdout.readline()
        watch._look()
        assert 30 * MIB <= watch.figures("files")[1] < 60 * MIB
        print(file=process.stdin, flush=True)
    eventually(
        lambda: (
            watch.remove("files") is not None and not [name for name in folders() if name.endswith("-files")]
        )
    )


@needs_groups
def test_a_child_that_was_there_first_comes_along() -> None:
    """Of a worker that begins with a pool of processes, these stayed outside, and took the neighbours along."""
    watch, pids = MemoryWatch(Loop(), groups := MemoryGroups.here()), []
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [process.pid, int(process.stdout.readline())]
        try:
            watch.add("pool", process.pid, 64 * MIB, 0, lambda used, pids: None)
            watch._watched["pool"].added -= SETTLED + 1
            watch._enter_groups()
            assert groups.has("pool")
            for pid in pids:
                assert f"t2-worker-{os.getpid()}-pool" in Path(f"/proc/{pid}/cgroup").read_text()
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGKILL)
    watch.remove("pool")
    # A process that is ending holds its group yet: whoever removes another one tries again.
    eventually(lambda: groups.remove("another") or not [name for name in folders() if name.endswith("-pool")])


@needs_groups
def test_what_an_executor_that_was_killed_left_is_removed_by_the_next() -> None:
    groups = MemoryGroups.here()
    left = Path(own_group()) / f"t2-worker-{2**22 + 1}-task"
    left.mkdir()
    groups.remove("nobody")
    assert not left.exists()


def test_without_groups_nothing_is_tried(tmp_path: Path) -> None:
    groups = MemoryGroups("")
    groups.enter("a", os.getpid(), 64 * MIB)
    assert not groups.has("a") and not groups.ran_out("a") and groups.most("a") == 0
    denied = MemoryGroups(str(tmp_path / "nothing"))
    denied.enter("a", os.getpid(), 64 * MIB)
    assert not denied.is_possible and not denied.has("a")


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/mesos/abc", "mesos/abc"),
        ("/docker/1", "/docker/1/mesos", "mesos"),
        ("/", "/", ""),  # the root group is the machine's
        ("/", "/elsewhere", ""),
    ],
)
def test_the_executors_own_group(tmp_path: Path, root: str, path: str, expected: str) -> None:
    point = tmp_path / "memory"
    for name in ("mesos/abc", "mesos"):
        (point / name).mkdir(parents=True, exist_ok=True)
        (point / name / "cgroup.procs").touch()
    (tmp_path / "mountinfo").write_text(
        f"30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        f"31 25 0:27 {root} {point} rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
    )
    (tmp_path / "cgroup").write_text(f"4:memory:{path}\n3:cpu:/x\n0::/\n")
    found = own_group(str(tmp_path / "mountinfo"), str(tmp_path / "cgroup"))
    assert found == (str(point / expected) if expected else "")
    (tmp_path / "cgroup").write_text("0::/mesos\n")
    assert own_group(str(tmp_path / "mountinfo"), str(tmp_path / "cgroup")) == "", "v2 only"
