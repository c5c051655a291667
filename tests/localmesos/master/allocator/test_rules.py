"""The allocator's rules, on any input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos.common.resources import Resources
from t2notebook.localmesos.master.allocator.hierarchical import Allocator, refuse_duration

amounts = st.integers(0, 10**7).map(lambda n: n / 1000)


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
