"""Sockets of sessions that are removed, taken, or not answered at: no request reaches another session."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.client import session_http
from t2notebook.config import data_dir
from t2notebook.journal import Journal, Lease, is_owned
from t2notebook.model.process import is_stopped
from tests.session.conftest import ROOT, eventually, sessions_of

LONG = "lambda env: __import__('time').sleep(300)"


class Kernel:
    """A kernel that runs lines; each gives a line back."""

    def __init__(self) -> None:
        code = """
        import sys, traceback
        import t2notebook as t2
        names = {"t2": t2}
        for line in sys.stdin:
            try:
                print("= " + str(eval(line, names)), flush=True)
            except SyntaxError:
                exec(line, names)
                print("= ", flush=True)
            except Exception as error:
                print("= " + type(error).__name__ + ": " + str(error).replace("\\n", " "), flush=True)
        """
        import sys

        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while text := self.process.stdout.readline():
            if text.startswith("= "):
                return text[2:].strip()
        raise AssertionError("the kernel has ended")

    def end(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture
def kernels(clean: Path) -> Iterator[list[Kernel]]:
    found: list[Kernel] = []
    yield found
    for one in found:
        if one.process.poll() is None:
            one.run("t2.shutdown()")
            one.end()


def test_a_session_on_another_host_that_shares_the_home_directory_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket has the same path, but there; each first submit here waited five seconds for it to listen again."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    path = tmp_path / "session.sock"
    elsewhere = Lease("elsewhere", "another boot", 4321, "1")
    facts = {"home": str(path), "socket": str(path), "name": "its", "renewed": repr(time.time())}
    journal = Journal(data_dir() / "sessions" / "20260101T000000-4321", elsewhere)
    journal.set_meta(**facts)
    assert is_owned(journal.meta())
    begun = time.monotonic()
    assert session_http._living(path) is None
    assert time.monotonic() - begun < 2
    journal.close()


def stop(pid: int) -> None:
    """Stop a process, and wait until it is."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(pid))


def remove_sockets(home: Path) -> None:
    """Do as cleaners of temporary folders do."""
    for path in (home / "runtime" / "t2notebook").glob("*.sock"):
        path.unlink()


def test_a_session_whose_socket_was_removed_is_found_again(clean: Path, kernels: list[Kernel]) -> None:
    """A's later handle said PENDING for ever, and nobody could end its first job."""
    kernels += [Kernel(), Kernel()]
    a, b = kernels
    a.run(f"first = t2.submit({LONG}, ram_mega_bytes=64, name='first')")
    remove_sockets(clean)
    b.run("theirs = t2.submit(lambda env: 'b', ram_mega_bytes=64)")
    assert b.run("theirs.results(60)") == "['b']"
    a.run("later = t2.submit(lambda env: 'a', ram_mega_bytes=64)")
    assert a.run("later.results(60)") == "['a']"
    assert a.run("first.kill()") == "None"
    assert a.run("first.wait(30)") == "KILLED"
    assert len(sessions_of(clean)) == 1, "the second kernel waited for the first one's session"


def test_two_sessions_of_one_place_live_on_and_each_has_its_own_jobs(
    clean: Path, kernels: list[Kernel]
) -> None:
    """While the first one's socket is gone and it cannot make another, a second one takes the place."""
    kernels += [Kernel(), Kernel()]
    a, b = kernels
    a.run(f"first = t2.submit({LONG}, ram_mega_bytes=64, name='first')")
    # A stopped session would keep the offers that it has not looked at.
    eventually(lambda: a.run("first.state") == "STARTED")
    (pid,) = sessions_of(clean)
    time.sleep(0.5)
    stop(pid)
    try:
        remove_sockets(clean)
        b.run("theirs = t2.submit(lambda env: 'b', ram_mega_bytes=64)")
        assert b.run("theirs.results(60)") == "['b']"
        assert len(sessions_of(clean)) == 2
    finally:
        os.kill(pid, signal.SIGCONT)
    begun = time.monotonic()
    a.run("later = t2.submit(lambda env: 'a', ram_mega_bytes=64)")
    assert a.run("later.results(60)") == "['a']"
    assert time.monotonic() - begun < 20
    assert a.run("first.kill()") == "None"
    assert a.run("first.wait(30)") == "KILLED"
    b.run(f"last = t2.submit({LONG}, ram_mega_bytes=64, name='last')")
    assert b.run("last.state.is_final") == "False"
    # Each is also found by its job, from anywhere.
    last = b.run("last.job_id")
    a.run(f"other = t2.attach({last!r})")
    assert a.run("other.kill()") == "None"
    assert b.run("last.wait(30)") == "KILLED"
    assert a.run("t2.submit(lambda env: 'again', ram_mega_bytes=64).results(60)") == "['again']"
    assert len(sessions_of(clean)) == 2


def test_the_runtime_directory_itself_may_go(clean: Path, kernels: list[Kernel]) -> None:
    import shutil

    kernels.append(Kernel())
    (a,) = kernels
    assert a.run("t2.submit(lambda env: 1, ram_mega_bytes=64).results(60)") == "[1]"
    state = (clean / "runtime" / "t2notebook" / "localmesos.json").read_bytes()
    shutil.rmtree(clean / "runtime")
    assert a.run("t2.submit(lambda env: 2, ram_mega_bytes=64).results(60)") == "[2]"
    eventually(lambda: list((clean / "runtime" / "t2notebook").glob("*.sock")))
    assert (clean / "runtime" / "t2notebook").stat().st_mode & 0o077 == 0
    (clean / "runtime" / "t2notebook" / "localmesos.json").write_bytes(state)


def test_something_else_that_listens_at_the_place(clean: Path, kernels: list[Kernel]) -> None:
    """Not a session, and it never answers: ours listens beside it."""
    kernels.append(Kernel())
    (a,) = kernels
    a.run(f"job = t2.submit({LONG}, ram_mega_bytes=64)")
    (path,) = (clean / "runtime" / "t2notebook").glob("session-*.sock")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        eventually(lambda: len(list(path.parent.glob("session-*.sock"))) == 2, timeout=5)
        # The link learns where it is from the journal, as soon as it is refused or not answered.
        foreign.close()
        assert a.run("job.kill()") == "None"
        assert a.run("job.wait(30)") == "KILLED"


def test_a_stopped_session_is_named_soon_with_what_to_do(clean: Path, kernels: list[Kernel]) -> None:
    """It was 60 s, and "the next submit starts another", which it did not."""
    kernels += [Kernel(), Kernel()]
    a, b = kernels
    a.run(f"job = t2.submit({LONG}, ram_mega_bytes=64)")
    eventually(lambda: a.run("job.state") == "STARTED", timeout=40)
    (pid,) = sessions_of(clean)
    stop(pid)
    try:
        for one, line in (
            (a, "job.kill()"),
            (a, f"t2.submit({LONG})"),
            (b, f"t2.submit({LONG})"),
            (a, "t2.shutdown()"),
        ):
            begun = time.monotonic()
            said = one.run(line)
            assert time.monotonic() - begun < 10
            assert said == (
                f"SessionStopped: the session process (pid {pid}) is stopped; 'kill -CONT {pid}' lets it go on, "
                f"'kill -9 {pid}' ends it, and the next submit starts another, which takes its jobs over"
            )
        job_id = a.run("job.job_id")
        # What it says is so.
        os.kill(pid, signal.SIGKILL)
        assert b.run("t2.submit(lambda env: 'b', ram_mega_bytes=64).results(60)") == "['b']"
        b.run(f"taken = t2.attach({job_id!r})")
        assert b.run("taken.kill()") == "None"
        assert a.run("job.wait(30)") == "KILLED"
    finally:
        if pid in sessions_of(clean):
            os.kill(pid, signal.SIGCONT)


def test_a_stopped_session_that_goes_on_is_as_if_nothing_had_been(clean: Path, kernels: list[Kernel]) -> None:
    kernels.append(Kernel())
    (a,) = kernels
    a.run("job = t2.submit(lambda env: __import__('time').sleep(2), ram_mega_bytes=64)")
    # The embedded Mesos of this test ends soon when it has no framework.
    eventually(lambda: a.run("job.state") == "STARTED", timeout=40)
    (pid,) = sessions_of(clean)
    stop(pid)
    assert a.run("t2.submit(lambda env: 1)").startswith("SessionStopped")
    os.kill(pid, signal.SIGCONT)
    assert a.run("job.wait(30)") == "COMPLETED"
    assert a.run("len(t2.jobs().query('session == \"living\"'))") == "1", "what was refused was not submitted"


def test_a_request_without_the_right_name_is_refused(clean: Path) -> None:
    import t2notebook as t2
    from t2notebook.client.session_http import Connection
    from t2notebook.client.session_link import open_links
    from t2notebook.model.errors import SessionError

    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    (link,) = open_links()
    for name in ("another", ""):
        stray: Any = Connection(link.connection.path, name, None)
        stray.pin = lambda info: None  # it never learns the name
        with pytest.raises(SessionError):
            stray.post(f"/v1/jobs/{job.job_id}/kill", {})
    assert Connection(link.connection.path).get("/v1/jobs")["jobs"], "who asks for the name first has it"
    assert job.results(timeout=60) == [1]
    t2.shutdown()


def test_a_lock_that_is_held_is_named(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    import t2notebook as t2
    from t2notebook.config import get_config, runtime_dir

    monkeypatch.setenv("T2_START_TIMEOUT", "0.2")
    path = runtime_dir() / f"session-{get_config().session_key}.lock"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(
            t2.SessionError, match=r"another kernel has been starting a session for 0.4 s; it holds /"
        ):
            t2.submit(lambda env: 1)
