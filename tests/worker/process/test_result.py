from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.protocol import auth
from t2notebook.protocol.archive import Archive
from t2notebook.worker.process import result
from t2notebook.worker.process.result import Delivery, deliver, pack_value
from t2notebook.worker.process.session_api import SessionClient
from tests.worker.fakes import FakeSession, free_port

PATH = "/v1/jobs/tester-job-1/workers/0/result?incarnation=0"


@pytest.fixture
def client(session: FakeSession) -> Iterator[SessionClient]:
    client = SessionClient(session.url, "tester-job-1", session.secret)
    yield client
    client.close()


def send(client: SessionClient, directory: Path, value: Any = 42, patience: float = 0.5) -> result.Delivered:
    return deliver(
        *pack_value(value, 0), directory=str(directory), client=client, path=PATH, patience=patience
    )


def test_written_then_sent(session: FakeSession, client: SessionClient, tmp_path: Path) -> None:
    assert send(client, tmp_path) == result.Delivered(Delivery.SENT)
    assert session.result() == 42
    assert session.facts()["ok"] is True
    path = tmp_path / "result.t2"
    assert path.read_bytes() == session.results[0][0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["result.sig", "result.t2"]


LARGE = bytes(range(256)) * 20_000


def test_a_large_one_is_sent_while_it_is_written(
    session: FakeSession, client: SessionClient, tmp_path: Path
) -> None:
    assert send(client, tmp_path, LARGE).how is Delivery.SENT
    assert (session.streamed, len(session.requests)) == (1, 1)
    assert session.result() == LARGE
    data = (tmp_path / "result.t2").read_bytes()
    assert data == session.results[0][0]
    signature = (tmp_path / "result.sig").read_text().strip()
    assert auth.matches(signature, session.secret, "PUT", PATH, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("first", [503, 401, 0])
def test_a_large_one_that_did_not_arrive_is_sent_again_from_the_sandbox(
    session: FakeSession, client: SessionClient, tmp_path: Path, first: int
) -> None:
    answers = iter([first, None])
    session.hook = lambda method, path: next(answers)
    assert send(client, tmp_path, LARGE, patience=10).how is Delivery.SENT
    assert session.result() == LARGE
    assert len(session.requests) == 2


def test_a_large_one_for_whom_nobody_is_there_is_in_the_sandbox(tmp_path: Path) -> None:
    client = SessionClient(f"http://127.0.0.1:{free_port()}", "tester-job-1", "00" * 32)
    assert send(client, tmp_path, LARGE, patience=0.1).how is Delivery.LEFT
    assert Archive.open(tmp_path / "result.t2").load() == LARGE


def test_what_lies_in_the_sandbox_can_be_checked(
    session: FakeSession, client: SessionClient, tmp_path: Path
) -> None:
    session.hook = lambda method, path: 400
    assert send(client, tmp_path).how is Delivery.LEFT
    data = (tmp_path / "result.t2").read_bytes()
    signature = (tmp_path / "result.sig").read_text().strip()
    assert auth.matches(signature, session.secret, "PUT", PATH, hashlib.sha256(data).hexdigest())
    assert Archive(data).load() == 42


def test_a_session_that_comes_back(session: FakeSession, client: SessionClient, tmp_path: Path) -> None:
    answers = iter([503, 500, 0, None])
    session.hook = lambda method, path: next(answers)
    assert send(client, tmp_path, patience=10).how is Delivery.SENT
    assert len(session.requests) == 4


@pytest.mark.parametrize(
    ("status", "how", "text"),
    [
        (409, Delivery.REFUSED, "came too late"),
        (401, Delivery.LEFT, "401"),
        (413, Delivery.LEFT, "413"),
    ],
)
def test_refusals_are_not_repeated(
    session: FakeSession, client: SessionClient, tmp_path: Path, status: int, how: Delivery, text: str
) -> None:
    session.hook = lambda method, path: status
    delivered = send(client, tmp_path, patience=10)
    assert delivered.how is how and text in delivered.message
    assert len(session.requests) == 1


def test_an_unreachable_session(tmp_path: Path) -> None:
    client = SessionClient(f"http://127.0.0.1:{free_port()}", "j", auth.new_secret())
    delivered = send(client, tmp_path)
    assert delivered.how is Delivery.LEFT
    assert "cannot be reached: [Errno 111] Connection refused" in delivered.message
    assert (tmp_path / "result.t2").exists()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    real = result._fill

    def fill(stream: Any, *rest: Any) -> str:
        if not str(getattr(stream, "name", "")).isdigit() or os.fstat(stream.fileno()).st_nlink:
            stream.write(b"part of it")
            raise OSError(28, "No space left on device")
        return real(stream, *rest)

    monkeypatch.setattr(result, "_fill", fill)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_does_not_keep_a_result(
    session: FakeSession, client: SessionClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert send(client, tmp_path).how is Delivery.SENT
    assert session.result() == 42
    assert os.listdir(tmp_path) == []
    assert "cannot be written to the sandbox: No space left on device" in capfd.readouterr().err
    session.hook = lambda method, path: 503
    lost = send(client, tmp_path)
    assert lost.how is Delivery.LOST
    assert "No space left" in lost.message and "HTTP 503" in lost.message


SECOND_COPY = """
import numpy, resource, sys
from t2notebook.worker.process import result
from t2notebook.worker.process.session_api import SessionClient
value = numpy.ones(25_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
client = SessionClient(sys.argv[1], "tester-job-1", sys.argv[2])
how = result.deliver(
    *result.pack_value({"a": value}, 0), directory=sys.argv[3], client=client, path=sys.argv[4]
).how
print(how.name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_big_array_is_never_in_memory_twice(session: FakeSession, tmp_path: Path) -> None:
    root = Path(result.__file__).parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", SECOND_COPY, session.url, session.secret, str(tmp_path), PATH],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
    ).stdout.split()
    assert answer[0] == "SENT"
    assert int(answer[1]) < 30_000, "KiB beyond the array's own 200,000"
    array = session.result()["a"]
    assert array.shape == (25_000_000,) and array.sum() == 25_000_000


@pytest.mark.parametrize("status", [200, 204, 401, 404, 409])
def test_another_program_with_the_sessions_port_is_not_the_session(tmp_path: Path, status: int) -> None:
    """It took the result, or told the worker to stop, for all that the worker knew."""
    session = FakeSession()
    session.hook = lambda method, path: status
    stranger = SessionClient(session.url, "tester-job-1", auth.new_secret())
    try:
        delivered = send(stranger, tmp_path, patience=0.3)
    finally:
        stranger.close()
        session.close()
    assert delivered.how is Delivery.LEFT
    assert "is not this job's session" in delivered.message
    assert (tmp_path / result.FILE).exists()
