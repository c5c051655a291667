"""Resources: exact sums and differences, on any input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos.common.resources import ResourceError, Resources, check

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
