"""Jobs of a cell: the name that they get by default, and those that earlier runs of the cell have left."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

#: A job's id holds 30 characters of its name; a number follows.
_LONGEST = 24
#: The jobs of this kernel by cell, the newest last.
_jobs: dict[str, list[Any]] = {}


@dataclass(frozen=True)
class SubmitCell:
    """A ``%%twister2 submit`` cell, to be submitted again.

    Parameters
    ----------
    words : sequence of str
        What follows the verb in its first line, variables replaced.
    text : str
        What stands below that.
    key : str
        By which its jobs are known.
    name : str
        Its jobs'.
    """

    words: Sequence[str]
    text: str
    key: str
    name: str


_last: SubmitCell | None = None


def last_cell() -> SubmitCell | None:
    """Return the cell that this notebook has submitted last."""
    return _last


def default_name(ip: Any) -> str:
    """Return ``NOTEBOOK-N`` for the cell ``In [N]`` that runs now; ``cell-N`` if the notebook's name is not known."""
    return f"{notebook_name(ip) or 'cell'}-{cell_number(ip)}"


def notebook_name(ip: Any) -> str:
    """Return the notebook's name without its suffix, short; empty if nobody says it.

    A Jupyter server tells it in ``JPY_SESSION_NAME`` (jupyter_server, ``SessionManager.get_kernel_env``; a console's
    has no suffix), Visual Studio Code in the variable ``__vsc_ipynb_file__``.
    """
    for path in (ip.user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(path, str) and PurePath(path).suffix:
            return re.sub(r"[^\w.]+", "-", PurePath(path).stem)[:_LONGEST].strip("-.")
    return ""


def cell_number(ip: Any) -> int:
    """Return N of ``In [N]``: the history has the cell already, while IPython's own count may be one ahead (seen on
    IPython 9.18).
    """
    history = getattr(getattr(ip, "history_manager", None), "input_hist_raw", None)
    return len(history) - 1 if history and len(history) > 1 else int(ip.execution_count)


def cell_key(ip: Any, cell: str) -> str:
    """Return what tells the cell that runs now from others: the front end's id of it, else its text."""
    try:
        if cell_id := ip.get_parent()["metadata"].get("cellId"):
            return str(cell_id)
    except (AttributeError, KeyError, TypeError):
        pass  # no kernel, or a front end that gives none
    return hashlib.sha256(cell.encode("utf-8", "surrogatepass")).hexdigest()


def unfinished(key: str) -> list[Any]:
    """Return the jobs of a cell's earlier runs that have not ended, the newest last."""
    _jobs[key] = [job for job in _jobs.get(key, ()) if not job.state.is_final]
    return list(_jobs[key])


def remember(cell: SubmitCell, job: Any) -> None:
    """Note that `job` is of a cell, which is the last one that was submitted."""
    global _last
    _jobs.setdefault(cell.key, []).append(job)
    _last = cell
