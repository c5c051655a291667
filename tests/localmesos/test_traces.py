"""Recorded exchanges of a real Mesos 1.12, played to the embedded one; a page of the docs lists what differs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.localmesos.client import Connection, Framework, Json, Stream, agent_address, encoded, request, task
from tests.localmesos.conftest import executor_info
from tests.localmesos.traces import TRACES

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
Make = Callable[..., Framework]


@cache
def index(folder: str) -> dict[str, Json]:
    path = TRACES / folder / "index.jsonl"
    return {one["file"]: one for one in map(json.loads, path.read_text().splitlines()) if "file" in one}


@cache
def events(folder: str, name: str) -> list[Json]:
    lines = (TRACES / folder / f"{name}.events.jsonl").read_text().splitlines()
    return [one["event"] for one in map(json.loads, lines) if one.get("event")]


@cache
def known_differences() -> dict[str, str]:
    text = (Path(__file__).parents[2] / "docs" / "embedded-mesos-differences.md").read_text()
    return {m[1]: m[2] for m in re.finditer(r"^\| `([^`]+)` \| (.+) \|$", text, re.MULTILINE)}


def raw_request(folder: str, name: str) -> bytes:
    return (TRACES / folder / f"{name}.request.http").read_bytes()


def raw_response(folder: str, name: str) -> bytes:
    return (TRACES / folder / f"{name}.response.http").read_bytes()


def head_of(raw: bytes) -> tuple[str, list[str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, [line.split(":")[0] for line in lines], body


def play(address: str, request: bytes) -> bytes:
    """Send bytes; give the first response's bytes."""
    connection = Connection(address)
    try:
        connection.socket.sendall(request)
        while b"\r\n\r\n" not in connection.buffer:
            assert connection.fill(), connection.buffer
        head = connection.buffer.partition(b"\r\n\r\n")[0]
        length = re.search(rb"Content-Length: (\d+)", head)
        if length is None:
            return connection.buffer
        wanted = len(head) + 4 + int(length[1])
        while len(connection.buffer) < wanted:
            assert connection.fill()
        return connection.buffer[:wanted]
    finally:
        connection.close()


def with_body(request: bytes, old: str, new: str) -> bytes:
    """Replace text in a request, and its Content-Length with it."""
    head, _, body = request.partition(b"\r\n\r\n")
    if b"chunked" in head:
        return request.replace(old.encode(), new.encode())
    changed = body.replace(old.encode(), new.encode())
    head = head.replace(old.encode(), new.encode())
    head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(changed), head)
    return head + b"\r\n\r\n" + changed


PLAIN = [
    name
    for name, one in index("scheduler-errors").items()
    if not one.get("stream") and int(name[:3]) <= 62 and name != "061-subscribe-unknown-id-teardown"
]


@pytest.mark.parametrize("name", PLAIN)
def test_scheduler_errors(framework: Make, name: str) -> None:
    difference = known_differences().get(f"scheduler-errors/{name}")
    if difference is not None:
        pytest.skip(difference)
    folder = "scheduler-errors"
    subscribed = events(folder, "001-err-base-subscribe")[0]
    old_id = subscribed["subscribed"]["framework_id"]["value"]
    old_stream = next(
        v for k, v in index(folder)["001-err-base-subscribe"]["headers"] if k == "Mesos-Stream-Id"
    )
    one = framework(capabilities=())
    wire = with_body(raw_request(folder, name), old_id, one.id)
    # A chunked request's size line counts bytes, so the new id must be as long as the old one.
    assert len(old_id) == len(one.id)
    wire = wire.replace(old_stream.encode(), one.stream_id.encode())
    status, headers, body = head_of(play(one.master, wire))
    wanted, wanted_headers, wanted_body = head_of(raw_response(folder, name))
    assert (status, body.decode()) == (wanted, wanted_body.decode().replace(old_id, one.id))
    assert headers == wanted_headers


SUBSCRIPTIONS = [
    name
    for name, one in index("scheduler-errors").items()
    if one.get("stream") and name != "001-err-base-subscribe" and not name.startswith("060")
]


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_refused_and_odd_subscriptions(master: str, name: str) -> None:
    folder = "scheduler-errors"
    wanted, wanted_headers, wanted_body = head_of(raw_response(folder, name))
    if " 200 " not in wanted:
        status, headers, body = head_of(play(master, raw_request(folder, name)))
        assert (status, headers, body) == (wanted, wanted_headers, wanted_body)
        return
    stream = Stream(
        master, "/api/v1/scheduler", json.loads(raw_request(folder, name).partition(b"\r\n\r\n")[2])
    )
    assert [key for key, _ in stream.headers] == wanted_headers
    first = events(folder, name)[0]
    found = stream.next(first["type"])
    if first["type"] == "ERROR":
        assert found == first
        stream.end()
    else:
        assert shape(found) == shape(first)
    stream.close()


def shape(value: Any) -> Any:
    """Field names in their order, and types; ids, times and numbers aside."""
    if isinstance(value, dict):
        return [(key, shape(one)) for key, one in value.items()]
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


LAUNCHES = [
    name
    for name, one in index("scheduler-errors").items()
    if int(name[:3]) >= 64
    and json.loads(one["request"]["body"] or "{}").get("type") == "ACCEPT"
    and one["status"] == 202
    and name not in ("066-accept-used-offer", "118-dup-second", "120-dup-reuse")  # each needs the one before
]


@pytest.mark.parametrize("name", LAUNCHES)
def test_launches(framework: Make, name: str) -> None:
    """One task a recorded ACCEPT: its first update has the recorded state, message, reason and fields."""
    folder = "scheduler-errors"
    accept = json.loads(index(folder)[name]["request"]["body"])["accept"]
    infos = [info for operation in accept["operations"] for info in operation["launch"]["task_infos"]]
    task_id = infos[0]["task_id"]["value"]
    recorded = next(
        event["update"]["status"]
        for event in events(folder, "001-err-base-subscribe")
        if event["type"] == "UPDATE" and event["update"]["status"]["task_id"]["value"] == task_id
    )
    one = framework(capabilities=())
    offer = one.offers(2)[0]
    for info in infos:
        if info["agent_id"]["value"] != "other-agent":
            info["agent_id"] = offer["agent_id"]
    if accept["offer_ids"][0]["value"] != "no-such-offer":
        accept["offer_ids"] = [offer["id"]]
    one.call("ACCEPT", accept)
    status = one.update()
    assert shape(status) == shape(recorded)
    for key in ("state", "source", "reason"):
        assert status.get(key) == recorded.get(key)
    assert normal(status.get("message", "")) == normal(recorded.get("message", ""))


def normal(text: str) -> str:
    """A message without what differs between clusters: ids, and sizes of what was offered."""
    return re.sub(r"\[3\d\d\d\d-3\d\d\d\d\]|disk\(allocated: \*\):\d+", "_", UUID.sub("ID", text)).replace(
        "-S1", "-S0"
    )


def test_happy_events_have_the_recorded_fields(framework: Make) -> None:
    recorded = events("scheduler-happy", "001-subscribe")
    one = framework()
    offers = next(event for event in recorded if event["type"] == "OFFERS")
    mine = one.stream.next("OFFERS")
    assert shape(mine["offers"]["offers"][0]) == shape(offers["offers"]["offers"][0])
    raw = [json.dumps(event, separators=(",", ":")) for event in recorded if event["type"] == "SUBSCRIBED"]
    assert len(raw) == 1
    again = Framework(one.master)
    first = again.stream.next("SUBSCRIBED")
    assert shape(first) == shape(recorded[0])
    # One record is one chunk, and HEARTBEAT comes at once.
    again.stream.next("HEARTBEAT")
    assert again.stream.chunks[1] == b'20\n{"type":"HEARTBEAT"}'
    again.id = first["subscribed"]["framework_id"]["value"]
    again.call("TEARDOWN")
    again.close()


OPERATOR = [
    ("002-master-get-state", "/state"),
    ("006-master-get-master_slaves", "/master/slaves"),
    ("008-master-get-master_frameworks", "/master/frameworks"),
    ("010-master-get-master_tasks", "/master/tasks"),
    ("021-master-get-master_health", "/master/health"),
    ("023-master-get-version", "/version"),
    ("024-master-get-master_version", "/master/version"),
    ("003-master-get-state.json", "/state.json"),
    ("047-master-v1-GET_HEALTH", "GET_HEALTH"),
    ("049-master-v1-GET_VERSION", "GET_VERSION"),
    ("053-master-v1-GET_STATE", "GET_STATE"),
    ("054-master-v1-GET_AGENTS", "GET_AGENTS"),
    ("055-master-v1-GET_FRAMEWORKS", "GET_FRAMEWORKS"),
    ("058-master-v1-GET_TASKS", "GET_TASKS"),
    ("061-master-v1-GET_MASTER", "GET_MASTER"),
    ("052-master-v1-LIST_FILES", "LIST_FILES"),
    ("066-master-v1-TEARDOWN", "TEARDOWN"),
    ("069-master-v1-unknown", "bad"),
    ("070-master-v1-UNKNOWN", "UNKNOWN"),
    ("071-master-v1-empty", "empty"),
    ("072-master-v1-malformed", "malformed"),
    ("073-master-v1-no-ct", "no type"),
    ("074-master-v1-text", "text"),
    ("075-master-v1-bad-accept", "accept"),
    ("076-master-v1-no-accept", "no accept"),
    ("078-master-v1-get", "GET"),
    ("079-master-v1-master-prefix", "prefix"),
]


@pytest.mark.parametrize("name", [name for name, _ in OPERATOR])
def test_operator_answers(framework: Make, name: str) -> None:
    """Status and headers as recorded; every field of ours is a recorded one, of its type."""
    one = framework()
    one.run("sleep 100")
    one.until("TASK_RUNNING")
    status, headers, body = head_of(play(one.master, raw_request("operator", name)))
    wanted, wanted_headers, wanted_body = head_of(raw_response("operator", name))
    assert (status, headers) == (wanted, wanted_headers)
    try:
        theirs = json.loads(wanted_body)
    except ValueError:
        assert body == wanted_body
        return
    fits(json.loads(body), theirs, name)


def fits(mine: Any, theirs: Any, where: str) -> None:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        common = [key for key in theirs if key in mine]
        assert [key for key in mine if key in theirs] == common, f"order in {where}"
        for key in common:
            fits(mine[key], theirs[key], f"{where}.{key}")
        strange = set(mine) - set(theirs) - {"executor_id", "reregistered_time", "discovery", "role", "roles"}
        assert not strange or where.endswith(("flags", "attributes", "resources")), f"{where}: {strange}"
    elif isinstance(mine, list) and isinstance(theirs, list):
        if mine and theirs:
            first = mine[0]
            alike = [one for one in theirs if isinstance(first, dict) and set(first) <= set(one)]
            fits(first, alike[0] if alike else max(theirs, key=lambda one: len(str(one))), f"{where}[0]")
    else:
        assert type(mine) is type(theirs), where


EXECUTOR = [
    name for name, one in index("executor-ex1").items() if not one.get("stream") and int(name[:3]) <= 26
]


@pytest.mark.parametrize("name", EXECUTOR)
def test_executor_api(framework: Make, name: str) -> None:
    """A recorded executor's calls, made to an agent in the name of an executor that is (or is not yet) registered."""
    folder = "executor-ex1"
    one = framework()
    offer = one.offers()[0]
    flags = ("mute",) if name.startswith("001") else ()
    one.accept(offer, [task("x1", offer, executor=executor_info("ex1", *flags), data=encoded("run"))])
    if flags:
        time.sleep(0.2)
    else:
        one.until("TASK_RUNNING", "x1")
    old_id = index(folder)["022-update-no-timestamp"]["request"]["body"]
    old_id = json.loads(old_id)["framework_id"]["value"]
    wire = with_body(raw_request(folder, name), old_id, one.id)
    status, headers, body = head_of(play(agent_address(offer), wire))
    wanted, wanted_headers, wanted_body = head_of(raw_response(folder, name))
    assert (status, body.decode()) == (wanted, wanted_body.decode().replace(old_id, one.id))
    assert headers == wanted_headers


def test_executor_stream_and_environment(framework: Make) -> None:
    """SUBSCRIBED and LAUNCH have the recorded fields in their order; the environment has the recorded names."""
    one = framework(checkpoint=True, capabilities=("MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE"))
    recorded = events("executor-ex1", "013-subscribe")
    launch = next(event for event in recorded if event["type"] == "LAUNCH")["launch"]["task"]
    info = {key: value for key, value in deepcopy(launch["executor"]).items() if key != "framework_id"}
    info["command"] = {**info["command"], "value": "env > e && mv e environment; sleep 100"}
    for item in info["resources"]:
        del item["allocation_info"]
    offer = one.offers()[0]
    one.accept(offer, [task("x1", offer, executor=info, data=launch["data"])])
    agent = agent_address(offer)
    path = f"/frameworks/{one.id}/executors/ex1/runs/latest/environment"
    deadline = time.monotonic() + 5
    while not (text := request(agent, "GET", f"/files/read?path={path}&offset=0")).body.endswith(
        b'"offset":0}'
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    names = {line.partition("=")[0] for line in text.json()["data"].splitlines()}
    theirs = json.loads((TRACES / "executor-ex1/environment.json").read_text())
    # LC_CTYPE is Python's own doing, and OLDPWD and _ some shells'.
    assert names - {"_", "OLDPWD"} == set(theirs) - {"LC_CTYPE"}
    call = {
        "type": "SUBSCRIBE",
        "subscribe": {},
        "executor_id": {"value": "ex1"},
        "framework_id": {"value": one.id},
    }
    stream = Stream(agent, "/api/v1/executor", call)
    assert [key for key, _ in stream.headers] == ["Date", "Transfer-Encoding", "Content-Type"]
    subscribed = stream.next("SUBSCRIBED")
    subscribed["subscribed"]["framework_info"].pop("labels", None)
    assert shape(subscribed) == shape(recorded[0])
    assert shape(stream.next("LAUNCH")["launch"]["task"]) == shape(launch)
    stream.close()


FILES = [
    name
    for name, one in index("files").items()
    if 3 <= int(name[:3]) <= 46 and one["request"]["host"].endswith(("5051", "5052")) and "debug" not in name
]


@pytest.fixture(scope="module")
def quick(cluster: Any) -> Any:
    """The recorded task `quick`: its sandbox is browsed."""
    recorded = index("operator-scheduler-side").values()
    bodies = [json.loads(one["request"]["body"] or "{}") for one in recorded if "request" in one]
    infos = [
        info
        for body in bodies
        for operation in body.get("accept", {}).get("operations", [])
        for info in operation.get("launch", {}).get("task_infos", [])
        if info["task_id"]["value"] == "quick"
    ]
    one = Framework(cluster.master).subscribed()
    offer = one.offers()[0]
    infos[0]["agent_id"] = offer["agent_id"]
    one.accept(offer, infos)
    one.until("TASK_FINISHED", "quick")
    agent = agent_address(offer)
    attached = request(agent, "GET", "/files/debug").json()
    yield one, agent, attached[f"/frameworks/{one.id}/executors/quick/runs/latest"]
    one.call("TEARDOWN")
    one.close()


@pytest.mark.parametrize("name", FILES)
def test_files(quick: Any, name: str) -> None:
    difference = known_differences().get(f"files/{name}")
    if difference is not None:
        pytest.skip(difference)
    one, agent, directory = quick
    old = json.loads((TRACES / "files/041-debug.body.json").read_text())
    virtual = next(key for key in old if "/executors/quick/" in key)
    old_framework = virtual.split("/")[2]
    wire = raw_request("files", name)
    head, _, body = wire.partition(b"\r\n\r\n")
    first, rest = head.split(b"\r\n", 1)
    from urllib.parse import quote

    for before, after in ((old[virtual], directory), (old_framework, one.id)):
        for form in (str, lambda text: quote(text, safe="")):
            first = first.replace(form(before).encode(), form(after).encode())
        body = body.replace(before.encode(), after.encode())
    rest = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), rest)
    status, headers, mine = head_of(play(agent, first + b"\r\n" + rest + b"\r\n\r\n" + body))
    wanted, wanted_headers, theirs = head_of(raw_response("files", name))
    assert (status, headers) == (wanted, wanted_headers)
    if theirs[:1] in (b"[", b"{"):
        if theirs[:1] == b"{" and b'"data"' in theirs and b"to-out" not in theirs:
            assert mine == theirs
        else:
            fits(json.loads(mine), json.loads(theirs), name)
    elif not theirs.startswith(b"cb("):
        assert mine.decode() == theirs.decode().replace(old[virtual], directory)
