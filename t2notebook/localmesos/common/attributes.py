"""Agents' attributes, read as Mesos reads its agents' flag: a number, ranges of numbers, or text. Pure.

The rules are those of `src/common/attributes.cpp` and `values.cpp`: spaces within a value are nothing, `10` is a
SCALAR, `[1000-1500,2000-2100]` RANGES that are sorted and joined, all else TEXT (a negative number, too). A set
ends a real agent at its start; here it is refused when the command line is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_HEXADECIMAL = re.compile(r"-?0[xX][0-9a-fA-F]+")
_RANGE = re.compile(r"(\d+)-(\d+)", re.ASCII)
_LARGEST = 2**64 - 1


def parse(text: str) -> list[Json]:
    """Read `rack:r1;level:10;keys:[1000-1500]`; give v1's `Attribute` messages.

    Raises
    ------
    ValueError
        It is none; the text names the part and what would do.
    """
    found = []
    for part in re.split("[;\n]", text):
        if part.strip():
            name, colon, value = part.strip().partition(":")
            if not name or not colon or not value.strip():
                raise ValueError(f"--attributes: '{part}' is not name:value")
            found.append(_attribute(name, value))
    return found


def _attribute(name: str, text: str) -> Json:
    value = text.replace(" ", "")
    for opening, closing in ("{}", "[]", "()"):
        if not _matches(value, opening, closing):
            raise ValueError(f"--attributes: '{name}:{text}' has brackets that do not match")
    if value.startswith("["):
        spans = _spans(name, value)
        ranges = [{"begin": begin, "end": end} for begin, end in spans]
        return {"name": name, "type": "RANGES", "ranges": {"range": ranges}}
    if value.startswith("{"):
        items = [item for item in re.split("[{},]", value) if item]
        instead = ";".join(f"{name}:{item}" for item in items) or f"{name}:value"
        raise ValueError(
            f"--attributes: '{name}:{text}' is a set, which no agent of Mesos starts with; write '{instead}'"
        )
    if "[" in value or "{" in value:
        raise ValueError(f"--attributes: '{name}:{text}' has a bracket within its value, which Mesos refuses")
    number = _number(value)
    if number is None:
        return {"name": name, "type": "TEXT", "text": {"value": value}}
    return {"name": name, "type": "SCALAR", "scalar": {"value": number}}


def _matches(text: str, opening: str, closing: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == opening) - (character == closing)
        if depth < 0:
            return False
    return depth == 0


def _number(text: str) -> float | None:
    """Read a SCALAR; None for what stays text: what is negative or not finite, too."""
    if _HEXADECIMAL.fullmatch(text):
        number = float(int(text, 16))
    elif _NUMBER.fullmatch(text):
        number = float(text)
    else:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _spans(name: str, value: str) -> list[tuple[int, int]]:
    """Read RANGES; overlapping and adjacent ones become one."""
    spans = []
    for part in value[1:].rstrip("]").split(","):
        match = _RANGE.fullmatch(part.strip("[]"))
        begin, end = (int(match[1]), int(match[2])) if match else (1, 0)
        if begin > end or end > _LARGEST:
            raise ValueError(
                f"--attributes: '{name}:{value}' is no list of ranges, such as [1000-1500,2000-2100]"
            )
        spans.append((begin, end))
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def summary(attributes: Iterable[Json]) -> Json:
    """Give attributes as `/slaves` and `/state` show them: numbers as such, ranges as text."""
    return {item["name"]: _shown(item) for item in attributes}


def flag(attributes: Iterable[Json]) -> str:
    """Write attributes as one command line would have them."""
    texts = []
    for item in attributes:
        shown = _shown(item)
        value = f"{shown:.15g}" if isinstance(shown, float) else shown.replace(" ", "")
        texts.append(f"{item['name']}:{value}")
    return ";".join(texts)


def _shown(item: Json) -> Any:
    if item["type"] == "SCALAR":
        return float(item["scalar"]["value"])
    if item["type"] == "RANGES":
        return "[" + ", ".join(f"{one['begin']}-{one['end']}" for one in item["ranges"]["range"]) + "]"
    return item["text"]["value"]
