"""Agents' attributes are read as Mesos reads them (`src/common/attributes.cpp`, `values.cpp`)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.common.attributes import flag, parse, summary
from tests.localmesos.client import Framework, request


def ranges(*spans: tuple[int, int]) -> dict[str, Any]:
    return {"type": "RANGES", "ranges": {"range": [{"begin": a, "end": b} for a, b in spans]}}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("10", {"type": "SCALAR", "scalar": {"value": 10.0}}),
        ("0", {"type": "SCALAR", "scalar": {"value": 0.0}}),
        ("2.50", {"type": "SCALAR", "scalar": {"value": 2.5}}),
        ("1e3", {"type": "SCALAR", "scalar": {"value": 1000.0}}),
        (".5", {"type": "SCALAR", "scalar": {"value": 0.5}}),
        ("0x10", {"type": "SCALAR", "scalar": {"value": 16.0}}),
        ("1 0", {"type": "SCALAR", "scalar": {"value": 10.0}}),
        ("-1", {"type": "TEXT", "text": {"value": "-1"}}),
        ("inf", {"type": "TEXT", "text": {"value": "inf"}}),
        ("nan", {"type": "TEXT", "text": {"value": "nan"}}),
        ("1_000", {"type": "TEXT", "text": {"value": "1_000"}}),
        ("1.2.3", {"type": "TEXT", "text": {"value": "1.2.3"}}),
        ("r1", {"type": "TEXT", "text": {"value": "r1"}}),
        ("two words", {"type": "TEXT", "text": {"value": "twowords"}}),
        ("a,b|c", {"type": "TEXT", "text": {"value": "a,b|c"}}),
        ("http://h:1/x", {"type": "TEXT", "text": {"value": "http://h:1/x"}}),
        ("[1000-1500]", ranges((1000, 1500))),
        ("[ 7-9, 1-2 ]", ranges((1, 2), (7, 9))),
        ("[1-5,3-8,9-9]", ranges((1, 9))),
    ],
)
def test_values_have_the_types_that_mesos_gives_them(text: str, read: dict[str, Any]) -> None:
    assert parse(f"name:{text}") == [{"name": "name", **read}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rack", "'rack' is not name:value"),
        ("rack:", "'rack:' is not name:value"),
        (":r1", "':r1' is not name:value"),
        ("rack: ;a:b", "'rack: ' is not name:value"),
        ("disks:{ssd,hdd}", "write 'disks:ssd;disks:hdd'"),
        ("keys:[1000]", "no list of ranges, such as [1000-1500,2000-2100]"),
        ("keys:[9-1]", "no list of ranges"),
        ("keys:[a-b]", "no list of ranges"),
        ("keys:[1-2", "brackets that do not match"),
        ("keys:1-2]", "brackets that do not match"),
        ("keys:x[1-2]", "a bracket within its value"),
        ("f:g(", "brackets that do not match"),
    ],
)
def test_what_an_agent_of_mesos_would_not_start_with_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="--attributes: ") as refused:
        parse(text)
    assert said in str(refused.value)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 30)), min_size=1, max_size=6))
def test_ranges_keep_their_members_and_nothing_overlaps(spans: list[tuple[int, int]]) -> None:
    (item,) = parse(f"keys:[{','.join(f'{a}-{a + length}' for a, length in spans)}]")
    found = [(one["begin"], one["end"]) for one in item["ranges"]["range"]]
    members = {key for a, length in spans for key in range(a, a + length + 1)}
    assert {key for begin, end in found for key in range(begin, end + 1)} == members
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(found))
    assert parse(flag([item])) == [item]


def test_everybody_is_shown_the_same() -> None:
    texts = ["rack:r1;level:10;keys:[1000-1500,2000-2100]", "rack:r2;level:2.5"]
    with LocalMesos(agents=2, attributes=texts) as cluster:
        one = Framework(cluster.master).subscribed()
        offered = {offer["hostname"]: offer["attributes"] for offer in one.offers(2)}
        assert len(offered) == 1, "both agents are of this host"
        slaves = request(cluster.master, "GET", "/slaves").json()["slaves"]
        shown = {slave["attributes"]["rack"]: slave for slave in slaves}
        assert shown["r1"]["attributes"] == {"rack": "r1", "level": 10.0, "keys": "[1000-1500, 2000-2100]"}
        assert shown["r2"]["attributes"] == {"rack": "r2", "level": 2.5}
        state = request(f"127.0.0.1:{shown['r1']['port']}", "GET", "/state").json()
        assert state["attributes"] == shown["r1"]["attributes"]
        assert state["flags"]["attributes"] == texts[0]
        answer = request(cluster.master, "POST", "/api/v1", {"type": "GET_AGENTS"}).json()
        infos = [agent["agent_info"]["attributes"] for agent in answer["get_agents"]["agents"]]
        assert sorted(infos, key=len) == sorted([parse(texts[0]), parse(texts[1])], key=len)
        assert summary(parse(texts[0])) == shown["r1"]["attributes"]
        one.close()
