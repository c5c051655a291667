"""Directories whose files are the notebook's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def _current() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


#: Where this process was when the first name of ours was used; only a guess at where it started.
_FIRST = _current()


def beside(namespace: Mapping[str, Any] | None = None) -> list[Path]:
    """Return the current directory, then those of the notebook or the script.

    A notebook's directory stays its own after ``%cd``: front ends tell its path, and IPython keeps the directory
    in which the shell started.

    Parameters
    ----------
    namespace : mapping, optional
        Of the notebook, by default of ``__main__``.
    """
    if namespace is None:
        namespace = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    found = []
    for path in _places(namespace):
        if not path:
            continue
        try:
            directory = Path(path).resolve()
            if directory.is_dir() and directory not in found:
                found.append(directory)
        except OSError:
            continue
    return found


def notebook_path(namespace: Mapping[str, Any] | None = None) -> str:
    """Return the path of the notebook, absolute or relative to the Jupyter server's root; empty if nobody tells it."""
    if namespace is None:
        namespace = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    return next((path for path in _notebooks(namespace) if path.endswith(".ipynb")), "")


def _notebooks(namespace: Mapping[str, Any]) -> Iterator[str]:
    # Visual Studio Code sets the first, Jupyter Server the second.
    for notebook in (namespace.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(notebook, str) and notebook:
            yield notebook


def _places(namespace: Mapping[str, Any]) -> Iterator[str | os.PathLike[str]]:
    yield _current()
    for notebook in _notebooks(namespace):
        if os.path.isabs(notebook):
            yield os.path.dirname(notebook)
    history = namespace.get("_dh")
    if isinstance(history, list) and history:
        yield str(history[0])
    script = namespace.get("__file__")
    if isinstance(script, str) and os.path.isfile(script) and not _is_launcher(script):
        yield os.path.dirname(os.path.abspath(script))
    yield _FIRST


def _is_launcher(script: str) -> bool:
    """Whether a script only starts others: a module run with ``-m``, or a command that was installed."""
    from ..package.local_modules import is_installed

    return is_installed(script) or os.path.dirname(os.path.abspath(script)) == os.path.dirname(sys.executable)
