"""The schema of v1 messages: strict, in Mesos's words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2notebook.localmesos.v1 import schema

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
