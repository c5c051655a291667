"""A module that is not what its file says is told at submit, in one line; nothing else is."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from t2notebook.package import stale_modules
from t2notebook.package.cell import cell_function
from t2notebook.package.job_package import build
from t2notebook.package.local_modules import local_modules
from tests.package.helpers import notebook, pack

SOURCE = """\
import os
K = 3
NAME: str = "a"
PAIR = (1, 2.0, float("nan")) if os else 0
TABLE = {"a": [1]}
FILLED = {"own": 1}
FILLED.update(more=2)
TWICE = 1
TWICE = 2
COUNT = 0
EMPTY = {}
def count():
    global COUNT
    COUNT += 1
def f(x):
    return [x + K for _ in range(2)]
class A:
    n = 1
    def method(self):
        return "old"
    @property
    def value(self): return 1
@staticmethod
def decorated(): return 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    stale_modules._seen.clear()
    (tmp_path / "t2s_helper.py").write_text(SOURCE)
    yield importlib.import_module("t2s_helper")
    del sys.modules["t2s_helper"]


def told(module: ModuleType) -> list[str]:
    found = local_modules([module.__name__], [], [])
    return stale_modules.notes(found.paths, found.sources)


EDITED = (
    "t2s_helper.py has changed since this notebook imported t2s_helper: workers have the new file, this notebook the "
    "old code; importlib.reload(t2s_helper) reads it again"
)


def edit(module: ModuleType, old: str, new: str, *, later: bool = True, cached: bool = True) -> None:
    path = Path(str(module.__file__))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    moment = time.time() + (5 if later else -5000)
    os.utime(path, (moment, moment))
    if not cached and os.path.exists(str(module.__cached__)):
        os.unlink(str(module.__cached__))


def test_a_module_as_it_is_says_nothing(module: ModuleType) -> None:
    module.count()
    module.EMPTY["x"] = 1
    assert told(module) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("x + K", "x - K"), ("range(2)", "range(3)"), ('"old"', '"new"'), ("return [x", "return [1.0 * x")],
)
@pytest.mark.parametrize("cached", [True, False])
def test_an_edited_function_or_method_is_told_with_and_without_bytecode(
    old: str, new: str, cached: bool, module: ModuleType
) -> None:
    edit(module, old, new, later=False, cached=cached)
    assert told(module) == [EDITED]


@pytest.mark.parametrize(
    ("old", "new"), [("K = 3", "K = 31"), ("n = 1\n", "n = 12\n"), ("if os else", "if os  else")]
)
def test_any_edit_is_told_where_there_is_bytecode(old: str, new: str, module: ModuleType) -> None:
    edit(module, old, new)
    assert told(module) == [EDITED]
    importlib.reload(module)
    assert told(module) == []


def test_an_edit_after_the_first_submit_is_told_without_bytecode(module: ModuleType) -> None:
    os.unlink(str(module.__cached__))
    assert told(module) == []
    edit(module, "n = 1\n", "n = 2\n", later=False)
    assert told(module) == [EDITED]
    assert told(module) == [EDITED]
    importlib.reload(module)
    assert told(module) == []


def test_a_file_that_is_being_written_is_no_news(module: ModuleType) -> None:
    edit(module, "def f(x):", "def f(x:")
    assert told(module) == []


ASSIGNED: dict[str, tuple[Callable[[Any], None], str]] = {
    "a number": (lambda m: setattr(m, "K", 5), "t2s_helper.K is 5 here and 3 in the file"),
    "another type": (lambda m: setattr(m, "K", 3.0), "t2s_helper.K is 3.0 here and 3 in the file"),
    "a text": (
        lambda m: setattr(m, "NAME", "b" * 99),
        f"t2s_helper.NAME is '{'b' * 36}... here and 'a' in the file",
    ),
    "in place": (
        lambda m: m.TABLE["a"].append(2),
        "t2s_helper.TABLE is {'a': [1, 2]} here and {'a': [1]} in the file",
    ),
    "a function": (lambda m: setattr(m, "f", told), "t2s_helper.f is not the file's function here"),
    "a new name": (lambda m: setattr(m, "NEW", told), "t2s_helper.NEW is not in the file"),
}


@pytest.mark.parametrize("case", ASSIGNED)
def test_what_was_assigned_is_told(case: str, module: ModuleType) -> None:
    change, what = ASSIGNED[case]
    change(module)
    assert told(module) == [
        f"{what}: workers have what t2s_helper.py says; assign it in %%twister2 setup (t2.setup) as well"
    ]


def test_only_some_of_many_are_named(module: ModuleType) -> None:
    for name in ("K", "NAME", "TABLE", "f"):
        setattr(module, name, None)
    (note,) = told(module)
    assert note.count(" here") == 3 and " and 1 more: workers have" in note


def test_what_the_module_does_itself_is_its_own_affair(module: ModuleType) -> None:
    module.FILLED["x"] = module.TWICE = module.COUNT = module.PAIR = 7
    assert told(module) == []


@pytest.mark.parametrize("line", ["globals()['NEW'] = 1", "from os.path import *", "exec('NEW = 1')"])
def test_names_that_a_module_may_make_itself_are_not_told(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    stale_modules._seen.clear()
    (tmp_path / "t2s_open.py").write_text(f"{line}\n")
    module = importlib.import_module("t2s_open")
    module.more = 1  # type: ignore[attr-defined]
    assert told(module) == []
    del sys.modules["t2s_open"]


def test_a_job_tells_it(module: ModuleType, tmp_path: Path) -> None:
    module.K = 5
    (tmp_path / "packages").mkdir()
    package = pack("h.f(1)", notebook("import t2s_helper as h"), tmp_path / "packages")
    (note,) = package.notes
    assert note.startswith("t2s_helper.K is 5 here and 3 in the file: ")
    assert pack("1", notebook("import t2s_helper as h"), tmp_path / "packages").notes == ()


@pytest.mark.parametrize("where", ["the setup", "the setup, by setattr", "the cell", "a function"])
def test_what_workers_assign_themselves_is_not_told(where: str, module: ModuleType, tmp_path: Path) -> None:
    module.K = 5
    (tmp_path / "packages").mkdir()
    namespace = notebook("import t2s_helper as h\ndef assign(): h.K = 5")
    source = {"the cell": "h.K = 5\nh.f(1)", "a function": "assign()\nh.f(1)"}.get(where, "h.f(1)")
    setup = {"the setup": "h.K = 5", "the setup, by setattr": "setattr(h, 'K', 5)"}.get(where, "h.f")
    package = build(
        cell_function(source, namespace, name="test"),
        {},
        directory=tmp_path / "packages",
        local_dirs=[],
        name="test",
        setup=cell_function(setup, namespace, name="setup"),
    )
    assert package.notes == ()
