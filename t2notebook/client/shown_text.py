"""Text for people: as the value of a cell it stands there line by line, and not as a string in quotes."""

from __future__ import annotations

from typing import Any


class ShownText(str):
    """A string that IPython shows as it reads, where it is alone; among other values it has its quotes."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        is_alone = len(getattr(printer, "stack", ())) <= 1
        printer.text(str(self).removesuffix("\n") if is_alone else repr(str(self)))
