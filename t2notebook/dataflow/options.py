"""Arguments for classes of Dask's, as text: they may be any objects, such as plugins."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cloudpickle

from ..model.errors import SubmitError


def pack(options: Mapping[str, Any], name: str) -> str:
    """Return arguments for a class of Dask's as text.

    Parameters
    ----------
    options : mapping
    name : str
        Of the argument of ours that they come by.

    Raises
    ------
    SubmitError
        When they cannot be pickled.
    """
    try:
        return base64.b64encode(cloudpickle.dumps(dict(options))).decode("ascii")
    except Exception as error:  # whatever a class raises that does not want to be pickled
        raise SubmitError(f"{name} cannot be taken along: {type(error).__name__}: {error}") from None


def unpack(text: str) -> dict[str, Any]:
    """Inverse of `pack`."""
    found: dict[str, Any] = cloudpickle.loads(base64.b64decode(text))
    return found
