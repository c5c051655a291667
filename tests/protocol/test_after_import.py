"""Acting when a module has been imported."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from t2notebook.protocol.after_import import when_imported


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "some_module_of_a_test.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_module_of_a_test", raising=False)
    return "some_module_of_a_test"


def test_it_acts_once_the_module_is_whole_and_leaves_no_trace(made: str) -> None:
    seen: list[int] = []
    when_imported(made, lambda module: seen.append(module.VALUE))
    assert seen == []
    module = importlib.import_module(made)
    assert seen == [1]
    assert module.__spec__.loader is module.__loader__
    assert not type(module.__loader__).__module__.startswith("t2notebook")
    assert inspect.getsource(module) == "VALUE = 1\n"
    importlib.reload(module)
    assert seen == [1]


def test_it_acts_at_once_for_a_module_that_is_there(made: str) -> None:
    importlib.import_module(made)
    seen: list[int] = []
    when_imported(made, lambda module: seen.append(module.VALUE))
    assert seen == [1]


def test_what_it_does_wrong_is_nothing_to_the_importer(made: str) -> None:
    when_imported(made, lambda module: module.missing)
    assert importlib.import_module(made).VALUE == 1


def test_a_module_that_nobody_has_is_still_missing() -> None:
    when_imported("no_such_module_of_a_test", lambda module: None)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_module_of_a_test")
