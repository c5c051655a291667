"""Errors as a notebook shows them: one line for a mistake, the cell's own traceback for a failed job."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from ..model.errors import JobFailed, OneLine, SubmitError, Twister2Error
from ..views.snapshot import LONGEST_REASON, shorten

#: Of a worker's traceback or stderr, so many characters of its beginning and of its end are shown.
_ENDS = 8000
#: Where in a traceback its exception's own lines may begin, counted from the end.
_LAST_LINES = 30

_RED, _RESET = "\x1b[31m", "\x1b[39m"


class UsageError(Twister2Error):
    """A magic's line cannot be understood; the message names the option and says what to write."""

    def _render_traceback_(self) -> list[str]:
        return [headline(self)]


class CellSyntaxError(SubmitError):
    """The cell is no Python; shown as Python shows it, with the file, the line and a caret.

    Parameters
    ----------
    error : SyntaxError
        What Python said.
    """

    def __init__(self, error: SyntaxError) -> None:
        where = f" (line {error.lineno} of the cell)" if error.lineno else ""
        super().__init__(f"{error.msg}{where}; nothing was submitted")
        self.error = error

    def _render_traceback_(self) -> list[str]:
        text = "".join(traceback.format_exception_only(type(self.error), self.error)).rstrip()
        return [highlight(text), "Nothing was submitted."]


class Interrupted(Twister2Error):
    """The person pressed the stop button while a cell waited for its job."""

    def _render_traceback_(self) -> list[str]:
        return [headline(self)]


def headline(error: BaseException) -> str:
    """Return ``Name: message`` in one line, not endless, the name in red."""
    message = shorten(_one_line(str(getattr(error, "headline", "") or "".join(map(str, error.args[:1])))))
    return _headline(error, message)


def _headline(error: BaseException, message: str) -> str:
    name = type(error).__name__
    return f"{_RED}{name}{_RESET}: {message}" if _has_colours() else f"{name}: {message}"


def without_frames(error: Twister2Error) -> Twister2Error:
    """Let IPython show `error` as its message only, as the frames below a magic are ours; return it."""
    if not hasattr(error, "_render_traceback_"):
        error._render_traceback_ = lambda: [headline(error)]  # type: ignore[attr-defined]
    return error


def render_job_failed(error: JobFailed) -> list[str]:
    """Return what IPython prints for a failed job.

    One line that says what failed; then the worker's traceback, which holds the cell's own lines; where the
    worker raised nothing, the tail of its stderr. No frame of this process: the error did not happen here.
    """
    lines = [headline(error)]
    if error.remote_traceback:
        lines = [_headline(error, shorten(_without_end(error.headline, error.remote_traceback)))]
        lines += ["", f"Worker {error.worker_id}:", highlight(_readable(error.remote_traceback))]
    elif error.stderr:
        lines += ["", f"The end of worker {error.worker_id}'s stderr:", _readable(error.stderr)]
    return lines


def install() -> None:
    """Make IPython show every error of ours as its message only, also one raised in a plain cell.

    No frames and no causes: both are ours. A `JobFailed` goes by `render_job_failed`.
    """
    Twister2Error._render_traceback_ = lambda self: [headline(self)]  # type: ignore[attr-defined]
    JobFailed._render_traceback_ = render_job_failed  # type: ignore[attr-defined]
    OneLine._render_traceback_ = lambda self: [headline(self)]  # type: ignore[attr-defined]
    ip = _shell()
    if ip is not None and ip.custom_exceptions == ():
        ip.set_custom_exc((JobFailed,), _show_job_failed)


def uninstall() -> None:
    """Undo `install`."""
    ip = _shell()
    if ip is not None and ip.custom_exceptions == (JobFailed,):
        ip.set_custom_exc((), None)
    for kind in (JobFailed, Twister2Error, OneLine):
        if "_render_traceback_" in vars(kind):
            delattr(kind, "_render_traceback_")


def _shell() -> Any:
    if (ipython := sys.modules.get("IPython.core.getipython")) is None:
        return None
    ip = ipython.get_ipython()
    return ip if hasattr(ip, "set_custom_exc") else None


def _show_job_failed(ip: Any, kind: type, error: JobFailed, trace: Any, tb_offset: int | None = None) -> None:
    """Show a failed job also where it is a `SyntaxError` or a group as well, of which IPython asks nothing."""
    if issubclass(kind, SyntaxError) or _has_group(error):
        error = JobFailed(
            error.headline,
            job_id=error.job_id,
            worker_id=error.worker_id,
            remote_traceback=error.remote_traceback,
            stderr=error.stderr,
        )
    ip.showtraceback((type(error), error, trace), running_compiled_code=True)


def _has_group(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, BaseExceptionGroup):
        error = error.__context__
    return error is not None


def highlight(text: str) -> str:
    """Return a Python traceback with ANSI colours, or as it is without pygments or where no colours are wanted."""
    if not _has_colours():
        return text
    try:
        from pygments import highlight as pygmentize
        from pygments.formatters import TerminalFormatter
        from pygments.lexers import PythonTracebackLexer
    except ImportError:
        return text
    return str(pygmentize(text, PythonTracebackLexer(), TerminalFormatter())).rstrip("\n")


def _readable(text: str) -> str:
    """Return a worker's text without its endless lines, and of a very long one the beginning and the end."""
    text = "\n".join(shorten(line, LONGEST_REASON) for line in text.rstrip().split("\n"))
    if (more := len(text) - 2 * _ENDS) <= 0:
        return text
    return f"{text[:_ENDS]}\n… ({more:,} more characters)\n{text[-_ENDS:]}"


def _without_end(message: str, text: str) -> str:
    """Return a failure's message without the exception that its traceback ends with: it is said there."""
    message, lines = _one_line(message), text.rstrip().split("\n")
    first = max(0, len(lines) - _LAST_LINES)
    ends = [
        lines[number:last]
        for number in range(len(lines) - 1, first - 1, -1)
        for last in range(len(lines), number, -1)
    ]
    # Whole before parts: a hint that follows the exception has colons of its own.
    whole = [_one_line(joint.join(end)) for joint in ("; ", "\n") for end in ends]
    for said in (*whole, *(each.partition(": ")[2] for each in whole)):
        if said and message.endswith(f": {said}"):
            return message.removesuffix(f": {said}")
    return message


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _has_colours() -> bool:
    from IPython.core.getipython import get_ipython

    return str(getattr(get_ipython(), "colors", "")).lower() != "nocolor"
