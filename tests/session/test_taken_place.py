"""Other programs, folders and files at the place of a session's socket: one line says what is there and what to do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from t2notebook import client
from t2notebook.client import peer_process, session_http
from t2notebook.client.session_http import Connection, NotASession, SessionEnding
from t2notebook.client.session_process import ensure_session
from t2notebook.config import get_config, runtime_dir
from t2notebook.model.errors import SessionError
from t2notebook.protocol.unix_socket import in_the_way
from tests.session.conftest import eventually

#: A program that answers whoever comes to a socket; without an answer it says nothing, and keeps the connection.
PROGRAM = """
import os, socket, sys
path, answer = sys.argv[1], os.fsencode(sys.argv[2]).replace(b"~", b"\\r\\n")
listening = socket.socket(socket.AF_UNIX)
listening.bind(path)
listening.listen()
print("listens", flush=True)
kept = []
while True:
    connection, _ = listening.accept()
    if answer == b"silence":
        kept.append(connection)
        continue
    try:
        connection.settimeout(0.05)
        while connection.recv(65536):
            pass
    except TimeoutError:
        pass  # it was asked something
    except OSError:
        pass  # somebody looked whether anybody listens
    try:
        connection.sendall(answer)
    except OSError:
        pass
    connection.close()
"""
OK = "HTTP/1.1 200 OK~Content-Length: {}~~{}"
ANSWERS = {
    "nothing": "silence",
    "an end": "",
    "another protocol": "SSH-2.0-OpenSSH_9.2~",
    "a page": OK.format(15, "<html>hi</html>"),
    "another's JSON": OK.format(12, '{"name": 12}'),
    "an error": "HTTP/1.1 404 Not Found~Content-Length: 0~~",
    "an ending session's error": "HTTP/1.1 503 Busy~Content-Length: 2~~{}",
}

Listen = Callable[[Path, str], int]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of this configuration's session, in a runtime directory of the test's own."""
    directory = tempfile.mkdtemp(prefix="t2-")  # a socket's path is short
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", directory)
    monkeypatch.setenv("JUPYTER_DATA_DIR", directory)
    yield runtime_dir() / f"session-{get_config().session_key}.sock"
    shutil.rmtree(directory)


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Start a program that answers at a socket; it returns its pid."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path, answer: str) -> int:
        command = [sys.executable, "-S", "-E", "-c", PROGRAM, str(path), answer]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "listens\n"
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_another_program_is_named(
    place: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """It was 30 s and "the session does not let itself be watched", or an AttributeError."""
    monkeypatch.setattr(session_http, "FOREIGN_PATIENCE", 0.2)
    pid = listen(place, answer)
    with pytest.raises(NotASession) as caught:
        client.submit(lambda env: 1, ram_mega_bytes=64)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"process {pid} ({sys.executable}"[:60]) and str(place) in line
    assert f"end it ('kill {pid}'), or let JUPYTER_RUNTIME_DIR name another folder" in line
    assert place.exists(), "it is the other's"


def test_a_session_that_does_not_say_its_name_is_called_one(
    place: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the time before answers had one; it could be taken for a stranger."""
    monkeypatch.setattr(peer_process, "_SESSION", "socket.AF_UNIX")  # part of this program's command line
    pid = listen(place, ANSWERS["another's JSON"])
    with pytest.raises(NotASession, match=rf"is a session of another version: end it \('kill {pid}'\)"):
        ensure_session(get_config())


@pytest.mark.parametrize("answer", [ANSWERS[one] for one in ("another protocol", "a page", "an error")])
def test_another_program_answers_for_no_session(
    tmp_path: Path, place: Path, listen: Listen, answer: str
) -> None:
    """A 404 of its was an unknown job, and a 200 a kill that had been done."""
    listen(place, answer)
    connection = Connection(place, "ours", tmp_path)  # whose journal is gone, and so is it
    for ask in (
        lambda: connection.get("/v1/jobs"),
        lambda: connection.post("/v1/jobs/pi/kill", {}),
        lambda: connection.open_stream("/v1/stream"),
        lambda: connection.open_frames("/v1/jobs/pi/pool"),
    ):
        with pytest.raises(SessionEnding, match="another has taken its place"):
            ask()


@pytest.mark.parametrize(("kind", "what"), [("folder", "a folder"), ("file", "a file of 5 bytes")])
def test_what_may_be_of_use_to_somebody_is_left_and_named(place: Path, kind: str, what: str) -> None:
    """Of a folder it said to look for a disk with room, and a file was removed."""
    if kind == "folder":
        place.mkdir()
    else:
        place.write_text("notes")
    with pytest.raises(SessionError) as caught:
        ensure_session(get_config())
    assert str(caught.value) == (
        f"the place of this session's socket, {place}, is taken by {what}: move it away, or let JUPYTER_RUNTIME_DIR "
        "name another folder"
    )
    assert place.exists()


@pytest.mark.parametrize("suffix", [".lock", ".log"])
def test_a_folder_in_the_place_of_another_file_is_named(place: Path, suffix: str) -> None:
    place.with_suffix(suffix).mkdir()
    with pytest.raises(SessionError, match=rf"\{suffix} is a folder, .*: move it away, or let JUPYTER_RUN"):
        ensure_session(get_config())


def test_what_is_no_loss_is_in_nobodys_way(tmp_path: Path) -> None:
    def at(name: str) -> Path:
        return tmp_path / name

    (at("full")).write_text("notes")
    (at("empty")).touch()
    at("link").symlink_to(at("full"))
    at("dangling").symlink_to(at("nowhere"))
    os.mkfifo(at("fifo"))
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(at("socket")))
    assert [in_the_way(path) for path in sorted(tmp_path.iterdir()) if path.name != "full"] == [""] * 5
    assert in_the_way(at("absent")) == ""


def test_a_process_is_called_by_its_command_line() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time\ntime.sleep(60)\n# " + "x" * 100]) as process:
        # A process that has just begun to run a program has no command line for a moment.
        eventually(lambda: peer_process.called(process.pid) != f"process {process.pid}")
        name = peer_process.called(process.pid)
        assert name.startswith(f"process {process.pid} (") and name.endswith("…)") and len(name) < 90
        assert "\n" not in name and peer_process.is_foreign(process.pid)
        process.send_signal(signal.SIGKILL)
    assert peer_process.called(process.pid) == f"process {process.pid}"
    assert not peer_process.is_foreign(process.pid), "in doubt it is taken for a session"
