from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.scheduler.placement.capacity_tree import CapacityTree

vectors = st.tuples(st.integers(0, 5), st.integers(0, 5))


@given(
    st.lists(vectors, max_size=20),
    vectors,
    st.lists(st.tuples(st.integers(0, 19), vectors, st.booleans()), max_size=20),
    st.integers(0, 25),
    vectors,
)
def test_it_finds_what_a_loop_would_find(
    amounts: list[tuple[int, int]],
    least: tuple[int, int],
    changes: list[tuple[int, tuple[int, int], bool]],
    start: int,
    asked: tuple[int, int],
) -> None:
    trees, now = CapacityTree(amounts, least), list(amounts)
    for bin_, amount, closes in changes:
        if bin_ >= len(now):
            continue
        now[bin_] = (-1, -1) if closes else amount
        if closes:
            trees.close(bin_)
        else:
            trees.update(bin_, amount)
    # nobody asks for less than the least
    asked = (max(asked[0], least[0]), max(asked[1], least[1]))
    fitting = (
        bin_ for bin_ in range(start, len(now)) if now[bin_][0] >= asked[0] and now[bin_][1] >= asked[1]
    )
    assert trees.first(start, list(enumerate(asked))) == next(fitting, -1)
