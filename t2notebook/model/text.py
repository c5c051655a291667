r"""Text on its way out of a process, and into one: valid UTF-8, whatever the user's code made of it.

A `str` can hold what UTF-8 cannot: lone surrogates, as `os.listdir` gives them for file names of another encoding.
JSON carries them (as ``\udce9``), and then whoever decodes it strictly refuses the whole: a Mesos agent or master,
an Arrow column, a terminal. So everything that leaves a process as JSON is written by `dumps`, and what comes in,
old journals included, is read by `loads`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: Lone surrogates, and control characters but for tab, newline, carriage return and ESC (colours in tracebacks).
_UNSENDABLE = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
#: Made once, which `json.dumps` does at each call.
_COMPACT = json.JSONEncoder(separators=(",", ":")).encode
_SORTED = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def sendable(text: str, limit: int | None = None) -> str:
    r"""Return `text` with what others could not read written as Python writes it: ``caf\udce9.txt``.

    Parameters
    ----------
    text : str
    limit : int, optional
        Characters; of a longer text the middle is left out, and how much that was stands in its place.
    """
    if limit is not None and len(text) > limit:
        note = f" [... {len(text) - limit} characters left out ...] "
        half = max(0, limit - len(note)) // 2
        text = text[:half] + note + text[len(text) - half :] if half else text[:limit]
    if text.isascii() and text.isprintable():
        return text
    return _UNSENDABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\u{number:04x}" if number > 0xFF else f"\\x{number:02x}"


def cleaned(value: Any) -> Any:
    """Return a JSON-ready value with all its text, keys included, made sendable."""
    if isinstance(value, str):
        return sendable(value)
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    return value


def dumps(value: Any, *, sort_keys: bool = False) -> str:
    """Return `value` as JSON in ASCII, all its text made sendable."""
    encode = _SORTED if sort_keys else _COMPACT
    text = encode(value)
    if _is_suspect(text):
        text = encode(cleaned(value))
    return text


def loads(text: str | bytes | bytearray) -> Any:
    """Return what a JSON text says, all its text made sendable; raises ValueError as `json.loads` does."""
    value = json.loads(text)
    is_suspect = _is_suspect(text) if isinstance(text, str) else _are_suspect(text)
    return cleaned(value) if is_suspect else value


def _is_suspect(text: str) -> bool:
    """Whether JSON may have text that cannot be sent: what `_UNSENDABLE` finds is written so, but for 0x7f.

    Most records have nothing that needs a second look, and there are many.
    """
    return "\\u" in text or "\\b" in text or "\\f" in text or "\x7f" in text


def _are_suspect(text: bytes | bytearray) -> bool:
    return b"\\u" in text or b"\\b" in text or b"\\f" in text or b"\x7f" in text
