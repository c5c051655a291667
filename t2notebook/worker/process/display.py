"""A worker's `display`: there is no notebook to show anything in, so what would be shown is printed."""

from __future__ import annotations

import sys
import uuid
from typing import Any

from ...protocol.after_import import when_imported


class DisplayHandle:
    """Returned by `display` where an id was asked for; an update prints, since nothing that was printed changes.

    Attributes
    ----------
    display_id : str
    """

    def __init__(self, display_id: str | None = None) -> None:
        self.display_id = display_id or uuid.uuid4().hex

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"

    def display(self, obj: Any, **options: Any) -> None:
        """Print `obj`."""
        display(obj, **options)

    def update(self, obj: Any, **options: Any) -> None:
        """Print `obj`."""
        display(obj, **options)


def display(*objs: Any, display_id: Any = None, raw: bool = False, **options: Any) -> DisplayHandle | None:
    """Print each object as a line of text; takes what IPython's function of this name takes.

    Parameters
    ----------
    display_id : str or bool, optional
        With one, a `DisplayHandle` is returned; True makes an id.
    raw : bool
        Whether the objects are mappings of MIME types to data; their ``text/plain`` is printed.
    options
        Of no use here, and not looked at.
    """
    for obj in objs:
        if raw and isinstance(obj, dict):
            obj = obj.get("text/plain", f"<{', '.join(map(str, obj))}>")
        print(obj, flush=True)
    if display_id is None or display_id is False:
        return None
    return DisplayHandle(None if display_id is True else str(display_id))


def serve_ipython() -> None:
    """Let IPython's `display` be this one as soon as it is imported: its own gives no handle where no shell runs."""
    when_imported("IPython.core.display_functions", _replace)


def _replace(module: Any) -> None:
    theirs = module.display
    for name in (module.__name__, "IPython.display"):  # the latter may have taken it already
        holder = sys.modules.get(name)
        if holder is not None and vars(holder).get("display") is theirs:
            vars(holder)["display"] = display
