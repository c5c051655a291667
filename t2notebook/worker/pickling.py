"""Pickles what cloudpickle does not bring back as it was: classes with slots, exceptions, what pickles as a name."""

from __future__ import annotations

import copyreg
import functools
import typing
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any, BinaryIO

import cloudpickle
from cloudpickle import cloudpickle as _cloudpickle

from .code_objects import reduce_code

_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE: not built in


class Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """Both ways between the notebook and its workers."""

    def reducer_override(self, obj: Any) -> Any:
        """Reduce what cloudpickle reduces, and what pickles itself as a name that nobody can import."""
        kind = type(obj)
        if kind is CodeType:
            return reduce_code(obj)
        if kind in _BY_NAME_ONLY and _cloudpickle._lookup_module_and_qualname(obj) is None:
            return _BY_NAME_ONLY[kind](obj)
        reduced = super().reducer_override(obj)
        if not isinstance(obj, type) or "__slots__" not in obj.__dict__ or reduced is NotImplemented:
            return reduced
        # typing.NamedTuple takes no __slots__: it sets them itself.
        if reduced[0] is _cloudpickle._make_skeleton_class and not _is_named_tuple(reduced[1][2]):
            # Set later, it makes no slots: instances get a __dict__, which those at home do not have.
            reduced[1][3]["__slots__"] = obj.__dict__["__slots__"]
        return reduced


def _is_named_tuple(bases: tuple[Any, ...]) -> bool:
    return any(getattr(base, "__name__", "") == "NamedTuple" for base in bases)


class ResultPickler(Pickler):
    """From a worker to the notebook.

    Parameters
    ----------
    file : binary file
    buffer_callback : callable
        Gets the large buffers.
    """

    def __init__(self, file: BinaryIO, buffer_callback: Callable[..., Any]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an exception with an `__init__` of its own without calling that again with `args`."""
        if isinstance(obj, BaseException) and _is_plain(type(obj)):
            return copyreg.__newobj__, (type(obj), *obj.args), dict(obj.__dict__) or None  # type: ignore[attr-defined]
        return super().reducer_override(obj)


def _is_plain(kind: type[BaseException]) -> bool:
    """Whether `args` and `__dict__` are all that an exception of this class consists of."""
    built_in = next(each for each in kind.__mro__ if not each.__flags__ & _HEAP_TYPE)
    return (
        isinstance(kind.__init__, FunctionType)
        and isinstance(kind.__new__, BuiltinFunctionType)
        and kind.__reduce__ is BaseException.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and built_in.__basicsize__ == BaseException.__basicsize__
    )


def _reduce_cached(function: Any) -> Any:
    """Reduce what `functools.lru_cache` makes, with an empty cache."""
    parameters = function.cache_parameters()
    arguments = (function.__wrapped__, parameters["maxsize"], parameters["typed"], functools._CacheInfo)
    return type(function), arguments, dict(function.__dict__)


#: Types that pickle themselves as a name to import; in a notebook there is nothing to import.
_BY_NAME_ONLY: dict[type, Callable[[Any], Any]] = {
    functools._lru_cache_wrapper: _reduce_cached,
    typing.NewType: lambda new: (typing.NewType, (new.__name__, new.__supertype__)),
    typing.ParamSpec: lambda spec: (typing.ParamSpec, (spec.__name__,)),
    typing.TypeVarTuple: lambda tuples: (typing.TypeVarTuple, (tuples.__name__,)),
}
