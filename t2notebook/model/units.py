"""Amounts of memory as people write them. Pure."""

from __future__ import annotations

import math
import re
from typing import Any

from .errors import SubmitError

#: Mesos's units (``stout/bytes.hpp``: powers of 1024), with or without the "B", and their IEC names; in MiB.
_MEBIBYTES = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
_AMOUNT = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(?:([KMGT])(?:I?B)?)?\s*", re.IGNORECASE)


def mebibytes_of(value: Any, name: str = "ram") -> float:
    """Return an amount of memory in MiB.

    Parameters
    ----------
    value : float or str
        MiB, or a text with a unit as Mesos has them: ``"1GB"`` (also ``1G``, ``1 GiB``) is 1024 MiB.
    name : str
        Of the argument or option, for the message.

    Raises
    ------
    SubmitError
    """
    if isinstance(value, str):
        if match := _AMOUNT.fullmatch(value):
            return float(match[1]) * _MEBIBYTES[(match[2] or "M").upper()]
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise SubmitError(f"{name} is {value!r}; give a number of MiB, or a text with a unit such as '1GB'")
