"""Arguments of `submit` after the function are never guessed at."""

from __future__ import annotations

import pytest

import t2notebook as t2


def square(n: int) -> int:
    return n * n


@pytest.mark.parametrize(("function", "arguments"), [(square, (7,)), (str, (3,)), (square, ("a" * 99, 2))])
def test_positional_arguments_are_refused_in_one_line(function: type, arguments: tuple[object, ...]) -> None:
    with pytest.raises(t2.SubmitError) as caught:
        t2.submit(function, *arguments)
    message = str(caught.value)
    assert "workers=N" in message and f"t2.submit(lambda: {function.__name__}(" in message
    assert "\n" not in message and len(message) < 300
