"""Functions of calls as they travel: with what their arguments need."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

import pytest

from t2notebook.client.pool import functions
from t2notebook.protocol.archive import SOURCES, Archive


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def directory() -> Path:
        (tmp_path / "spool").mkdir(exist_ok=True)
        return tmp_path / "spool"

    monkeypatch.setattr(functions, "spool_directory", directory)
    monkeypatch.setattr(functions, "_packages", type(functions._packages)())


def cell(number: int, text: str) -> dict[str, Any]:
    """Run a cell, as IPython does."""
    name = f"<ipython-input-{number}-abc>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), namespace)
    return namespace


def test_the_cells_of_arguments_travel_for_tracebacks() -> None:
    call = cell(1, "def call(item):\n    return item.fit()\n")["call"]
    model = cell(2, "class Model:\n    def fit(self):\n        raise ValueError('not so')\n")["Model"]
    other = cell(3, "def other():\n    pass\n")["other"]

    function = functions.function_of(call)
    _, plain = functions.arguments((3,), {}, "call", 0)
    assert function.has(plain) and not plain.sources
    _, needs = functions.arguments((model(),), {}, "call", 1)
    assert not function.has(needs)
    function = functions.function_of(call, needs)
    assert function.has(needs) and "raise ValueError('not so')" in text_of(function)
    assert functions.function_of(call, needs) is function
    _, more = functions.arguments((other,), {}, "call", 2)
    both = functions.function_of(call, more | function.needs)
    assert both.has(needs) and both.has(more) and "def other" in text_of(both)


def text_of(function: functions.Function) -> str:
    return bytes(Archive(function.package).member(SOURCES)).decode()


def test_what_cannot_be_had_is_asked_for_once() -> None:
    needs = functions.Needs(frozenset({"no_such_module_beside_the_notebook"}))
    function = functions.function_of(abs, needs)
    assert not function.modules and function.has(needs)
