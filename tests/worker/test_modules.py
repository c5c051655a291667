from __future__ import annotations

import importlib
import io
import json
import linecache
import sys
import traceback
from collections.abc import Iterator

import pytest

from t2notebook.worker import modules
from t2notebook.worker.archive import Archive, write

SHIPPED = {
    "modules/t2x_helper.py": "# -*- coding: latin-1 -*-\ndef fail():\n    raise ValueError('\xe9')\n".encode(
        "latin-1"
    ),
    "modules/t2x_pkg/__init__.py": b"from .sub import VALUE\n",
    "modules/t2x_pkg.sub.py": b"VALUE = 7\n",
    "modules/t2x_pkg.inner/__init__.py": b"",
    "modules/t2x_pkg.inner.leaf.py": b"from .. import VALUE\n",
    "modules/t2x_space.only.py": b"HERE = True\n",
    "modules/colorsys.py": b"SHIPPED = True\n",
    "modules/t2x_where.py": b"WHERE = __file__\n",
    "sources.json": json.dumps({"<cell t2x>": "a = 1\nb = 2\n"}).encode(),
}


@pytest.fixture
def shipped() -> Iterator[modules.ShippedModules]:
    target = io.BytesIO()
    write(target, list(SHIPPED.items()), {})
    finders, known = list(sys.meta_path), set(sys.modules)
    before = sys.modules.pop("colorsys", None)
    yield modules.install(Archive(target.getvalue()))
    sys.meta_path[:] = finders
    for name in set(sys.modules) - known:
        del sys.modules[name]
    sys.modules.pop("colorsys", None)
    if before is not None:
        sys.modules["colorsys"] = before


def test_modules_and_packages(shipped: modules.ShippedModules) -> None:
    package = importlib.import_module("t2x_pkg")
    assert package.VALUE == 7
    assert importlib.import_module("t2x_pkg.inner.leaf").VALUE == 7
    assert importlib.import_module("t2x_space.only").HERE
    assert "t2x_pkg.sub" in shipped and "os" not in shipped


def test_shipped_modules_know_their_file(shipped: modules.ShippedModules) -> None:
    assert importlib.import_module("t2x_where").WHERE == "t2x_where.py"
    assert str(importlib.import_module("t2x_pkg").__file__) == "t2x_pkg/__init__.py"


def test_shipped_modules_come_first(shipped: modules.ShippedModules) -> None:
    assert importlib.import_module("colorsys").SHIPPED


def test_others_are_left_to_others(shipped: modules.ShippedModules) -> None:
    assert shipped.find_spec("json") is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("t2x_pkg.absent")
    with pytest.raises(ImportError):
        shipped.get_source("json")


def test_tracebacks_show_lines(shipped: modules.ShippedModules) -> None:
    helper = importlib.import_module("t2x_helper")
    with pytest.raises(ValueError) as info:
        helper.fail()
    text = "".join(traceback.format_exception(info.value))
    assert 'File "t2x_helper.py", line 3, in fail\n    raise ValueError(' in text
    linecache.checkcache()
    assert linecache.getline("<cell t2x>", 2) == "b = 2\n"
