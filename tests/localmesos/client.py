"""A framework for tests: blocking, raw sockets, no library between a test and the wire."""

from __future__ import annotations

import base64
import json
import select
import socket
import time
from collections import deque
from typing import Any

from t2notebook.localmesos.http.recordio import Decoder
from tests.localmesos import oracle

Json = dict[str, Any]

JSON = "application/json"
PARTITION_AWARE = ("MULTI_ROLE", "PARTITION_AWARE")


class Answer:
    def __init__(self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


opened: list[Connection] = []
"""What was opened, so that a test that fails leaves nothing for another one to stumble over."""


class Connection:
    """One HTTP connection."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.buffer = b""
        self.closed = False
        opened.append(self)

    def close(self) -> None:
        self.closed = True
        self.socket.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + (body or b""))

    def fill(self) -> bool:
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return bool(data)

    def head(self) -> tuple[int, str, list[tuple[str, str]]]:
        while b"\r\n\r\n" not in self.buffer:
            assert self.fill(), f"closed: {self.buffer!r}"
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        _, status, reason = first.split(" ", 2)
        return (
            int(status),
            reason,
            [(name, value) for name, _, value in (line.partition(": ") for line in lines)],
        )

    def answer(self) -> Answer:
        status, reason, headers = self.head()
        length = int(next(value for name, value in headers if name == "Content-Length"))
        while len(self.buffer) < length:
            assert self.fill()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Answer(status, reason, headers, body)


def request(
    address: str,
    method: str,
    path: str,
    body: Json | bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own; a JSON answer is held to the oracle."""
    connection, call = Connection(address), body
    try:
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        connection.send(method, path, body, headers)
        answer = connection.answer()
    finally:
        connection.close()
    plain = answer.header("Content-Type") == JSON and answer.header("Content-Encoding") is None
    if answer.status == 200 and method in ("GET", "POST") and plain:
        oracle.check_answer(method, path, call, json.loads(answer.body.decode("utf-8", "replace")))
    return answer


class Stream:
    """A RecordIO stream; `events` are those that came and were not taken yet."""

    def __init__(self, address: str, path: str, call: Json, headers: dict[str, str] | None = None) -> None:
        self.connection = Connection(address)
        given = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        self.connection.send("POST", path, json.dumps(call).encode(), given)
        self.status, self.reason, self.headers = self.connection.head()
        self.events: deque[Json] = deque()
        self.chunks: list[bytes] = []
        self.ended = False
        self._decoder = Decoder()
        self._chunked = b""

    def close(self) -> None:
        self.connection.close()

    def _read(self, timeout: float) -> bool:
        """Read what comes within the time; False at its end."""
        if not self.connection.buffer:
            if not select.select([self.connection.socket], [], [], max(0.0, timeout))[0]:
                return False
            if not self.connection.fill():
                self.ended = True
                return False
        self._chunked += self.connection.buffer
        self.connection.buffer = b""
        while b"\r\n" in self._chunked:
            size, rest = self._chunked.split(b"\r\n", 1)
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            chunk, self._chunked = rest[:length], rest[length + 2 :]
            if not length:
                self.ended = True
            self.chunks.append(chunk)
            for record in self._decoder.feed(chunk):
                event = json.loads(record)
                oracle.check(event, event["type"])
                self.events.append(event)
        return True

    def poll(self, seconds: float) -> None:
        """Read what there is within the time."""
        self._read(seconds)

    def next(self, kind: str, timeout: float = 10.0) -> Json:
        """The next event of a kind, everything else left in its place."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["type"] == kind:
                    self.events.remove(event)
                    return event
            if self.ended or (not self._read(deadline - time.monotonic()) and time.monotonic() >= deadline):
                raise AssertionError(f"no {kind} within {timeout} s, but {list(self.events)}")

    def none(self, kind: str, seconds: float) -> None:
        """Nothing of a kind for some time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.ended:
            self._read(deadline - time.monotonic())
        assert not [event for event in self.events if event["type"] == kind], self.events

    def end(self, timeout: float = 10.0) -> None:
        """The stream ends."""
        deadline = time.monotonic() + timeout
        while not self.ended:
            assert time.monotonic() < deadline, "the stream did not end"
            self._read(deadline - time.monotonic())


class Framework:
    """A subscribed framework."""

    def __init__(
        self,
        master: str,
        *,
        name: str = "test",
        user: str = "root",
        capabilities: tuple[str, ...] = PARTITION_AWARE,
        failover_timeout: float = 0.0,
        framework_id: str | None = None,
        suppressed: bool = False,
        roles: tuple[str, ...] = ("*",),
        **info: Any,
    ) -> None:
        self.master = master
        full: Json = {"user": user, "name": name, "failover_timeout": failover_timeout, **info}
        full["capabilities"] = [{"type": one} for one in capabilities]
        if "MULTI_ROLE" in capabilities:
            full["roles"] = list(roles)
        call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": full}}
        if suppressed:
            call["subscribe"]["suppressed_roles"] = list(roles)
        if framework_id is not None:
            full["id"] = call["framework_id"] = {"value": framework_id}
        self.info = full
        self.stream = Stream(master, "/api/v1/scheduler", call)
        self.stream_id = next((v for k, v in self.stream.headers if k == "Mesos-Stream-Id"), "")
        self.calls: Connection | None = None
        self.id = framework_id or ""
        self._offers: list[Json] = []

    def subscribed(self) -> Framework:
        self.id = self.stream.next("SUBSCRIBED")["subscribed"]["framework_id"]["value"]
        return self

    def close(self) -> None:
        self.stream.close()
        if self.calls is not None:
            self.calls.close()

    def call(self, kind: str, payload: Json | None = None, expect: int | None = 202, **more: Any) -> Answer:
        call: Json = {"type": kind, "framework_id": {"value": self.id}, **more}
        if payload is not None:
            call[kind.lower()] = payload
        if self.calls is None:
            self.calls = Connection(self.master)
        headers = {"Content-Type": "application/json", "Mesos-Stream-Id": self.stream_id}
        self.calls.send("POST", "/api/v1/scheduler", json.dumps(call).encode(), headers)
        answer = self.calls.answer()
        assert expect in (None, answer.status), (answer.status, answer.text)
        return answer

    def offers(self, count: int = 1, timeout: float = 10.0) -> list[Json]:
        """Wait for so many offers."""
        found: list[Json] = []
        while len(found) < count:
            found += self.stream.next("OFFERS", timeout)["offers"]["offers"]
        return found

    def accept(self, offer: Json, tasks: list[Json], refuse: float = 0.0, kind: str = "LAUNCH") -> Answer:
        operation = {"type": kind, "launch": {"task_infos": tasks}}
        payload = {
            "offer_ids": [offer["id"]],
            "operations": [operation],
            "filters": {"refuse_seconds": refuse},
        }
        return self.call("ACCEPT", payload)

    def decline(self, offers: list[Json], refuse: float | None = None) -> None:
        payload: Json = {"offer_ids": [offer["id"] for offer in offers]}
        if refuse is not None:
            payload["filters"] = {"refuse_seconds": refuse}
        self.call("DECLINE", payload)

    def acknowledge(self, status: Json) -> None:
        if "uuid" in status:
            payload = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
            self.call("ACKNOWLEDGE", payload)

    def update(self, timeout: float = 10.0, acknowledge: bool = True) -> Json:
        status: Json = self.stream.next("UPDATE", timeout)["update"]["status"]
        if acknowledge:
            self.acknowledge(status)
        return status

    def until(self, state: str, task_id: str | None = None, timeout: float = 10.0) -> Json:
        """Acknowledge updates until one has the state."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.update(max(0.1, deadline - time.monotonic()))
            if status["state"] == state and task_id in (None, status["task_id"]["value"]):
                return status
            assert status["task_id"]["value"] != task_id or status["state"] in (
                "TASK_STARTING",
                "TASK_RUNNING",
                "TASK_KILLING",
            ), status

    def run(self, command: str, task_id: str = "task", **more: Any) -> Json:
        """Launch a command task on the first offer; give the offer."""
        offers = self.offers()
        self.accept(offers[0], [task(task_id, offers[0], command, **more)])
        if offers[1:]:
            self.decline(offers[1:], 0)
        return offers[0]


def resources(**amounts: float) -> list[Json]:
    return [{"name": k, "type": "SCALAR", "scalar": {"value": v}} for k, v in amounts.items()]


def task(task_id: str, offer: Json, command: str | Json | None = None, **more: Any) -> Json:
    info: Json = {
        "name": f"t-{task_id}",
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "resources": more.pop("resources", resources(cpus=0.5, mem=64)),
    }
    if isinstance(command, str):
        info["command"] = {"shell": True, "value": command}
    elif command is not None:
        info["command"] = command
    return {**info, **more}


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def agent_address(offer: Json) -> str:
    address = offer["url"]["address"]
    return f"{address['ip']}:{address['port']}"


def summary(offer: Json) -> dict[str, float]:
    return {item["name"]: item["scalar"]["value"] for item in offer["resources"] if "scalar" in item}
