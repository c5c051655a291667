"""Objects of the standard library that do not pickle, or lose something, taken apart and put together again."""

from __future__ import annotations

import contextvars
import copyreg
import dataclasses
import functools
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

from . import typing_forms


def _placeholder(argument: Any = None) -> None: ...


_dispatched = functools.singledispatch(_placeholder)
#: The code of all functions that `functools.singledispatch` makes, and the attributes that it gives them.
_DISPATCH_CODE = _dispatched.__code__  # type: ignore[attr-defined]
_DISPATCH_ATTRIBUTES = frozenset(vars(_dispatched)) - {"__wrapped__"}


def is_dispatched(function: FunctionType) -> bool:
    """Whether `functools.singledispatch` made the function."""
    return function.__code__ is _DISPATCH_CODE


def reduce_dispatched(function: Any) -> tuple[Any, ...]:
    """Return what pickle makes a generic function of: its implementations come later, they may call it."""
    own = {name: value for name, value in vars(function).items() if name not in _DISPATCH_ATTRIBUTES}
    state = (list(function.registry.items()), own, [getattr(function, name) for name in _NAMES])
    return _make_dispatched, (function.__name__,), state, None, None, _set_dispatched


_NAMES = ("__name__", "__qualname__", "__module__", "__doc__")


def _make_dispatched(name: str) -> Any:
    def placeholder(argument: Any = None) -> None: ...

    placeholder.__name__ = name  # it tells it when no argument is given
    return functools.singledispatch(placeholder)


def _set_dispatched(function: Any, state: tuple[Any, ...]) -> None:
    implementations, own, names = state
    for kind, implementation in implementations:
        function.register(kind, implementation)
    vars(function).update(own)
    for name, value in zip(_NAMES, names, strict=True):
        setattr(function, name, value)


def _reduce_dispatched_method(method: Any) -> Any:
    """Reduce a `functools.singledispatchmethod` without what it remembers of its uses."""
    return _make_dispatched_method, (), (method.func, method.dispatcher), None, None, _set_dispatched_method


def _make_dispatched_method() -> Any:
    return functools.singledispatchmethod(_placeholder)


def _set_dispatched_method(method: Any, state: tuple[Any, Any]) -> None:
    method.func, method.dispatcher = state


def _reduce_lru_cache(function: Any) -> Any:
    """Reduce what `functools.lru_cache` makes, with an empty cache."""
    parameters = function.cache_parameters()
    arguments = (function.__wrapped__, parameters["maxsize"], parameters["typed"])
    return _make_lru_cache, arguments, dict(function.__dict__)


def _make_lru_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_cached_property(cached: Any) -> Any:
    """Reduce a `functools.cached_property`, whose lock, up to Python 3.11, is made anew."""
    state = dict(cached.__dict__)
    locked = state.pop("lock", None) is not None
    return copyreg.__newobj__, (type(cached),), (state, locked), None, None, _set_cached_property  # type: ignore[attr-defined]


def _set_cached_property(cached: Any, state: tuple[dict[str, Any], bool]) -> None:
    attributes, locked = state
    cached.__dict__.update(attributes)
    if locked:
        cached.lock = threading.RLock()


def _reduce_property(found: property) -> Any:
    parts = (found.fget, found.fset, found.fdel, found.__doc__)
    own = getattr(found, "__dict__", None) or {}
    return copyreg.__newobj__, (type(found),), (property, parts, own), None, None, _set_parts  # type: ignore[attr-defined]


def _reduce_method(method: Any) -> Any:
    base = classmethod if isinstance(method, classmethod) else staticmethod
    state = (base, (method.__func__,), dict(method.__dict__))
    return copyreg.__newobj__, (type(method),), state, None, None, _set_parts  # type: ignore[attr-defined]


def _set_parts(value: Any, state: tuple[type, tuple[Any, ...], dict[str, Any]]) -> None:
    base, parts, own = state
    base.__init__(value, *parts)  # type: ignore[misc]
    if own:
        value.__dict__.update(own)


def _reduce_context_variable(variable: contextvars.ContextVar[Any]) -> Any:
    """Reduce a context variable with its default and the value that it has here."""
    missing = object()
    value = variable.get(missing)
    values = () if value is missing else (value,)
    try:
        defaults: tuple[Any, ...] = (contextvars.Context().run(variable.get),)
    except LookupError:
        defaults = ()
    return _make_context_variable, (variable.name, defaults), values, None, None, _set_context_variable


def _make_context_variable(name: str, defaults: tuple[Any, ...]) -> contextvars.ContextVar[Any]:
    if defaults:
        return contextvars.ContextVar(name, default=defaults[0])
    return contextvars.ContextVar(name)


def _set_context_variable(variable: contextvars.ContextVar[Any], values: tuple[Any, ...]) -> None:
    if values:
        variable.set(values[0])


def _reduce_singleton(name: str) -> Callable[[Any], Any]:
    return lambda _: (getattr, (dataclasses, name))


#: By exact type; for objects that are no functions and no classes.
REDUCERS: dict[type, Callable[[Any], Any]] = {
    functools.cached_property: _reduce_cached_property,
    functools.singledispatchmethod: _reduce_dispatched_method,
    contextvars.ContextVar: _reduce_context_variable,
    # Compared by identity, yet they pickle as objects of their own.
    type(dataclasses.MISSING): _reduce_singleton("MISSING"),
    type(dataclasses.KW_ONLY): _reduce_singleton("KW_ONLY"),
}
#: The same, for what may also be imported by its name.
BY_NAME: dict[type, Callable[[Any], Any]] = {
    type(functools.lru_cache(_placeholder)): _reduce_lru_cache,
    **typing_forms.reducers(),
}
#: By base class: subclasses of what cloudpickle reduces by its exact type only.
SUBCLASSES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (property, _reduce_property),
    (classmethod, _reduce_method),
    (staticmethod, _reduce_method),
    (functools.cached_property, _reduce_cached_property),
)
