"""Says what cannot travel: which variable, which part of it, who uses it, and why.

Runs only after pickling has failed. Parts are pickled one by one, into nothing; nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import FunctionType, MethodType
from typing import Any

from ..model.errors import PackageError
from ..model.wording import with_article
from .cell import CellFunction
from .global_names import global_reads

#: Bounds of the search: seconds, parts of one object that are tried, and how deep it goes.
PATIENCE = 1.0
_PARTS = 1000
_DEPTH = 10

#: Pickles a value into nothing, until a time: gives the error, or None if none came up.
Attempt = Callable[[Any, float], BaseException | None]


@dataclass(frozen=True)
class Use:
    """A variable on its way into the pickle.

    Parameters
    ----------
    variable : str
        Its name; ``config['x']`` for an entry of the job's config.
    value : object
    owner : function or CellFunction, optional
        Who uses it; None for the config.
    """

    variable: str
    value: Any
    owner: FunctionType | CellFunction | None


def explain(error: BaseException, uses: Sequence[Use], worker: Any, attempt: Attempt) -> PackageError:
    """Return the error to raise instead of `error`.

    Parameters
    ----------
    error : exception
        What the pickler raised.
    uses : sequence of Use
        The variables that were being pickled, outermost first.
    worker : callable
        The job's worker; it is at fault if there are none.
    attempt : callable
    """
    use = uses[-1] if uses else Use(_name(worker), worker, None)
    path, value, error = _culprit(use.variable, use.value, error, attempt)
    if not uses:
        whole = f"the worker function {use.variable!r}"
    elif use.owner is None:
        whole = f"the job's {use.variable}"
    elif isinstance(use.owner, CellFunction) or use.owner.__globals__.get("__name__") == "__main__":
        whole = f"the notebook's variable {use.variable!r}"
    else:
        whole = f"the variable {use.variable!r} of module {use.owner.__module__}"
    if value is use.value:
        what = f"{whole} ({type_name(value)}) cannot be sent to workers: {_reason(error)}"
    else:
        what = f"{whole} cannot be sent to workers: {path} is {with_article(type_name(value))} ({_reason(error)})"
    place = "cell" if isinstance(worker, CellFunction) else "worker function"
    return PackageError(f"{what}{_usage(use)}. Make it inside the {place}, or leave it out")


def type_name(value: Any) -> str:
    """Return the name of a value's type, with its module unless that is `builtins` or the notebook."""
    kind = type(value)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _usage(use: Use) -> str:
    if isinstance(use.owner, CellFunction):
        line = use.owner.reads.get(use.variable)
        return f"; it is used by the cell in line {line}" if line else "; -i names it"
    if use.owner is None:
        return ""
    code = use.owner.__code__
    line = global_reads(code).get(use.variable, code.co_firstlineno)
    place = os.path.basename(code.co_filename) if code.co_filename.endswith(".py") else "its cell"
    if "ipykernel_" in code.co_filename:
        place = "its cell"
    return f"; it is used by function {use.owner.__qualname__!r} (line {line} of {place})"


def _reason(error: BaseException) -> str:
    if _is_too_deep(error):
        return "it is nested too deeply"
    text = " ".join(str(error).split())
    if not isinstance(error, TypeError | AttributeError) and type(error).__name__ != "PicklingError":
        text = f"{type(error).__name__}: {text}"  # raised by the object's own code
    return text[:300] or type(error).__name__


def _is_too_deep(error: BaseException) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _culprit(path: str, value: Any, error: BaseException, attempt: Attempt) -> tuple[str, Any, BaseException]:
    """Return the smallest part of `value` that fails, with its path and its own error."""
    until = time.monotonic() + (0 if _is_too_deep(error) else PATIENCE)
    for _ in range(_DEPTH):
        for inner_path, part in islice(_parts(path, value), _PARTS):
            if time.monotonic() > until:
                return path, value, error
            inner_error = attempt(part, until)
            if inner_error is not None:
                path, value, error = inner_path, part, inner_error
                break
        else:
            break
    return path, value, error


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what pickling `value` pickles, each with its path as one would write it in Python."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}[{_short(key)}]", item
            yield f"a key of {path}", key
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield f"an element of {path}", item
    elif isinstance(value, FunctionType):
        yield from _function_parts(path, value)
    elif isinstance(value, type):
        yield from _class_parts(path, value)
    elif isinstance(value, property):
        for accessor in (value.fget, value.fset, value.fdel):
            yield path, accessor
    elif isinstance(value, classmethod | staticmethod):
        yield path, value.__func__
    elif isinstance(value, MethodType):
        yield f"{path}.__self__", value.__self__
    elif isinstance(value, functools.partial):
        yield f"{path}.func", value.func
        yield from _parts(f"{path}.args", value.args)
        yield from _parts(f"{path}.keywords", value.keywords)
    elif isinstance(inner := getattr(value, "__wrapped__", None), FunctionType):  # of functools.lru_cache
        yield path, inner
    elif not isinstance(value, CellFunction):
        yield from _state(path, value)
        yield f"class {type(value).__qualname__!r}", type(value)


def _class_parts(path: str, kind: type) -> Iterator[tuple[str, Any]]:
    for name, attribute in kind.__dict__.items():
        if name not in ("__dict__", "__weakref__", "_abc_impl"):
            yield f"{path}.{name}", attribute
    for base in kind.__bases__:
        yield base.__qualname__, base


def _function_parts(path: str, function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{name!r} around function {path}", cell.cell_contents
        except ValueError:
            pass  # not bound yet
    for default in function.__defaults__ or ():
        yield f"a default of function {path}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"default {name!r} of function {path}", default
    for name, attribute in function.__dict__.items():
        yield f"{path}.{name}", attribute


def _state(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of an object as its own `__reduce_ex__` gives them."""
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:
        return  # the object itself refuses
    if not isinstance(reduced, tuple):
        return
    _, arguments, state, *items = (*reduced, None, None, None, None)[:5]
    for attributes in state if isinstance(state, tuple) else (state,):
        if isinstance(attributes, dict):
            for name, attribute in attributes.items():
                yield f"{path}.{name}", attribute
    for argument in arguments or ():
        yield argument.__qualname__ if isinstance(argument, type) else f"a part of {path}", argument
    for index, item in enumerate(items[0] or ()):
        yield f"{path}[{index}]", item
    for key, item in items[1] or ():
        yield f"{path}[{_short(key)}]", item


def _short(key: Any) -> str:
    text = repr(key) if isinstance(key, str | int | float | bytes | tuple) else f"<{type_name(key)}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(worker: Any) -> str:
    return getattr(worker, "__name__", None) or type(worker).__name__
