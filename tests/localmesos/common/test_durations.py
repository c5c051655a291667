"""Durations as stout writes them."""

from __future__ import annotations

import pytest

from t2notebook.localmesos.common.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2, "2secs"), (900, "15mins"), (0.25, "250ms"), (3600, "1hrs"), (0, "0ns"), (1.5, "1500ms")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
