"""Modules that an executor imports before it makes workers of them: each worker then has them at once."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence

#: Variables of numeric libraries that start threads when they are loaded; a process with threads is not to be forked.
_SINGLE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

_tried: set[str] = set()


def load(names: Sequence[str]) -> Iterator[str]:
    """Import modules that have not been tried yet; yield a line for each that cannot be.

    A worker that needs one of these imports it by itself, and its error tells more than ours would.
    """
    new = [name for name in names if name not in _tried]
    if not new:
        return
    _tried.update(new)
    before = {name: os.environ.get(name) for name in _SINGLE}
    os.environ.update(dict.fromkeys(_SINGLE, "1"))
    try:
        for name in new:
            try:
                importlib.import_module(name)
            except Exception as error:
                yield f"cannot import {name} ahead of the workers: {type(error).__name__}: {error}"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
