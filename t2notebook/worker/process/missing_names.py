"""Notices that an error is about a name that the notebook has and that did not travel along."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .hints import chain

#: In the manifest of a job package: the notebook's names that do not travel, and whether the worker is a cell.
NAMES, IS_CELL = "names", "is_cell"

_IS_MISSING = re.compile(
    r"not defined|undefined|does not exist|doesn't exist|not found|not exist|no such|unknown|unresolved|missing",
    re.I,
)
#: A name in quotes, or after what it is the name of.
_NAMED = re.compile(
    r"""["'`](\w+)["'`]|\b(?:name|variable|table|relation|view|symbol|identifier|function)s?[: ]+["'`]?(\w+)""",
    re.I,
)
#: What gives the notebook's names as a dict.
_LOOKUPS = frozenset({"globals", "locals", "vars", "f_globals", "f_locals"})
_MAX_TEXT = 2000


def notebook_has(
    error: BaseException, names: Collection[str], main: Mapping[str, Any], *, is_cell: bool
) -> str:
    """Return what to do about a name in a text (``df.query("a > @lim")``); empty for any other error.

    Parameters
    ----------
    error : exception
    names : collection of str
        The notebook's names that did not travel.
    main : mapping
        The names that the worker has.
    is_cell : bool
        Whether a cell was submitted, which takes ``-i``, and not a function.
    """
    for each in chain(error):
        for name in _missing(each, main):
            if name in names and name not in main:
                way = (
                    f"`-i {name}` takes it along"
                    if is_cell
                    else "it travels along if the function uses it by name"
                )
                return f"the notebook has `{name}`: {way}"
    return ""


def _missing(error: BaseException, main: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that an error may be about."""
    if isinstance(error, UnboundLocalError):
        return
    if isinstance(error, NameError | AttributeError) and isinstance(error.name, str):
        # An attribute is a name of the notebook only if it is looked for there.
        if isinstance(error, NameError) or getattr(error.obj, "__dict__", None) is main:
            yield error.name
        return
    if isinstance(error, KeyError):
        # A column or a key of somebody's dict is no name, whatever it is called.
        if error.args and isinstance(error.args[0], str) and _looks_up(error, main):
            yield error.args[0]
        return
    if isinstance(error, ImportError):
        if error.name == "__main__" and isinstance(
            found := re.search(r"import name '(\w+)'", str(error)), re.Match
        ):
            yield found[1]
        return
    if isinstance(error, AttributeError | OSError):
        return
    try:
        text = str(error)[:_MAX_TEXT]
    except Exception:
        return
    if _IS_MISSING.search(text):
        for quoted, named in _NAMED.findall(text):
            yield quoted or named


def _looks_up(error: BaseException, main: Mapping[str, Any]) -> bool:
    """Whether the code that raised an error looks something up among the notebook's names."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    frame = traceback.tb_frame
    if frame.f_locals is not main and any(value is main for value in list(frame.f_locals.values())):
        return True
    return frame.f_globals is main and not _LOOKUPS.isdisjoint(frame.f_code.co_names)
