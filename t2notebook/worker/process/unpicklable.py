"""Finds what in a value keeps it from being pickled, and says where it sits."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

from ...model.wording import with_article
from ...protocol.pickling import ResultPickler
from .remote_traceback import one_line, type_name

_SECONDS = 2.0
_MAX_DEPTH = 30


def reason(value: Any, error: Exception) -> str:
    """Return why a value cannot be pickled: the part of it that cannot, and what that says of itself.

    Parameters
    ----------
    value : object
    error : Exception
        Raised when it was pickled.
    """
    if isinstance(error, RecursionError | MemoryError):
        return one_line(f"{type_name(type(error))}: {error}", 200)  # no part of it would be too much
    return with_reason(explain(value), error)


def with_reason(told: str, error: Exception) -> str:
    """Return what `explain` told, with what the part says of itself."""
    text = str(error)
    # pickle says no more than the kind of the part.
    return told if not text or text.startswith("cannot pickle '") else one_line(f"{told} ({text})", 600)


def explain(value: Any) -> str:
    """Return ``"it is a _thread.lock"`` or ``"dict value ['lock'] is a _thread.lock"``.

    Parts are pickled one by one, from the outside in, for at most two seconds; so the place may be
    an outer one in a very large value.
    """
    deadline = time.monotonic() + _SECONDS
    kind, place = "", ""
    for _ in range(_MAX_DEPTH):
        culprit = next(
            (part for part in _parts(value) if time.monotonic() < deadline and not _pickles(part[2])), None
        )
        if culprit is None:
            break
        kind, step, value = culprit
        place += step
    what = type_name(type(value))
    return f"{kind} {place} is {with_article(what)}" if kind else f"it is {with_article(what)}"


def _parts(value: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield (what sort of part, its place, the part)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield "dict value", f"[{_short(key)}]", item
        for key in value:
            yield "dict key", f"[{_short(key)}]", key
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield f"{type(value).__name__} item", f"[{index}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield f"{type(value).__name__} element", f"[{_short(item)}]", item
    elif callable(value) and hasattr(value, "__code__"):
        cells = getattr(value, "__closure__", None) or ()
        for name, cell in zip(value.__code__.co_freevars, cells, strict=False):
            try:
                yield "the function's variable", f" {name}" if name else "", cell.cell_contents
            except ValueError:  # an empty cell
                continue
        names = value.__globals__
        for name in value.__code__.co_names:
            if name in names:
                yield "the function's global", f" {name}", names[name]
    elif (
        getattr(type(value), "__reduce__", None) is not object.__reduce__
        or getattr(type(value), "__reduce_ex__", None) is not object.__reduce_ex__
    ):
        return  # it is not its attributes that are pickled
    elif isinstance(state := getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        for name, item in state.items():
            yield f"{type(value).__name__} attribute", f".{name}", item


def _pickles(value: Any) -> bool:
    try:
        ResultPickler(io.BytesIO(), lambda _: None).dump(value)
    except Exception:
        return False
    return True


def _short(key: Any) -> str:
    try:
        text = repr(key)
    except Exception:
        text = f"<{type_name(type(key))}>"
    return text if len(text) <= 60 else text[:57] + "..."
