"""Frames that prove nothing are refused, counted and never unpickled; secrets show nowhere, also while workers run."""

from __future__ import annotations

import json
import os
import pickle
import resource
import secrets
import socket
import sqlite3
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from t2notebook.journal import FILE, session_directories
from t2notebook.model.text import dumps
from t2notebook.protocol import channel
from t2notebook.protocol.frames import FrameError
from t2notebook.worker.process.job_master_client import JobMasterClient
from tests.session.conftest import eventually, processes


class Evil:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


class Running:
    """A job whose worker waits, with what only its session and its workers know."""

    def __init__(self, t2: Any, home: Path) -> None:
        def wait(env: Any) -> Any:
            return list(env.messages(timeout=None))[:0] if env.config.get("never") else next(env.messages())

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, hard), hard))
        try:
            # A session has the environment of whoever starts it.
            t2.submit(lambda: 1, cpu=0.5, ram=64).results(60)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.token = secrets.token_hex(16)
        os.environ["T2_TEST_VARIABLE"] = self.variable = secrets.token_hex(16)
        self.job = t2.submit(
            wait, cpu=0.5, ram=64, credentials={"TOKEN": self.token}, setenv=("T2_TEST_VARIABLE",)
        )
        del os.environ["T2_TEST_VARIABLE"]
        eventually(lambda: self.job.state.value == "STARTED")
        connection = self.job._connection.link.connection
        self.info: Callable[[], Any] = lambda: connection.get("/v1/info")
        self.url = self.info()["worker_url"]
        self.port = int(self.url.rpartition(":")[2])
        (self.directory,) = session_directories(home / "data" / "t2notebook" / "sessions")
        with sqlite3.connect(self.directory / FILE) as db:
            (self.secret,) = db.execute(
                "SELECT secret FROM jobs WHERE job_id = ?", (self.job.job_id,)
            ).fetchone()
        db.close()
        self.hello = {"job_id": self.job.job_id, "worker_id": 0, "incarnation": 0}


@pytest.fixture(scope="module")
def running(t2: Any, home: Path) -> Iterator[Running]:
    one = Running(t2, home)
    yield one
    one.job.send(0, "end")
    assert one.job.results(60) == ["end"]


def talk(port: int, opened: channel.Channel, spoil: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Open a channel, send the frames of three messages as `spoil` has them, and return what comes until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        while not opened.is_open:
            while piece := opened.take():
                sock.sendall(piece)
            if not (data := sock.recv(1 << 16)):
                return b""
            opened.feed(data)
        frames = [opened.take()]  # the last word of the handshake
        for number in range(3):
            opened.send({"kind": "joined", "request": number + 1, "low": 1})
            frames.append(opened.take())
        sock.sendall(b"".join(spoil(frames)))
        sock.shutdown(socket.SHUT_WR)
        came = b""
        while data := sock.recv(1 << 16):
            came += data
        return came


def test_wrong_replayed_reordered_and_foreign_frames_are_refused_and_counted(running: Running) -> None:
    # As an executor's, so that the worker's own connection stays.
    hello = {**running.hello, "executor": "somebody"}
    recorded: list[bytes] = []

    def record(frames: list[bytes]) -> list[bytes]:
        recorded.extend(frames)
        return frames

    assert talk(running.port, channel.connect(running.secret, hello), record), "it is as welcome as any"
    spoilt: dict[str, Callable[[list[bytes]], list[bytes]]] = {
        "repeated": lambda frames: [*frames[:2], frames[1]],
        "reordered": lambda frames: [frames[0], frames[2], frames[1]],
        "left out": lambda frames: [frames[0], frames[2]],
        "changed": lambda frames: [frames[0], frames[1][:-20] + b"\0" + frames[1][-19:]],
        "of another connection": lambda frames: [frames[0], recorded[1]],
        "the whole of another connection": lambda frames: recorded,
        "noise": lambda frames: [frames[0], os.urandom(200)],
    }
    for what, spoil in spoilt.items():
        before = running.info()["refused"]
        talk(running.port, channel.connect(running.secret, hello), spoil)
        eventually(lambda: running.info()["refused"] == before + 1)  # noqa: B023
        assert running.job.state.value == "STARTED", what
    for secret, job_id in (("00" * 32, running.job.job_id), (running.secret, "me-other-1")):
        before = running.info()["refused"]
        with pytest.raises(FrameError):
            talk(running.port, channel.connect(secret, {**hello, "job_id": job_id}), lambda frames: frames)
        eventually(lambda: running.info()["refused"] >= before)  # noqa: B023


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit(2)")
def test_a_session_may_have_a_connection_for_each_of_many_workers(running: Running) -> None:
    soft, hard = resource.prlimit(running.info()["pid"], resource.RLIMIT_NOFILE)
    assert soft == hard


def test_nothing_is_unpickled_whose_origin_is_not_proved(running: Running, tmp_path: Path) -> None:
    evil = pickle.dumps(Evil(tmp_path / "evil"))
    # To the session, in the worker's name, with another secret.
    with pytest.raises(FrameError):
        talk(running.port, channel.connect("11" * 32, running.hello), lambda frames: [*frames, evil])
    request = urllib.request.Request(
        f"{running.url}/v1/jobs/{running.job.job_id}/workers/0/result?incarnation=0",
        data=evil,
        method="PUT",
        headers={"Authorization": f"T2-HMAC-SHA256 {running.job.job_id}:{'0' * 64}"},
    )
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=20)
    # To a worker, from who only claims to be its job master.
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # it may have seen enough in the middle
                connection.recv(1 << 16)
                told = dumps({"nonce": "0" * 32, "proof": "0" * 64}).encode()
                connection.sendall(struct.pack(">I", len(told)) + told)
                head = dumps({"letters": [[1, -1, len(evil)]], "request": 1}).encode()
                body = struct.pack(">I", len(head)) + head + evil
                connection.sendall(struct.pack(">I", 2 + len(body) + 16) + b"\0\1" + body + bytes(16))
                connection.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        client = JobMasterClient(f"http://127.0.0.1:{server.getsockname()[1]}", running.secret, running.hello)
        assert not client.note({"kind": "hello"})
        assert "is not this job's job master" in client.trouble
        thread.join(20)
    assert not (tmp_path / "evil").exists()


def test_no_secret_shows_while_workers_run(running: Running, home: Path) -> None:
    from t2notebook import client

    hidden = {"secret": running.secret, "credential": running.token, "variable": running.variable}
    master = client.cluster_info()["master"]
    pages = {"the master's /state": _page(f"http://{master}/state")}
    for agent in json.loads(pages["the master's /state"])["slaves"]:
        base = f"http://{agent['hostname']}:{agent['port']}"
        for path in ("state", "containers", "metrics/snapshot"):
            pages[f"the agent's /{path}"] = _page(f"{base}/{path}")
    running_now = processes(home)
    assert len(running_now) > 4, "session, master, agent, executor, worker"
    for pid in running_now:
        for name in ("cmdline", "environ"):
            try:
                pages[f"{name} of {running_now[pid]}"] = (
                    Path(f"/proc/{pid}/{name}").read_bytes().decode("latin-1")
                )
            except OSError:
                continue  # it has ended meanwhile
    for path in home.rglob("*"):  # logs, sandboxes, sockets' neighbours; the journal is the user's alone
        if path.is_file() and not path.name.startswith("journal.sqlite"):
            pages[str(path)] = path.read_bytes().decode("latin-1")
    for what, text in hidden.items():
        for where, page in pages.items():
            assert text not in page, f"the {what} is in {where}"
    for path in running.directory.glob("*.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0, path
        assert running.token.encode() not in path.read_bytes(), "credentials are in no file at all"


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
    return text
