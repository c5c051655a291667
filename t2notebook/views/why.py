"""Reasons why a job waits, as sentences for a view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

#: Sentences in one answer at most.
MOST = 50


def why_part(message: str, rows: Iterable[Mapping[str, Any]], at: float) -> dict[str, Any]:
    """Return the part of a live view that answers why a job waits, or how it ended.

    Parameters
    ----------
    message : str
        In one sentence, or empty.
    rows : iterable of mapping
        Those of ``job.why``.
    at : float
        When it was asked: an answer that says the same is one all the same.

    Returns
    -------
    dict
        ``message``; ``rows``, sentences, equal ones once with their number; ``at``.
    """
    counts = Counter(_sentence(row) for row in rows)
    sentences = [text if number == 1 else f"{text} ({number:,} times)" for text, number in counts.items()]
    if len(sentences) > MOST:
        sentences = [*sentences[:MOST], f"and {len(sentences) - MOST:,} more: job.why has every one"]
    if not message:
        message = "Its workers wait for resources." if sentences else "Nothing keeps it waiting."
    return {"message": message, "rows": sentences, "at": at}


def _sentence(row: Mapping[str, Any]) -> str:
    host, message = row.get("host") or "", row.get("message") or ""
    if not message:
        offered, asked = row.get("offered"), row.get("asked")
        message = f"lacks {row.get('lacked')}"
        if _is_figure(offered) and _is_figure(asked):
            message += f": offered {offered:g}, asked {asked:g}"
    return message if not host or message.startswith(f"{host}: ") else f"{host}: {message}"


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and value == value
