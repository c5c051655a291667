"""Reads a module's source for what it imports and for the texts that it holds; runs none of it."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Longer texts name neither a module nor a file; files are looked for inside those up to the second.
LONGEST = 255
LONGEST_STATEMENT = 10_000
_BETWEEN = re.compile(r"[\s'\"`()\[\]{}<>,:;=|]+")
_IMPORTERS = frozenset({"import_module", "__import__"})
#: Called to import modules by names that stand nowhere.
_FINDERS = frozenset({"iter_modules", "walk_packages"})


@dataclass(frozen=True)
class Wanted:
    """A module that something imports; one in a ``try``, or only named in a text, may be absent."""

    name: str
    optional: bool = False


@dataclass(frozen=True)
class Scan:
    """Imports and texts of a source.

    Parameters
    ----------
    imports : tuple of Wanted
        Absolute.
    texts : frozenset of str
        Short string constants, and paths in longer ones.
    is_dynamic : bool
        Whether it imports modules whose names are not written there.
    """

    imports: tuple[Wanted, ...] = ()
    texts: frozenset[str] = frozenset()
    is_dynamic: bool = False


@functools.lru_cache(maxsize=2048)
def scan(source: bytes, package: str) -> Scan:
    """Return what a source imports; `package` is the one that its relative imports start from."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return Scan()  # the worker says so, if it ever imports it
    imports: list[Wanted] = []
    texts: set[str] = set()
    is_dynamic = False
    for node, optional in _walk(tree):
        if isinstance(node, ast.Import):
            imports += [Wanted(alias.name, optional) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node.module or "", package, node.level)
            imports.append(Wanted(module, optional))
            imports += [Wanted(f"{module}.{alias.name}", optional) for alias in node.names]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in _IMPORTERS:
                text = _constant(node.args[0]) if node.args else None
                base = _constant(node.args[1]) if len(node.args) > 1 and called == "import_module" else None
                if text is None:
                    is_dynamic = True
                else:
                    name = text.lstrip(".")
                    imports.append(Wanted(absolute(name, base or package, len(text) - len(name)), optional))
            is_dynamic = is_dynamic or called in _FINDERS
        elif (text := _constant(node)) is not None:
            texts.update(words(text))
    return Scan(tuple(imports), frozenset(texts), is_dynamic)


def absolute(name: str, package: str, level: int) -> str:
    """Return the absolute name of ``from <level dots><name>`` in a module of `package`.

    Parameters
    ----------
    name : str
    package : str
        The importing module's.
    level : int
        The number of dots.
    """
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name])])


def words(text: str) -> Iterator[str]:
    """Yield what may be the name of a module or a file: a short text, and paths in a statement (SQL, say)."""
    if "\0" in text or len(text) > LONGEST_STATEMENT:
        return
    if 0 < len(text) <= LONGEST and "\n" not in text:
        yield text
    for each in _BETWEEN.split(text):
        word = each.rstrip(".!?")
        if ("." in word or "/" in word) and word != text and len(word) <= LONGEST:
            yield word


def _constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _walk(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node, and whether an error in it is caught."""
    pending: list[tuple[ast.AST, bool]] = [(tree, False)]
    while pending:
        node, optional = pending.pop()
        yield node, optional
        guarded = isinstance(node, ast.Try) and bool(node.handlers)
        body = node.body if isinstance(node, ast.Try) else []
        for child in ast.iter_child_nodes(node):
            pending.append((child, optional or (guarded and child in body)))
