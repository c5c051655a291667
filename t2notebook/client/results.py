"""Results of a job that show as what they are: figures, frames and whatever else has a rich form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Methods of objects that show as more than text (IPython's names).
_RICH = (
    "_ipython_display_",
    "_repr_mimebundle_",
    *(f"_repr_{kind}_" for kind in ("html", "svg", "png", "jpeg", "latex", "markdown", "json", "javascript")),
)


class Results(list[Any]):
    """The results of a job's workers, by worker id: a list, that a notebook shows one by one."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)


def shown(results: Iterable[Any]) -> list[Any]:
    """Return a list of results that a notebook shows as what they are."""
    found = list(results)
    return Results(found) if any(map(is_rich, found)) else found


def is_rich(value: Any) -> bool:
    """Whether a value shows as more than text."""
    kind = type(value)
    if any(hasattr(kind, name) for name in _RICH):
        return True
    # IPython shows these without a method of theirs.
    return any(each.__module__ == "matplotlib.figure" for each in kind.__mro__)
