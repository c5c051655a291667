"""A real Jupyter server with the extension, beside real sessions on the embedded Mesos."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import eventually, home, processes, unconfigured

__all__ = ["home", "unconfigured"]

TOKEN = "0123456789abcdef"
ROOT = Path(__file__).resolve().parents[2]
EXTENSION = "t2notebook.server=True"


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Answer:
    code: int
    content: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """A running Jupyter server; `get` and `post` come with its token unless told otherwise."""

    address: str
    log: Path
    pid: int

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, {"Authorization": f"token {TOKEN}"} | headers)

    def post(self, path: str, content: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, content or {}, {"Authorization": f"token {TOKEN}"} | headers)

    def ask(self, method: str, path: str, content: Any, headers: dict[str, str]) -> Answer:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.address}/t2notebook/api{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, json.loads(answer.read() or b"null"), dict(answer.headers))
        except urllib.error.HTTPError as error:
            text = error.read()
            error.close()
            return Answer(error.code, _json(text), dict(error.headers))

    def jobs(self) -> dict[str, dict[str, Any]]:
        return {row["job_id"]: row for row in self.get("/jobs").content["jobs"]}


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode()


def left(home: Path) -> dict[int, str]:
    """Return what lives because of jobs: all but the server."""
    return {pid: line for pid, line in processes(home).items() if "-m jupyter" not in line}


@pytest.fixture
def clean(home: Path) -> Iterator[Path]:
    """Each test begins and ends without any session, kernel or cluster."""
    yield home
    try:
        eventually(lambda: not left(home), timeout=30)
    finally:
        found = left(home)
        for pid in found:  # so that one test's leftovers fail that test alone
            os.kill(pid, signal.SIGKILL)
        assert not found


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    yield from run_server(home)


def run_server(home: Path, *arguments: str, base: str = "/") -> Iterator[Server]:
    """Run a server until the generator goes on."""
    port = free_port()
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}"]
    command += [
        f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={base}",
    ]
    command += [f"--ServerApp.jpserver_extensions={EXTENSION}", f"--ServerApp.root_dir={home}", *arguments]
    command += ["--ServerApp.authorizer_class=tests.server.authorizer.Picky"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    path = home / f"server-{port}.log"
    with (
        path.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=home, env=environment) as process,
    ):
        server = Server(f"http://127.0.0.1:{port}{base}".rstrip("/"), path, process.pid)
        try:
            deadline = time.monotonic() + 100
            while True:
                try:
                    if server.get("/summary").code == 200:
                        break
                except OSError:
                    pass
                assert process.poll() is None and time.monotonic() < deadline, path.read_text()
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(20)
