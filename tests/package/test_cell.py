"""A cell on a worker means what it means in the notebook."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from t2notebook.model.errors import PackageError, SubmitError
from t2notebook.package.cell import cell_function
from t2notebook.package.job_package import build
from tests.package.helpers import notebook, pack, run

#: name -> (what ran in the notebook before, the cell)
CELLS = {
    "last expression": ("", "1 + 1"),
    "nothing": ("", ""),
    "comment only": ("", "# nothing"),
    "assignment last": ("", "x = 1"),
    "semicolon": ("", "1 + 1;"),
    "semicolon and comment": ("", "1 + 1 ;  # hush\n\n"),
    "semicolon in a string": ("", "'a;'"),
    "semicolon in a comment": ("", "1 + 1  # a;"),
    "docstring": ("", "'only a docstring'"),
    "two statements in a line": ("", "x = 1; x + 1"),
    "expression in a block is no result": ("", "if True:\n    5"),
    "uses a variable": ("x = 3", "x * 2"),
    "changes a variable": ("x = 3", "x = x + 1\nx"),
    "augments a variable": ("x = 3", "x += 1\nx"),
    "augments an item": ("x = [1]", "x[0] += 1\nx"),
    "env": ("", "env.worker_id"),
    "env in a function": ("", "def f():\n    return env.worker_id\nf()"),
    "env in an earlier function": ("def f():\n    return env.worker_id", "f()"),
    "env under another's name": ("import _thread\nenv = _thread.allocate_lock()", "env.worker_id"),
    "env is rebound": ("def f():\n    return env", "env = 5\nf()"),
    "calls a function": ("def f(x):\n    return x + 1", "f(1)"),
    "through functions": ("a = 1\ndef g():\n    return a\ndef f():\n    return g() + a", "f()"),
    "mutual recursion": (
        "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)",
        "even(10), odd(10)",
    ),
    "own recursion": ("", "def f(n):\n    return 1 if n == 0 else n * f(n - 1)\nf(5)"),
    "functions see what the cell assigns": ("x = 1\ndef f():\n    return x", "x = 2\nf()"),
    "the cell sees what functions assign": ("x = 1\ndef f():\n    global x\n    x = 2", "f()\nx"),
    "a function makes a name": ("def f():\n    global made\n    made = 2", "f()\nmade"),
    "function of the cell assigns": ("", "def f():\n    global made\n    made = 2\nf()\nmade"),
    "import in the notebook": ("import math", "math.pi"),
    "import as": ("import os.path as p", "p.join('a', 'b')"),
    "submodule": ("import xml.dom.minidom", "xml.dom.minidom.Document.__name__"),
    "import in the cell": ("", "import os.path\nfrom math import pi as p\nos.path.join('a', 'b'), p"),
    "import as in the cell": ("", "import os.path as p, json\np.join('a', json.dumps(1))"),
    "class": ("class A:\n    y = 2\n    def f(self):\n        return self.y", "A().f()"),
    "class in the cell": ("z = 1", "class A:\n    y = z\n    def f(self):\n        return z\nA().f(), A.y"),
    "class body of a function": ("k = 3", "def f():\n    class A:\n        y = k\n    return A.y\nf()"),
    "class body of an earlier function": (
        "k = 3\ndef f():\n    class A:\n        y = k\n        k = 4\n    return A.y, A.k",
        "f()",
    ),
    "super": (
        "class A:\n    def f(self):\n        return 1",
        "class B(A):\n    def f(self):\n        return super().f() + 1\nB().f()",
    ),
    "dataclass": (
        "from dataclasses import dataclass",
        "@dataclass\nclass P:\n    x: int = 1\nP(), P.__qualname__",
    ),
    "enum": ("import enum\nclass E(enum.Enum):\n    A = 1", "E.A.value, E(1) is E.A"),
    "decorator": ("def twice(f):\n    return lambda: 2 * f()", "@twice\ndef f():\n    return 2\nf()"),
    "default argument": ("d = 5", "def f(x=d):\n    return x\nd = 6\nf()"),
    "annotation of an argument": ("T = int", "def f(x: T) -> T:\n    return x\nf(1), f.__annotations__"),
    "annotated assignment": ("", "x: int = 5\ny: str\nx, 'y' in globals()"),
    "annotated attribute": ("class A: pass\na = A()", "a.x: int = 5\na.x"),
    "annotated in a block": ("", "if True:\n    x: int = 5\nx"),
    "comprehension": ("xs = [1, 2]\nn = 2", "[x * n for x in xs]"),
    "comprehension leaves no name": ("x = 'kept'", "[x for x in range(3)], x"),
    "nested comprehension": ("n = 2", "{(i, j): n for i in range(n) for j in range(i) if i != n}"),
    "generator": ("n = 2", "list(n * i for i in range(n))"),
    "walrus": ("", "if (n := 5) > 3:\n    m = n\nn, m"),
    "walrus in a comprehension": ("", "[last := i for i in range(3)], last"),
    "f-string": ("x = 3\nw = 5", "f'{x:>{w}} {x!r}'"),
    "lambda": ("n = 2", "(lambda x, y=n: x * y * n)(3)"),
    "del": ("x = 1", "del x\n'x' in globals()"),
    "del what the cell made": ("", "x = 1\ndel x\n'x' in globals()"),
    "star-assignment": ("", "a, *b, (c, d) = 1, 2, 3, (4, 5)\na, b, c, d"),
    "for": ("i = 'old'", "for i in range(3):\n    pass\ni"),
    "for over nothing keeps the old value": ("i = 'old'", "for i in ():\n    pass\ni"),
    "for else": ("", "for i in range(3):\n    if i == 5: break\nelse:\n    i = 'else'\ni"),
    "while": ("n = 3", "while n:\n    n -= 1\n    if n == 1: break\nn"),
    "with": (
        "import io",
        "with io.StringIO('a') as f, io.StringIO('b') as g:\n    t = f.read() + g.read()\nt",
    ),
    "try": ("", "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    m = str(e)\nfinally:\n    n = 1\nm, n"),
    "except unbinds": (
        "e = 1",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    pass\n'e' in globals()",
    ),
    "except group": (
        "",
        "try:\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept* ValueError as e:\n    m = 1\nm",
    ),
    "suppressed keeps the old value": (
        "from contextlib import suppress\nx = 'old'",
        "with suppress(KeyError):\n    x = {}['a']\nx",
    ),
    "match": (
        "class P:\n    __match_args__ = ('x',)\n    def __init__(self, x): self.x = x\np = P(3)",
        "match [p, 1, 2, {'k': 1, 'z': 2}]:\n"
        "    case [P(x), *rest, {'k': k, **others}]: r = x, rest, k, others\nr",
    ),
    "nonlocal": (
        "",
        "def f():\n    n = 1\n    def g():\n        nonlocal n\n        n += 1\n    g()\n    return n\nf()",
    ),
    "global statement": ("", "global g\ng = 1\ng"),
    "globals": ("x = 1", "x\nglobals()['x']"),
    "locals are globals": ("", "x = 1\nlocals() is globals(), locals()['x']"),
    "exec and eval": ("x = 1", "x\nexec('y = x + 1')\ny, eval('x + y')"),
    "format with locals": ("x = 1", "y = x\n'{x} {y}'.format(**locals())"),
    "name": ("", "__name__"),
    "if main": ("", "r = 0\nif __name__ == '__main__':\n    r = 1\nr"),
    "await": ("import asyncio", "await asyncio.sleep(0)\nx = 1\nawait asyncio.sleep(0, x + 1)"),
    "async for and with": (
        "import contextlib\n@contextlib.asynccontextmanager\nasync def c():\n    yield 3\n"
        "async def g():\n    yield 1\n    yield 2",
        "r = []\nasync for i in g():\n    r.append(i)\n"
        "async with c() as k:\n    r.append(k)\nr + [i async for i in g()]",
    ),
    "await in a function only": (
        "",
        "async def f():\n    return 3\nimport inspect\ninspect.iscoroutinefunction(f)",
    ),
    "future annotations in the cell": (
        "",
        "from __future__ import annotations\ndef f(x: Missing): pass\nf.__annotations__",
    ),
    "future annotations in the notebook": (
        "from __future__ import annotations",
        "def f(x: Missing): pass\nf.__annotations__",
    ),
    "closure": ("def make(n):\n    return lambda: n\nf = make(5)", "f()"),
    "shared mutable": ("x = []\ny = [x, x]", "x.append(1)\ny"),
    "partial": ("import functools\nf = functools.partial(max, 3)", "f(2)"),
    "bound method": ("class A:\n    n = 2\n    def f(self): return self.n\nf = A().f", "f()"),
    "lru_cache": ("import functools\n@functools.cache\ndef f(n):\n    return n and n + f(n - 1)", "f(4)"),
    "recursive lru_cache": (
        "import functools\n@functools.lru_cache(maxsize=5)\n"
        "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)",
        "fib(20), fib.cache_parameters()['maxsize'], fib.__name__",
    ),
    "new type": ("import typing\nU = typing.NewType('U', int)\ndef f(x: U) -> U:\n    return x", "f(U(3))"),
    "type variables": (
        "from typing import Generic, ParamSpec, TypeVar\nT = TypeVar('T')\nP = ParamSpec('P')\n"
        "class Box(Generic[T]):\n    x = 1\n    def f(self, y: T, *a: P.args) -> T: return y",
        "Box[int]().f(3)",
    ),
    "property and classmethod": (
        "class A:\n    @property\n    def p(self): return 1\n    @classmethod\n    def c(cls): return cls().p",
        "A.c()",
    ),
    "namedtuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\np = P(1, 2)", "p.x, p"),
    "frozenset constant": ("", "'b' in {'a', 'b', 'c'}"),
    "numpy": ("import numpy as np\na = np.arange(4)", "a[0] = 9\nint(a.sum()), a.dtype.name"),
    "underscore as a target": ("", "for _ in range(3):\n    pass\n_"),
    "open": ("", "import os\nwith open(os.devnull) as f:\n    t = f.read()\nt"),
    "a private name": ("_private = 1\n__version__ = '1'", "_private, __version__"),
    "unicode": ("größe = 2", "größe * '✓'"),
    "continued lines": ("", "(1 +\n 2)"),
    "type parameters in strings": ("T = int", "x: 'T' = 1\nx"),
}


def expected(setup: str, source: str) -> str:
    """Return what a notebook gives for a cell."""
    namespace = notebook(setup)
    for name in ("open", "_"):
        namespace.pop(name)
    env = SimpleNamespace(worker_id=7, config={})
    namespace["env"] = env
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    if "annotations" in namespace:
        flags |= namespace["annotations"].compiler_flag
    tree = ast.parse(source)
    last = None
    if (
        tree.body
        and isinstance(tree.body[-1], ast.Expr)
        and not source.partition("#")[0].rstrip().endswith(";")
    ):
        last = ast.Expression(tree.body.pop().value)

    def evaluate(code: Any) -> Any:
        value = eval(code, namespace)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    evaluate(compile(tree, "cell", "exec", flags, dont_inherit=True))
    return repr(evaluate(compile(last, "cell", "eval", flags, dont_inherit=True)) if last else None)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    directory = tmp_path_factory.mktemp("cells")
    paths = [pack(cell, notebook(setup), directory).path for setup, cell in CELLS.values()]
    return dict(zip(CELLS, run(paths), strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_on_a_worker_means_what_it_means_here(name: str, results: dict[str, tuple[str, str]]) -> None:
    setup, source = CELLS[name]
    assert results[name] == ("ok", expected(setup, textwrap.dedent(source)))


def names(source: str, **namespace: Any) -> set[str]:
    return set(cell_function(source, {**notebook(), **namespace}, name="x").names)


def test_names_that_the_cell_binds_first_stay_at_home() -> None:
    assert names("x = 1\nprint(x)", x=0) == set()
    assert names("with open('a') as f:\n    t = f.read()\nf.closed", f=0) == set()
    assert names("import json\njson.dumps(1)", json=0) == set()
    assert names("for i in x:\n    print(i)", i=0, x=1) == {"x"}
    assert names("if (m := f()) and m.x:\n    m", m=0) == set()
    assert names("try:\n    x = f()\nexcept ValueError:\n    raise\nx", x=0) == set()
    assert names("def f(): return x\nx = 1\nf()", x=0) == {"x"}
    assert names("x = 1\ndef f(): return x\nf()", x=0) == set()
    assert names("if c:\n    x = 1\nx", c=0, x=0) == {"c", "x"}
    assert names("class A:\n    x = 1\n    y = x", x=0) == set()
    assert names("class A:\n    x = 1\n    def f(self): return x", x=0) == {"x"}
    assert names("[x for x in y]", x=0, y=0) == {"y"}


def test_the_notebooks_own_names_stay_at_home() -> None:
    assert names("exit\nquit\nopen('a')\n__builtins__\n__name__\nfor _ in (): _") == set()
    assert names("_private", _private=1) == {"_private"}
    assert set(cell_function("_('a')", {"_": 1}, name="x").names) == {"_"}  # no IPython, so it is gettext's


@pytest.mark.parametrize("name", ["Out[1]", "In[1]", "_", "_1", "__", "_i1", "_ih"])
def test_history_is_refused(name: str) -> None:
    with pytest.raises(PackageError) as caught:
        cell_function(f"x = 1\n{name}", notebook(), name="x")
    assert str(caught.value) == (
        f"line 2 uses {name.partition('[')[0]!r}, the notebook's history, which does not travel to workers: "
        "give that value a name of its own"
    )


def test_history_travels_if_it_is_named(tmp_path: Path) -> None:
    package = pack("_1 + Out[1]", notebook(), tmp_path, include=["_1", "Out"])
    assert run([package.path]) == [("ok", "'oneone'")]


def test_include_adds_names(tmp_path: Path) -> None:
    package = pack("eval('hidden')", notebook("hidden = 1"), tmp_path, include=["hidden"])
    assert run([package.path]) == [("ok", "1")]


def test_include_of_an_unknown_name() -> None:
    with pytest.raises(SubmitError) as caught:
        cell_function("1", notebook(), name="x", include=["nope"])
    assert str(caught.value) == "-i nope: the notebook has no variable 'nope'"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\n%time x", 2),
        ("!ls", 1),
        ("x = 1\n\nget_ipython().system('ls')", 3),
        ("def f():\n    get_ipython()", 2),
    ],
)
def test_magics_are_refused(source: str, line: int) -> None:
    with pytest.raises(SubmitError) as caught:
        cell_function(source, notebook(), name="x")
    assert str(caught.value) == f"magics and ! commands do not run on workers: line {line}"


def test_an_earlier_function_may_mention_get_ipython(tmp_path: Path) -> None:
    setup = "def f(x):\n    if x:\n        get_ipython()\n    return 1"
    assert run([pack("f(0)", notebook(setup), tmp_path).path]) == [("ok", "1")]


def test_star_import_is_refused() -> None:
    with pytest.raises(SubmitError) as caught:
        cell_function("x = 1\nfrom os.path import *", notebook(), name="x")
    assert str(caught.value) == (
        "line 2: 'from os.path import *' does not work in a cell for workers; import the names that it uses"
    )


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = 1\nreturn x", 2, "'return' outside function"),
        ("x = 1\n\nyield x", 3, "'yield' outside function"),
        ("x = (\n", 1, "'(' was never closed"),
        ("def f():\nx", 2, "expected an indented block after function definition on line 1"),
        ("nonlocal x", 1, "nonlocal declaration not allowed at module level"),
        ("break", 1, "'break' outside loop"),
        ("x = 1\nglobal x", 2, "name 'x' is assigned to before global declaration"),
    ],
)
def test_syntax_errors_are_pythons_with_the_cells_lines(source: str, line: int, message: str) -> None:
    with pytest.raises(SyntaxError) as caught:
        cell_function(source, notebook(), name="pi")
    assert (caught.value.filename, caught.value.lineno, caught.value.msg) == ("<cell pi>", line, message)


def test_a_null_byte_is_refused() -> None:
    with pytest.raises((SubmitError, SyntaxError), match="null bytes"):
        cell_function("x = '\0'", notebook(), name="x")


def test_a_warning_of_the_compiler_is_given_once(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.warns(SyntaxWarning) as warned:
        cell_function("x = 1\nx is 1", notebook(), name="x")
    assert [(each.filename, each.lineno) for each in warned] == [("<cell x>", 2)]


def test_tracebacks_show_the_cells_own_lines_and_those_of_earlier_cells(tmp_path: Path) -> None:
    package = pack("x = 1\ndef f(y):\n    return y / 0\n\nz = [\n    f(x),\n]", notebook(), tmp_path)
    ((kind, text),) = run([package.path])
    assert kind == "error"
    assert [line.strip("~^ ") for line in text.splitlines() if line.strip("~^ ")] == [
        "Traceback (most recent call last):",
        'File "<cell test>", line 6, in <module>',
        "f(x),",
        'File "<cell test>", line 3, in f',
        "return y / 0",
        "ZeroDivisionError: division by zero",
    ]


def test_a_missing_name_is_a_name_error_of_the_cell(tmp_path: Path) -> None:
    ((kind, text),) = run([pack("x = 1\nnope", notebook(), tmp_path).path])
    assert kind == "error"
    assert "\n    nope\n" in text
    assert "NameError: name 'nope' is not defined" in text


def test_display_prints_on_a_worker(tmp_path: Path) -> None:
    assert run([pack("display('shown')", notebook(), tmp_path).path]) == [("ok", "None")]


def test_display_gives_a_handle_and_helpers_have_it_too(tmp_path: Path) -> None:
    space = notebook("def show(x):\n    return display(x, display_id=True)")
    source = "handle = show(1)\nhandle.update(2)\nother = display('a', {'b': 1}, display_id='mine')\nother.display_id"
    assert run([pack(source, space, tmp_path).path]) == [("ok", "'mine'")]
    assert run([pack("display({'text/plain': 'x'}, raw=True)", notebook(), tmp_path).path]) == [
        ("ok", "None")
    ]


def test_a_display_of_the_notebook_s_own_stays(tmp_path: Path) -> None:
    space = notebook("def display(x):\n    return 2 * x")
    assert run([pack("display(21)", space, tmp_path).path]) == [("ok", "42")]


def test_what_the_cell_may_bind_itself_is_left_out_if_it_cannot_travel(tmp_path: Path) -> None:
    source = "try:\n    db = [1]\nfinally:\n    pass\nwith env.config['c']:\n    db2 = 1\ndb, db2"
    setup = (
        "import _thread, contextlib\nlock = db = db2 = _thread.allocate_lock()\nc = contextlib.nullcontext()"
    )
    namespace = notebook(setup)
    package = pack(source, namespace, tmp_path, config={"c": namespace["c"]})
    assert run([package.path]) == [("ok", "([1], 1)")]


def test_a_cell_can_be_called_here() -> None:
    namespace = notebook("x = 1")
    assert cell_function("x = x + env\nx", namespace, name="x")(5) == 6
    assert namespace["x"] == 6


def test_a_function_that_is_submitted_by_itself_has_display_as_a_cell_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had a NameError: in a kernel `display` is among the builtins."""
    space = notebook(
        "def show(x):\n    return display(x, display_id=True)\n"
        "def work(env):\n    show(1).update(2)\n    return display('a', display_id='mine').display_id"
    )
    monkeypatch.setattr(builtins, "display", print, raising=False)
    package = build(space["work"], {}, directory=tmp_path, local_dirs=(), name="work")
    assert run([package.path]) == [("ok", "'mine'")]
