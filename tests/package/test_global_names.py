"""The analysis of names, against Python's own symbol tables."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2notebook.package.global_names import global_reads, stores, unbound_reads

#: Modules without star-imports, of many styles.
MODULES = (
    "argparse", "asyncio.base_events", "collections", "contextlib", "dataclasses", "datetime", "decimal", "enum",
    "functools", "http.cookies", "sched", "json.decoder", "logging", "shlex", "pickle", "random", "shutil",
    "statistics", "tarfile", "tempfile", "threading", "traceback", "types", "typing", "unittest.mock", "zipfile",
)  # fmt: skip
FACTS = {
    "__name__",
    "__file__",
    "__doc__",
    "__path__",
    "__package__",
    "__debug__",
    "__class__",
    "__spec__",
    "__annotations__",
}


def referenced(table: symtable.SymbolTable, top: bool = True) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from referenced(inner, top=False)


@pytest.mark.parametrize("name", MODULES)
def test_every_reference_is_seen_or_bound_before(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text()
    code = compile(source, name, "exec", dont_inherit=True)
    wanted = set(referenced(symtable.symtable(source, name, "exec")))
    reads, bound = set(unbound_reads(code)), stores(code)
    # From Python 3.12 on, the symbols of comprehensions are among those around them.
    targets = {
        name.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
        if isinstance(name, ast.Name)
    }
    assert wanted - reads - bound - targets <= FACTS, "missed"
    assert reads - bound - set(dir(builtins)) - {"__module__", "__qualname__"} <= FACTS, "invented"
    assert set(unbound_reads(code, frozenset(bound))) <= reads


def reads(source: str, *bound: str) -> dict[str, int]:
    return unbound_reads(compile(source, "x", "exec", dont_inherit=True), frozenset(bound))


def test_lines_are_those_of_the_first_read() -> None:
    assert reads("a = 1\nb\n\nc, b\ndef f():\n    return d") == {"b": 2, "c": 4, "d": 6}
    assert reads("x, y", "x") == {"y": 1}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("while c:\n    x = 1\n    x", {"c"}),
        ("while c:\n    x\n    x = 1", {"c", "x"}),
        ("while True:\n    x = 1\n    if c: break\nx", {"c"}),
        ("try:\n    x = f()\nfinally:\n    x", {"f", "x"}),
        ("try:\n    x = f()\nexcept E:\n    x = 2\nx", {"f", "E"}),
        ("try:\n    f()\nexcept E as x:\n    x\nx", {"f", "E", "x"}),
        ("with a as x:\n    y = 1\nx, y", {"a", "y"}),
        ("x = 1\ndel x\nx", {"x"}),
        ("del x", {"x"}),
        ("x += 1", {"x"}),
        ("a and (x := 1)\nx", {"a", "x"}),
        ("x = lambda: x", {"x"}),
        ("@d\ndef f(a=b) -> c: return f", {"d", "b", "c", "f"}),
        ("class A(B, metaclass=M):\n    x = y\n    y = x\n    z = [y for _ in x]", {"B", "M", "y"}),
        ("class A:\n    class C:\n        x = 1\n    x", {"x"}),
        ("raise x\ny", {"x"}),
        ("assert a, b", {"a", "b"}),
        ("f'{a:{b}}'", {"a", "b"}),
        ("match a:\n    case K(): x = 1\n    case y: x = 2\nx", {"a", "K"}),
        ("import a.b, c as d\nfrom e import f\na, d, f", set()),
    ],
)
def test_flow(source: str, expected: set[str]) -> None:
    assert set(reads(source)) - {"__name__"} == expected


def test_functions_read_what_their_classes_read() -> None:
    code = compile(
        "def f():\n    class A:\n        x = k\n        k = 1\n        def g(self): return h", "x", "exec"
    )
    assert set(global_reads(code.co_consts[0])) - {"__name__"} == {"k", "h"}
