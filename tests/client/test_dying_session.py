"""A session that was killed and, while it dies, still accepts connections: it closes them without an answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from t2notebook.client.session_http import Connection, SessionBroken, SessionEnding


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[Connection]:
    path = tmp_path / "session.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    accepted.recv(1)  # the rest is not read: closing resets the connection
                    accepted.close()

        thread = threading.Thread(target=accept)
        thread.start()
        connection = Connection(path)
        connection.name = "session"
        yield connection
        connection.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("ask", [Connection.get, Connection.get_bytes])
def test_what_only_asks_may_be_asked_of_the_next_session(
    dying: Connection, ask: Callable[[Connection, str], object]
) -> None:
    with pytest.raises(SessionEnding, match="went away before it answered"):
        ask(dying, "/v1/jobs")


def test_of_a_change_nobody_knows_whether_it_was_made(dying: Connection) -> None:
    with pytest.raises(SessionBroken, match=r"t2.jobs\(\) says what came of it"):
        dying.post("/v1/jobs/j/kill", {})


def test_a_change_whose_session_is_not_yet_known_was_not_made(dying: Connection) -> None:
    dying.name = ""  # it is asked for first
    with pytest.raises(SessionEnding):
        dying.post("/v1/jobs", {})
