"""Heads of results, from a worker past the session to the notebook."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.protocol import outcomes
from t2notebook.protocol.outcomes import Outcome

_numbers = st.integers(0, 2**63)
_small = st.integers(0, 2**32 - 1)


@given(
    _small, _small, _numbers, _numbers, _numbers, st.floats(0, allow_nan=False), st.booleans(), st.booleans()
)
def test_what_a_worker_says_comes_to_the_notebook(
    worker_id: int,
    incarnation: int,
    ticket: int,
    number: int,
    epoch: int,
    seconds: float,
    is_good: bool,
    more: bool,
) -> None:
    head = outcomes.pack(ticket, number, epoch, seconds, is_good, more)
    assert len(head) == outcomes.SIZE and outcomes.has_more(head) is more
    found = outcomes.unpack(outcomes.sent_by(worker_id, incarnation, head))
    assert found == Outcome(worker_id, incarnation, ticket, number, epoch, seconds, is_good)


def test_what_is_no_head() -> None:
    assert not outcomes.has_more(b"")
    with pytest.raises(struct.error):
        outcomes.unpack(b"short")
