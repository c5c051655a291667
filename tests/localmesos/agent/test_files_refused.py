"""Files that an agent or a master cannot write, read or find: who waits is told why, and both live on."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.agent import gc
from t2notebook.localmesos.agent.containerizer.fetcher import Fetcher, FetchError
from t2notebook.localmesos.agent.containerizer.fetcher_cache import Cache
from t2notebook.localmesos.agent.containerizer.sandbox import User
from t2notebook.localmesos.cluster.spawn import StartError
from t2notebook.localmesos.common import record_log
from t2notebook.localmesos.common.record_log import Checkpoint
from tests.localmesos.agent.containerizer.test_fetcher import Web, web
from tests.localmesos.agent.test_recovery import checkpointing
from tests.localmesos.client import Framework, Json, agent_address, encoded, request, task
from tests.localmesos.conftest import executor_info

__all__ = ["web"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and run tasks as others")
FULL = "No space left on device"


def mounted(path: Path, options: str) -> bool:
    path.mkdir(parents=True, exist_ok=True)
    return (
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True).returncode
        == 0
    )


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mount small file systems; they go at the end."""
    there: list[Path] = []

    def make(path: Path, options: str) -> None:
        if not mounted(path, options):
            pytest.skip("nothing can be mounted here")
        there.append(path)

    yield make
    for path in reversed(there):
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def passable() -> Iterator[Path]:
    """A directory that every user may pass, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="t2-passable-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def fill(directory: Path) -> Path:
    """Leave no room at all in a file system."""
    ballast = directory / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 16, 512, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return ballast


def read(one: Framework, offer: Json, executor_id: str, name: str = "stderr") -> str:
    path = f"/frameworks/{one.id}/executors/{executor_id}/runs/latest/{name}"
    answer = request(agent_address(offer), "GET", f"/files/read?path={path}&offset=0")
    return str(answer.json()["data"])


def outcome(one: Framework, task_id: str) -> Json:
    while (status := one.update())["task_id"]["value"] != task_id or status["state"] in (
        "TASK_STAGING",
        "TASK_STARTING",
        "TASK_RUNNING",
    ):
        pass
    return status


# The checkpoint.


class Disk:
    """`os.write` of the checkpoint, with so many bytes of room."""

    def __init__(self) -> None:
        self.room: int | None = None

    def write(self, file: int, data: bytes | memoryview) -> int:
        if self.room is None:
            return os.write(file, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(file, data[: self.room])
        self.room -= written
        return written


def make_disk(patch: pytest.MonkeyPatch) -> Disk:
    one = Disk()

    class Os:
        write = staticmethod(one.write)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    patch.setattr(record_log, "os", Os())
    return one


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return make_disk(monkeypatch)


PUTS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 40)),
    max_size=15,
)


@given(puts=PUTS)
def test_a_checkpoint_loses_nothing_whenever_the_disk_is_full(
    puts: list[tuple[str, int | None, int | None]],
) -> None:
    """Between, too, whoever reads the file finds of each key something that it once was."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        one = make_disk(patch)
        path = os.path.join(directory, "meta", "store.jsonl")
        store = Checkpoint(path)
        history: dict[str, set[int | None]] = {}
        expected: dict[str, int] = {}
        for key, value, room in puts:
            one.room = room
            store.put((key,), value)
            history.setdefault(key, {None}).add(value)
            expected = (
                {**expected, key: value}
                if value is not None
                else {k: v for k, v in expected.items() if k != key}
            )
            assert {k: store.get(k) for k in expected} == expected
            copy = os.path.join(directory, "copy.jsonl")
            if os.path.exists(path):
                shutil.copyfile(path, copy)
                one.room = None
                found = Checkpoint(copy)
                found.close()
                assert all(found.get(k) in values for k, values in history.items())
        one.room = None
        store.mend()
        assert not store.trouble
        store.close()
        again = Checkpoint(path)
        again.close()
        assert {k[0]: v for k, v in again.under()} == expected


def test_a_checkpoint_says_what_is_wrong_until_it_is_right(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    store = Checkpoint(str(tmp_path / "store.jsonl"))
    store.put(("a",), 1)
    disk.room = 3
    for number in range(5):
        store.put(("b",), number)
    assert store.trouble == FULL
    assert caplog.text.count("cannot write") == 1, "said once"
    disk.room = None
    store.mend()
    assert store.trouble == ""
    assert "is written again" in caplog.text
    assert Checkpoint(str(tmp_path / "store.jsonl")).get("b") == 4


def test_a_checkpoint_that_somebody_removed_is_written_anew(tmp_path: Path) -> None:
    store = Checkpoint(str(tmp_path / "meta" / "store.jsonl"))
    store.put(("a",), 1)
    shutil.rmtree(tmp_path / "meta")
    store.mend()
    assert Checkpoint(str(tmp_path / "meta" / "store.jsonl")).get("a") == 1


def test_a_full_disk_does_not_keep_a_checkpoint_from_being_read_or_emptied(
    tmp_path: Path, disk: Disk
) -> None:
    path = str(tmp_path / "store.jsonl")
    store = Checkpoint(path)
    for number in range(10):
        store.put((str(number),), number)
    disk.room = 0
    again = Checkpoint(path)
    assert [again.get(str(number)) for number in range(10)] == list(range(10))
    assert again.trouble == FULL
    again.clear()
    disk.room = None
    assert list(Checkpoint(path).under()) == []


# The fetcher.


def cached(web: Web, name: str = "hello.txt") -> Json:
    return {"value": f"{web.url}/{name}", "cache": True}


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    shutil.rmtree(file.parent)


def cut(file: Path) -> None:
    os.truncate(file, 2)


def scribble(file: Path) -> None:
    file.write_bytes(b"x" * file.stat().st_size)


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(other)


def give_away(file: Path) -> None:
    os.chown(file, pwd.getpwnam("nobody").pw_uid, -1)


def lock_up(file: Path) -> None:
    file.chmod(0)


@pytest.mark.parametrize("name", ["hello.txt", "pack.tar.gz"])
@pytest.mark.parametrize(
    "damage",
    [remove, empty, cut, scribble, replace, lock_up, pytest.param(give_away, marks=needs_root)],
)
def test_a_cache_that_was_damaged_is_filled_anew(
    tmp_path: Path, web: Web, damage: Callable[[Path], None], name: str
) -> None:
    cache = Cache(str(tmp_path / "fetch"))
    texts = []
    for turn in range(3):
        sandbox = tmp_path / f"sandbox{turn}"
        sandbox.mkdir()
        Fetcher(str(sandbox), User("me"), cache).run([cached(web, name)])
        found = sandbox / ("hello.txt" if name == "hello.txt" else "pack/inside.txt")
        texts.append((found.read_text(), (sandbox / "stderr").read_text()))
        if turn == 0:
            (file,) = (tmp_path / "fetch").iterdir()
            damage(file)
    assert [text for text, _ in texts] == ["hello\n" if name == "hello.txt" else "inside\n"] * 3
    assert "fetching anew" not in texts[0][1]
    assert "in the cache cannot be used: " in texts[1][1]
    assert "fetching anew" in texts[1][1]
    assert "Downloading" not in texts[2][1], "a hit again"
    assert [line.split()[0] for line in web.log] == ["HEAD", "GET"] * 2


def test_damage_that_nothing_shows_is_found_when_it_is_extracted(tmp_path: Path, web: Web) -> None:
    cache = Cache(str(tmp_path / "fetch"))
    for turn in range(2):
        sandbox = tmp_path / f"sandbox{turn}"
        sandbox.mkdir()
        Fetcher(str(sandbox), User("me"), cache).run([cached(web, "pack.tar.gz")])
        assert (sandbox / "pack/inside.txt").read_text() == "inside\n"
        (file,) = (tmp_path / "fetch").iterdir()
        before = file.stat()
        file.write_bytes(b"x" * before.st_size)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "Failed to extract" in (sandbox / "stderr").read_text()


def test_an_archive_that_is_none_is_fetched_once(tmp_path: Path, web: Web) -> None:
    cache = Cache(str(tmp_path / "fetch"))
    (tmp_path / "sandbox").mkdir()
    with pytest.raises(FetchError, match="Failed to extract"):
        Fetcher(str(tmp_path / "sandbox"), User("me"), cache).run([cached(web, "broken.tar.gz")])
    assert [line.split()[0] for line in web.log] == ["HEAD", "GET"]


def test_a_cache_that_cannot_be_is_done_without(tmp_path: Path, web: Web) -> None:
    (tmp_path / "fetch").write_text("a file where the directory should be")
    (tmp_path / "sandbox").mkdir()
    Fetcher(str(tmp_path / "sandbox"), User("me"), Cache(str(tmp_path / "fetch"))).run([cached(web)])
    assert (tmp_path / "sandbox" / "hello.txt").read_text() == "hello\n"
    assert "Reverting to fetching directly into the sandbox" in (tmp_path / "sandbox" / "stderr").read_text()


@needs_root
@pytest.mark.parametrize(("options", "why"), [("size=4k", FULL), ("ro", "Read-only file system")])
def test_a_cache_that_is_full_or_read_only_is_done_without(
    tmp_path: Path, web: Web, mount: Callable[[Path, str], None], options: str, why: str
) -> None:
    web.files["/large"] = b"x" * 100_000
    mount(tmp_path / "fetch", options)
    (tmp_path / "sandbox").mkdir()
    Fetcher(str(tmp_path / "sandbox"), User("me"), Cache(str(tmp_path / "fetch"))).run([cached(web, "large")])
    assert (tmp_path / "sandbox" / "large").stat().st_size == 100_000
    log = (tmp_path / "sandbox" / "stderr").read_text()
    assert "Reverting to fetching directly into the sandbox" in log
    assert why in log


def test_what_does_not_come_whole_is_no_file(tmp_path: Path) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    head = connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
                    if head.startswith(b"GET"):
                        connection.sendall(b"short")

        thread = threading.Thread(target=serve)
        thread.start()
        (tmp_path / "sandbox").mkdir()
        uri = {"value": f"http://127.0.0.1:{server.getsockname()[1]}/x", "cache": True}
        with pytest.raises(FetchError, match="the connection ended with 95 bytes left"):
            Fetcher(str(tmp_path / "sandbox"), User("me"), Cache(str(tmp_path / "fetch"))).run([uri])
        thread.join()
    assert list((tmp_path / "fetch").iterdir()) == []


def test_a_real_agent_fetches_anew_when_its_cache_was_emptied(work_dir: Path, web: Web) -> None:
    with LocalMesos(agents=1, work_dir=work_dir) as cluster:
        one = Framework(cluster.master).subscribed()
        for turn in range(2):
            offer = one.offers()[0]
            command = {"value": "cat hello.txt", "uris": [cached(web)]}
            one.accept(offer, [task(f"t{turn}", offer, command)])
            assert outcome(one, f"t{turn}")["state"] == "TASK_FINISHED"
            shutil.rmtree(work_dir / "agent1" / "fetch")
        assert "fetching anew" in read(one, offer, "t1")
        one.close()


# A disk that is full.


@needs_root
def test_a_full_disk_drops_tasks_at_once_and_takes_them_when_there_is_room(
    tmp_path: Path, mount: Callable[[Path, str], None]
) -> None:
    work_dir = tmp_path / "small"
    mount(work_dir, "size=2m")
    with LocalMesos(agents=1, work_dir=work_dir) as cluster:
        one = checkpointing(cluster)
        warm = executor_info("warm")
        offer = one.offers()[0]
        one.accept(offer, [task("before", offer, executor=warm, data=encoded("finish"))])
        assert outcome(one, "before")["state"] == "TASK_FINISHED"
        ballast = fill(work_dir)
        for name, executor in (("cold", executor_info("cold")), ("again", warm)):
            for attempt in range(10):
                task_id, begun = f"{name}{attempt}", time.monotonic()
                offer = one.offers()[0]
                one.accept(offer, [task(task_id, offer, executor=executor, data=encoded("finish"))])
                status = outcome(one, task_id)
                assert time.monotonic() - begun < 10
                if (
                    status["state"] != "TASK_FINISHED"
                ):  # the last page of the agent's own file had room for it
                    break
            assert status["state"] in ("TASK_LOST", "TASK_DROPPED", "TASK_FAILED")
            assert FULL in status["message"], status
        offer = one.offers()[0]
        one.accept(offer, [task("command", offer, {"value": "true"})])
        assert FULL in outcome(one, "command")["message"]
        ballast.unlink()
        time.sleep(1.5)
        for task_id, executor in (("later", executor_info("cold")), ("warm", warm)):
            offer = one.offers()[0]
            one.accept(offer, [task(task_id, offer, executor=executor, data=encoded("finish"))])
            assert outcome(one, task_id)["state"] == "TASK_FINISHED"
        log = (work_dir / "log" / "agent1.log").read_text()
        assert "Traceback" not in log
        one.close()


@needs_root
def test_a_task_that_runs_while_the_disk_fills_up_ends_as_ever(
    tmp_path: Path, mount: Callable[[Path, str], None]
) -> None:
    """Its status updates need no room on the disk to be told."""
    work_dir = tmp_path / "small"
    mount(work_dir, "size=2m")
    with LocalMesos(agents=1, work_dir=work_dir) as cluster:
        one = checkpointing(cluster)
        offer = one.offers()[0]
        one.accept(offer, [task("t", offer, {"value": "while ! test -e stop; do sleep 0.05; done"})])
        one.until("TASK_RUNNING", "t")
        ballast = fill(work_dir)
        (sandbox,) = work_dir.glob("agent1/slaves/*-S*/frameworks/*/executors/t/runs/latest")
        os.mkdir(sandbox / "stop")
        assert outcome(one, "t")["state"] == "TASK_FINISHED"
        ballast.unlink()
        one.close()


@needs_root
def test_a_fetch_that_fills_the_disk_says_so(
    tmp_path: Path, web: Web, mount: Callable[[Path, str], None]
) -> None:
    web.files["/large"] = b"x" * (4 << 20)
    mount(tmp_path / "small", "size=2m")
    with LocalMesos(agents=1, work_dir=tmp_path / "small") as cluster:
        one = Framework(cluster.master).subscribed()
        offer = one.offers()[0]
        one.accept(offer, [task("t", offer, {"value": "true", "uris": [{"value": f"{web.url}/large"}]})])
        status = outcome(one, "t")
        assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
        assert FULL in status["message"] + read(one, offer, "t")
        one.close()


@needs_root
def test_a_cluster_starts_on_no_full_disk_and_says_why(
    tmp_path: Path, mount: Callable[[Path, str], None]
) -> None:
    mount(tmp_path / "full", "size=64k,nr_inodes=2")
    (tmp_path / "full" / "one").touch()
    with pytest.raises(StartError, match=FULL), LocalMesos(agents=1, work_dir=tmp_path / "full" / "work"):
        pass


def test_old_directories_go_although_there_is_no_room_to_move_them(tmp_path: Path) -> None:
    import asyncio

    async def collect() -> list[str]:
        (tmp_path / "trash").write_text("a file where the directory should be")
        (tmp_path / "old").mkdir()
        gone: list[str] = []
        collector = gc.Collector(str(tmp_path), 0.05, 0.1, 60.0, lambda _: False, gone.append)
        collector.add(str(tmp_path / "old"), fresh=True)
        while (tmp_path / "old").exists():
            await asyncio.sleep(0.01)
        return gone

    assert asyncio.run(asyncio.wait_for(collect(), 10)) == [str(tmp_path / "old")]


def test_an_agents_log_begins_without_an_error(work_dir: Path) -> None:
    with LocalMesos(agents=1, work_dir=work_dir) as cluster:
        one = Framework(cluster.master).subscribed()
        one.offers()
        log = work_dir / "log" / "agent1.log"
        deadline = time.monotonic() + 10
        while "Current disk usage" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        assert " ERROR " not in log.read_text()
        one.close()


# Users.


def start_with_mask(directory: Path) -> tuple[subprocess.Popen[bytes], Json]:
    import json
    import sys

    command = [sys.executable, "-m", "t2notebook.localmesos", "--agents", "1", "--work-dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, umask=0o077)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


@needs_root
def test_tasks_of_other_users_run_whatever_the_mask_was(passable: Path, web: Web) -> None:
    process, line = start_with_mask(passable / "new" / "work")
    try:
        one = checkpointing(type("Cluster", (), {"master": line["master"]}))  # type: ignore[arg-type]
        for number, executable in enumerate((False, True)):
            offer = one.offers()[0]
            uri = {**cached(web, "tool.sh"), "executable": executable}
            command = {"value": "cat tool.sh >copy && test -x . && echo ok", "user": "nobody", "uris": [uri]}
            one.accept(offer, [task(f"c{number}", offer, command)])
            assert outcome(one, f"c{number}")["state"] == "TASK_FINISHED"
            assert read(one, offer, f"c{number}", "stdout") == "ok\n"
        offer = one.offers()[0]
        command = {"value": "test $(id -un) = nobody && cat pack/inside.txt", "user": "nobody"}
        command["uris"] = [{"value": f"{web.url}/pack.tar.gz"}]  # type: ignore[assignment]
        one.accept(offer, [task("archive", offer, command)])
        assert outcome(one, "archive")["state"] == "TASK_FINISHED"
        modes = {}
        (sandbox,) = (passable / "new").glob(
            "work/agent1/slaves/*-S*/frameworks/*/executors/archive/runs/latest"
        )
        real = sandbox.resolve()
        for path in (passable / "new", *real.parents[:-3], real):
            if path.is_relative_to(passable / "new"):
                modes[path.name] = path.stat().st_mode & 0o777
        assert modes.pop(real.name) == 0o750, "as Mesos has it"
        assert set(modes.values()) == {0o755}, modes
        assert (passable / "new" / "work" / "log").stat().st_mode & 0o777 == 0o755
        one.close()
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@needs_root
def test_a_sandbox_that_its_user_cannot_reach_is_said(passable: Path) -> None:
    (passable / "closed").mkdir(mode=0o700)
    process, line = start_with_mask(passable / "closed" / "work")
    try:
        one = checkpointing(type("Cluster", (), {"master": line["master"]}))  # type: ignore[arg-type]
        info = executor_info("ex")
        info["command"]["user"] = "nobody"
        offer = one.offers()[0]
        one.accept(offer, [task("custom", offer, executor=info, data=encoded("finish"))])
        status = outcome(one, "custom")
        assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
        assert status["message"].startswith(
            "Failed to launch container: Failed to chdir into current working directory"
        )
        why = f"': Permission denied (the task's user may not pass '{passable}/closed')"
        assert status["message"].endswith(why)
        offer = one.offers()[0]
        one.accept(offer, [task("command", offer, {"value": "true", "user": "nobody"})])
        assert outcome(one, "command")["message"].endswith(why)
        one.close()
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(
    ("name", "path"), [("agent1", "agent1/meta/agent.jsonl"), ("master", "registry.jsonl")]
)
def test_a_process_that_cannot_read_its_own_file_is_named_with_its_log(
    work_dir: Path, name: str, path: str
) -> None:
    import json
    import select
    import sys

    (work_dir / path).mkdir(parents=True)
    command = [sys.executable, "-m", "t2notebook.localmesos", "--agents", "1", "--work-dir", str(work_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            assert json.loads(process.stdout.readline())["pid"] == process.pid
            assert select.select([process.stderr], [], [], 20)[0]
            log = work_dir / "log" / f"{name}.log"
            said = process.stderr.readline()
            assert said == f"t2notebook.localmesos: {name} ended with an error (exit status 1); see {log}\n"
            assert "Is a directory" in log.read_text()
        finally:
            process.terminate()
