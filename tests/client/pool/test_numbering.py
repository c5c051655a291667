"""Functions of a pool by their numbers."""

from __future__ import annotations

from t2notebook.client.pool import numbering
from t2notebook.client.pool.functions import Function


def function(size: int = 1) -> Function:
    return Function("f", bytes(size), {}, ())


def test_a_function_keeps_its_number_and_those_that_are_called_are_kept() -> None:
    known: list[tuple[int, int]] = []
    forgotten: list[int] = []
    numbers = numbering.Numbering(lambda *it: known.append(it), forgotten.append)
    called, idle = function(5), function()
    first = numbers.number_of(called)
    assert numbers.number_of(called) == first and numbers[first] is called
    numbers.count(first, 2)
    numbers.count(first, -1)
    second = numbers.number_of(idle)
    others = [function() for _ in range(numbering.KEPT)]
    for each in others:
        numbers.number_of(each)
    assert known[:2] == [(first, 5), (second, 1)]
    assert numbers[first] is called and second in forgotten and first not in forgotten
    assert numbers.number_of(idle) not in (first, second), "it has been let go"
    numbers.count(second, -1)
