"""No private name of a dependency is used: the next release may be without it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import t2notebook

PACKAGE = Path(t2notebook.__file__).parent

#: `_x` and `__x`, but not `_`, `__x__`, and the names that IPython, enum and traitlets document as `_x_`.
PRIVATE = re.compile(r"_[A-Za-z0-9]\w*(?<!_)|__\w*(?<!_)")

#: Modules that may use private names of one dependency. Each checks them when it is imported, says in one line which
#: version it does not understand, and goes on without them where it can.
GUARDED: dict[str, str] = {"dataflow/_distributed.py": "distributed"}

#: Private by their names only: the documentation of the standard library has them.
DOCUMENTED = {"_exit", "_getframe", "_current_frames", "_replace", "_asdict", "_fields", "_make"}

#: The standard library's, where nothing public does it.
STANDARD = {
    (
        "worker/executor/fork.py",
        "_config",
    ),  # without it multiprocessing's sockets in a deep sandbox have too long a path
    (
        "worker/process/finalization.py",
        "_clear",
    ),  # what multiprocessing calls in its own children, and for the same
    ("worker/process/finalization.py", "_registered_with_atexit"),
    ("worker/process/finalization.py", "_shutdown"),
    ("worker/process/finalization.py", "_run_exitfuncs"),
    ("worker/process/finalization.py", "_ncallbacks"),  # without it results go by requests of their own
    ("protocol/reducers/classes.py", "_abc_init"),  # what ABCMeta.__new__ does after type's
    ("protocol/reducers/classes.py", "_get_dump"),  # without it the documented way, which is slower
}

OF_AN_ATTRIBUTE = ("getattr", "setattr", "hasattr", "delattr")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("_vendor/"):
            yield name, ast.parse(path.read_text(), name)


def is_private(name: object) -> bool:
    return isinstance(name, str) and PRIVATE.fullmatch(name) is not None and name not in DOCUMENTED


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module of ours gives to attributes, methods, classes and globals."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                yield from (each.value for each in ast.walk(value) if isinstance(each, ast.Constant))


def foreign(tree: ast.Module) -> set[str]:
    """Return the names under which a module of ours knows other packages, and what is in them."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {(each.asname or each.name).partition(".")[0] for each in names}
            case ast.ImportFrom(level=0, names=names):
                found |= {each.asname or each.name for each in names}
    return found


def used(name: str, tree: ast.Module, ours: set[str]) -> Iterator[tuple[str, int, str]]:
    """Yield the private names of others in a module: line and text as well."""
    others = foreign(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=base), attr=attribute) if is_private(attribute):
                if base in others or attribute not in ours:
                    yield attribute, node.lineno, ast.unparse(node)
            case ast.Attribute(attr=attribute) if is_private(attribute) and attribute not in ours:
                yield attribute, node.lineno, ast.unparse(node)
            case ast.Call(func=ast.Name(id=called), args=[_, ast.Constant(value=attribute), *_]):
                if called in OF_AN_ATTRIBUTE and is_private(attribute) and attribute not in ours:
                    yield attribute, node.lineno, ast.unparse(node)
            case ast.Import(names=names):
                for each in names:
                    if any(map(is_private, each.name.split("."))):
                        yield each.name, node.lineno, ast.unparse(node)
            case ast.ImportFrom(module=module, names=names, level=0):
                for part in [*(module or "").split("."), *(each.name for each in names)]:
                    if is_private(part) and not (module or "").startswith("t2notebook."):
                        yield part, node.lineno, ast.unparse(node)


def every_use(trees: dict[str, ast.Module]) -> list[str]:
    ours = {each for tree in trees.values() for each in defined(tree)}
    return [
        f"{name}:{line}: {text}"
        for name, tree in trees.items()
        if name not in GUARDED
        for attribute, line, text in used(name, tree, ours)
        if (name, attribute) not in STANDARD
    ]


def test_no_private_name_of_a_dependency() -> None:
    assert every_use(dict(modules())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import cloudpickle\ncloudpickle._code_reduce(f)",
        "from cloudpickle import cloudpickle as own\nown._ours",
        "from tornado import _locale_data",
        "import kazoo._private.x",
        "from ipykernel._version import version_info",
        "def f(shell): return shell._showtraceback",
        "def f(shell): shell.kernel._parents = {}",
        "def f(shell): return getattr(shell, '_parent_header', None)",
        "class C(Base):\n    def f(self): return self._of_the_base",
        "import sys\nsys.modules['cloudpickle']._TRACKER",
        "def f():\n    import pandas as pd\n    return pd._libs",
    ],
)
def test_what_is_found(code: str) -> None:
    ours = ast.parse("class O:\n    def __init__(self): self._ours = 1")
    assert len(every_use({"ours.py": ours, "x.py": ast.parse(code)})) == 1


@pytest.mark.parametrize(
    "code",
    [
        "class C:\n    __slots__ = ('_a',)\n    def _f(self): return self._a, self._f(), type(self)._f",
        "import os\nos._exit(0)",
        "def f(error): error._render_traceback_ = print",
        "def f(t): return t._replace(x=1), t.__class__.__name__",
        "from ._ours import _x",
    ],
)
def test_what_is_not(code: str) -> None:
    assert every_use({"x.py": ast.parse(code)}) == []


def test_no_class_overrides_a_private_name_of_a_dependency() -> None:
    """A name of ours that a base class has as well changes what the base does."""
    found = []
    for module in pkgutil.walk_packages(t2notebook.__path__, "t2notebook."):
        if "._vendor" in module.name or module.name.endswith("__main__"):
            continue
        if f"{module.name.removeprefix('t2notebook.').replace('.', '/')}.py" in GUARDED:
            continue
        for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ != module.name:
                continue
            bases = [base for base in kind.__mro__[1:] if not is_ours_or_standard(base)]
            # what decorators and metaclasses of the dependency put there is the dependency's own doing
            source = inspect.getsource(kind)
            found += [
                f"{module.name}.{name}.{own} is {base.__qualname__}'s"
                for base in bases
                for own in vars(kind).keys() & vars(base).keys()
                if is_private(own) and re.search(rf"\b{own}\b", source)
            ]
            # ... and an attribute of an instance hides one of its class just so
            stored = {
                node.attr
                for node in ast.walk(ast.parse(inspect.cleandoc(f"\n{source}")))
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            }
            found += [
                f"{module.name}.{name}: self.{own} is {base.__qualname__}'s"
                for base in bases
                for own in stored & vars(base).keys()
                if is_private(own)
            ]
    assert found == []


def is_ours_or_standard(kind: type) -> bool:
    top = kind.__module__.partition(".")[0]
    return top == "t2notebook" or top in sys.stdlib_module_names
