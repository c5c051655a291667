"""Says what to do about an error that a user's code met on a worker and would not have met at home."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

_SETUP = "raised by the notebook's setup, which runs first in every worker: %%twister2 setup changes it"


def in_setup(hint: str) -> str:
    """Return the hint for an error in the notebook's setup, which may have one of its own."""
    return f"{hint}; {_SETUP}" if hint else _SETUP


def lies_beside(error: BaseException, names: Collection[str]) -> str:
    """Return what to do about a file that lies beside the notebook and not here; empty for any other error.

    Parameters
    ----------
    error : exception
    names : collection of str
        Files and folders beside the notebook that the job's code names.
    """
    missing = [name for name in names if not os.path.exists(name)]
    if not missing:
        return ""
    for each in chain(error):
        for name in sorted(missing, key=len, reverse=True):
            if any(path == name or path.startswith(f"{name}/") for path in _paths(each)) or _says(each, name):
                word = f"'{name}'" if " " in name else name
                return f"`{name}` lies beside the notebook: `--file {word}` takes it along"
    return ""


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _paths(error: BaseException) -> Iterator[str]:
    """Yield the paths that an error is about, relative to the current directory."""
    if not isinstance(error, FileNotFoundError):
        return
    for path in (error.filename, error.filename2):
        if isinstance(path, str | bytes | os.PathLike):
            text = os.fsdecode(path)
            if os.path.isabs(text):
                text = os.path.relpath(text)
            yield os.path.normpath(text)


def _says(error: BaseException, name: str) -> bool:
    """Whether an error's message names a file; a plain word names one only where no file was found."""
    if not isinstance(error, FileNotFoundError) and not re.search(r"[./]", name):
        return False
    try:
        text = str(error)
    except Exception:
        return False
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-])", text) is not None
