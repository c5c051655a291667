"""``%%twister2 submit``: the cell becomes a job."""

from __future__ import annotations

import argparse
from typing import Any

from . import cell_jobs
from .submission import cell_worker, refuse_magics, submit_cell


def run(ip: Any, arguments: argparse.Namespace, cell: str) -> list[Any] | None:
    """Submit `cell`, or show the form for it; returns and raises what `submit_cell` does.

    Parameters
    ----------
    ip : InteractiveShell
    arguments : argparse.Namespace
    cell : str
    """
    name = arguments.name or cell_jobs.default_name(ip)
    this = cell_jobs.SubmitCell(arguments.words, cell, cell_jobs.cell_key(ip, cell), name)
    if arguments.form:
        refuse_magics(cell)
        cell_worker(cell, ip.user_ns, name, arguments.include)  # better now than when somebody clicks
        from ..forms.form import show_for

        show_for(ip, arguments, this)
        return None
    return submit_cell(ip, arguments, this)
