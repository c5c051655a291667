"""An agent and a session for one executor, served from threads of the test: what a real agent cannot be made to do."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from t2notebook.protocol import archive, auth
from t2notebook.protocol.launch import WorkerLaunch, decode_result, decode_status_data, unpacked_result
from t2notebook.protocol.pickling import Pickler

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CLOSE = object()
TERMINAL = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED")


def pickler(file: Any, buffer_callback: Any) -> Pickler:
    return Pickler(file, protocol=5, buffer_callback=buffer_callback)


def package(
    worker: Callable[..., Any],
    config: Any = None,
    *,
    modules: dict[str, str] | None = None,
    sources: dict[str, str] | None = None,
) -> tuple[bytes, str]:
    """Return a job package and its digest."""
    members = archive.dump({"worker": worker, "config": config or {}}, pickler)
    if sources:
        members.append(("sources.json", json.dumps(sources).encode()))
    members += [(f"modules/{name}.py", text.encode()) for name, text in (modules or {}).items()]
    target = io.BytesIO()
    digest = archive.write(target, members, {"kind": "job", "python": PYTHON})
    return target.getvalue(), digest


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None: ...

    secret = ""

    def answer(self, status: int, body: bytes = b"", content_type: str = "text/plain") -> None:
        self.send_response(status)
        credentials = auth.parse_authorization(self.headers.get("Authorization", ""))
        if self.secret and credentials is not None:
            self.send_header(auth.ANSWER, auth.sign_answer(self.secret, credentials[1]))
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def body(self) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(size)
        if len(data) != size:
            raise ConnectionError("the client broke off")
        return data


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[_Server]:
    server = _Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


#: The sessions that are there, by their addresses: an agent hands them what comes with the ends of workers.
SESSIONS: dict[str, FakeSession] = {}


class FakeSession:
    """Serves packages and takes results; `hook(method, path, body)` may answer a status in its place."""

    def __init__(self) -> None:
        self.secret = auth.new_secret()
        self.packages: dict[str, bytes] = {}
        self.results: dict[int, tuple[bytes, float]] = {}
        self.progress: list[tuple[int, dict[str, Any]]] = []
        self.requests: list[tuple[str, str]] = []
        self.streamed = self.carried = 0
        self.hook: Callable[[str, str], int | None] = lambda method, path: None
        self.arrived = threading.Condition()
        fake = self

        class Handler(_Handler):
            @property
            def secret(self) -> str:  # type: ignore[override]  # the one that the test has given it meanwhile
                return fake.secret

            def handle_any(self) -> None:
                body = self.body()
                with fake.arrived:
                    fake.requests.append((self.command, self.path))
                status = fake.hook(self.command, self.path)
                if status is not None:
                    if status:
                        self.answer(status, b"because the test says so")
                    self.close_connection = not status
                    return
                credentials = auth.parse_authorization(self.headers.get("Authorization", ""))
                sha256 = hashlib.sha256(body).hexdigest() if body else ""
                proved = True
                if self.headers.get(auth.BODY_DIGEST) == auth.TRAILING:
                    body, signature = body[: -auth.SIGNATURE], body[-auth.SIGNATURE :].decode()
                    digest, sha256 = hashlib.sha256(body).hexdigest(), auth.TRAILING
                    proved = auth.matches(signature, fake.secret, self.command, self.path, digest)
                    fake.streamed += 1
                if (
                    credentials is None
                    or not proved
                    or not auth.matches(credentials[1], fake.secret, self.command, self.path, sha256)
                ):
                    self.answer(401, b"wrong signature")
                    return
                path = self.path.partition("?")[0].split("/")
                if self.command == "GET":
                    data = fake.packages.get(path[3])
                    self.answer(404) if data is None else self.answer(200, data)
                    return
                with fake.arrived:
                    worker_id = int(path[5])
                    if self.command == "PUT":
                        fake.results[worker_id] = (body, time.perf_counter())
                    else:
                        fake.progress.append((worker_id, json.loads(body)))
                    fake.arrived.notify_all()
                self.answer(204 if self.command == "PUT" else 200)

            do_GET = do_PUT = do_POST = handle_any

        self._context = serving(Handler)
        self._server = self._context.__enter__()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        SESSIONS[self.url] = self

    def close(self) -> None:
        self._context.__exit__(None, None, None)
        del SESSIONS[self.url]

    def take(self, launch: WorkerLaunch, result: object) -> None:
        """Take a result that came with the end of its worker."""
        data, signature = unpacked_result(result)
        worker = f"/v1/jobs/{launch.job_id}/workers/{launch.worker_id}"
        path = f"{worker}/result?incarnation={launch.restart_count}"
        assert auth.matches(signature, self.secret, "PUT", path, hashlib.sha256(data).hexdigest())
        with self.arrived:
            self.results[launch.worker_id] = (data, time.perf_counter())
            self.carried += 1
            self.arrived.notify_all()

    def add(self, worker: Callable[..., Any], config: Any = None, **more: Any) -> str:
        data, digest = package(worker, config, **more)
        self.packages[digest] = data
        return digest

    def launch(self, digest: str, worker_id: int = 0, **more: Any) -> WorkerLaunch:
        facts: dict[str, Any] = {
            "job_id": "tester-job-1",
            "worker_id": worker_id,
            "restart_count": 0,
            "number_of_workers": 4,
            "secret": self.secret,
            "url": self.url,
            "package": digest,
            "package_size": len(self.packages.get(digest, b"")),
            "python": PYTHON,
            "cpus": 1.0,
            "mem": 64.0,
        }
        return WorkerLaunch(**{**facts, **more})

    def wait_results(self, count: int, timeout: float = 10) -> float:
        """Wait for `count` results and return when the last of them came."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.results) >= count, timeout), "no result came"
            return max(when for _, when in self.results.values())

    def result(self, worker_id: int = 0) -> Any:
        return archive.Archive(bytearray(self.results[worker_id][0])).load()

    def facts(self, worker_id: int = 0) -> dict[str, Any]:
        return archive.Archive(self.results[worker_id][0]).manifest


class FakeAgent:
    """One executor's agent; `pieces` says into how large writes the event stream is cut."""

    def __init__(self, sandbox: Path, *, capabilities: tuple[str, ...] = ("TASK_KILLING_STATE",)) -> None:
        self.sandbox = sandbox
        sandbox.mkdir(parents=True, exist_ok=True)
        self.capabilities = capabilities
        self.updates: list[dict[str, Any]] = []
        self.launches: dict[str, WorkerLaunch] = {}
        self.subscriptions: list[dict[str, Any]] = []
        self.subscribed_at: list[float] = []
        self.authorizations: list[str | None] = []
        self.acknowledge = True
        self.close_after_answer = False
        self.pieces = 0
        self.pause = 0.0  # between the headers of the event stream and its first event
        self.hook: Callable[[dict[str, Any]], int | None] = lambda call: None
        self.changed = threading.Condition()
        self._events: queue.Queue[Any] = queue.Queue()
        self.process: subprocess.Popen[bytes] | None = None
        self._serve(0)

    def _serve(self, port: int) -> None:
        fake = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                assert self.path == "/api/v1/executor"
                assert self.headers["Content-Type"] == "application/json"
                call = json.loads(self.body())
                fake.authorizations.append(self.headers["Authorization"])
                assert call["framework_id"] == {"value": "F"} and call["executor_id"] == {"value": "E"}
                status = fake.hook(call)
                if status is not None:
                    if status:
                        self.answer(status, b"because the test says so")
                    self.close_connection = not status
                    return
                if call["type"] == "UPDATE":
                    fake.take(call["update"]["status"])
                    self.answer(202)
                    self.close_connection = fake.close_after_answer
                    return
                assert call["type"] == "SUBSCRIBE"
                events = fake._events = queue.Queue()
                with fake.changed:
                    fake.subscriptions.append(call["subscribe"])
                    fake.subscribed_at.append(time.perf_counter())
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.flush()
                time.sleep(fake.pause)
                fake.send(
                    {
                        "type": "SUBSCRIBED",
                        "subscribed": {
                            "framework_info": {"capabilities": [{"type": name} for name in fake.capabilities]}
                        },
                    },
                    events,
                )
                for update in call["subscribe"]["unacknowledged_updates"]:
                    fake.take(update["status"], events)
                with fake.changed:
                    fake.changed.notify_all()
                while True:
                    event = events.get()
                    if event is CLOSE:
                        self.close_connection = True
                        return
                    record = json.dumps(event).encode()
                    record = b"%d\n%s" % (len(record), record)
                    data = b"%x\r\n%s\r\n" % (len(record), record)
                    step = fake.pieces or len(data)
                    for at in range(0, len(data), step):
                        self.wfile.write(data[at : at + step])
                        self.wfile.flush()
                        if fake.pieces:
                            time.sleep(0.0005)

        self._context = serving(Handler, port)
        self._server = self._context.__enter__()
        self.port = self._server.server_port

    def speak_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def take(self, status: dict[str, Any], events: queue.Queue[Any] | None = None) -> None:
        assert status["source"] == "SOURCE_EXECUTOR" and len(base64.b64decode(status["uuid"])) == 16
        hand_over(status, self.launches)
        with self.changed:
            self.updates.append(status)
            self.changed.notify_all()
        if self.acknowledge:
            acknowledged = {"task_id": status["task_id"], "uuid": status["uuid"]}
            self.send({"type": "ACKNOWLEDGED", "acknowledged": acknowledged}, events)

    def start(self, command: list[str] | None = None, timeout: float = 10, **environment: str) -> None:
        """Start an executor and wait for its subscription."""
        root = Path(archive.__file__).parents[2]
        command = command or [sys.executable, "-m", "t2notebook.worker.executor.executor"]
        self.started_at = time.perf_counter()
        with (self.sandbox / "stdout").open("ab") as stdout, (self.sandbox / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=self.sandbox,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(root),
                    "MESOS_AGENT_ENDPOINT": f"127.0.0.1:{self.port}",
                    "MESOS_FRAMEWORK_ID": "F",
                    "MESOS_EXECUTOR_ID": "E",
                    "MESOS_SANDBOX": str(self.sandbox),
                    "MESOS_CHECKPOINT": "0",
                    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "100ms",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.wait(lambda: self.subscriptions, "the executor did not subscribe", timeout)

    def send(self, event: dict[str, Any], events: queue.Queue[Any] | None = None) -> None:
        (events or self._events).put(event)

    def launch(self, launch: WorkerLaunch, task_id: str | None = None, **info: Any) -> str:
        task_id = task_id or f"{launch.job_id}-{launch.worker_id}"
        self.launches[task_id] = launch
        self.send(
            {
                "type": "LAUNCH",
                "launch": {"task": {"task_id": {"value": task_id}, "data": launch.encode(), **info}},
            }
        )
        return task_id

    def kill(self, task_id: str, grace: float | None = None) -> None:
        kill: dict[str, Any] = {"task_id": {"value": task_id}}
        if grace is not None:
            kill["kill_policy"] = {"grace_period": {"nanoseconds": int(grace * 1e9)}}
        self.send({"type": "KILL", "kill": kill})

    def disconnect(self) -> None:
        """End the event stream."""
        self._events.put(CLOSE)

    def stop(self) -> None:
        """Be gone: no port, no stream."""
        self.disconnect()
        self._context.__exit__(None, None, None)

    def come_back(self) -> None:
        self._serve(self.port)

    def wait(self, condition: Callable[[], Any], complaint: str, timeout: float = 10) -> None:
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise AssertionError(f"{complaint}; updates: {self.updates}; log:\n{self.log()}")

    def states(self, task_id: str) -> list[str]:
        """Return the states that a task's updates tell; the last one may tell that it ran, too."""
        return [
            state
            for status in self.updates
            if status["task_id"]["value"] == task_id
            for state in (*(["TASK_RUNNING"] if "ran" in told(status) else []), status["state"])
        ]

    def end_of(self, task_id: str, timeout: float = 10) -> dict[str, Any]:
        """Wait for a task's last status; return state, message, exit_code."""
        self.wait(
            lambda: self.states(task_id) and self.states(task_id)[-1] in TERMINAL,
            f"task {task_id} did not end",
            timeout,
        )
        status = [status for status in self.updates if status["task_id"]["value"] == task_id][-1]
        data = decode_status_data(status.get("data"))
        told = {"exit_code": data["exit_code"]} if data.get("exit_code") is not None else {}
        return {"state": status["state"], "message": status.get("message", ""), **told}

    def running(self, task_id: str) -> None:
        self.wait(lambda: "TASK_RUNNING" in self.states(task_id), f"task {task_id} does not run")

    def log(self) -> str:
        path = self.sandbox / "stderr"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        self.stop()


def hand_over(status: dict[str, Any], launches: Mapping[str, WorkerLaunch]) -> None:
    """Give a result that came with an update to its session; the launches are those of tasks, by id."""
    launch, result = launches.get(status["task_id"]["value"]), decode_result(status.get("data"))
    if result is not None and launch is not None and launch.url in SESSIONS:
        SESSIONS[launch.url].take(launch, result)


def told(status: dict[str, Any]) -> Mapping[str, Any]:
    """Return what an update's data say, without a result."""
    return decode_status_data(status.get("data"))


def eventually(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
