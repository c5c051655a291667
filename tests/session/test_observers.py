"""Observers of all jobs of a session hear of each change at once, and keep nothing alive."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from t2notebook.client.session_http import Connection, Stream
from t2notebook.config import data_dir, runtime_dir
from t2notebook.journal import is_owned, read_meta, session_directories
from t2notebook.model.watchers import watcher_name
from tests.session.conftest import end, eventually, processes, sessions_of, submit

STAY = "\n    time.sleep(100)"

pytestmark = pytest.mark.usefixtures("clean")


def observer() -> Connection:
    """Return an observer's connection to the newest living session."""
    found = [
        Connection.of(meta, directory, is_observer=True)
        for directory in session_directories(data_dir() / "sessions")
        if is_owned(meta := read_meta(directory))
    ]
    return found[-1]


class Watch:
    """All that an observer's stream says, read on a thread."""

    def __init__(self, stream: Stream) -> None:
        self.lines: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.is_over = False
        self._stream = stream
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while line := self._stream.readline():
            record = json.loads(line)
            self.lines.append(record)
            self.jobs.update({row["job_id"]: row for row in record.get("jobs", [])})
        self.is_over = True

    def close(self) -> None:
        self._stream.abort()
        self._thread.join(10)
        self._stream.close()


@contextmanager
def watching(connection: Connection) -> Iterator[Watch]:
    watch = Watch(connection.open_stream("/v1/stream"))
    try:
        yield watch
    finally:
        watch.close()


def test_all_jobs_from_the_first_to_the_last_state(home: Path) -> None:
    first, one = submit(300, then=STAY)
    second, two = submit(300, then=STAY)
    with watching(observer()) as watch:
        eventually(lambda: len(watch.jobs) == 2)
        assert "hello" in watch.lines[0] and watch.lines[0]["hello"]["kernels"] == 2
        row = watch.jobs[one]
        assert (row["name"], row["workers"], row["cpus"], row["mem"]) == ("work", 2, 2.0, 128.0)
        eventually(lambda: 0 < watch.jobs[one]["progress"] < 1)
        second.send_signal(signal.SIGINT)
        end(second)  # a kernel's clean exit kills its job
        eventually(lambda: watch.jobs[two]["state"] == "KILLED")
        # at most so many lines a second, however often workers tell how far they are
        before, begun = len(watch.lines), time.monotonic()
        time.sleep(1)
        assert len(watch.lines) - before <= 12 * (time.monotonic() - begun)
        assert [job["job_id"] for job in observer().get("/v1/jobs")["jobs"]] == [one, two]
        assert [task["worker_id"] for task in observer().get(f"/v1/jobs/{one}/tasks")["tasks"]] == [0, 1]
        observer().post(f"/v1/jobs/{one}/kill", {})
        eventually(lambda: watch.jobs[one]["state"] == "KILLED")
        first.kill()
        end(first)
        # neither the stream nor requests keep the session
        eventually(lambda: not observer_ask(), timeout=10)
        eventually(lambda: watch.is_over)
        eventually(lambda: not sessions_of(home))


def observer_ask() -> bool:
    """Ask as an observer, again and again; return whether a session answers."""
    try:
        observer().get("/v1/jobs")
        return True
    except Exception:
        return False


def test_an_observer_is_no_other_kernel_to_a_shutdown(home: Path) -> None:
    process, job_id = submit(300, then="\n    t2.shutdown(); print('ended')")
    with watching(observer()) as watch:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ended"
        eventually(lambda: watch.is_over and watch.jobs[job_id]["state"] == "KILLED")
    end(process)


def test_whoever_waits_is_told_of_sessions_and_jobs(home: Path) -> None:
    runtime = runtime_dir()
    dead = subprocess.run([sys.executable, "-c", _BIND, str(runtime / "observer-1.sock")], check=True)
    assert dead.returncode == 0 and (runtime / "observer-1.sock").exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        path = runtime / watcher_name(2)
        waiting.bind(str(path))
        waiting.settimeout(20)
        process, _ = submit(3)
        waiting.recv(1)  # of the session, or of its job
        end(process)
        path.unlink()
    assert not (runtime / "observer-1.sock").exists()
    eventually(lambda: not processes(home), timeout=20)


_BIND = "import socket, sys\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(sys.argv[1])"
