"""Imports inside t2notebook go downward only, as design and CONTRIBUTING.md draw the layers.

The check reads every import of every module, those inside functions and under TYPE_CHECKING as well, and runs
nothing. Its own tests, below, hand it small trees that break one rule each.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "t2notebook"

#: From top to bottom; names in one row may import each other, and everything in the rows below.
ROWS: tuple[tuple[str, ...], ...] = (
    ("notebook",),
    ("server",),
    ("dataflow",),
    ("client", "config", "jupyter_config", "cli", "__main__"),
    ("session",),
    ("scheduler",),
    ("jobmaster",),
    ("package",),
    ("mesos",),
    ("views",),
    ("journal", "frames"),
    ("worker",),
    ("protocol",),
    ("model",),
    ("_version",),
)

#: Beside the rows: a part that imports nothing of the rest -> the only parts that may import it.
ASIDE = {
    "localmesos": {"session", "cli", "client"},
    "_vendor": {"mesos"},
}

#: Downward, and still not allowed: a kernel holds nothing of a session, it talks to one.
FORBIDDEN = {
    "notebook": {"session", "scheduler", "jobmaster"},
    "client": {"session", "scheduler", "jobmaster"},
    "config": {"session", "scheduler", "jobmaster"},
    "jupyter_config": {"session", "scheduler", "jobmaster"},
}

#: What a part may import of others' packages, where that is limited; the standard library is always allowed.
THIRD_PARTY = {
    "model": set(),
    "protocol": {"cloudpickle"},
    "worker": {"cloudpickle", "fsspec", "kazoo", "numpy"},
}

#: Named in `notebook` only; and so are HTML's tags.
NOTEBOOK_LIBRARIES = {"ipywidgets", "IPython", "ipykernel", "anywidget"}
HTML_TAG = re.compile(
    r"</?(?:button|details|div|h[1-6]|img|li|pre|script|span|style|summary|svg|table|tbody|td|th|tr|ul)[ >/]"
)

RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
ROOT = "__init__"


class Import(NamedTuple):
    """One imported name: a dotted module, and the line that imports it."""

    module: str
    line: int


def violations(root: Path) -> list[str]:
    """Return one line for each broken rule in the package whose folder is `root`."""
    parts = {path.stem for path in root.iterdir() if path.suffix == ".py" or is_package(path)}
    found = [
        f"{PACKAGE}/{part} is in no layer: add it to the table at the top of {Path(__file__).name}"
        for part in sorted(parts - set(RANK) - set(ASIDE) - {ROOT})
    ]
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        part = inside.parts[0].removesuffix(".py")
        if part == "_vendor" and len(inside.parts) > 2:
            continue  # others' code
        if part == ROOT:
            problems = root_problems(path)
        elif part in RANK or part in ASIDE:
            problems = part_problems(path, inside, part, parts)
        else:
            continue  # reported above
        found += [f"{PACKAGE}/{inside}:{line}: {problem}" for line, problem in problems]
    return found


def circle(root: Path) -> list[str]:
    """Return the modules of one circle of imports, those inside functions and for types included; none: empty."""
    files = {}
    for path in root.rglob("*.py"):
        names = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
        if "_vendor" not in names and names[1:] != (ROOT,):
            files[".".join(names[:-1] if names[-1] == ROOT else names)] = path
    graph = {}
    for module, path in files.items():
        package = module.split(".") if path.stem == ROOT else module.split(".")[:-1]
        nodes = list(ast.walk(ast.parse(path.read_text(), str(path))))
        wanted = {name for name, _ in imports(iter(nodes), tuple(package))}
        for node in nodes:
            if isinstance(
                node, ast.ImportFrom
            ):  # `from .package import name`: the name may be a module of it
                base = package[: len(package) - node.level + 1] if node.level else []
                whole = ".".join((*base, *filter(None, [node.module])))
                modules = {f"{whole}.{alias.name}" for alias in node.names} & set(files)
                wanted |= modules
                if len(modules) == len(node.names):
                    wanted.discard(whole)
        graph[module] = wanted & set(files) - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def is_package(path: Path) -> bool:
    return path.is_dir() and next(path.rglob("*.py"), None) is not None


def root_problems(path: Path) -> Iterator[tuple[int, str]]:
    """The package itself imports its parts on first use only: an agent imports it too."""
    tree = ast.parse(path.read_text(), str(path))
    for imported in imports(top_level(tree), (PACKAGE,)):
        if imported.module.partition(".")[0] == PACKAGE and not imported.module.startswith(
            f"{PACKAGE}._version"
        ):
            yield imported.line, f"imports {imported.module} at once; import it inside a function"
    for imported in imports(ast.walk(tree), (PACKAGE,)):
        if imported.module.partition(".")[0] in NOTEBOOK_LIBRARIES:
            yield imported.line, f"imports {imported.module}, which belongs in notebook/"


def part_problems(path: Path, inside: Path, part: str, parts: set[str]) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text(), str(path))
    package = (PACKAGE, *inside.parent.parts)
    for module, line in imports(ast.walk(tree), package):
        top, _, rest = module.partition(".")
        if top == PACKAGE:
            if rest == "__version__":
                continue
            target = rest.partition(".")[0]
            if problem := internal_problem(part, target, parts):
                yield line, problem
        elif top in NOTEBOOK_LIBRARIES and part != "notebook":
            yield line, f"{part} imports {top}, which belongs in notebook/"
        elif part in THIRD_PARTY and top not in THIRD_PARTY[part] | sys.stdlib_module_names:
            allowed = ", ".join(["the standard library", *sorted(THIRD_PARTY[part])])
            yield line, f"{part} imports {top}; it may import {allowed} only"
    # A Mesos master answers `/` with a page; that of the embedded one is part of what it stands in for.
    if part not in ("notebook", "localmesos"):
        for line, tag in html_tags(tree):
            yield line, f"{part} writes the HTML tag {tag}, which belongs in notebook/"


def internal_problem(part: str, target: str, parts: set[str]) -> str | None:
    """Say what is wrong with `part` importing `target`, both names right under the package."""
    if target == part:
        return None
    if target in ASIDE:
        return None if part in ASIDE[target] else f"{part} must not import {target}"
    if part in ASIDE:
        return f"{part} must not import {target or PACKAGE}: it stands aside"
    if target not in RANK:
        if target in parts:
            return None  # a part without a layer: reported as such
        target = "client"  # `import t2notebook`, or a public name: it stands for the top of the API
        if part == target:
            return "client imports the package that offers it; import the module that has the name"
    if target in FORBIDDEN.get(part, ()):
        return f"{part} must not import {target}: a kernel talks to the session, it holds none of its parts"
    if RANK[target] < RANK[part]:
        return f"{part} must not import {target}, which is above it"
    return None


def imports(nodes: Iterator[ast.AST], package: tuple[str, ...]) -> Iterator[Import]:
    """Yield what the import statements and constant `import_module` calls among `nodes` import, absolute."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = (*package[: len(package) - node.level + 1],) if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            for alias in node.names:
                # `from package import name`: the name may be a module of it
                yield Import(f"{module}.{alias.name}" if module == PACKAGE else module, node.lineno)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in {"import_module", "__import__"} and isinstance(name, str):
                level = len(name) - len(name.lstrip("."))
                base = package[: len(package) - level + 1] if level else ()
                yield Import(".".join((*base, name.lstrip("."))), node.lineno)


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is imported, so nothing of functions and of TYPE_CHECKING."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending[:0] = node.orelse
            continue
        yield node
        pending[:0] = ast.iter_child_nodes(node)


def html_tags(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the HTML tags in the strings of `tree`, docstrings left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        if match := HTML_TAG.search(node.value):
            yield node.lineno, match.group().rstrip(" >/") + ">"


# The project itself


def test_imports_go_downward_only() -> None:
    found = violations(Path(__file__).parents[1] / PACKAGE)
    assert not found, "\n" + "\n".join(found)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(Path(__file__).parents[1] / PACKAGE) == []


# The check


def tree(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a package whose modules, named without `.py`, hold what `files` says."""
    root = folder / PACKAGE
    for name, code in {"__init__": "", **files}.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return root


RIGHT = {
    "down a row": {
        "session": "from . import scheduler",
        "scheduler/loop": "from ..model.states import JobState",
    },
    "inside a part": {"model/a": "from .b import x", "model/b": "", "model/sub/c": "from ..a import y"},
    "in one row": {"cli": "from .client import submit", "client": "from .config import Config"},
    "the version": {
        "model/a": "from .. import __version__",
        "worker/b": "from t2notebook import __version__",
    },
    "aside": {
        "localmesos/a": "import tornado\nfrom .b import x",
        "cli": "from .localmesos import LocalMesos",
    },
    "the embedded Mesos's page": {"localmesos/page": "x = '<table>'"},
    "worker's own": {"worker/a": "import cloudpickle, os.path\nfrom t2notebook.model import states"},
    "widgets": {"notebook/a": "import ipywidgets\nfrom IPython.display import HTML\nx = '<table>'"},
    "lazy root": {"__init__": "def f():\n    from .client import x\n"},
    "typed root": {
        "__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .client import x\n"
    },
    "docstring": {"frames": '"""Never <table>."""'},
    "package reads archives": {"package/a": "from ..worker.archive import load"},
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_allowed_passes(case: str, tmp_path: Path) -> None:
    assert violations(tree(tmp_path, RIGHT[case])) == []


WRONG = {
    "upward": ({"model/a": "from ..session import x"}, "must not import session"),
    "upward, absolute": ({"journal": "import t2notebook.jobmaster.x"}, "journal must not import jobmaster"),
    "upward, by name": (
        {"scheduler/a": "from t2notebook import client"},
        "must not import client",
    ),
    "in a function": (
        {"package/a": "def f():\n    from .. import session"},
        "must not import session",
    ),
    "for types": (
        {"package/a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..session import X"},
        "must not import session",
    ),
    "by import_module": ({"frames": "import_module('t2notebook.session')"}, "frames must not import session"),
    "by relative import_module": ({"frames": "import_module('.cli', __package__)"}, "must not import cli"),
    "package in package": ({"model/sub/a": "from ... import session"}, "must not import session"),
    "the __init__ of a part": (
        {"model/__init__": "from .. import session"},
        "must not import session",
    ),
    "the public API": ({"session": "import t2notebook"}, "session must not import client"),
    "a public name": ({"package/a": "from t2notebook import submit"}, "package must not import client"),
    "client and session": ({"client/a": "from .. import session"}, "client must not import session"),
    "notebook and scheduler": (
        {"notebook/a": "from ..scheduler import x"},
        "must not import scheduler",
    ),
    "worker and another's package": (
        {"worker/a": "import tornado.web"},
        "worker imports tornado",
    ),
    "model and another's package": ({"model/a": "import cloudpickle"}, "model imports cloudpickle"),
    "localmesos and the rest": (
        {"localmesos/a": "from ..model import x"},
        "must not import model",
    ),
    "localmesos and the package": (
        {"localmesos/a": "import t2notebook"},
        "must not import t2notebook",
    ),
    "scheduler and localmesos": (
        {"scheduler/a": "from ..localmesos import x"},
        "must not import localmesos",
    ),
    "notebook and localmesos": ({"notebook/a": "from ..localmesos import x"}, "must not import localmesos"),
    "others and _vendor": ({"session": "from . import _vendor"}, "session must not import _vendor"),
    "a widget below notebook": ({"client": "import ipywidgets"}, "client imports ipywidgets"),
    "a kernel in the root": ({"__init__": "def f():\n    import IPython.display"}, "imports IPython"),
    "a tag below notebook": ({"frames": "x = f'<td>{1}'"}, "frames writes the HTML tag <td>"),
    "eager root": ({"__init__": "try:\n    from . import client\nexcept ImportError:\n    pass"}, "at once"),
    "not in the table": ({"novelty": ""}, "novelty is in no layer: add it to the table"),
    "a package not in the table": ({"novelty/a": ""}, "novelty is in no layer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_rule_is_found(case: str, tmp_path: Path) -> None:
    files, message = WRONG[case]
    found = violations(tree(tmp_path, files))
    assert len(found) == 1
    assert message in found[0]


def test_a_violation_names_file_and_line(tmp_path: Path) -> None:
    found = violations(tree(tmp_path, {"model/a": "import os\n\nfrom ..session import x\n"}))
    assert found == ["t2notebook/model/a.py:3: model must not import session, which is above it"]


@pytest.mark.parametrize(
    "files",
    [
        {"model/a": "from .b import x", "model/b": "def f():\n    from . import a"},
        {
            "model/a": "from .b import x",
            "model/b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import X",
        },
        {"model/__init__": "from .a import x", "model/a": "from ..model import y"},
        {
            "model/a": "from ..frames import x",
            "frames": "import t2notebook.model.b",
            "model/b": "from t2notebook.model.a import x",
        },
    ],
)
def test_a_circle_is_found(files: Mapping[str, str], tmp_path: Path) -> None:
    assert circle(tree(tmp_path, files))


def test_modules_beside_each_other_are_no_circle(tmp_path: Path) -> None:
    files = {
        "model/__init__": "from .a import x",
        "model/a": "from . import b",
        "model/b": "",
        "frames": "from .model import x",
    }
    assert circle(tree(tmp_path, files)) == []
