"""Tells where a module in this process is not what its file says: edited since, or assigned to.

Workers import the file. A function is compared by its code, a constant by its value; nothing is run.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .global_names import inner_code

_SHOWN = 3
#: Seconds for all modules of a job; those that are left are looked at by the next submit, which knows these already.
PATIENCE = 0.1
_MUTATORS = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "remove"}
    | {"reverse", "setdefault", "sort", "update"}
)
#: What may bind a global name that stands nowhere as one.
_BINDERS = frozenset({"globals", "vars", "locals", "exec", "eval", "setattr", "__dict__", "sys"})
#: Of a value, so many characters are shown.
_LONGEST = 40
_MISSING = object()


@dataclass(frozen=True)
class _Definitions:
    """Names that a source binds at its top to a value that can be told without running it."""

    source: bytes
    constants: Mapping[str, Any]
    functions: Mapping[str, CodeType]
    methods: Mapping[str, CodeType]
    is_open: bool = False  # binds names that its text does not tell

    def has_one(self, name: str) -> bool:
        """Whether the source binds a name once: elsewhere, it may have another value for good reasons."""
        return _bindings(self.source).get(name) == 1


def notes(
    paths: Mapping[str, str], sources: Mapping[str, bytes], reassigned: Set[str] = frozenset()
) -> list[str]:
    """Return a line for each module in this process that workers will not find as it is here.

    Parameters
    ----------
    paths : mapping of str to str
        Modules that travel to their files.
    sources : mapping of str to bytes
        The same modules to the contents of the files.
    reassigned : set of str
        Names in modules that workers assign to themselves, in the setup or in the job: nothing is said of those.
    """
    found = []
    until = time.monotonic() + PATIENCE
    loaded = [(name, path) for name, path in paths.items() if name in sys.modules]
    for name, path in sorted(loaded, key=lambda each: (-_modified(each[1]), each[0])):
        if time.monotonic() > until:
            break
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and (note := _note(name, module, path, sources[name], reassigned)):
            found.append(note)
    return found


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _note(name: str, module: ModuleType, path: str, source: bytes, reassigned: Set[str]) -> str:
    loaded = getattr(module, "__file__", None)
    if not isinstance(loaded, str) or os.path.realpath(loaded) != os.path.realpath(path):
        return ""
    if type(getattr(module.__spec__, "loader", None)) is not SourceFileLoader:
        return ""  # one that changes the code on its way
    definitions = _definitions(source, path)
    if definitions is None:
        return ""  # being written; the worker says that it is no Python
    changed = _functions_of_another_source(module, definitions)
    if changed or _was_edited(module, path):
        return (
            f"{os.path.basename(path)} has changed since this notebook imported {name}: workers have the new file, "
            f"this notebook the old code; importlib.reload({name}) reads it again"
        )
    assigned = list(_assigned(name, module, definitions, reassigned))
    if not assigned:
        return ""
    more = f" and {len(assigned) - _SHOWN} more" if len(assigned) > _SHOWN else ""
    return (
        f"{', '.join(assigned[:_SHOWN])}{more}: workers have what {os.path.basename(path)} says; assign it in "
        "%%twister2 setup (t2.setup) as well"
    )


#: Module -> its spec, which a reload replaces, and time and size of its file when it was first seen.
_seen: dict[str, tuple[Any, int, int]] = {}


def _was_edited(module: ModuleType, path: str) -> bool:
    """Whether the file is another than when the module was first seen, or imported."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    spec, *state = _seen.get(module.__name__, (None, 0, 0))
    if spec is module.__spec__ and state != [status.st_mtime_ns, status.st_size]:
        return True
    if _is_bytecode_older(module, status):
        return True
    _seen[module.__name__] = (module.__spec__, status.st_mtime_ns, status.st_size)
    return False


def _is_bytecode_older(module: ModuleType, status: os.stat_result) -> bool:
    """Whether the bytecode that was made or read by the import is of an earlier state of the file."""
    cached = getattr(module.__spec__, "cached", None)
    if not isinstance(cached, str):
        return False
    try:
        with open(cached, "rb") as file:
            head = file.read(16)
        written = os.stat(cached)
    except OSError:
        return False
    if not os.access(os.path.dirname(cached), os.W_OK):
        return False  # the import could not keep it up to date
    if len(head) < 16 or head[:4] != MAGIC_NUMBER or head[4:8] != bytes(4):
        return False  # of another Python, or told by a hash
    source_time, source_size = head[8:12], head[12:16]
    is_other = source_time != _word(status.st_mtime) or source_size != _word(status.st_size)
    # A copied or restored file may be older than its bytecode; only a later one is an edit.
    return (
        is_other
        and status.st_mtime > int.from_bytes(source_time, "little")
        and status.st_mtime >= written.st_mtime
    )


def _word(number: float) -> bytes:
    return (int(number) & 0xFFFFFFFF).to_bytes(4, "little")


def _functions_of_another_source(module: ModuleType, definitions: _Definitions) -> bool:
    """Whether a function that was loaded from the file has other code than the file."""
    for name, code in (*definitions.functions.items(), *definitions.methods.items()):
        kind, _, last = name.rpartition(".")
        owner = vars(module).get(kind) if kind else module
        value = getattr(owner, "__dict__", {}).get(last)
        if (
            isinstance(value, FunctionType)
            and value.__module__ == module.__name__
            and value.__code__.co_qualname == name
            and value.__code__.co_filename == module.__file__
            and not _is_same(value.__code__, code)
            and definitions.has_one(kind or last)
        ):
            return True
    return False


def _assigned(
    name: str, module: ModuleType, definitions: _Definitions, reassigned: Set[str]
) -> Iterator[str]:
    """Yield the module's names that have another value here than in the file, as one would say it."""
    for variable, value in definitions.constants.items():
        if variable in reassigned:
            continue
        here = vars(module).get(variable, _MISSING)
        if here is not _MISSING and not _is_equal(here, value) and definitions.has_one(variable):
            yield f"{name}.{variable} is {_short(here)} here and {_short(value)} in the file"
    for variable in sorted(definitions.functions.keys() - reassigned):
        here = vars(module).get(variable, _MISSING)
        is_own = here is _MISSING or getattr(here, "__module__", None) == name
        if not is_own and definitions.has_one(variable):
            yield f"{name}.{variable} is not the file's function here"
    for variable in sorted(_added(module, definitions) - reassigned):
        yield f"{name}.{variable} is not in the file"


def _added(module: ModuleType, definitions: _Definitions) -> set[str]:
    """Return the names that the module has here and that nothing in its file can have bound."""
    if definitions.is_open:
        return set()
    known = _bindings(definitions.source)
    return {
        variable
        for variable, value in vars(module).items()
        if variable not in known and not variable.startswith("_") and not isinstance(value, ModuleType)
    }


def _is_equal(here: Any, value: Any) -> bool:
    if type(here) is not type(value):
        return False
    try:
        # By text, as 1 == 1.0 == True, and nan is not itself.
        return bool(here == value) or repr(here) == repr(value)
    except Exception:
        return True


def _short(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _is_same(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same; where they stand in a file does not count."""
    if (one.co_code, one.co_names, one.co_varnames, one.co_freevars, one.co_flags) != (
        other.co_code,
        other.co_names,
        other.co_varnames,
        other.co_freevars,
        other.co_flags,
    ) or len(one.co_consts) != len(other.co_consts):
        return False
    return all(
        _is_same(mine, theirs)
        if isinstance(mine, CodeType) and isinstance(theirs, CodeType)
        else type(mine) is type(theirs) and repr(mine) == repr(theirs)
        for mine, theirs in zip(one.co_consts, other.co_consts, strict=True)
    )


@functools.lru_cache(maxsize=1024)
def _definitions(source: bytes, path: str) -> _Definitions | None:
    try:
        tree = ast.parse(source)
        code = compile(tree, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    codes = {each.co_name: each for each in inner_code(code)}
    constants: dict[str, Any] = {}
    functions: dict[str, CodeType] = {}
    methods: dict[str, CodeType] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            if node.name in codes:
                functions[node.name] = codes[node.name]
        elif isinstance(node, ast.ClassDef) and node.name in codes:
            inner = list(inner_code(codes[node.name]))
            names = [each.co_name for each in inner]
            methods.update({each.co_qualname: each for each in inner if names.count(each.co_name) == 1})
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
            # What is empty or None at first is there to be filled.
            if value is None or (isinstance(value, list | dict | set) and not value):
                continue
            for target in targets:
                if isinstance(target, ast.Name):
                    constants[target.id] = value
    is_open = any(
        (isinstance(node, ast.ImportFrom) and node.names[0].name == "*")
        or isinstance(node, ast.Match)
        or (isinstance(node, ast.Name) and node.id in _BINDERS)
        for node in ast.walk(tree)
    )
    return _Definitions(source, constants, functions, methods, is_open)


@functools.lru_cache(maxsize=64)
def _bindings(source: bytes) -> Mapping[str, int]:
    """Return how often each global name is bound, anywhere in the source."""
    found: dict[str, int] = {}

    def add(name: str) -> None:
        found[name] = found.get(name, 0) + 1

    def visit(node: ast.AST, declared: frozenset[str] | None) -> None:
        # `declared` are a function's global names; None at the top.
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            if not isinstance(node, ast.Lambda) and (declared is None or node.name in declared):
                add(node.name)
            inner = frozenset(
                name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names
            )
            for child in ast.iter_child_nodes(node):
                visit(child, inner)
            return
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            if declared is None or node.id in declared:
                add(node.id)
        elif isinstance(node, ast.alias):
            name = node.asname or node.name.partition(".")[0]
            if declared is None or name in declared:
                add(name)
        # What a module changes in place is its own affair.
        elif (
            isinstance(node, ast.Attribute | ast.Subscript)
            and not isinstance(node.ctx, ast.Load)
            and isinstance(node.value, ast.Name)
        ):
            add(node.value.id)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _MUTATORS
            and isinstance(node.func.value, ast.Name)
        ):
            add(node.func.value.id)
        for child in ast.iter_child_nodes(node):
            visit(child, declared)

    visit(ast.parse(source), None)
    return found
