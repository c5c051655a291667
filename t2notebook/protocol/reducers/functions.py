"""Functions taken apart and put together again: code, the names they read, cells that they share, attributes."""

from __future__ import annotations

import builtins
import dis
import inspect
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

_GLOBALS = frozenset(
    {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
)
_MODULE_FACTS = ("__package__", "__name__", "__path__", "__file__")
#: Set only where they are not what a new function has anyway.
_ATTRIBUTES = ("__defaults__", "__kwdefaults__", "__type_params__")


class Namespaces:
    """The globals that functions get on the other side: those that share theirs at home share them there."""

    def __init__(self) -> None:
        self._new: dict[int, dict[str, Any]] = {}

    def new(self, function: FunctionType) -> dict[str, Any]:
        """Return the namespace, with what relative imports need; the names that functions read come later."""
        facts = {name: function.__globals__[name] for name in _MODULE_FACTS if name in function.__globals__}
        return self._new.setdefault(id(function.__globals__), facts)


def reduce_function(
    function: FunctionType, namespace: Mapping[str, Any], values: Any, modules: list[ModuleType]
) -> tuple[Any, ...]:
    """Return what pickle makes a function of.

    The cells of its closure are pickled empty, as parts of the function, and filled afterwards: what they hold may
    need the function itself. `reduce_cell` reduces them.

    Parameters
    ----------
    function : function
    namespace : dict
        Its globals on the other side, one for all functions that share theirs.
    values : dict, or what pickles as one
        The names that it reads of its globals.
    modules : list of module
        To be imported because the function reaches them as attributes of packages.
    """
    attributes: dict[str, Any] = {
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
    }
    for name in _ATTRIBUTES:
        if value := getattr(function, name, None):
            attributes[name] = value
    if annotations := annotations_of(function):
        attributes["__annotations__"] = annotations
    contents = [_contents(cell) for cell in function.__closure__ or ()]
    arguments = (function.__code__, namespace, function.__name__, function.__closure__)
    state = (values, contents, attributes, dict(function.__dict__), modules)
    return make_function, arguments, state, None, None, set_function


def annotations_of(value: Any) -> dict[str, Any]:
    """Return the annotations of a function or a class.

    From Python 3.14 on they are computed when somebody asks, by a function that holds on to the whole body of the
    class; those that name what does not exist are given as text.
    """
    try:
        return inspect.get_annotations(value)
    except Exception:
        library = sys.modules["annotationlib"]  # `inspect` has it
        text: dict[str, Any] = library.get_annotations(value, format=library.Format.STRING)
        return text


def make_function(
    code: CodeType, namespace: dict[str, Any], name: str, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """Return a function that `set_function` completes.

    Parameters
    ----------
    code : CodeType
    namespace : dict
        Its globals.
    name : str
    closure : tuple of CellType, optional
    """
    namespace.setdefault("__builtins__", builtins)
    return FunctionType(code, namespace, name, None, closure)


def set_function(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Give a function what `reduce_function` took out."""
    values, contents, attributes, own, _ = state
    function.__globals__.update(values)
    for cell, value in zip(function.__closure__ or (), contents, strict=True):
        if value:
            cell.cell_contents = value[0]
    function.__dict__.update(own)
    for name, value in attributes.items():
        setattr(function, name, value)


def reduce_cell(cell: CellType, *, empty: bool) -> tuple[Any, ...]:
    """Return what pickle makes a cell of; an empty one if the function that has it fills it."""
    if empty or not (contents := _contents(cell)):
        return CellType, ()
    return CellType, (), contents, None, None, _fill


def _fill(cell: CellType, contents: tuple[Any, ...]) -> None:
    cell.cell_contents = contents[0]


def _contents(cell: CellType) -> tuple[Any, ...]:
    """Return what a cell holds, as a tuple of one; empty for a variable that is not bound yet."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def cell_values(function: FunctionType) -> list[Any]:
    """Return what the variables around a function hold that are bound."""
    return [value for cell in function.__closure__ or () for value in _contents(cell)]


def global_names(code: CodeType) -> dict[str, None]:
    """Return the global names that `code` and the functions and classes in it use, each once, in their order."""
    found: dict[str, None] = {}
    instructions = list(dis.get_instructions(code))
    own = {each.argval for each in instructions if each.opname == "STORE_NAME"}
    for each in instructions:
        if each.opname in _GLOBALS and (each.argval not in own or "GLOBAL" in each.opname):
            found[each.argval] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(global_names(constant))
    return found


def submodules(code: CodeType, values: list[Any]) -> Iterator[ModuleType]:
    """Yield the imported submodules that `code` reaches as attributes of modules among `values`, by name."""
    names: set[str] | None = None
    found = set()
    pending = [
        value.__name__ for value in values if isinstance(value, ModuleType) and hasattr(value, "__path__")
    ]
    modules: MutableMapping[str, Any] = sys.modules
    while pending:
        if names is None:
            names = set(_attributes(code))
        module = pending.pop()
        for name in names:
            inner = f"{module}.{name}"
            if inner not in found and isinstance(modules.get(inner), ModuleType):
                found.add(inner)
                pending.append(inner)
    for name in sorted(found):
        yield modules[name]


def _attributes(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _attributes(constant)
