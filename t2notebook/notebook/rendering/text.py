"""A job's view as plain text: for a terminal, and for the text that every output has beside its HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...views.snapshot import COLUMNS, NUMERIC, cell_text

#: More rows than this are cut in text.
TEXT_ROWS = 40


def job_text(record: Mapping[str, Any], *, rows: bool = True) -> str:
    """Return a `snapshot` as lines of text; with `rows`, a line per worker too."""
    percent = f"{math.floor(100 * record['progress'])} %"
    facts = [record["state"], record["counts_text"], record["elapsed_text"], percent]
    if record["each"]:
        facts.append(record["each"])
    lines = [f"{record['name']}: {', '.join(facts)}  [{record['job_id']}]"]
    if record["waiting_for"]:
        lines.append(f"waiting: {record['waiting_for']}")
    if record["lost"]:
        lines.append(f"lost: {record['lost']}")
    if record["reason"]:
        lines.append(f"why: {record['reason']}")
    if record["advice"]:
        lines.append(f"resources: {record['advice']}")
    if rows and record["rows"]:
        shown = record["rows"][:TEXT_ROWS]
        columns = [(key, heading) for key, heading in COLUMNS if key in record["columns"]]
        cells = [[heading for _, heading in columns]]
        cells += [[" ".join(cell_text(row, key).split()) for key, _ in columns] for row in shown]
        lines += align(cells, right=[key in NUMERIC for key, _ in columns])
        if more := len(record["rows"]) - len(shown):
            lines.append(f"... and {more} more workers")
        if record["hidden"]:
            lines.append(record["hidden"])
    return "\n".join(lines)


def align(cells: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> list[str]:
    """Return rows of `cells` as lines with aligned columns; those marked in `right` to the right.

    A column that is empty in all but the first row, the headings, is left out if there are headings to spare.
    """
    columns = list(zip(*cells, strict=True))
    sides = list(right) or [False] * len(columns)
    kept = [
        (column, side, max(map(len, column)))
        for column, side in zip(columns, sides, strict=True)
        if any(column[1:]) or len(cells) == 1
    ]
    return [
        "  ".join(
            column[number].rjust(width) if side else column[number].ljust(width)
            for column, side, width in kept
        ).rstrip()
        for number in range(len(cells))
    ]
