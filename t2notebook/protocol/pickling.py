"""Pickles functions and classes that nobody can import as they are, and what else cloudpickle does not bring back.

cloudpickle decides what can be imported, by the documented hook of pickle, and reduces what is neither a function
nor a class. Nothing here depends on what it makes of those two.
"""

from __future__ import annotations

import copyreg
import enum
import sys
import types
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any, BinaryIO

import cloudpickle

from .reducers import classes, code_objects, enums, functions, standard_library

_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE: not built in

#: pickle's hook as cloudpickle has it; one without it decides nothing, and what can be imported is.
_HOOK = getattr(cloudpickle.Pickler, "reducer_override", None)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """Both ways between the notebook and its workers."""

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, **options)
        self._globals = functions.Namespaces()
        #: The cells of functions, which fill them.
        self._closures: set[int] = set()
        #: By id, with the object, which keeps its id.
        self._dynamic: dict[int, tuple[Any, bool]] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Reduce functions, classes and code that nobody can import, and what pickle would change."""
        kind = type(obj)
        if kind is FunctionType:
            if not self.is_dynamic(obj):
                return NotImplemented
            if standard_library.is_dispatched(obj):
                return standard_library.reduce_dispatched(obj)
            return self.reduce_function(obj)
        if issubclass(kind, type):
            if id(obj) in _BUILT_IN:
                return _built_in, (_BUILT_IN[id(obj)],)
            if not self.is_dynamic(obj):
                return NotImplemented
            return classes.reduce_class(obj, self.is_dynamic)
        if kind is CodeType:
            return self.reduce_code(obj)
        if kind is CellType:
            return functions.reduce_cell(obj, empty=id(obj) in self._closures)
        if (reduce := standard_library.REDUCERS.get(kind)) is not None:
            return reduce(obj)
        if (reduce := standard_library.BY_NAME.get(kind)) is not None:
            return NotImplemented if is_importable(obj) else reduce(obj)
        if issubclass(kind, enum.Enum):
            return enums.reduce_member(obj) if self.is_dynamic(kind) else NotImplemented
        if isinstance(obj, _WITH_SUBCLASSES) and kind not in _WITH_SUBCLASSES:
            for base, reduce in standard_library.SUBCLASSES:
                if issubclass(kind, base) and kind.__reduce_ex__ is object.__reduce_ex__:
                    return reduce(obj)
        return NotImplemented if _HOOK is None else _HOOK(self, obj)

    def is_dynamic(self, obj: Any) -> bool:
        """Whether a function or class travels by value: nobody can import it, or cloudpickle was told so."""
        if id(obj) not in self._dynamic:
            self._dynamic[id(obj)] = obj, self._is_dynamic(obj)
        return self._dynamic[id(obj)][1]

    def _is_dynamic(self, obj: Any) -> bool:
        if _HOOK is None:
            return not is_importable(obj)
        try:
            return _HOOK(self, obj) is not NotImplemented
        except Exception:
            return True  # it takes apart only what it does not import

    def reduce_code(self, code: CodeType) -> Any:
        """Reduce a code object."""
        return code_objects.reduce_code(code)

    def reduce_function(self, function: FunctionType) -> Any:
        """Reduce a function, with the names of its globals that it uses."""
        found = function.__globals__
        values = {name: found[name] for name in functions.global_names(function.__code__) if name in found}
        return self.function_with(function, values, list(values.values()))

    def function_with(self, function: FunctionType, values: Any, held: list[Any]) -> Any:
        """Reduce a function with these globals.

        Parameters
        ----------
        function : function
        values : dict, or what pickles as one
        held : list
            The values, for the submodules that the function reaches through them.
        """
        self._closures.update(map(id, function.__closure__ or ()))
        held = [*held, *functions.cell_values(function)]
        modules = list(functions.submodules(function.__code__, held))
        return functions.reduce_function(function, self._globals.new(function), values, modules)


_WITH_SUBCLASSES = tuple(base for base, _ in standard_library.SUBCLASSES)
#: Types that are not found by the name that they have, as type(None): by id, their names in `types`.
_BUILT_IN = {id(each): name for name, each in vars(types).items() if isinstance(each, type)}


def _built_in(name: str) -> Any:
    return getattr(types, name)


def is_importable(obj: Any) -> bool:
    """Whether an object is found by its module and name."""
    module = getattr(obj, "__module__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) and module != "__main__" else None
    for name in (getattr(obj, "__qualname__", None) or obj.__name__).split("."):
        found = getattr(found, name, None)
    return found is obj


class ResultPickler(Pickler):
    """From a worker to the notebook.

    Parameters
    ----------
    file : binary file
    buffer_callback : callable or None
        Gets the large buffers; without one, they stand in the pickle.
    """

    def __init__(self, file: BinaryIO, buffer_callback: Callable[..., Any] | None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an exception with an `__init__` of its own without calling that again with `args`."""
        if isinstance(obj, BaseException) and is_plain(type(obj)):
            return reduce_plain(obj)
        return super().reducer_override(obj)


def reduce_plain(error: BaseException) -> tuple[Any, ...]:
    """Reduce an exception of a class that `is_plain`, without a call of its `__init__` on the other side."""
    return copyreg.__newobj__, (type(error), *error.args), dict(error.__dict__) or None  # type: ignore[attr-defined]


def built_in_base(kind: type) -> Any:
    """Return the class that makes the instances of this one: the first of its bases that is built in."""
    return next(each for each in kind.__mro__ if not each.__flags__ & _HEAP_TYPE)


def is_plain(kind: type[BaseException]) -> bool:
    """Whether `args` and `__dict__` are all that an exception of this class consists of."""
    built_in = built_in_base(kind)
    return (
        isinstance(kind.__init__, FunctionType)
        and isinstance(kind.__new__, BuiltinFunctionType)
        and kind.__reduce__ is BaseException.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and built_in.__basicsize__ == BaseException.__basicsize__
    )
