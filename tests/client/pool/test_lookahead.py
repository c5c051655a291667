"""Calls that are sent ahead, by their costs and the way."""

from __future__ import annotations

import pytest

from t2notebook.client.pool.lookahead import AHEAD, MOST_AHEAD, WORTH, Lookahead
from t2notebook.protocol.calls import LEASE


def known(cost: float, way: float, **options: int) -> Lookahead:
    lookahead = Lookahead(**options)
    lookahead.took(1, cost)
    lookahead.way_took(way)
    return lookahead


def test_nothing_is_sent_ahead_until_cost_and_way_are_known() -> None:
    lookahead = Lookahead()
    assert lookahead.of(1) == 0
    lookahead.took(1, 0.001)
    assert lookahead.of(1) == 0
    lookahead.way_took(0.001)
    assert lookahead.of(1) == lookahead.last == round(AHEAD / 0.001)
    assert lookahead.of(2) == lookahead.last == 0, "another function"
    lookahead.forget(1)
    assert lookahead.of(1) == 0


@pytest.mark.parametrize(
    ("cost", "way", "ahead"),
    [
        (0.002, 0.001, round(AHEAD / 0.002)),
        (0.002, 2 * AHEAD, round(2 * AHEAD / 0.002)),
        (0.0, 0.001, MOST_AHEAD),
        (0.04, 0.04 * WORTH / 2, 0),
        (1.01 * LEASE, 1.0, 0),
    ],
    ids=["short", "far", "nothing", "near", "long"],
)
def test_how_many(cost: float, way: float, ahead: int) -> None:
    assert known(cost, way).of(1) == ahead


def test_no_more_than_the_deepest() -> None:
    assert known(0.001, 0.001, deepest=3).of(1) == 3
    assert known(0.001, 0.001, deepest=0).of(1) == 0
