"""Showing a job's results: one worker after the other, each as what it is."""

from __future__ import annotations

import sys
from typing import Any

#: The list that is shown so, by its name: the client is imported only when it is needed.
TYPE = "t2notebook.client.results.Results"


def display_results(results: list[Any]) -> None:
    """Show results in the output of the cell that runs now."""
    from IPython.display import display

    show: Any = display

    for worker_id, value in enumerate(results):
        print(f"worker {worker_id}", flush=True)
        show(value)
        _close(value)


def _close(value: Any) -> None:
    """Keep a figure from being shown once more at the end of the cell, as pyplot's figures are."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and getattr(value, "number", None) in pyplot.get_fignums():
        pyplot.close(value)


def install() -> None:
    """Have IPython show results so."""
    from IPython.core.getipython import get_ipython

    ip: Any = get_ipython()
    if ip is not None and getattr(ip, "display_formatter", None) is not None:
        ip.display_formatter.ipython_display_formatter.for_type(TYPE, display_results)


def uninstall(ip: Any) -> None:
    """Undo `install`."""
    ip.display_formatter.ipython_display_formatter.pop(TYPE, None)
