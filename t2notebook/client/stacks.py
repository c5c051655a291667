"""Stacks of workers' threads as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

#: How often a frame is shown that comes again and again (`traceback` does the same).
REPEATS = 3


def stacks_text(answers: Iterable[Mapping[str, Any]]) -> str:
    """Return what a look into workers has shown; workers that are at the same place stand together.

    Parameters
    ----------
    answers : iterable of mapping
        As the session gives them.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for answer in answers:
        groups.setdefault(_body(answer), []).append(answer)
    return "\n\n".join(f"{_head(members)}{body}" for body, members in groups.items())


def _head(members: Sequence[Mapping[str, Any]]) -> str:
    first = members[0]
    if len(members) > 1:
        return f"Workers {_ranges([int(one['worker_id']) for one in members])}"
    where = f" on {first['host']}" if first.get("host") else ""
    pid = f", pid {first['pid']}" if first.get("pid") else ""
    state = f", {first['state']}" if pid and first.get("state") and not first.get("note") else ""
    return f"Worker {first['worker_id']}{where}{pid}{state}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``0-7, 9``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _body(answer: Mapping[str, Any]) -> str:
    note = str(answer.get("note", ""))
    lines = [f": {note}" if note else ""]
    threads = answer.get("threads") or []
    for thread in threads:
        daemon = " (daemon)" if thread.get("is_daemon") else ""
        name = thread["name"] if len(threads) > 1 or thread["name"] != "MainThread" else ""
        if name:
            lines.append(f"  {name}{daemon}")
        lines += [f"  {line}" if name else line for line in _frames_lines(thread["frames"])]
    return "\n".join(lines)


def _frames_lines(frames: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield frames as tracebacks print them: of one that comes again and again, the first ones."""
    for _, same in groupby(frames):
        alike = list(same)
        for frame in alike[:REPEATS]:
            yield from frame_lines(frame)
        if (more := len(alike) - REPEATS) > 0:
            yield f"  [Previous line repeated {more} more time{'s' * (more > 1)}]"


def frame_lines(frame: Sequence[Any]) -> list[str]:
    """Return a frame as tracebacks print it."""
    file, number, name, text = frame
    if not file:
        return [f"  {name}"]
    return [f'  File "{file}", line {number}, in {name}', *([f"    {text}"] if text else [])]
