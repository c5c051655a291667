"""The life of a framework is a table, and nothing enters a state that it forbids."""

from __future__ import annotations

import itertools

import pytest

from t2notebook.session.framework_life import OVER, TRANSITIONS, FrameworkLife, Life


def reachable(state: Life) -> set[Life]:
    found = {state}
    while more := {after for one in found for after in TRANSITIONS[one]} - found:
        found |= more
    return found


def test_every_state_has_a_row_and_is_reached_and_leads_to_the_end() -> None:
    assert set(TRANSITIONS) == set(Life)
    assert reachable(Life.NEW) == set(Life)
    assert all(Life.CLOSED in reachable(state) for state in Life)


def test_what_is_over_stays_over() -> None:
    for state in OVER:
        assert TRANSITIONS[state] <= OVER


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Life, Life)))
def test_only_what_the_table_allows_is_done(before: Life, after: Life) -> None:
    life = FrameworkLife()
    life.state = before
    if after in TRANSITIONS[before]:
        life.move(after, "because")
        assert (life.state, life.why) == (after, "because")
    else:
        with pytest.raises(ValueError, match=f"cannot become {after.value}"):
            life.move(after)
        assert life.state is before


def test_the_first_reason_counts() -> None:
    life = FrameworkLife()
    life.move(Life.TORN_DOWN, "torn down")
    life.move(Life.CLOSED, "closed")
    assert (life.is_over, life.why) == (True, "torn down")
