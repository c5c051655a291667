"""A name in a text does not travel; the error says that the notebook has it, and what takes it along."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from t2notebook.package.job_package import build
from t2notebook.worker.process.missing_names import notebook_has
from tests.package.helpers import notebook, pack, run

SETUP = """
import pandas as pd
lim, frame, f = 2, pd.DataFrame({"a": [1, 2, 3]}), "lim * 2"
def helper(): return eval(f)
"""
#: A cell, the name that it lacks, and what it gives with that name.
CELLS = {
    'frame.query("a > @lim").a.tolist()': ("lim", "[3]"),
    'frame.eval("a + @lim").tolist()': ("lim", "[3, 4, 5]"),
    "eval('lim + 1')": ("lim", "3"),
    "exec('x = lim'); x": ("lim", "2"),
    "globals()['lim']": ("lim", "2"),
    "vars()['lim']": ("lim", "2"),
    "'{lim}'.format(**globals())": ("lim", "'2'"),
    "'{lim}'.format_map(globals())": ("lim", "'2'"),
    "'%(lim)s' % globals()": ("lim", "'2'"),
    "import string; string.Template('$lim').substitute(globals())": ("lim", "'2'"),
    "import __main__; __main__.lim": ("lim", "2"),
    "from __main__ import lim\nlim": ("lim", "2"),
    "helper()": ("lim", "4"),
    "def g(): return eval('lim')\ng()": ("lim", "2"),
    "try: eval('lim')\nexcept NameError as error: raise ValueError('no') from error": ("lim", ""),
    "import duckdb; int(duckdb.sql('select sum(a) from frame').fetchall()[0][0])": ("frame", "6"),
}


@pytest.mark.parametrize("cell", CELLS)
def test_the_last_line_says_what_takes_the_name_along(cell: str, tmp_path: Path) -> None:
    if "duckdb" in cell:
        pytest.importorskip("duckdb")
    name, value = CELLS[cell]
    namespace = notebook(SETUP)
    cell = cell.replace("exec('x = lim'); x", "exec('x = lim')\neval('x')")
    package = pack(cell, namespace, tmp_path)
    ((kind, text),) = run([package.path])
    assert kind == "error"
    assert text.splitlines()[-1] == f"the notebook has `{name}`: `-i {name}` takes it along"
    if value:
        package = pack(cell, namespace, tmp_path, include=[name])
        assert run([package.path]) == [("ok", value)]


OTHERS = [
    "frame['lim']",
    "{}['lim']",
    "eval('nowhere')",
    "raise KeyError('lim')",
    "frame.lim",
    "import lim",
    "from math import lim",
    "open_('lim')",
    "raise ValueError('lim is too large')",
]


@pytest.mark.parametrize("cell", OTHERS)
def test_other_errors_say_nothing_of_it(cell: str, tmp_path: Path) -> None:
    package = pack(cell, notebook(SETUP + "open_ = open = __import__('io').open"), tmp_path)
    ((kind, text),) = run([package.path])
    assert kind == "error" and "the notebook has" not in text


def test_a_function_is_told_to_use_the_name(tmp_path: Path) -> None:
    namespace = notebook(SETUP + "def fn(): return eval('lim')")
    package = build(namespace["fn"], {}, directory=tmp_path, local_dirs=(), name="fn")
    ((_, text),) = run([package.path])
    assert text.splitlines()[-1] == (
        "the notebook has `lim`: it travels along if the function uses it by name"
    )


class CatalogError(Exception):
    pass


@pytest.mark.parametrize(
    "message",
    [
        "Catalog Error: Table with name lim does not exist!",
        "no such table: lim",
        "relation 'lim' was not found",
        "'lim' is undefined",
        'column "a", unknown variable lim',
    ],
)
def test_messages_of_libraries(message: str) -> None:
    hint = notebook_has(CatalogError(message), ["lim"], {}, is_cell=True)
    assert hint == "the notebook has `lim`: `-i lim` takes it along"
    assert notebook_has(CatalogError(message), ["limit"], {}, is_cell=True) == ""
    assert notebook_has(CatalogError(message), ["lim"], {"lim": 1}, is_cell=True) == ""


def test_the_way_through_a_library_is_folded(tmp_path: Path) -> None:
    setup = """
    import pandas as pd
    frame = pd.DataFrame({'a': [1]})
    def deep(n): return frame.query('a >') if not n else deep(n - 1)
    """
    ((_, text),) = run([pack("deep(1)", notebook(setup), tmp_path).path])
    frames = re.findall(r'  File "([^"]+)"', text)
    assert "left out" not in text
    (folded,) = re.findall(
        r"(?m)^  \[\.\.\. (\d+) more calls in pandas: the worker's log has them \.\.\.\]$", text
    )
    assert int(folded) > 3 and len(frames) < 12
    assert frames[:3] == ["<cell test>", "<string>", "<string>"]
