"""Results of a job: loaded from where its session keeps them, and shown as what they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..journal import result_path
from ..model.errors import PackageError, SessionError
from ..protocol import figures
from ..protocol.archive import Archive

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


def load_result(directory: Path, job_id: str, worker_id: int) -> Any:
    """Return a worker's result from where its session keeps it: on this machine, for this user, checked when it came.

    Parameters
    ----------
    directory : Path
        The session's.
    job_id : str
    worker_id : int

    Raises
    ------
    SessionError
        When it has been removed.
    PackageError
        When it cannot be unpickled here.
    """
    try:
        archive = Archive.open(result_path(directory, job_id, worker_id))
    except FileNotFoundError:
        raise SessionError(
            f"the results of job {job_id} have been removed: they are kept for a week, up to a quota"
        ) from None
    try:
        with figures.LetGo():
            return archive.load()
    except Exception as error:
        raise PackageError(
            f"the result of worker {worker_id} of {job_id} cannot be unpickled here: "
            f"{type(error).__name__}: {error}"
        ) from error


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
