"""Bars of `tqdm` as a worker's progress: nothing of them is written to its output.

Nothing is imported here that the worker's code does not import.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from typing import Any

from ...protocol.after_import import when_imported

Report = Callable[[float | None, str], None]


def become_progress(report: Report) -> None:
    """Let every bar of this process be reported, as soon as `tqdm` is imported.

    Parameters
    ----------
    report : callable
        ``report(fraction, text)``; a fraction of None is not known.
    """
    when_imported("tqdm.std", lambda module: _change(module.tqdm, _Bars(report)))
    for name, options in _DRAWN.items():
        when_imported(f"tqdm.{name}", functools.partial(_undraw, options=options))


#: Modules whose bars are drawn by other libraries, past `tqdm.std`, and the arguments that only they take.
_DRAWN = {
    "notebook": frozenset({"display"}),
    "rich": frozenset({"progress", "options"}),
    "gui": frozenset(),
    "tk": frozenset({"grab", "tk_parent", "cancel_callback"}),
}


class _Nowhere(io.StringIO):
    """The terminal of bars that nobody looks at."""

    def write(self, text: str) -> int:
        return len(text)

    def isatty(self) -> bool:
        # So that bars which show only in terminals show as progress.
        return True


class _Bars:
    """The bars that are shown now, by their lines: the first one is the outermost."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lines: dict[int, str] = {}
        self._fraction: float | None = None

    def show(self, bar: Any) -> None:
        """Report a bar as it is now."""
        line = abs(bar.pos)
        what = f"{bar.desc} " if bar.desc else ""
        count = f"{bar.n:g}" if isinstance(bar.n, int | float) else str(bar.n)
        if bar.total:
            self._lines[line] = f"{what}{count}/{bar.total:g}"
        else:
            self._lines[line] = f"{what}{count} {bar.unit}"
        if line == 0:
            self._fraction = min(1.0, max(0.0, bar.n / bar.total)) if bar.total else None
            # Those within it have been told anew by the time that it goes on.
            self._lines = {0: self._lines[0]} if bar.disable else self._lines
        self._report(self._fraction, " · ".join(self._lines[each] for each in sorted(self._lines)))

    def hide(self, bar: Any) -> None:
        """Report a bar no more."""
        if (line := abs(bar.pos)) != 0:
            self._lines.pop(line, None)


def _undraw(module: Any, options: frozenset[str]) -> None:
    """Have a module's bars be those of `tqdm.std`: nobody sees what a worker draws."""
    std = sys.modules["tqdm.std"].tqdm

    class Bar(std):  # type: ignore[misc, valid-type]
        """A bar that is not drawn."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{name: value for name, value in kwargs.items() if name not in options})

    def bar_range(*args: Any, **kwargs: Any) -> Any:
        """Return a bar over a range."""
        return Bar(range(*args), **kwargs)

    for name, value in list(vars(module).items()):
        if isinstance(value, type) and issubclass(value, std) and value is not std:
            setattr(module, name, Bar)
        elif name.endswith("range") and getattr(value, "__module__", "") == module.__name__:
            setattr(module, name, bar_range)


def _change(kind: Any, bars: _Bars) -> None:
    begin, close = kind.__init__, kind.close

    @functools.wraps(begin)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        file = args[4] if len(args) > 4 else kwargs.get("file")
        self.is_progress = file is None or file in (sys.stdout, sys.stderr)
        if self.is_progress:
            if len(args) > 4:
                args = (*args[:4], _Nowhere(), *args[5:])
            else:
                kwargs["file"] = _Nowhere()
        begin(self, *args, **kwargs)

    display = kind.display

    def show(self: Any, msg: Any = None, pos: Any = None) -> Any:
        if not getattr(self, "is_progress", False):
            return display(self, msg, pos)
        if msg is None:
            bars.show(self)
        return True

    def end(self: Any) -> None:
        was_shown = getattr(self, "is_progress", False) and not getattr(self, "disable", True)
        if was_shown:
            if getattr(self, "last_print_n", 0) != self.n or self.n == self.total:
                bars.show(self)
            bars.hide(self)
        close(self)

    kind.__init__, kind.display, kind.close = init, show, end
