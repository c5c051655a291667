"""The sorter and the allocator: fairness, priorities, weights, filters, and what they cost."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos.common.resources import Resources
from t2notebook.localmesos.master.allocator.hierarchical import Allocator, Grant
from t2notebook.localmesos.master.allocator.sorter import POLICIES, Sorter, drf, priority

AGENT = Resources.of(cpus=4, mem=4096)


def filled(
    shape: dict[str, list[str]],
    agents: int = 20,
    *,
    policy: str = "drf",
    weights: dict[str, float] | None = None,
) -> Allocator:
    one = Allocator(seed=1, policy=policy, weights=weights)
    for index in range(agents):
        one.add_agent(f"a{index}", AGENT)
    for role, frameworks in shape.items():
        for name in frameworks:
            one.add_framework(name, [role], gpus=False, suppressed=[])
    return one


def got(grants: list[Grant]) -> Counter[str]:
    return Counter(grant.framework_id for grant in grants)


def test_roles_share_first_then_their_frameworks() -> None:
    one = filled({"big": ["b1", "b2", "b3", "b4"], "small": ["s1"]}, agents=16)
    assert got(one.allocate(0.0)) == {"s1": 8, "b1": 2, "b2": 2, "b3": 2, "b4": 2}


def test_weights() -> None:
    one = filled({"prod": ["p"], "dev": ["d"]}, agents=30, weights={"prod": 2.0})
    assert got(one.allocate(0.0)) == {"p": 20, "d": 10}


def test_roles_within_roles() -> None:
    """eng/web and eng/db share what eng gets, and eng's own frameworks are one more of them."""
    shape = {"eng/web": ["web"], "eng/db": ["db"], "eng": ["eng"], "ads": ["ads"]}
    one = filled(shape, agents=30, weights={"eng/db": 3.0})
    assert got(one.allocate(0.0)) == {"ads": 15, "db": 9, "web": 3, "eng": 3}


def test_dominant_share_is_of_the_scarcer_resource() -> None:
    """The example of the paper on dominant-resource fairness, in what the two hold, not in what they ask for."""
    order = Sorter()
    order.resize({"cpus": 9000, "mem": 18_000})
    for name in ("a", "b"):
        order.add("*", name)
        order.activate("*", name, True)
    tasks = {"a": {"cpus": 1000, "mem": 4000}, "b": {"cpus": 3000, "mem": 1000}}
    free, launched = {"cpus": 9000, "mem": 18_000}, Counter[str]()
    while True:
        _, name = next(order.order())
        if any(free[kind] < value for kind, value in tasks[name].items()):
            break
        for kind, value in tasks[name].items():
            free[kind] -= value
        order.take("*", name, tasks[name])
        launched[name] += 1
    assert launched == {"a": 3, "b": 2}


def test_strict_priority_starves_the_lower_role() -> None:
    one = filled({"low": ["l1"], "high": ["h1", "h2"]}, agents=10, policy="priority", weights={"high": 10.0})
    grants = one.allocate(0.0)
    assert got(grants) == {"h1": 5, "h2": 5}
    one.suppress("h1", ["high"])
    one.recover("h1", "high", grants[0].agent_id, AGENT)
    one.recover("h2", "high", grants[1].agent_id, AGENT)
    assert got(one.allocate(1.0)) == {"h2": 2}
    one.suppress("h2", ["high"])
    one.recover("h2", "high", grants[2].agent_id, AGENT)
    assert got(one.allocate(2.0)) == {"l1": 1}


def test_a_filtered_framework_leaves_the_agent_to_the_next() -> None:
    one = filled({"*": ["f0", "f1"]}, agents=1)
    (grant,) = one.allocate(0.0)
    one.recover(grant.framework_id, "*", "a0", AGENT, now=0.0, refuse=100.0)
    (other,) = one.allocate(1.0)
    assert other.framework_id != grant.framework_id
    one.recover(other.framework_id, "*", "a0", AGENT, now=1.0, refuse=10.0)
    assert one.allocate(2.0) == []
    assert one.allocate(10.9) == []
    (again,) = one.allocate(11.0)
    assert again.framework_id == other.framework_id


def test_a_newcomer_is_asked_about_agents_that_the_others_refused() -> None:
    one = filled({"*": ["f0"]}, agents=1)
    one.allocate(0.0)
    one.recover("f0", "*", "a0", AGENT, now=0.0, refuse=1000.0)
    assert one.allocate(1.0) == []
    one.add_framework("f1", ["*"], gpus=False, suppressed=[])
    assert got(one.allocate(1.0)) == {"f1": 1}


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_removed_framework_leaves_nothing_behind(policy: str) -> None:
    one = filled({"x/y": ["f"], "x": ["g"]}, agents=2, policy=policy)
    for grant in one.allocate(0.0):
        one.recover(grant.framework_id, grant.role, grant.agent_id, grant.resources)
    one.remove_framework("f")
    assert got(one.allocate(1.0)) == {"g": 2}
    one.remove_framework("g")
    assert one._sorter._root.children == {}


weights = st.sampled_from([0.5, 1.0, 2.0, 5.0])


@given(st.lists(weights, min_size=1, max_size=5), st.integers(1, 60))
def test_fairness_bound(given_weights: list[float], agents: int) -> None:
    """With demand everywhere, weighted shares differ by one grant at most."""
    roles = {f"r{index}": weight for index, weight in enumerate(given_weights)}
    one = filled({role: [f"f-{role}"] for role in roles}, agents, weights=roles)
    assert len(one.allocate(0.0)) == agents
    shares = {role: one.share(f"f-{role}", role) for role in roles}
    for a, b in itertools.permutations(roles, 2):
        assert shares[a] / roles[a] <= shares[b] / roles[b] + 1 / agents / roles[a] + 1e-9


Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "release", "on", "off", "remove", "resize"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(1, 5000),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([drf, priority]))
def test_incremental_order_is_the_sorted_order(found: list[Step], policy: object) -> None:
    """What the sorter keeps step by step is what sorting everything anew would give."""
    roles = ["a", "a/b", "c", "*"]
    one = Sorter(policy, {"a/b": 2.0, "c": 0.5})  # type: ignore[arg-type]
    one.resize({"cpus": 10_000})
    for kind, role_index, client_index, amount in found:
        role, client = roles[role_index], f"f{client_index}"
        one.add(role, client)
        if kind == "take":
            one.take(role, client, {"cpus": amount})
        elif kind == "release":
            one.release(role, client, {"cpus": amount})
        elif kind in ("on", "off"):
            one.activate(role, client, kind == "on")
        elif kind == "remove":
            one.remove(role, client)
        else:
            one.resize({"cpus": 1000 * amount})
        kept = list(one.order())
        one._rank(one._root)
        assert kept == list(one._walk(one._root))
        assert sorted(kept) == sorted(label for label, leaf in one._leaves.items() if leaf.active)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 2), st.floats(0, 30), st.integers(1, 4)), max_size=40
    ),
    st.sampled_from(sorted(POLICIES)),
)
def test_never_over_allocated_and_filters_hold(found: list[tuple[int, int, float, int]], policy: str) -> None:
    """Whatever happens: no agent gives more than it has, and nobody is offered what its filter hides."""
    one = filled({"a": ["f0"], "b": ["f1", "f2"]}, agents=3, policy=policy)
    role = {"f0": "a", "f1": "b", "f2": "b"}
    held: list[Grant] = []
    refused: list[tuple[str, str, Resources, float]] = []
    for tick, (kind, who, refuse, part) in enumerate(found):
        now = float(tick)
        if kind <= 1:
            for grant in one.allocate(now):
                held.append(grant)
                for framework, agent, hidden, until in refused:
                    same = (framework, agent) == (grant.framework_id, grant.agent_id)
                    assert not (same and until > now and hidden.contains(grant.resources))
        elif kind == 2 and held:
            grant = held.pop(0)
            back = Resources.of(cpus=grant.resources.amount("cpus") / part, mem=1024)
            rest = grant.resources - back
            back = grant.resources - rest
            one.recover(grant.framework_id, grant.role, grant.agent_id, back, now=now, refuse=refuse)
            if refuse and back:
                refused.append((grant.framework_id, grant.agent_id, back, now + max(1.0, refuse)))
            if rest:
                held.append(Grant(grant.framework_id, grant.role, grant.agent_id, rest))
        elif kind == 3:
            one.suppress(f"f{who}", [role[f"f{who}"]])
        else:
            one.revive(f"f{who}", [role[f"f{who}"]])
            refused = [item for item in refused if item[0] != f"f{who}"]
        for agent in ("a0", "a1", "a2"):
            used = Resources()
            for grant in held:
                if grant.agent_id == agent:
                    used = used + grant.resources
            assert used + one.free(agent) == AGENT


def test_cost_grows_with_the_work() -> None:
    """Ten times the agents cost some ten times the steps, and an idle batch over refusing frameworks next to none."""

    def batch(agents: int) -> tuple[int, Allocator, list[Grant]]:
        one = filled({"*": [f"f{index}" for index in range(200)]}, agents)
        cost, grants = steps(lambda: one.allocate(0.0))
        assert len(grants) == agents
        return cost, one, grants

    small, _, _ = batch(500)
    large, one, grants = batch(5000)
    assert large < 15 * small
    for grant in grants:
        one.recover(grant.framework_id, "*", grant.agent_id, grant.resources, now=0.0, refuse=1000.0)
    one.suppress("f199", ["*"])
    for index in range(199):
        one.suppress(f"f{index}", ["*"])
    one.allocate(1.0)
    idle, found = steps(lambda: one.allocate(2.0))
    assert found == []
    assert idle < large / 20


def steps(work: Callable[[], list[Grant]]) -> tuple[int, list[Grant]]:
    """Return how many lines ran while something was done: a measure that no other process changes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = work()
    finally:
        sys.settrace(before)
    return count, found
