"""Traceback of a worker, from the user's frames on."""

from __future__ import annotations

import itertools
import os
import socket
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...model.text import sendable
from ...protocol.exceptions import portable
from . import shipped_modules

MAX_LINE = 1000
_MAX_TRACEBACK = 200_000
_MAX_MESSAGE = 2000
#: Characters of an exception's text that are told apart from its traceback.
_MAX_TEXT = 20_000
#: How many frames of a way through a library are told.
_FIRST, _LAST = 1, 2
_LEFT_OUT = "<left out>"
_INSTALLED = tuple(
    {f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def _here() -> None: ...


# The file names in our code objects, which are not those of __file__ inside a zip application.
_OURS = os.path.join(_here.__code__.co_filename.rpartition("worker")[0], "")


@dataclass(frozen=True)
class Failure:
    """A failure as the session and the status update tell it.

    Parameters
    ----------
    type : str
        As Python prints it: with its module, unless that is `builtins` or `__main__`.
    message : str
    traceback : str
        As Python prints it, without frames of ours before the user's.
    error : BaseException, object or None
        The exception, or what comes back as one from a pickle; None if it cannot travel.
    line : str
        One line of at most 1000 characters for `TaskStatus.message`.
    """

    type: str
    message: str
    traceback: str
    error: Any
    line: str


def describe(error: BaseException, hint: str = "") -> Failure:
    """Return what there is to tell of an exception that the user's code raised.

    Parameters
    ----------
    error : BaseException
    hint : str
        What to do about it; the last line of the traceback, and the end of the line.
    """
    name, message = type_name(type(error)), _text(error)
    if hint:
        error.add_note(hint)
    return Failure(
        type=name,
        message=message,
        traceback=format_traceback(error),
        error=portable(error),
        line=_with_hint(f"{name}: {message}" if message else name, hint),
    )


def _with_hint(line: str, hint: str) -> str:
    """Return one line that ends with all of a hint, however long the rest is."""
    if not hint:
        return one_line(line)
    return f"{one_line(line, max(100, MAX_LINE - len(hint) - 2))}; {one_line(hint, MAX_LINE - 102)}"


def say(text: str) -> None:
    """Write to the worker's stderr, whatever the user's code has made of it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        try:
            os.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            pass


def type_name(kind: type) -> str:
    """Return a class's name as tracebacks print it."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def error_line(error: BaseException, limit: int = MAX_LINE) -> str:
    """Return an exception's type and message as one line of at most `limit` characters."""
    name, message = type_name(type(error)), _text(error)
    return one_line(f"{name}: {message}" if message.strip() else name, limit)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Return `text` as one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def format_traceback(error: BaseException, *, folded: bool = True) -> str:
    """Return the traceback's text, causes and exception groups included, beginning at the user's frames.

    Parameters
    ----------
    error : BaseException
    folded : bool
        Leave out the middle of a long way through a library.
    """
    try:
        told = traceback.TracebackException.from_exception(error, compact=True)
        _strip(told, set(), folded)
        text = "".join(map(_cut, told.format()))
    except Exception as trouble:  # an exception class may do anything in its __str__ or __getattr__
        return f"{type_name(type(error))} (its traceback cannot be shown: {type_name(type(trouble))})\n"
    if len(text) > _MAX_TRACEBACK:
        half = _MAX_TRACEBACK // 2
        text = f"{text[:half]}\n[... {len(text) - _MAX_TRACEBACK} characters left out ...]\n{text[-half:]}"
    return text


def is_ours_alone(error: BaseException) -> bool:
    """Whether no code but ours was under way: where it was raised tells the user nothing."""
    frames = traceback.walk_tb(error.__traceback__)
    return all(
        _is_ours(frame.f_code.co_filename, 0) or _is_pickles(frame.f_code.co_filename) for frame, _ in frames
    )


def _is_pickles(filename: str) -> bool:
    return os.path.basename(os.path.dirname(filename)) == "cloudpickle"


def missing_module_hint(error: BaseException) -> str:
    """Return what to do about a module that the agent lacks; empty for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name = error.name.partition(".")[0]
    if name == "t2notebook":
        return (
            f"{error.name} is for the notebook: a worker cannot submit jobs or look after them; do that there"
        )
    if name in sys.modules and name != error.name:
        return f"the agent's {name} has no {error.name}; another version of it may be installed there"
    return (
        f"module {name} is missing on the agent {socket.gethostname()} ({sys.executable}): "
        "install it there, or put it beside the notebook and write `import "
        f"{name}` in the cell or function itself, so that it travels with the job"
    )


def cannot_rebuild(error: BaseException, versions: Mapping[str, str]) -> str:
    """Return a line for an exception while the job package's function was rebuilt.

    Parameters
    ----------
    error : BaseException
    versions : mapping of str to str
        The distributions that the function uses, as the notebook has them.
    """
    what = error_line(error, 300)
    hint = missing_module_hint(error) or _other_versions(versions)
    why = f"{hint} ({what})" if hint else what
    return one_line(f"the job's function cannot be rebuilt on the agent: {why}")


def _other_versions(versions: Mapping[str, str]) -> str:
    from importlib import metadata  # 20 ms that only a failure costs

    other = []
    for name, version in versions.items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "none"
        if here != version:
            other.append(f"{name} {version} in the notebook, {here} on the agent")
    return "versions differ: " + "; ".join(other) if other else ""


def _text(error: BaseException) -> str:
    try:
        return sendable(str(error), _MAX_TEXT)
    except Exception:
        return "<its message cannot be shown>"


def _strip(told: traceback.TracebackException, seen: set[int], folded: bool) -> None:
    """Leave out frames of ours before the user's."""
    if id(told) in seen:
        return
    seen.add(id(told))
    first = 0
    while first < len(told.stack) and _is_ours(told.stack[first].filename, first):
        first += 1
    # An error of our own is told whole.
    if first < len(told.stack):
        del told.stack[:first]
    if folded:
        told.stack = _folded(told.stack)
    for frame in told.stack:
        frame.filename = shipped_modules.shown(frame.filename)
    if (filename := getattr(told, "filename", None)) is not None:  # of a SyntaxError
        told.filename = shipped_modules.shown(filename)
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if other is not None:
            _strip(other, seen, folded)


class _Folded(traceback.StackSummary):
    """A stack in which a frame of no file stands for a long way through a library."""

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **options: Any) -> str:
        """Return a frame's lines, or the line for those left out."""
        if frame_summary.filename == _LEFT_OUT:
            return frame_summary.name
        return super().format_frame_summary(frame_summary, **options)


def _folded(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Leave the first frame of each long way through installed code, and the last ones, where the error is."""
    frames: list[traceback.FrameSummary] = []
    for installed, run in itertools.groupby(stack, key=lambda frame: _is_installed(frame.filename)):
        way = list(run)
        first = _FIRST if frames else 0  # nobody of the user's called it: an error that led to another one
        left = len(way) - first - _LAST
        if installed and left > 1:
            library = _library(way[first].filename)
            text = f"  [... {left} more calls in {library}: the worker's log has them ...]\n"
            marker = traceback.FrameSummary(_LEFT_OUT, 0, text, lookup_line=False, line="")
            way = [*way[:first], marker, *way[-_LAST:]]
        frames += way
    return _Folded(frames)


def _is_installed(filename: str) -> bool:
    return filename.startswith(("<frozen ", *_INSTALLED)) or "-packages/" in filename


def _library(filename: str) -> str:
    """Return the name of the library that a file belongs to."""
    path = filename.rpartition("-packages/")[2]
    return path.partition("/")[0].removesuffix(".py") if path != filename else "the standard library"


def _cut(part: str) -> str:
    """Leave out the rest of a very long message, or line of code."""
    more = len(part.rstrip("\n")) - _MAX_MESSAGE
    return part if more <= 0 else f"{part[:_MAX_MESSAGE]}… ({more} more characters)\n"


def _is_ours(filename: str, depth: int) -> bool:
    if filename.startswith(_OURS):
        return True
    # A coroutine is run by asyncio, which run.py calls: its frames follow ours.
    return depth > 0 and os.path.basename(os.path.dirname(filename)) == "asyncio"
