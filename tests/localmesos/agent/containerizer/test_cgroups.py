"""Control groups: what is written on a fake tree (both versions), and that a real kernel keeps to it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.agent.containerizer import cgroup_mounts, cgroups
from t2notebook.localmesos.agent.containerizer.cgroup_mounts import detect
from t2notebook.localmesos.agent.containerizer.cgroups import V1, V2, Cgroups
from t2notebook.localmesos.agent.containerizer.limits import MIB, Limits, bytes_text
from t2notebook.localmesos.cluster.flags import parse
from t2notebook.localmesos.cluster.supervisor import Supervisor
from t2notebook.localmesos.common import processes
from tests.localmesos.agent.executors.test_check_runner import group
from tests.localmesos.agent.test_recovery import checkpointing, kill_agent, launch, wait_for
from tests.localmesos.client import Framework, Json, agent_address, encoded, request, resources, task
from tests.localmesos.conftest import executor_info

INFINITE = float("inf")


def test_limits() -> None:
    assert Limits(1, 8).memory_bytes == 32 * MIB, "never less than 32 MiB, as in Mesos"
    assert Limits(1, 100, mem_limit=150.5).memory_bytes == int(150.5 * MIB)
    assert Limits(1, 100, mem_limit=INFINITE).memory_bytes is None
    assert Limits(0.5, 1).quota_us(cfs=False) is None
    assert Limits(0.5, 1).quota_us(cfs=True) == 50_000
    assert Limits(0.001, 1).quota_us(cfs=True) == 1000
    assert Limits(0.5, 1, cpu_limit=2).quota_us(cfs=False) == 200_000
    assert Limits(0.5, 1, cpu_limit=INFINITE).quota_us(cfs=True) == -1


@given(st.integers(0, 1 << 50))
def test_bytes_are_written_without_loss(count: int) -> None:
    text = bytes_text(count)
    number = int(text.rstrip("TGMKB"))
    factor = {"TB": 40, "GB": 30, "MB": 20, "KB": 10}.get(text.lstrip("0123456789"), 0)
    assert number << factor == count
    assert number % 1024 or not count or factor == 40


# A fake tree

V1_FILES = {
    "cgroup.procs": "",
    "cgroup.event_control": "",
    "memory.soft_limit_in_bytes": "9223372036854771712",
    "memory.limit_in_bytes": "9223372036854771712",
    "memory.max_usage_in_bytes": "0",
    "memory.failcnt": "0",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "memory.stat": "cache 0\nrss 0\n",
    "cpu.shares": "1024",
    "cpu.cfs_period_us": "100000",
    "cpu.cfs_quota_us": "-1",
}
V2_FILES = {
    "cgroup.procs": "",
    "memory.low": "0",
    "memory.max": "max",
    "memory.oom.group": "0",
    "memory.events": "low 0\noom 0\noom_kill 0\n",
    "memory.peak": "0",
    "memory.stat": "anon 0\n",
    "cpu.weight": "100",
    "cpu.max": "max 100000",
}


class Kernel:
    """A fake one: a new group is full of files, and goes with them unless a process is in it."""

    def __init__(self, root: Path, version: int) -> None:
        self.root, self.version = root, version
        self.refuses: set[str] = set()
        self.fill(root)
        if version == 2:
            (root / "cgroup.controllers").write_text("cpu memory pids")

    def fill(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in (V1_FILES if self.version == 1 else V2_FILES).items():
            (directory / name).write_text(text)
        if self.version == 2:
            given = directory.parent / "cgroup.subtree_control"
            (directory / "cgroup.controllers").write_text(given.read_text() if given.exists() else "")
            (directory / "cgroup.subtree_control").write_text("")

    def make(self, directory: str) -> None:
        if os.path.isdir(directory):
            return
        parent = os.path.dirname(directory)
        if parent in self.refuses:
            raise PermissionError(13, "Permission denied")
        self.make(parent)
        self.fill(Path(directory))

    def unmake(self, directory: str) -> None:
        if not os.path.isdir(directory):
            raise FileNotFoundError(directory)
        if (Path(directory) / "cgroup.procs").read_text().strip() or any(
            one.is_dir() for one in Path(directory).iterdir()
        ):
            raise OSError(16, "Device or resource busy")
        shutil.rmtree(directory)

    def write(self, directory: str, name: str, value: object) -> None:
        path = Path(directory) / name
        if not path.exists():
            raise FileNotFoundError(path)
        if name == "cgroup.subtree_control":
            if directory in self.refuses:
                raise OSError(16, "Device or resource busy")
            value = f"{path.read_text()} {str(value)[1:]}".strip()
        path.write_text(str(value))


@pytest.fixture(params=[1, 2])
def kernel(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    one = Kernel(tmp_path / "cgroup", request.param)
    monkeypatch.setattr(cgroups, "_make", one.make)
    monkeypatch.setattr(cgroups, "_unmake", one.unmake)
    monkeypatch.setattr(cgroups, "_write", one.write)
    return one


def groups_of(kernel: Kernel) -> Cgroups:
    if kernel.version == 2:
        return Cgroups(V2(), (str(kernel.root),))
    for name in ("memory", "cpu"):
        kernel.fill(kernel.root / name)
    return Cgroups(V1(), (str(kernel.root / "memory"), str(kernel.root / "cpu")))


def read(groups: Cgroups, owner: str, name: str) -> str:
    parent = groups.parents[-1 if name.startswith("cpu") else 0]
    return (Path(parent) / "mesos" / owner / "c1" / name).read_text()


def test_what_is_written(kernel: Kernel) -> None:
    groups = groups_of(kernel)
    groups.open("me")
    assert groups.procs_files("me", "c1") == []
    groups.limit("me", "c1", Limits(0.5, 64))
    hard = "memory.limit_in_bytes" if kernel.version == 1 else "memory.max"
    share = "cpu.shares" if kernel.version == 1 else "cpu.weight"
    assert read(groups, "me", hard) == str(64 * MIB)
    assert read(groups, "me", share) == ("512" if kernel.version == 1 else "50")
    assert len(groups.procs_files("me", "c1")) == len(groups.parents)
    groups.limit("me", "c1", Limits(2, 128))
    assert read(groups, "me", hard) == str(128 * MIB)
    groups.limit("me", "c1", Limits(1, 32))
    assert read(groups, "me", hard) == str(128 * MIB), "a lower one could kill"
    soft = "memory.soft_limit_in_bytes" if kernel.version == 1 else "memory.low"
    assert read(groups, "me", soft) == str(32 * MIB)
    groups.limit("me", "c1", Limits(1, 32, cpu_limit=2, mem_limit=INFINITE))
    assert read(groups, "me", hard) in ("-1", "max")
    quota = "cpu.cfs_quota_us" if kernel.version == 1 else "cpu.max"
    assert read(groups, "me", quota).split()[0] == "200000"


def test_running_out_of_memory(kernel: Kernel) -> None:
    groups = groups_of(kernel)
    groups.open("me")
    groups.limit("me", "c1", Limits(1, 64))
    assert groups.over_memory("me", "c1") is None
    assert groups.over_memory("me", "never") is None
    directory = Path(groups.parents[0]) / "mesos/me/c1"
    if kernel.version == 1:
        (directory / "memory.max_usage_in_bytes").write_text(str(64 * MIB))
        (directory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
        assert groups.over_memory("me", "c1") is None, "killed for a group above, whose memory ran out"
        (directory / "memory.failcnt").write_text("7")
    else:
        (directory / "memory.peak").write_text(str(64 * MIB))
        (directory / "memory.events").write_text("low 0\noom 0\noom_kill 1\n")
        assert groups.over_memory("me", "c1") is None
        (directory / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    text = groups.over_memory("me", "c1")
    assert text is not None
    head = "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB\n\nMEMORY STATISTICS: \n"
    assert text == head + (directory / "memory.stat").read_text() + "\n"


def test_groups_of_dead_owners_are_removed(kernel: Kernel) -> None:
    groups = groups_of(kernel)
    alive, dead = processes.identity(os.getpid()), f"{os.getpid()}-1"
    for owner in (alive, dead):
        groups.open(owner)
        groups.limit(owner, "c1", Limits(1, 64))
    groups.open("me")
    assert groups.sweep()
    for parent in groups.parents:
        assert {path.name for path in (Path(parent) / "mesos").iterdir() if path.is_dir()} == {alive, "me"}
    assert groups.containers(alive) == {"c1"}
    assert groups.remove(alive, "c1")
    assert groups.remove(alive, "c1"), "what is not there, is removed"
    groups.close(alive)
    groups.close("me")
    assert not [parent for parent in groups.parents if (Path(parent) / "mesos").exists()]


def test_a_group_with_a_process_in_it_stays_and_is_emptied(kernel: Kernel) -> None:
    groups = groups_of(kernel)
    groups.open("me")
    groups.limit("me", "c1", Limits(1, 64))
    pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    (Path(groups.parents[0]) / "mesos/me/c1/cgroup.procs").write_text(f"0\n{pid}\n")
    assert not groups.remove("me", "c1")
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


# Where there are groups to be had


def mounts(kernel: Kernel) -> str:
    if kernel.version == 2:
        return f"30 23 0:26 / {kernel.root} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    return "".join(
        f"3{n} 23 0:2{n} / {kernel.root / name} rw - cgroup cgroup rw,{name}\n"
        for n, name in enumerate(("memory", "cpu"))
    )


def own(path: str) -> str:
    return f"9:name=systemd:/\n4:memory:{path}\n1:cpu,cpuacct:{path}\n0::{path}\n"


def enters(_: list[str]) -> bool:
    return True


def test_groups_lie_below_ones_own(kernel: Kernel) -> None:
    groups_of(kernel)
    for name in ("memory", "cpu") if kernel.version == 1 else ("",):
        kernel.fill(kernel.root / name / "user")
    if kernel.version == 2:
        (kernel.root / "cgroup.subtree_control").write_text("memory")
        (kernel.root / "user/cgroup.controllers").write_text("memory")
    found = detect(mounts(kernel), own("/user"), enters, cfs=True)
    assert isinstance(found, Cgroups)
    assert (found.kind.version, found.cfs) == (kernel.version, True)
    assert [os.path.basename(parent) for parent in found.parents] == ["user"] * len(found.parents)
    assert not list(kernel.root.rglob("mesos")), "the trial leaves nothing"


def test_a_part_of_the_hierarchy_is_found(kernel: Kernel) -> None:
    """In a container the mount shows a group as its root, and paths may be those outside."""
    groups_of(kernel)
    text = mounts(kernel).replace(" / /", " /docker/abc /")
    found = detect(text, own("/docker/abc"), enters)
    assert isinstance(found, Cgroups)
    assert set(found.parents) <= {str(kernel.root), str(kernel.root / "memory"), str(kernel.root / "cpu")}


def test_where_nothing_may_be_made_the_reason_is_told(kernel: Kernel) -> None:
    groups = groups_of(kernel)
    kernel.refuses |= set(groups.parents)
    assert detect(mounts(kernel), own("/"), enters) in ("Permission denied", "Device or resource busy")
    kernel.refuses.clear()
    assert detect(mounts(kernel), own("/"), lambda _: False) == "no process may enter a new group"
    assert detect("22 1 0:1 / / rw - ext4 /dev/x rw\n", own("/"), enters) == "no memory controller is mounted"


def test_a_group_above_does_when_ones_own_is_full_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a session of systemd's: the own scope has processes, the slice above it was given to the user."""
    kernel = Kernel(tmp_path / "cgroup", 2)
    for name in ("_make", "_unmake", "_write"):
        monkeypatch.setattr(cgroups, name, getattr(kernel, name[1:]))
    scope = kernel.root / "app.slice/term.scope"
    for directory in (scope.parent, scope):
        kernel.fill(directory)
        (directory / "cgroup.controllers").write_text("memory pids")
    (scope.parent / "cgroup.subtree_control").write_text("memory pids")
    kernel.refuses.add(str(scope))
    found = detect(mounts(kernel), "0::/app.slice/term.scope\n", enters)
    assert isinstance(found, Cgroups)
    assert found.parents == (str(scope.parent),)


def test_without_cpu_memory_is_limited_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path / "cgroup", 1)
    for name in ("_make", "_unmake", "_write"):
        monkeypatch.setattr(cgroups, name, getattr(kernel, name[1:]))
    groups_of(kernel)
    kernel.refuses.add(str(kernel.root / "cpu"))
    found = detect(mounts(kernel), own("/"), enters)
    assert isinstance(found, Cgroups)
    assert found.parents == (str(kernel.root / "memory"),)


# A real kernel

_found = detect()
real = pytest.mark.skipif(isinstance(_found, str), reason=f"no control groups here: {_found}")
ISOLATION = {"isolation": "cgroups/cpu,cgroups/mem"}
HOG = "x = bytearray(300 << 20); import time; time.sleep(60)"


def hog(offer: Json, task_id: str = "hog", code: str = HOG, mem: float = 64) -> Json:
    command = {"shell": False, "value": sys.executable, "arguments": ["python", "-S", "-c", code]}
    return task(task_id, offer, command, resources=resources(cpus=0.4, mem=mem))


def group_of(pid: int) -> Path | None:
    """The memory group that a process is in, if it is one of ours."""
    assert isinstance(_found, Cgroups)
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if ("memory" in names.split(",") or not names) and "/mesos/" in path:
            return Path(_found.parents[0]) / ("mesos/" + path.split("/mesos/", 1)[1])
    return None


def entered(pid: int) -> Path:
    """Wait until a new process has gone where it belongs."""
    found: Path = wait_for(lambda: group_of(pid))
    return found


def limit_of(directory: Path) -> int:
    assert isinstance(_found, Cgroups)
    name = "memory.limit_in_bytes" if _found.kind.version == 1 else "memory.max"
    return int((directory / name).read_text())


@pytest.fixture(scope="module")
def limited() -> Iterator[LocalMesos]:
    with LocalMesos(agents=1, cpus=4, mem=1024, restart=0, agent_flags=ISOLATION) as one:
        yield one


@real
def test_a_hog_is_killed_whole_by_the_kernels_word(
    limited: LocalMesos, framework: Callable[..., Framework]
) -> None:
    one = framework(master=limited.master)
    code = (
        "import os, time\nos.fork() or (os.setsid(), time.sleep(1000))\n"
        "print(os.getpid(), flush=True)\ntime.sleep(0.2)\nx = bytearray(300 << 20)\ntime.sleep(60)"
    )
    offer = one.offers()[0]
    one.accept(offer, [hog(offer, code=code)])
    pid = one.until("TASK_RUNNING")["container_status"]["executor_pid"]
    directory = entered(pid)
    assert limit_of(directory) == 96 * MIB
    wait_for(lambda: len((directory / "cgroup.procs").read_text().split()) == 2)
    pids = [int(line) for line in (directory / "cgroup.procs").read_text().split()]
    status = one.update()
    assert (status["state"], status["source"]) == ("TASK_FAILED", "SOURCE_AGENT")
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    first, empty, head, *statistics = status["message"].split("\n")
    assert first.startswith("Memory limit exceeded: Requested: 96MB Maximum Used: 96MB")
    assert (empty, head) == ("", "MEMORY STATISTICS: ")
    assert any(line.split()[0] in ("rss", "anon") for line in statistics if line)
    wait_for(lambda: not any(processes.alive(one) for one in pids))
    wait_for(lambda: not directory.exists())


@real
def test_an_executors_group_grows_with_its_tasks(
    limited: LocalMesos, framework: Callable[..., Framework]
) -> None:
    one = framework(master=limited.master)
    offer = one.offers()[0]
    info = executor_info("ex")
    one.accept(offer, [task("a", offer, executor=info, data=encoded("run"))])
    pid = one.until("TASK_RUNNING", "a")["container_status"]["executor_pid"]
    directory = entered(pid)
    assert limit_of(directory) == (64 + 64) * MIB
    offer = one.offers()[0]
    one.accept(offer, [task("b", offer, executor=info, data=encoded("run"))])
    one.until("TASK_RUNNING", "b")
    assert limit_of(directory) == (64 + 64 + 64) * MIB
    if isinstance(_found, Cgroups) and _found.kind.version == 1 and len(_found.parents) > 1:
        shares = Path(_found.parents[1]) / directory.relative_to(_found.parents[0]) / "cpu.shares"
        assert int(shares.read_text()) == int(1024 * (0.1 + 2 * 0.5))
        one.call("KILL", {"task_id": {"value": "b"}})
        one.until("TASK_KILLED", "b")
        wait_for(lambda: int(shares.read_text()) == int(1024 * 0.6))
    flags = request(agent_address(offer), "GET", "/flags").json()["flags"]
    assert flags["isolation"] == "cgroups/cpu,cgroups/mem"


@real
def test_a_group_of_tasks_shares_its_executors_limit(
    limited: LocalMesos, framework: Callable[..., Framework]
) -> None:
    """One hog takes the whole container along, as Mesos has it when tasks share their executor's group."""
    one = framework(master=limited.master)
    code = f"exec {sys.executable} -S -c '{HOG}'"
    group(one, one.offers()[0], {"a": code, "b": "sleep 1000"})
    ended = {}
    while len(ended) < 2:
        status = one.update()
        if status["state"] not in ("TASK_STARTING", "TASK_RUNNING"):
            ended[status["task_id"]["value"]] = (status["state"], status.get("reason"))
    assert set(ended.values()) == {("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY")}


@real
def test_a_task_of_a_group_may_be_limited_by_itself(
    limited: LocalMesos, framework: Callable[..., Framework]
) -> None:
    one = framework(master=limited.master)
    alone = {"type": "MESOS", "linux_info": {"share_cgroups": False}}
    code = f"exec {sys.executable} -S -c '{HOG}'"
    limits = {"mem": {"value": 80}}
    group(one, one.offers()[0], {"a": code, "b": "sleep 1000"}, container=alone, limits=limits)
    ended = {}
    while len(ended) < 2:
        status = one.update()
        if status["state"] not in ("TASK_STARTING", "TASK_RUNNING"):
            ended[status["task_id"]["value"]] = status
    assert ended["a"]["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert ended["a"]["message"].startswith("Memory limit exceeded: Requested: 80MB Maximum Used: ")
    assert ended["b"]["state"] == "TASK_KILLED", "it only goes with its group"


@real
def test_more_memory_than_asked_for_may_be_allowed(
    limited: LocalMesos, framework: Callable[..., Framework]
) -> None:
    one = framework(master=limited.master)
    for name, limit in (("some", {"value": 256}), ("any", {"value": "Infinity"})):
        offer = one.offers()[0]
        code = "x = bytearray(150 << 20); print('had it')"
        one.accept(offer, [{**hog(offer, name, code), "limits": {"mem": limit}}])
        assert one.until("TASK_FINISHED", name)
    offer = one.offers()[0]
    more = {"limits": {"mem": {"value": 256}}}
    one.accept(offer, [task("shown", offer, "sleep 1000", **more)])
    one.until("TASK_RUNNING", "shown")
    (shown,) = request(agent_address(offer), "GET", "/containers").json()
    assert shown["statistics"]["mem_limit_bytes"] == (256 + 32) * MIB
    assert shown["statistics"]["mem_soft_limit_bytes"] == (64 + 32) * MIB


@real
def test_groups_of_a_killed_agents_containers(limited: LocalMesos) -> None:
    """What goes on keeps its group, what died has none, and the limit still holds."""
    one = checkpointing(limited)
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nx = bytearray(300 << 20)"
    command = {"shell": False, "value": sys.executable, "arguments": ["python", "-S", "-c", code]}
    big = {"command": command, "resources": resources(cpus=0.1, mem=64)}
    offer, pids = launch(one, ("stays", big))
    loose = Framework(limited.master, failover_timeout=60).subscribed()
    _, lost = launch(loose, ("goes", "sleep 1000"))
    directory, other = entered(pids["stays"]), entered(lost["goes"])
    kill_agent(limited, offer)
    wait_for(lambda: not other.exists())
    assert limit_of(directory) == 96 * MIB
    run = next(Path(limited.work_dir).glob("agent1/slaves/*/frameworks/*/executors/stays/runs/latest"))
    (run / "go").touch()
    status = one.until("TASK_FAILED", "stays")
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    wait_for(lambda: not directory.exists())
    for each in (one, loose):
        each.call("TEARDOWN", expect=None)
        each.close()


@real
@pytest.mark.parametrize("victims", [("supervisor",), ("launcher1", "supervisor")])
def test_no_group_is_left_of_a_cluster(victims: tuple[str, ...]) -> None:
    assert isinstance(_found, Cgroups)
    with LocalMesos(agents=1, agent_flags=ISOLATION) as cluster:
        one = Framework(cluster.master).subscribed()
        one.run("sleep 1000")
        directory = entered(one.until("TASK_RUNNING")["container_status"]["executor_pid"])
        for victim in victims:
            os.kill(cluster.pids[victim], signal.SIGKILL)
        if len(victims) > 1:
            # Nobody is left who could do it: the next cluster does.
            time.sleep(0.3)
            with LocalMesos(agents=1, agent_flags=ISOLATION):
                wait_for(lambda: not directory.parent.exists())
        else:
            wait_for(lambda: not directory.parent.exists())
        one.close()


def test_the_command_line_says_what_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def told(*arguments: str) -> tuple[bool, str]:
        with socket.socket() as listening:
            one = Supervisor(parse(arguments), listening, str(tmp_path))
            return one._find_cgroups() is not None, one._limits

    monkeypatch.setattr(cgroup_mounts, "detect", lambda cfs: "Permission denied")
    assert told() == (False, "by watching, for want of control groups (Permission denied)")
    monkeypatch.setattr(cgroup_mounts, "detect", lambda cfs: Cgroups(V2(), ("/x",), cfs))
    assert told("--cgroups-enable-cfs") == (True, "by control groups (v2)")
    assert told("--isolation", "posix/cpu,posix/mem") == (False, "by watching")


def test_watching_says_the_same(framework: Callable[..., Framework]) -> None:
    with LocalMesos(agents=1, cpus=1, mem=512, agent_flags={"isolation": "posix/cpu,posix/mem"}) as cluster:
        one = framework(master=cluster.master)
        offer = one.offers()[0]
        one.accept(offer, [hog(offer)])
        pid = one.until("TASK_RUNNING")["container_status"]["executor_pid"]
        if isinstance(_found, Cgroups):
            assert group_of(pid) is None
        status = one.update()
        assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
        # Seen while it was still taking more, if the machine is busy.
        used = re.match(r"Memory limit exceeded: Requested: 96MB Maximum Used: (\d+)MB", status["message"])
        assert used is not None and 96 < int(used[1]) < 330
        flags = request(agent_address(offer), "GET", "/flags").json()["flags"]
        assert flags["isolation"] == "posix/cpu,posix/mem"
