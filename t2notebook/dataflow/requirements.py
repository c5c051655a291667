"""The libraries of the extra ``dataflow``: one line for who lacks one, or has one that is too old."""

from __future__ import annotations

import importlib.metadata
import re

from ..model.errors import Twister2Error

#: The oldest versions that are tested (``make test-lowest``), as pyproject.toml has them.
LOWEST = {"dask": (2025, 1), "distributed": (2025, 1), "cryptography": (42,)}


class DataflowError(Twister2Error):
    """Something of Dask on Mesos cannot be; the message says what to do."""


def need(*names: str) -> None:
    """Make sure that libraries are there, and new enough.

    Raises
    ------
    DataflowError
    """
    for name in names or tuple(LOWEST):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise DataflowError(
                f'Dask on Mesos needs {name}, which is not installed: pip install "t2notebook[dataflow]"'
            ) from None
        if _numbers(version) < LOWEST[name]:
            lowest = ".".join(map(str, LOWEST[name]))
            raise DataflowError(
                f"Dask on Mesos needs {name} {lowest} or later, and this is {version}: "
                'pip install --upgrade "t2notebook[dataflow]"'
            )


def versions() -> dict[str, str]:
    """Return the versions here of what has to be the same on agents."""
    return {name: importlib.metadata.version(name) for name in ("dask", "distributed")}


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
