"""Tables of jobs as HTML: one line a row, where ids would be broken at each hyphen otherwise."""

from __future__ import annotations

from typing import Any

from ...frames import MARK

#: Its place in pandas 3 and before; by name, since pandas is imported only when it is needed.
FRAMES = ("pandas.DataFrame", "pandas.core.frame.DataFrame")

_BEGIN = '<div class="t2-frame"><style>.t2-frame .dataframe td, .t2-frame .dataframe th {white-space: nowrap}</style>'


def frame_html(frame: Any) -> str | None:
    """Return the HTML of a DataFrame, as pandas has it; a table of ours is not broken into several lines a row."""
    html: str | None = frame._repr_html_()
    return f"{_BEGIN}{html}</div>" if html and frame.attrs.get(MARK) else html


def install(formatter: Any) -> None:
    """Have IPython's HTML formatter show frames so; a way that somebody else has set up stays."""
    for name in FRAMES:
        if formatter.for_type(name) is None:
            formatter.for_type(name, frame_html)


def uninstall(formatter: Any) -> None:
    """Undo `install`."""
    for name in FRAMES:
        if formatter.for_type(name) is frame_html:
            formatter.pop(name, None)
