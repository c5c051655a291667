"""Fuzzing a living cluster: whatever comes in, Mesos's own refusal goes out; no traceback, and nobody gets stuck.

Bounded, and on loopback only. The quick subset runs by default; `make test-slow` runs the rest.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.http.recordio import encode
from t2notebook.localmesos.v1.messages import ENUMS, MESSAGES
from t2notebook.localmesos.v1.schema import fields_of
from tests.localmesos.client import Connection, Framework, agent_address, request

Json = dict[str, Any]
REFUSALS = {400, 403, 404, 405, 406, 413, 415, 501}
ANSWERS = REFUSALS | {200, 202, 307, 503}
quick = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
long = settings(quick, max_examples=4000, derandomize=False)


class Target:
    """The cluster under fire."""

    def __init__(self, cluster: LocalMesos, agent: str) -> None:
        self.cluster, self.master, self.agent = cluster, cluster.master, agent
        self.bystander = Framework(cluster.master, name="bystander", suppressed=True).subscribed()
        self.framework = Framework(cluster.master, name="fuzzed", failover_timeout=1e6).subscribed()

    def check(self) -> None:
        """The master and the agent answer at once, the bystander is served, and nothing was logged that is a fault."""
        for address in (self.master, self.agent):
            began = time.monotonic()
            assert request(address, "GET", "/health").status == 200
            assert time.monotonic() - began < 2
        self.bystander.call("RECONCILE", {"tasks": [{"task_id": {"value": "none"}}]})
        self.bystander.stream.next("UPDATE", timeout=5)
        for name in ("master", "agent1"):
            text = (Path(self.cluster.work_dir) / "log" / f"{name}.log").read_text()
            assert "Traceback" not in text, text[-4000:]

    def again(self) -> Framework:
        """The framework that calls are made as, subscribed (a call may have torn it down)."""
        if self.framework.call("REQUEST", {"requests": []}, expect=None).status != 202:
            self.framework.close()
            self.framework = Framework(self.master, name="fuzzed", failover_timeout=1e6).subscribed()
        return self.framework


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with LocalMesos(agents=1, cpus=4, mem=1024) as cluster:
        scout = Framework(cluster.master).subscribed()
        address = agent_address(scout.offers()[0])
        scout.call("TEARDOWN")
        scout.close()
        found = Target(cluster, address)
        yield found
        found.check()
        found.bystander.close()
        found.framework.close()


# Strategies

odd_numbers = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, -1e308, 5e-324]
)
odd_texts = st.sampled_from(
    ["", "x", ".", "..", "/", "a/b", "\0", "é", "\ud800", "x" * 300, "*", "-1", "1e400", "NaN"]
)
anything = st.recursive(
    st.none() | st.booleans() | odd_numbers | odd_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=6,
)


def values(kind: str, depth: int) -> st.SearchStrategy[Any]:
    """Mostly what a field expects, odd of its kind; now and then something else."""
    if kind in ENUMS:
        fitting: st.SearchStrategy[Any] = st.sampled_from(sorted(ENUMS[kind]))
    elif kind in MESSAGES:
        fitting = messages(kind, depth - 1) if depth > 0 else st.just({})
    elif kind == "string":
        fitting = odd_texts
    elif kind == "bytes":
        fitting = st.sampled_from(["", "AAAAAAAAAAAAAAAAAAAAAA==", "eA==", "*", "A"])
    elif kind == "bool":
        fitting = st.booleans()
    else:
        fitting = odd_numbers
    return st.integers(0, 19).flatmap(lambda dice: anything if dice == 0 else fitting)


def messages(name: str, depth: int = 6) -> st.SearchStrategy[Json]:
    """A message of the schema with some of its fields; the required ones nearly always."""
    optional, required = {}, {}
    for field in fields_of(name):
        strategy = st.deferred(lambda kind=field.kind: values(kind, depth))
        if field.label == "*":
            strategy = st.lists(strategy, max_size=2)
        (required if field.label == "!" else optional)[field.name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


TARGETS = [
    ("master", "/api/v1/scheduler", "scheduler.Call"),
    ("master", "/api/v1", "master.Call"),
    ("agent", "/api/v1/executor", "executor.Call"),
    ("agent", "/api/v1", "agent.Call"),
]


def known(name: str) -> str:
    """The schema's name, whatever it is called there."""
    found = [one for one in MESSAGES if one.lower() == name.lower()]
    return found[0] if found else "scheduler.Call"


def send(target: Target, where: str, path: str, body: bytes, headers: Json | None = None) -> int:
    given_headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    connection = Connection(getattr(target, where))
    try:
        connection.socket.settimeout(10)
        connection.send("POST", path, body, given_headers)
        status, _, _ = connection.head()
        return status
    finally:
        connection.close()


# Calls


def calls_of_any_shape(target: Target, where: str, path: str, call: Any) -> None:
    assert send(target, where, path, dumped(call)) in ANSWERS


@pytest.mark.parametrize(("where", "path", "name"), TARGETS)
def test_calls_of_any_shape(target: Target, where: str, path: str, name: str) -> None:
    strategy = messages(known(name)) | anything
    quick(given(strategy)(lambda call: calls_of_any_shape(target, where, path, call)))()
    target.check()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("where", "path", "name"), TARGETS)
def test_calls_of_any_shape_at_length(target: Target, where: str, path: str, name: str) -> None:
    strategy = messages(known(name)) | anything
    long(given(strategy)(lambda call: calls_of_any_shape(target, where, path, call)))()
    target.check()


def a_framework_call(target: Target, kind: str, payload: Any) -> None:
    one = target.again()
    if kind == "ACCEPT" and isinstance(payload, dict):
        one.stream.poll(0)
        offers = [event for event in one.stream.events if event["type"] == "OFFERS"]
        if offers:
            payload = {**payload, "offer_ids": [offers[-1]["offers"]["offers"][0]["id"]]}
            for operation in payload.get("operations") or []:
                launch = operation.get("launch") if isinstance(operation, dict) else None
                infos = launch.get("task_infos") if isinstance(launch, dict) else None
                for info in infos if isinstance(infos, list) else []:
                    if isinstance(info, dict):
                        info["agent_id"] = offers[-1]["offers"]["offers"][0]["agent_id"]
    call = {"type": kind, "framework_id": {"value": one.id}, kind.lower(): payload}
    assert (
        send(target, "master", "/api/v1/scheduler", dumped(call), {"Mesos-Stream-Id": one.stream_id})
        in ANSWERS
    )
    with contextlib.suppress(AssertionError):
        one.stream.poll(0)


PAYLOADS = {
    field.name.upper(): field.kind
    for field in fields_of("scheduler.Call")
    if field.name.upper() in ENUMS["SchedulerCall"]
}


def framework_calls() -> st.SearchStrategy[tuple[str, Any]]:
    return st.sampled_from(sorted(PAYLOADS)).flatmap(
        lambda kind: st.tuples(
            st.just(kind), messages(PAYLOADS[kind]) if PAYLOADS[kind] in MESSAGES else anything
        )
    )


def test_a_subscribed_framework_says_odd_things(target: Target) -> None:
    quick(given(framework_calls())(lambda pair: a_framework_call(target, *pair)))()
    target.check()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_subscribed_framework_says_odd_things_at_length(target: Target) -> None:
    settings(long, max_examples=2000)(
        given(framework_calls())(lambda pair: a_framework_call(target, *pair))
    )()
    target.check()


# Bytes

wire = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(lambda data: b"POST /api/v1/scheduler HTTP/1.1\r\n" + data + b"\r\n\r\n"),
    st.binary(max_size=60).map(
        lambda data: (
            b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(data) + data
        )
    ),
    st.binary(max_size=60).map(
        lambda data: (
            b"POST /api/v1 HTTP/1.1\r\nContent-Type: application/recordio\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + data
        )
    ),
    st.sampled_from(
        ["/files/read?path=", "/files/browse?path=", "/master/state?x=", "/tasks?limit=", "/%"]
    ).flatmap(
        lambda path: st.text(max_size=20).map(
            lambda text: f"GET {path}{text} HTTP/1.1\r\nHost: x\r\n\r\n".encode("utf-8", "replace")
        )
    ),
)


def raw_bytes(target: Target, where: str, data: bytes) -> None:
    host, port = getattr(target, where).rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        with contextlib.suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                answer += piece
    if answer:
        assert answer.startswith(b"HTTP/1.1 ")
        assert int(answer[9:12]) in ANSWERS, answer[:300]


@pytest.mark.parametrize("where", ["master", "agent"])
def test_any_bytes(target: Target, where: str) -> None:
    """What was half-closed is answered or closed, not left open."""
    quick(given(wire)(lambda data: raw_bytes(target, where, data)))()
    target.check()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", ["master", "agent"])
def test_any_bytes_at_length(target: Target, where: str) -> None:
    long(given(wire)(lambda data: raw_bytes(target, where, data)))()
    target.check()


def test_recordio_is_no_request(target: Target) -> None:
    """RecordIO goes from Mesos to its clients, never the other way."""
    body = encode(b'{"type": "SUBSCRIBE"}')
    for path in ("/api/v1/scheduler", "/api/v1"):
        answer = request(target.master, "POST", path, body, {"Content-Type": "application/recordio"})
        assert answer.status in (415, 501)
        answer = request(target.master, "POST", path, body, {"Content-Type": "application/json"})
        assert answer.status == 400
    target.check()


@pytest.mark.parametrize(
    "number",
    ["1e999", "-1e999", "1" * 400, "1" * 5000, "-" + "9" * 400, "0.0000000000000001e-400", "1e1000000000"],
)
@pytest.mark.parametrize("field", ["refuse_seconds", "failover_timeout", "nanoseconds", "cpus"])
def test_numbers_that_no_double_holds(target: Target, field: str, number: str) -> None:
    one = target.again()
    head = f'"framework_id": {{"value": "{one.id}"}}'
    bodies = {
        "refuse_seconds": f'{{"type": "DECLINE", {head}, "decline": {{"offer_ids": [], "filters": '
        f'{{"refuse_seconds": {number}}}}}}}',
        "failover_timeout": f'{{"type": "UPDATE_FRAMEWORK", {head}, "update_framework": {{"framework_info": {{"user": '
        f'"root", "name": "fuzzed", "id": {{"value": "{one.id}"}}, "failover_timeout": {number}}}}}}}',
        "nanoseconds": f'{{"type": "KILL", {head}, "kill": {{"task_id": {{"value": "x"}}, "kill_policy": '
        f'{{"grace_period": {{"nanoseconds": {number}}}}}}}}}',
        "cpus": f'{{"type": "REQUEST", {head}, "request": {{"requests": [{{"resources": [{{"name": "cpus", '
        f'"type": "SCALAR", "scalar": {{"value": {number}}}}}]}}]}}}}',
    }
    headers = {"Mesos-Stream-Id": one.stream_id}
    assert send(target, "master", "/api/v1/scheduler", bodies[field].encode(), headers) in ANSWERS
    target.check()


# Clients that are slow, or gone


def test_slow_and_silent_clients_keep_nobody_waiting(target: Target) -> None:
    """Fifty that send a byte now and then, and fifty that send half a request and nothing more."""
    host, port = target.master.rsplit(":", 1)
    body = b'{"type": "GET_HEALTH"}'
    whole = (
        b"POST /api/v1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    clients = [socket.create_connection((host, int(port)), timeout=10) for _ in range(100)]
    try:
        for client in clients[50:]:
            client.sendall(whole[: len(whole) // 2])
        for start in range(0, len(whole), 20):
            for client in clients[:50]:
                client.sendall(whole[start : start + 20])
            target.check()
        for client in clients[:50]:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for client in clients:
            client.close()
    target.check()


def test_a_subscriber_that_never_reads_holds_up_nobody(target: Target) -> None:
    deaf = Framework(target.master, name="deaf")
    deaf.stream.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.subscribed()
    call = {"tasks": [{"task_id": {"value": "x" * 1000}} for _ in range(500)]}
    for _ in range(10):
        deaf.call("RECONCILE", call)
    target.check()
    deaf.close()
    target.check()


def test_half_closed_and_reset_connections(target: Target) -> None:
    host, port = target.master.rsplit(":", 1)

    def reset() -> None:
        client = socket.create_connection((host, int(port)), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        client.close()

    threads = [threading.Thread(target=reset) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one = Framework(target.master, name="half").subscribed()
    one.stream.connection.socket.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 5
    while one.call("REQUEST", {"requests": []}, expect=None).status == 202:
        assert time.monotonic() < deadline
    one.close()
    target.check()


def test_nobody_poses_as_an_agent(target: Target) -> None:
    for secret in ("", "wrong", "\xff"):
        answer = request(target.master, "POST", "/localmesos/link", b"", {"X-Localmesos-Secret": secret})
        assert answer.status == 403
    target.check()
