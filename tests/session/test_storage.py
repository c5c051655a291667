"""A journal that cannot be written: a full disk, and a file system that refuses locks."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.journal import read_events, session_directories
from tests.session.conftest import ROOT, eventually, sessions_of


@pytest.fixture
def cluster(clean: Path) -> Iterator[Path]:
    from t2notebook import client

    yield clean
    import t2notebook as t2

    t2.shutdown()
    client.stop_cluster()


class Disk:
    """A disk that is full for one process: no file of its may grow (setrlimit(2), RLIMIT_FSIZE; EFBIG)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, self._before[1]))

    def free(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


def test_a_full_disk_under_the_journal(cluster: Path, tmp_path: Path) -> None:
    """Nothing counts that is not on the disk; it is said; what came meanwhile is not lost; no kernel hangs."""
    import t2notebook as t2

    go, slow = str(tmp_path / "go"), str(tmp_path / "slow")

    def work(env: Any) -> int:
        import time

        while not os.path.exists(go if env.worker_id == 0 else slow):
            time.sleep(0.02)
        return int(env.worker_id)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    (session,) = sessions_of(cluster)
    (path,) = session_directories(cluster / "data" / "t2notebook" / "sessions")
    disk = Disk(session)
    disk.fill()
    before = read_events(path, job.job_id)
    Path(go).touch()  # a result and a status come, and cannot be written
    for refused in (lambda: t2.submit(lambda env: 1, ram_mega_bytes=64), job.kill):
        with pytest.raises(t2.SessionError, match=r"journal .* cannot be written"):
            refused()
    assert "journal" in job._connection.link.connection.get("/v1/info")["trouble"]
    eventually(lambda: "cannot be written" in repr(job))
    with pytest.raises(TimeoutError, match="it goes on"):
        job.wait(timeout=0.5)
    assert read_events(path, job.job_id) == before, "nothing was acknowledged that is not there"
    assert not job.state.is_final
    disk.free()
    assert job.wait(timeout=60).value == "KILLED", "the kill that was put off is done when there is room"
    assert "journal" not in job._connection.link.connection.get("/v1/info")["trouble"]
    assert t2.submit(lambda env: 2, ram_mega_bytes=64).results(timeout=30) == [2]


def test_a_disk_that_is_full_for_a_while_costs_nothing(cluster: Path, tmp_path: Path) -> None:
    import t2notebook as t2

    go = str(tmp_path / "go")

    def work(env: Any) -> bytes:
        import time

        while not os.path.exists(go):
            time.sleep(0.02)
        return bytes(100_000)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    (session,) = sessions_of(cluster)
    disk = Disk(session)
    disk.fill()
    Path(go).touch()
    time.sleep(1.5)
    disk.free()
    assert [len(value) for value in job.results(timeout=60)] == [100_000, 100_000]
    assert job.tasks.restarts.tolist() == [0, 0]


#: Runs a program under a filter that answers every fcntl(F_SETLK) with ENOLCK, as a network file system without a lock
#: service does (seccomp(2); offsets of struct seccomp_data).
LOCKLESS = """
    import ctypes, errno, fcntl, os, struct, sys
    number, audit = {{"x86_64": (72, 0xC000003E), "aarch64": (25, 0xC00000B7)}}[os.uname().machine]
    LOAD, EQUAL, RETURN, ALLOW = 0x20, 0x15, 0x06, 0x7FFF0000
    code = [
        (LOAD, 0, 0, 4), (EQUAL, 0, 5, audit), (LOAD, 0, 0, 0), (EQUAL, 0, 3, number),
        (LOAD, 0, 0, 24), (EQUAL, 0, 1, fcntl.F_SETLK), (RETURN, 0, 0, 0x00050000 | errno.ENOLCK),
        (RETURN, 0, 0, ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    prog = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(prog), 0, 0):
        sys.exit(77)
    try:
        fcntl.lockf(open({probe!r}, "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        sys.exit(77)
    except OSError as error:
        assert error.errno == errno.ENOLCK, error
    import t2notebook as t2
    try:
        t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=60)
    except t2.SessionError as error:
        print(error)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="seccomp is Linux's"
)
def test_a_file_system_that_refuses_locks_is_said_in_one_line(cluster: Path, tmp_path: Path) -> None:
    code = textwrap.dedent(LOCKLESS).format(probe=str(tmp_path / "probe"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False, cwd=ROOT
    )
    if done.returncode == 77:
        pytest.skip("no system call filters here")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.strip().splitlines()
    assert line.startswith("the session process did not start: the journal ")
    assert "journal.sqlite cannot be written: database is locked" in line
    assert "let JUPYTER_DATA_DIR name a folder on a local disk" in line
    eventually(lambda: not sessions_of(cluster))


@pytest.fixture
def small() -> Iterator[Any]:
    """Mount a file system with room for so many files, at a path that is short enough for a socket."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    folder = Path(tempfile.mkdtemp(prefix="t2-small-"))

    def mount(files: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size=1m,nr_inodes={files + 1}", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("nothing can be mounted here")
        return folder

    yield mount
    eventually(lambda: _unmounted(folder))
    folder.rmdir()


def _unmounted(folder: Path) -> bool:
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)
    return not folder.is_mount()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (2, "no session process can be started: No space left on device ({}/t2notebook/session-"),
        pytest.param(
            3,
            "the embedded Mesos cannot start: No space left on device ({}/t2notebook/localmesos.lock)",
            marks=pytest.mark.slow,
        ),
        pytest.param(4, "no socket can be made at {}/t2notebook/session-", marks=pytest.mark.slow),
        (5, "the embedded Mesos cannot start: No space left on device ({}/t2notebook/localmesos.json"),
    ],
)
def test_a_full_runtime_directory_is_said_in_one_line(
    cluster: Path, small: Any, files: int, text: str
) -> None:
    folder = small(files)
    code = """
        import t2notebook as t2
        try:
            t2.submit(lambda: 1, workers=1, ram_mega_bytes=64).results(timeout=40)
        except t2.Twister2Error as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert text.format(folder) in done.stdout
    assert "JUPYTER_RUNTIME_DIR" in done.stdout and done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
