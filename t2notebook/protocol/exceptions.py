"""Exceptions on their way to the notebook: also those with parts that cannot travel, which are left behind."""

from __future__ import annotations

import io
import types
from collections.abc import Mapping
from typing import Any

from . import archive
from .pickling import ResultPickler, built_in_base

#: Characters that stand for an argument that cannot travel.
_MAX_TEXT = 200
_COMMON = (BaseException, Exception, object)


def portable(error: BaseException) -> Any:
    """Return what pickles, and comes back as an exception of the type of `error`; None if nothing does.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    BaseException, object or None
        The exception itself, if that comes back as what it is; else something in its place, of which an argument that
        cannot travel is a text and an attribute that cannot is None.
    """
    if _comes_back(error, type(error)):
        return error
    try:
        stripped = Stripped(error)
    except Exception:  # a class of the user's may do anything when it is looked at
        return None
    return stripped if _comes_back(stripped, type(error)) else None


class Stripped:
    """An exception without those of its parts that cannot travel; it comes back as the exception.

    Parameters
    ----------
    error : BaseException
    """

    def __init__(self, error: BaseException) -> None:
        kind = type(error)
        state = {name: value if _travels(value) else None for name, value in vars(error).items()}
        self._parts = kind, _arguments(error), state, dict(_fields(error, kind))

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, self._parts


def _arguments(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, BaseExceptionGroup):
        return error.message, [
            each if _comes_back(each, type(each)) else Stripped(each) for each in error.exceptions
        ]
    return tuple(each if _travels(each) else _text(each) for each in error.args)


def _text(value: Any) -> str:
    try:
        return repr(value)[:_MAX_TEXT]
    except Exception:
        return f"<{type(value).__name__}>"


def _fields(error: BaseException, kind: type) -> Any:
    """Yield what lies in no ``__dict__``: ``OSError.errno``, the user's ``__slots__``."""
    for base in kind.__mro__:
        for name, field in vars(base).items() if base not in _COMMON else ():
            if (
                isinstance(field, types.MemberDescriptorType | types.GetSetDescriptorType)
                and name != "__dict__"
            ):
                try:
                    value = field.__get__(error, kind)
                except AttributeError:
                    continue  # it was never set
                if _travels(value):
                    yield name, value


def _revive(kind: Any, args: Any, state: Mapping[str, Any], fields: Mapping[str, Any]) -> BaseException:
    """Return the exception, without a call of its class's own methods, which take what they like."""
    error: BaseException = built_in_base(kind).__new__(kind, *args)
    if not isinstance(error, BaseExceptionGroup):
        error.args = args
    error.__dict__.update(state)
    for name, value in fields.items():
        try:
            BaseException.__setattr__(error, name, value)
        except (AttributeError, TypeError):
            continue  # it can only be read
    return error


def _travels(value: Any) -> bool:
    try:
        _round_trip(value)
    except Exception:
        return False
    return True


def _comes_back(value: Any, kind: type) -> bool:
    try:
        return type(_round_trip(value)) is kind
    except Exception:
        return False


def _round_trip(value: Any) -> Any:
    stream = io.BytesIO()
    ResultPickler(stream, None).dump(value)
    return archive.unpickle(stream.getvalue(), [])
