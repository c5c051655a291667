from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook import SubmitError
from t2notebook.model.job import Placement
from t2notebook.model.placement import (
    Constraint,
    Operator,
    attributes_of,
    attributes_of_agent,
    parse_where,
    value_of,
)

ATTRIBUTES = attributes_of(
    [
        {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
        {"name": "level", "type": "SCALAR", "scalar": {"value": 2.5}},
        {
            "name": "slots",
            "type": "RANGES",
            "ranges": {"range": [{"begin": 1, "end": 5}, {"begin": 9, "end": 9}]},
        },
        {"name": "kinds", "type": "SET", "set": {"item": ["ssd", "hdd"]}},
        {"name": "tag", "type": "TEXT", "text": {"value": "x"}},
        {"name": "tag", "type": "TEXT", "text": {"value": "y"}},
    ]
)


def test_a_where_is_read() -> None:
    assert parse_where(" rack=r1|r2, zone!=b ,unique:hostname,spread:rack") == (
        Constraint(Operator.EQUAL, "rack", ("r1", "r2")),
        Constraint(Operator.NOT_EQUAL, "zone", ("b",)),
        Constraint(Operator.UNIQUE, "hostname"),
        Constraint(Operator.SPREAD, "rack"),
    )
    assert parse_where("") == parse_where("  ") == ()
    assert parse_where("url=http://h:1/a=b")[0].values == ("http://h:1/a=b",)
    assert [str(one) for one in parse_where("rack=r1|r2,zone!=b,unique:rack")] == [
        "rack=r1|r2",
        "zone!=b",
        "unique:rack",
    ]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("rack", "'rack' is no constraint; write rack=r1, rack=r1|r2, rack!=r1, unique:rack or spread:rack"),
        ("=r1", "'=r1' is no constraint; write rack=r1, rack=r1|r2, rack!=r1, unique:rack or spread:rack"),
        (
            "group:rack",
            "'group:rack' is no constraint; write rack=r1, rack=r1|r2, rack!=r1, unique:rack or spread:rack",
        ),
        ("rack=", "'rack=' lacks a value; write rack=r1 or rack=r1|r2"),
        ("rack!=a|", "'rack!=a|' lacks a value; write rack!=r1 or rack!=r1|r2"),
        ("rack=r1,,zone=a", "where is 'rack=r1,,zone=a': a constraint is missing between its commas"),
        ("unique:", "'unique:' names no attribute; write unique:rack or unique:hostname"),
        ("spread:rack=r1", "'spread:rack=r1' names no attribute; write spread:rack or spread:hostname"),
        ("rack==r1", "'rack==r1' has one = too many; write rack=r1"),
        ("note='a,b", """where is "note='a,b": the ' before 'a,b' has no end"""),
        ("note='a'b", """where is "note='a'b": 'b' follows a closing '; a comma is missing"""),
        (
            "note=a,b",
            "'b' is no constraint; write rack=r1, rack=r1|r2, rack!=r1, unique:rack or spread:rack; "
            "a value that has a comma needs quotes of its own: --where 'note=\"a,b\"'",
        ),
        ("note=''", "'note=' lacks a value; write note=r1 or note=r1|r2"),
    ],
)
def test_a_where_that_cannot_be_is_refused_when_the_placement_is_made(where: str, message: str) -> None:
    with pytest.raises(SubmitError, match=f"^{re.escape(message)}$"):
        Placement(where=where)


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ('note="a,b"', [("a,b",)]),
        ("note='a|b'|c", [("a|b", "c")]),
        ("note = 'a,b' , rack != \"x|y\" | 'z'", [("a,b",), ("x|y", "z")]),
        ("note=' spaces '", [(" spaces ",)]),
        ("note='it''s, a'|it's", [("it's, a", "it's")]),
        ("note=\"say 'hi', he said\"", [("say 'hi', he said",)]),
        ("note='unique:rack'", [("unique:rack",)]),
        ("note='='", [("=",)]),
        ("note=5'10\"", [("5'10\"",)]),
        ("url=http://h:1/?q='a", [("http://h:1/?q='a",)]),
    ],
)
def test_values_with_signs_stand_in_quotes(where: str, values: list[tuple[str, ...]]) -> None:
    assert [one.values for one in parse_where(where)] == values


def test_names_may_stand_in_quotes_too() -> None:
    (one, other) = parse_where("'a=b,c'!='d',unique:'a=b,c'")
    assert (one.attribute, one.operator, one.values) == ("a=b,c", Operator.NOT_EQUAL, ("d",))
    assert (other.attribute, other.operator) == ("a=b,c", Operator.UNIQUE)


SIGNS = st.text("ab,|=!:'\" ", min_size=1)
CONSTRAINTS = st.one_of(
    st.builds(
        Constraint,
        st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL]),
        SIGNS.filter(str.strip),
        st.lists(SIGNS, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Constraint, st.sampled_from([Operator.UNIQUE, Operator.SPREAD]), SIGNS.filter(str.strip)),
)


@given(st.lists(CONSTRAINTS, min_size=1, max_size=4))
def test_what_is_written_is_what_is_read(constraints: list[Constraint]) -> None:
    assert parse_where(",".join(map(str, constraints))) == tuple(constraints)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": ("h1", "")}, "nodes is ('h1', ''); one of the names is empty"),
        ({"nodes": "h1,,h2"}, "nodes is 'h1,,h2'; one of the names is empty"),
        ({"nodes": (1,)}, "nodes is (1,); give the host names of agents"),
        ({"where": 3}, "where is 3; give a text such as 'rack=r1,unique:hostname'"),
        ({"gang": 1}, "gang is 1; give True or False"),
        ({"gang_timeout": 0}, "gang_timeout is 0; give seconds, more than 0"),
        ({"gang_timeout": "soon"}, "gang_timeout is 'soon'; give a number"),
    ],
)
def test_placements_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SubmitError, match=f"^{re.escape(message)}$"):
        Placement(**fields)


def test_nodes_may_be_one_text() -> None:
    assert Placement(nodes="h1, h2").nodes == ("h1", "h2")  # type: ignore[arg-type]
    assert Placement(nodes=["h1"]).nodes == ("h1",)  # type: ignore[arg-type]
    assert Placement().nodes == ()


@pytest.mark.parametrize(
    ("where", "admitted"),
    [
        ("rack=r1", True),
        ("rack=r2|r1", True),
        ("rack=r2", False),
        ("rack!=r2", True),
        ("rack!=r1|r2", False),
        ("hostname=h3", True),
        ("hostname!=h3", False),
        ("absent=1", False),
        ("absent!=1", True),
        ("unique:absent", False),
        ("spread:rack", True),
        ("unique:hostname", True),
        ("level=2.5", True),
        ("level=2.50", True),
        ("level=2.4", False),
        ("level=high", False),
        ("level!=nan", True),
        ("slots=3", True),
        ("slots=6", False),
        ("slots=2-5", True),
        ("slots=4-9", False),
        ("slots=some", False),
        ("slots=[2-5]", True),
        ("slots='[1-5, 9-9]'", True),
        ("slots='[1-5, 8-9]'", False),
        ("slots=[]", False),
        ("slots=[2-5", False),
        ("kinds=ssd", True),
        ("kinds=nvme", False),
        ("kinds!=hdd", False),
        ("tag=y", True),
        ("tag!=y", False),
    ],
)
def test_what_a_constraint_admits(where: str, admitted: bool) -> None:
    (constraint,) = parse_where(where)
    assert constraint.admits("h3", ATTRIBUTES) is admitted


def test_attributes_have_words() -> None:
    names = ["rack", "level", "slots", "kinds", "tag", "hostname", "absent"]
    assert [value_of(name, "h3", ATTRIBUTES) for name in names] == [
        "r1",
        "2.5",
        "[1-5, 9-9]",
        "ssd, hdd",
        "x, y",
        "h3",
        None,
    ]


def test_a_masters_own_words_for_attributes_mean_the_same() -> None:
    told = {"rack": "r1", "level": 2.5, "slots": "[1-5, 9-9]", "kinds": "{ssd, hdd}"}
    assert attributes_of_agent(told) == {name: ATTRIBUTES[name] for name in told}
