"""A job's view as static HTML: what stands beside the widget, and what a saved notebook keeps.

Styles are inline, as a notebook that is not trusted loses its style sheets; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from html import escape
from typing import Any

from .snapshot import COLUMNS, NUMERIC, cell_text, clock

#: White text on each has a contrast of at least 4.5.
CHIP = {"waiting": "#9a6700", "active": "#0969da", "good": "#1a7f37", "bad": "#cf222e", "ended": "#57606a"}
_DOT = {"waiting": "#bf8700", "active": "#218bff", "good": "#2da44e", "bad": "#e5534b", "ended": "#8c959f"}

_MUTED = "color:var(--jp-ui-font-color2,#57606a)"
_LINE = "1px solid var(--jp-border-color2,#d8dee4)"
_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.4"
_TD = f"padding:4px 6px;border:0;border-bottom:{_LINE};white-space:nowrap;vertical-align:top;line-height:1.4"
_TH = f"padding:4px 6px;border:0;border-bottom:{_LINE};vertical-align:bottom;font-weight:600;line-height:1.4;{_MUTED}"
#: As wide as in the widget, so that nothing moves when this takes its place.
_WIDTHS = {"host": "min-width:6em", "progress": "min-width:100px", "runtime": "min-width:4.5em"}

#: What a text that does not fit is cut to; the whole is in the title. A height, too, as an untrusted notebook
#: may lose the line clamp.
_ONE_LINE = (
    "display:inline-block;max-width:9em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;"
    "vertical-align:bottom"
)
_TWO_LINES = (
    "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;max-height:2.8em;overflow:hidden;"
    "white-space:normal;overflow-wrap:anywhere;min-width:10em"
)


def job_html(record: Mapping[str, Any], *, rows: bool = True) -> str:
    """Return the HTML of a `snapshot`.

    Parameters
    ----------
    record : mapping
        What `t2notebook.notebook.snapshot.snapshot` returned.
    rows : bool
        Whether the workers' table follows the job's line.
    """
    parts = [
        f'<div class="t2-static" style="{_FONT};color:var(--jp-ui-font-color1,#24292f);max-width:100%">',
        _job_line(record),
        _notes(record),
    ]
    if rows and record["rows"]:
        parts.append(_table(record["rows"], record["columns"]))
        if record["hidden"]:
            parts.append(f'<div style="{_MUTED};margin-top:4px">{escape(record["hidden"])}</div>')
    parts.append("</div>")
    return "".join(parts)


def jobs_html(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the HTML of several jobs, each with its table."""
    return '<div style="height:12px"></div>'.join(job_html(record) for record in records)


def _job_line(record: Mapping[str, Any]) -> str:
    percent = f"{100 * record['progress']:.0f}"
    chip = (
        f'<span style="background:{CHIP[record["tone"]]};color:#ffffff;border-radius:10px;padding:1px 9px;'
        f'font-size:11px;font-weight:600;letter-spacing:.03em">{escape(record["state"])}</span>'
    )
    when = "" if record["final"] else f" (as of {clock(record['now'])} UTC)"
    return (
        '<div style="margin:5px 0 8px">'
        f'<strong style="font-size:14px;margin-right:12px">{escape(record["name"])}</strong>{chip}'
        '<span style="margin-right:12px"></span>'
        f'<span style="font-variant-numeric:tabular-nums">{escape(record["counts_text"])}'
        f" &nbsp;·&nbsp; {escape(record['elapsed_text'])} &nbsp;·&nbsp; {percent} %</span>"
        f'<div style="{_MUTED};font-size:12px">{escape(record["job_id"])}{escape(when)}</div></div>'
    )


def _notes(record: Mapping[str, Any]) -> str:
    notes = ""
    if record["waiting_for"]:
        notes += _note("Waiting", record["waiting_for"], _DOT["waiting"])
    if record["lost"]:
        notes += _note("Lost", record["lost"], _DOT["bad"])
    if record["reason"]:
        notes += _note("Why", record["reason"], _DOT["bad" if record["tone"] == "bad" else "ended"])
    return notes


def _note(title: str, text: str, color: str) -> str:
    return (
        f'<div style="border-left:3px solid {color};padding:2px 10px;margin:4px 0 6px;white-space:pre-wrap;'
        f'overflow-wrap:anywhere">'
        f"<strong>{title}:</strong> {escape(text)}</div>"
    )


def _table(rows: Iterable[Mapping[str, Any]], columns: Collection[str]) -> str:
    head = "".join(
        f'<th scope="col" style="{_TH};text-align:{_side(key)}">{escape(heading)}</th>'
        for key, heading in COLUMNS
        if key in columns
    )
    body = "".join(f'<tr style="background:transparent">{"".join(_cells(row, columns))}</tr>' for row in rows)
    style = (
        "border-collapse:collapse;border:0;margin:0;width:100%;table-layout:auto;"
        "font-size:12px;font-variant-numeric:tabular-nums"
    )
    return (
        f'<div style="max-height:420px;overflow:auto"><table style="{style}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Mapping[str, Any], columns: Collection[str]) -> Iterable[str]:
    for key, _ in COLUMNS:
        if key not in columns:
            continue
        text = escape(cell_text(row, key))
        style = f"{_TD};text-align:{_side(key)};{_WIDTHS.get(key, '')}"
        if key == "state":
            dot = f"width:8px;height:8px;border-radius:50%;margin-right:7px;background:{_DOT[row['tone']]}"
            text = f'<span style="display:inline-block;{dot}"></span>{text}'
        elif key == "progress":
            text = _bar(row, text)
            style = style.replace("white-space:nowrap", "white-space:normal")  # the note may go below
        elif key == "host":
            text = f'<div title="{text}" style="{_ONE_LINE}">{text}</div>'
        elif key == "message":
            text = f'<div title="{text}" style="{_TWO_LINES}">{text}</div>' if text else ""
            style += ";width:40%"
        yield f'<td style="{style}">{text}</td>'


def _bar(row: Mapping[str, Any], text: str) -> str:
    if not text:
        return ""
    percent = round(100 * (row["progress"] or 0.0))
    note = escape(str(row["text"].get("note", "")))
    note = f' <span title="{note}" style="{_MUTED};{_ONE_LINE}">{note}</span>' if note else ""
    return (
        '<span style="white-space:nowrap">'
        '<span style="display:inline-block;width:60px;height:6px;border-radius:3px;margin-right:6px;'
        'background:var(--jp-layout-color3,#d8dee4);vertical-align:middle">'
        f'<span style="display:block;width:{percent}%;height:6px;border-radius:3px;'
        f'background:{_DOT[row["tone"]]}"></span></span>{text}</span>{note}'
    )


def _side(column: str) -> str:
    return "right" if column in NUMERIC else "left"
