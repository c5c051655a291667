"""Durations as Mesos's flags, messages and variables write them (stout's `Duration`). Pure."""

from __future__ import annotations

import re


def duration(seconds: float) -> str:
    """Write a duration as stout does: the largest unit that keeps it whole."""
    nanoseconds = round(seconds * 1e9)
    for unit, size in (
        ("weeks", 604_800_000_000_000),
        ("days", 86_400_000_000_000),
        ("hrs", 3_600_000_000_000),
        ("mins", 60_000_000_000),
        ("secs", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
    ):
        if nanoseconds and nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "secs": 1.0, "mins": 60.0, "hrs": 3600.0}
_UNITS |= {"days": 86400.0, "weeks": 604800.0}


def parse_duration(text: str) -> float:
    """Read a duration as Mesos's flags have it (`1weeks`, `1.5mins`), or plain seconds; give seconds.

    Raises
    ------
    ValueError
        It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", text)
    if match is None or match[2] not in (*_UNITS, ""):
        raise ValueError(f"'{text}' is no duration, such as 30secs, 2hrs or 1weeks")
    return float(match[1]) * _UNITS.get(match[2], 1.0)
