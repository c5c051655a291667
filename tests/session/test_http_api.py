"""Refusals of a session, as a kernel hears them."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from t2notebook.client.session_http import Connection
from t2notebook.model.errors import JournalError, SessionError, UnknownJob
from t2notebook.session import http_api


def serve(session: Any, socket: Path) -> tuple[threading.Thread, IOLoop]:
    """Serve the API of a stand-in for a session on a thread."""
    ready, loops = threading.Event(), []

    def run() -> None:
        loop = IOLoop()
        server = HTTPServer(Application(http_api.routes(session)))
        server.add_socket(bind_unix_socket(str(socket)))
        loops.append(loop)
        loop.add_callback(ready.set)
        loop.start()
        server.stop()
        loop.close(all_fds=True)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    return thread, loops[0]


@pytest.mark.parametrize(
    "text", ["the disk is 95% full", "100%%", "%s %d %(x)s", "{} ünïcode → \\ \" '", "two\nlines"]
)
def test_a_refusal_comes_as_it_was_written(tmp_path: Path, text: str) -> None:
    job = SimpleNamespace(job_id="ada-pi-1")

    class Jobs(dict[str, Any]):
        async def durable(self, job_id: str) -> None:
            raise JournalError(text)

    session = SimpleNamespace(
        touch=lambda: None,
        is_closed=False,
        name="s",
        info=lambda: {"name": "s", "directory": str(tmp_path)},
        jobs=Jobs({"ada-pi-1": job}),
        kill=lambda *_: None,
    )
    thread, loop = serve(session, tmp_path / "s")
    try:
        connection = Connection(tmp_path / "s")
        with pytest.raises(SessionError) as refused:
            connection.post("/v1/jobs/ada-pi-1/kill", {})
        assert str(refused.value) == f"it will be killed, but not yet: {text}"
        with pytest.raises(UnknownJob, match="no job ada-pi-2 in this session"):
            connection.post("/v1/jobs/ada-pi-2/kill", {})
    finally:
        loop.add_callback(loop.stop)
        thread.join(10)
