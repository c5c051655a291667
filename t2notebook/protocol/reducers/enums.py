"""Members of enumerations taken apart and put together again, without a second call of what made them."""

from __future__ import annotations

import enum
from typing import Any

from .classes import is_unfinished

_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE: not built in


def reduce_member(member: enum.Enum) -> tuple[Any, ...]:
    """Return what pickle makes a member of an enumeration of that nobody can import.

    Its class holds all members among its attributes; a member is made with `__new__` of the built-in data type
    only, and given its attributes, so that no `__new__`, `__init__` or `_missing_` of the class is called.
    """
    kind = type(member)
    data: Any = next(each for each in kind.__mro__ if not each.__flags__ & _HEAP_TYPE)
    arguments: tuple[Any, ...] = ()
    if data is not object:
        given = getattr(data, "__getnewargs__", None)
        arguments = given(member) if given is not None else data.__reduce__(member)[1]
    named = kind.__members__.get(member._name_) is member if member._name_ is not None else False
    where = (member._name_, None) if named else (None, member._value_)
    state = object.__getstate__(member)
    return make_member, (kind, where, data, arguments), state, None, None, set_member


def make_member(
    kind: type[enum.Enum], where: tuple[str | None, Any], data: type, arguments: tuple[Any, ...]
) -> Any:
    """Return the member of a class, or a new one of a class that is being put together.

    Parameters
    ----------
    kind : type of Enum
    where : tuple
        Name and value.
    data : type
        The type mixed in, if there is one.
    arguments : tuple
        For its ``__new__``.
    """
    if is_unfinished(kind):
        return data.__new__(kind, *arguments)
    name, value = where
    return kind.__members__[name] if name is not None else kind(value)


def set_member(member: enum.Enum, state: Any) -> None:
    """Give a new member its attributes."""
    if is_unfinished(type(member)):
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        member.__dict__.update(attributes or {})
        for name, value in (slots or {}).items():
            object.__setattr__(member, name, value)
