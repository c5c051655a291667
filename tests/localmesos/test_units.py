"""Resources, allocator, filters, RecordIO, HTTP, schema, update streams: the rules, on any input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2notebook.localmesos.agent.state.status_update_manager import StatusUpdateManager
from t2notebook.localmesos.common.durations import duration
from t2notebook.localmesos.common.resources import ResourceError, Resources, check
from t2notebook.localmesos.http import http1
from t2notebook.localmesos.http.recordio import Decoder, RecordError, encode
from t2notebook.localmesos.master.allocator.hierarchical import Allocator, refuse_duration
from t2notebook.localmesos.v1 import schema, text_format

amounts = st.integers(0, 10**7).map(lambda n: n / 1000)
spans = st.lists(
    st.tuples(st.integers(1, 300), st.integers(0, 40)).map(lambda t: (t[0], t[0] + t[1])), max_size=6
)
bags = st.builds(
    lambda cpus, mem, ports: Resources.of(cpus=cpus, mem=mem, ports=ports),
    cpus=amounts,
    mem=amounts,
    ports=spans,
)


def ports(bag: Resources) -> set[int]:
    return {port for begin, end in bag.ranges.get("ports", ()) for port in range(begin, end + 1)}


@given(bags, bags)
def test_sum_contains_its_parts_and_difference_undoes(a: Resources, b: Resources) -> None:
    total = a + b
    assert total.contains(a)
    assert total.contains(b)
    assert ports(total) == ports(a) | ports(b)
    assert ports(a - b) == ports(a) - ports(b)
    if not ports(a) & ports(b):
        assert total - b == a
        assert total - a == b


@given(bags, bags)
def test_contains_is_what_subtraction_can_do(a: Resources, b: Resources) -> None:
    scalars = all(a.scalars.get(name, 0) >= value for name, value in b.scalars.items())
    assert a.contains(b) == (scalars and ports(b) <= ports(a))
    if a.contains(b):
        assert (a - b) + b == a


@given(bags)
def test_json_round_trip(a: Resources) -> None:
    assert Resources.from_json(a.to_json("*", allocated="*")) == a
    assert Resources.from_json(json.loads(json.dumps(a.to_json()))) == a


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7]), max_size=60))
def test_no_dust(parts: list[float]) -> None:
    """0.1 + 0.2 - 0.3 is nothing at all, however often."""
    total = Resources()
    for part in parts:
        total = total + Resources.of(cpus=part)
    for part in parts:
        total = total - Resources.of(cpus=part)
    assert not total


def test_reserved_resources_are_not_in_an_offer() -> None:
    item = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}, "reservations": [{"role": "a"}]}
    assert not Resources.of(cpus=4).contains(Resources.from_json([item]))


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_odd_scalars_are_refused(value: float) -> None:
    with pytest.raises(ResourceError):
        check([{"name": "cpus", "type": "SCALAR", "scalar": {"value": value}}])


# RecordIO


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 9), max_size=200))
def test_recordio_in_any_pieces(records: list[bytes], cuts: list[int]) -> None:
    data = b"".join(encode(record) for record in records)
    decoder, found = Decoder(), []
    for cut in [*cuts, len(data) + 1]:
        found += decoder.feed(data[:cut])
        data = data[cut:]
    assert found == records


@given(st.binary(min_size=1, max_size=60))
def test_recordio_refuses_or_waits(data: bytes) -> None:
    decoder = Decoder(max_record=1000)
    try:
        decoder.feed(data)
    except RecordError:
        with pytest.raises(RecordError):
            decoder.feed(b"")


# HTTP


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 50), st.booleans())
def test_http_requests_in_any_pieces(bodies: list[bytes], size: int, chunked: bool) -> None:
    wire = b""
    for body in bodies:
        if chunked:
            wire += b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            wire += (http1.chunk(body) if body else b"") + http1.chunk(b"")
        else:
            wire += b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    parser, found = http1.RequestParser(), []
    for start in range(0, len(wire), size):
        found += parser.feed(wire[start : start + size])
    assert [request.body for request in found] == bodies
    assert parser.idle


@given(st.binary(max_size=300))
def test_http_never_breaks_otherwise_than_by_its_error(data: bytes) -> None:
    try:
        http1.RequestParser().feed(data + b"\r\n\r\n")
    except http1.ProtocolError as error:
        assert error.status in (400, 413)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nContent-Length: +5",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"POST / HTTP/2.0",
        b"nonsense",
        b"GET / HTTP/1.1\r\n folded: x",
    ],
)
def test_http_refuses(head: bytes) -> None:
    with pytest.raises(http1.ProtocolError):
        http1.RequestParser().feed(head + b"\r\n\r\n")


def test_http_refuses_great_bodies() -> None:
    with pytest.raises(http1.ProtocolError) as caught:
        http1.RequestParser().feed(b"POST / HTTP/1.1\r\nContent-Length: 104857601\r\n\r\n")
    assert caught.value.status == 413


def test_http_heads_that_repeat_make_requests_of_their_own() -> None:
    """A head is parsed once, but who changes one request must not change the next."""
    parser = http1.RequestParser()
    wire = b"GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
    first, second = parser.feed(wire + wire)
    assert first == second
    assert (second.path, second.query, second.headers) == ("/a b", {"x": "1"}, {"host": "h"})
    first.headers["host"] = first.query["x"] = "changed"
    (third,) = parser.feed(wire)
    assert third == second


def test_http_remembers_few_heads() -> None:
    parser = http1.RequestParser()
    for number in range(10 * http1.REMEMBERED_HEADS):
        (request,) = parser.feed(b"GET /%d HTTP/1.1\r\n\r\n" % number)
        assert request.path == f"/{number}"
    assert len(parser._known) <= http1.REMEMBERED_HEADS


# Schema

FIELDS = [
    "type",
    "framework_id",
    "value",
    "subscribe",
    "framework_info",
    "user",
    "name",
    "accept",
    "offer_ids",
    "operations",
    "launch",
    "task_infos",
    "resources",
    "scalar",
    "filters",
    "refuse_seconds",
    "acknowledge",
    "uuid",
    "kill",
    "task_id",
    "capabilities",
    "ranges",
    "range",
    "begin",
    "end",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300)
@given(json_values)
def test_schema_takes_or_refuses_anything(value: object) -> None:
    try:
        call = schema.parse("scheduler.Call", value)
    except schema.SchemaError:
        return
    assert list(call) == [field.name for field in schema.fields_of("scheduler.Call") if field.name in call]
    assert schema.parse("scheduler.Call", call) == call


@pytest.mark.parametrize(
    ("message", "value", "text"),
    [
        (
            "TaskInfo",
            {"name": 1, "data": "%"},
            "Failed to base64 decode bytes field 'data': Invalid character '%'",
        ),
        (
            "TaskInfo",
            {"name": "n", "data": "A"},
            "Failed to base64 decode bytes field 'data': Invalid length",
        ),
        ("TaskInfo", {"task_id": [{}], "name": 1}, "Not expecting a JSON number for field 'name'"),
        ("TaskInfo", {"task_id": [{"value": "a"}]}, "Not expecting a JSON array for field 'task_id'"),
        ("TaskInfo", {"resources": [[]]}, "Not expecting a JSON array for field 'resources'"),
        ("Uri", {"value": "v", "cache": 1}, "Not expecting a JSON number for field 'cache'"),
        ("Scalar", {"value": True}, "Not expecting a JSON boolean for field 'value'"),
        ("Scalar", {"value": "x"}, "Failed to parse 'x' as a JSON number for field 'value'"),
        ("Range", {"begin": 1e400}, "Failed to parse 'inf' as a JSON number"),
        (
            "TaskInfo",
            {"resources": [{"name": "cpus", "type": "SCALAR"}, {"scalar": {}}], "agent_id": {}},
            "Missing required fields: name, task_id, agent_id.value, resources[1].name, resources[1].type, "
            "resources[1].scalar.value",
        ),
    ],
)
def test_schema_says_what_mesos_says(message: str, value: object, text: str) -> None:
    """Of two faults the first by name; what is missing, all at once, in the order of the declaration."""
    with pytest.raises(schema.SchemaError) as caught:
        schema.parse(message, value)
    assert str(caught.value) == text


@given(st.binary(max_size=100))
def test_json_errors_are_schema_errors(body: bytes) -> None:
    try:
        schema.load_json(body)
    except schema.SchemaError:
        pass


def test_json_is_strict() -> None:
    for body in (b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"{} {}", b"\xff"):
        with pytest.raises(schema.SchemaError):
            schema.load_json(body)


# Allocator


def grown(frameworks: int = 2, agents: int = 2) -> Allocator:
    one = Allocator(seed=1)
    for n in range(agents):
        one.add_agent(f"a{n}", Resources.of(cpus=4, mem=4096))
    for n in range(frameworks):
        one.add_framework(f"f{n}", ["*"], gpus=False, suppressed=[])
    return one


def test_smallest_share_is_served_first() -> None:
    one = grown()
    grants = one.allocate(0.0)
    assert {grant.framework_id for grant in grants} == {"f0", "f1"}
    assert all(grant.resources == Resources.of(cpus=4, mem=4096) for grant in grants)
    assert one.allocate(0.0) == []


def test_filters_hide_subsets_until_they_end() -> None:
    one = grown(frameworks=1, agents=1)
    (grant,) = one.allocate(0.0)
    half = Resources.of(cpus=2, mem=2048)
    one.recover("f0", "*", "a0", half, now=0.0, refuse=5.0)
    assert one.allocate(1.0) == []
    # The rest comes back, too: together they are more than what was refused.
    one.recover("f0", "*", "a0", grant.resources - half, now=1.0, refuse=5.0)
    (again,) = one.allocate(1.5)
    assert again.resources == grant.resources
    one.recover("f0", "*", "a0", again.resources, now=2.0, refuse=5.0)
    assert one.allocate(6.9) == []
    assert len(one.allocate(7.0)) == 1


def test_revive_clears_filters_and_suppression() -> None:
    one = grown(frameworks=1, agents=1)
    (grant,) = one.allocate(0.0)
    one.suppress("f0", ["*"])
    one.recover("f0", "*", "a0", grant.resources, now=0.0, refuse=1000.0)
    assert one.allocate(1.0) == []
    one.revive("f0", ["*"])
    assert len(one.allocate(1.0)) == 1


@pytest.mark.parametrize(
    ("asked", "holds"), [(None, 5.0), (-1.0, 5.0), (0.0, 0.0), (0.2, 1.0), (7.0, 7.0), (1e12, 365 * 86400.0)]
)
def test_refuse_seconds(asked: float | None, holds: float) -> None:
    assert refuse_duration(asked) == holds


def test_gpus_only_for_who_can() -> None:
    one = Allocator(seed=1)
    one.add_agent("a", Resources.of(cpus=4, mem=4096, gpus=1))
    one.add_framework("f", ["*"], gpus=False, suppressed=[])
    assert one.allocate(0.0) == []
    one.add_framework("g", ["*"], gpus=True, suppressed=[])
    assert [grant.framework_id for grant in one.allocate(0.0)] == ["g"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), amounts), max_size=30))
def test_nothing_is_given_twice(steps: list[tuple[int, int, float]]) -> None:
    """Whatever is taken and given back: offered plus free is what there is."""
    one = grown(frameworks=3, agents=2)
    held: list[tuple[str, str, Resources]] = []
    for now, (who, what, refuse) in enumerate(steps):
        if what == 0:
            held += [
                (grant.framework_id, grant.agent_id, grant.resources) for grant in one.allocate(float(now))
            ]
        elif what == 1 and held:
            framework, agent, resources = held.pop(0)
            one.recover(framework, "*", agent, resources, now=float(now), refuse=refuse)
        elif what == 2:
            one.suppress(f"f{who}", ["*"])
        else:
            one.revive(f"f{who}", ["*"])
        for agent in ("a0", "a1"):
            used = Resources()
            for _, where, resources in held:
                if where == agent:
                    used = used + resources
            assert used + one.free(agent) == Resources.of(cpus=4, mem=4096)


# Status updates

KEY = ("f", "t")


def status(state: str, uuid: str) -> dict[str, object]:
    return {"task_id": {"value": "t"}, "state": state, "uuid": uuid}


def test_one_update_in_flight_and_retries_that_double() -> None:
    one = StatusUpdateManager()
    first = one.add(KEY, status("TASK_STARTING", "1"), 0.0)
    assert first is not None
    assert one.add(KEY, status("TASK_RUNNING", "2"), 0.0) is None
    assert one.add(KEY, status("TASK_FINISHED", "3"), 0.0) is None
    assert one.latest(KEY) == "TASK_FINISHED"
    sent = [now for now in range(2000) if one.due(float(now))]
    assert sent == [10, 30, 70, 150, 310, 630, 1230, 1830]
    assert one.acknowledge(KEY, "2", 0.0) == (False, None)
    done, following = one.acknowledge(KEY, "1", 2000.0)
    assert (done, following and following["uuid"]) == (False, "2")
    assert one.due(2009.9) == []
    assert len(one.due(2010.0)) == 1
    one.acknowledge(KEY, "2", 2011.0)
    assert one.acknowledge(KEY, "3", 2012.0) == (True, None)
    assert one.in_flight() == []


def test_repeated_and_late_updates_are_dropped() -> None:
    one = StatusUpdateManager()
    one.add(KEY, status("TASK_FINISHED", "1"), 0.0)
    assert one.add(KEY, status("TASK_FINISHED", "1"), 0.0) is None
    assert one.add(KEY, status("TASK_RUNNING", "2"), 0.0) is None
    assert one.latest(KEY) == "TASK_FINISHED"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2, "2secs"), (900, "15mins"), (0.25, "250ms"), (3600, "1hrs"), (0, "0ns"), (1.5, "1500ms")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_null_is_no_value() -> None:
    """A field that is null is not set: the mesos-framework of npm writes all its fields."""
    call = {
        "type": "SUBSCRIBE",
        "framework_id": None,
        "subscribe": {"framework_info": {"user": "u", "name": "n"}},
    }
    assert schema.parse("scheduler.Call", call) == schema.parse(
        "scheduler.Call", {**call, "framework_id": None}
    )
    assert "framework_id" not in schema.parse("scheduler.Call", call)
    call["subscribe"]["framework_info"]["user"] = None  # type: ignore[index]
    with pytest.raises(schema.SchemaError, match="Missing required fields"):
        schema.parse("scheduler.Call", call)


def test_text_format() -> None:
    """Fields by number, shortest numbers, defaults of enums left out (`debug_text`)."""
    info = {
        "type": "CUSTOM",
        "executor_id": {"value": 'a"b'},
        "command": {
            "environment": {"variables": [{"name": "A", "type": "VALUE", "value": "1"}]},
            "shell": True,
            "value": "x",
        },
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}],
        "data": "ZGF0YQ==",
    }
    lines = text_format.text("ExecutorInfo", info).splitlines()
    assert [line for line in lines if not line.startswith((" ", "}"))] == [
        "executor_id {",
        'data: "data"',
        "resources {",
        "command {",
        "type: CUSTOM",
    ]
    assert lines[1] == '  value: "a\\"b"'
    assert "    value: 0.1" in lines
    assert not [line for line in lines if "VALUE" in line]
    for number, shown in ((32.0, "32"), (float("inf"), "inf"), (1e300, "1e+300"), (0.5, "0.5")):
        assert text_format.text("Scalar", {"value": number}) == f"value: {shown}\n"
