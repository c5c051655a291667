"""House style that a machine can read: relative imports, first words of docstrings, and their numpy sections."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "t2notebook"

#: A docstring that begins so is a riddle until its end.
QUESTION = re.compile(r"(?:What|Who|Whom|Whose|Which|How|Why|Where|When)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("_vendor/pymesos/"):
            yield name, ast.parse(path.read_text(), name)


def absolute_imports(tree: ast.Module) -> list[int]:
    """Return the lines that import the package by its name."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Import) and any(one.name.split(".")[0] == "t2notebook" for one in node.names)
        )
        or (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] == "t2notebook"
        )
    ]


def questions(tree: ast.Module) -> list[int]:
    """Return the lines of docstrings that begin with a question."""
    return [
        node.body[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | Function)
        and QUESTION.match(ast.get_docstring(node) or "")
    ]


def public_functions(tree: ast.Module | ast.ClassDef, owner: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the functions and methods without an underscore, of classes without one."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{owner}{node.name}.")
        elif isinstance(node, Function) and not node.name.startswith("_") and not is_overload(node):
            yield f"{owner}{node.name}", node


def is_overload(function: Function) -> bool:
    return any(ast.unparse(one) == "overload" for one in function.decorator_list)


def parameters(function: Function) -> list[str]:
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def raises(function: Function) -> bool:
    """Return whether the function itself, not one inside it, raises an error of a named kind."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, Function | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Try) and node.handlers:  # its own handlers may take it
            pending += [*node.handlers, *node.orelse, *node.finalbody]
            continue
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Call)
            and ast.unparse(node.exc.func)[0].isupper()
        ):
            return ast.unparse(node.exc.func) not in ("NotImplementedError", "AssertionError")
        pending += ast.iter_child_nodes(node)
    return False


def missing_sections(tree: ast.Module) -> list[str]:
    """Return what public functions' docstrings lack, a line each."""
    found = []
    for name, function in public_functions(tree):
        if not (text := ast.get_docstring(function) or ""):
            continue  # a method that overrides a framework's says nothing new
        if len(parameters(function)) >= 3 and not re.search(r"^(Other )?Parameters\n-+$", text, re.MULTILINE):
            found.append(f"{function.lineno}: {name} has no Parameters")
        if raises(function) and not re.search(r"^Raises\n-+$", text, re.MULTILINE):
            found.append(f"{function.lineno}: {name} has no Raises")
    return found


# The project itself


def test_the_package_imports_itself_relatively() -> None:
    assert [f"{name}:{line}" for name, tree in modules() for line in absolute_imports(tree)] == []


def test_no_docstring_begins_with_a_question() -> None:
    found = [f"{name}:{line}" for name, tree in modules() for line in questions(tree)]
    assert found == []


def test_public_functions_say_what_they_take_and_raise() -> None:
    """Three parameters or more have Parameters, and an error of a kind of its own has Raises."""
    found = [f"{name}:{line}" for name, tree in modules() for line in missing_sections(tree)]
    assert found == []


def test_the_package_says_that_it_has_types() -> None:
    assert (PACKAGE / "py.typed").exists()


if __name__ == "__main__":
    for name, tree in modules():
        for line in missing_sections(tree):
            print(f"t2notebook/{name}:{line}")
