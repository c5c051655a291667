"""A job's view as static HTML: what stands beside the widget, and what a saved notebook keeps.

Styles are inline, as a notebook that is not trusted loses its style sheets; every text is escaped. A view is kept
small, since it is saved with each job: what has no room is cut, and a sentence says so and where the rest is. Texts are
apart by spaces as well as by styles, as some pages (GitHub's) take all styles away.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from html import escape
from typing import Any

from ...views.snapshot import COLUMNS, FITTING_ROWS, NUMERIC, cell_text, clock, day, zone

#: White text on each has a contrast of at least 4.5.
CHIP = {"waiting": "#9a6700", "active": "#0969da", "good": "#1a7f37", "bad": "#cf222e", "ended": "#57606a"}
_DOT = {"waiting": "#bf8700", "active": "#218bff", "good": "#2da44e", "bad": "#e5534b", "ended": "#8c959f"}

#: Bytes (UTF-8) that a job's HTML takes at most, and the rows of its table.
MOST_BYTES, ROWS_BYTES = 58_000, 36_000
#: Bytes of a job's name, of a note, of the failures' texts, and of the output.
NAME_BYTES, NOTE_BYTES, FAILURE_BYTES, OUTPUT_BYTES = 600, 4_000, 14_000, 10_000
#: Lines of output that are shown, and characters of each.
OUTPUT_LINES, OUTPUT_WIDTH = 12, 160
#: A text that is longer than this may be cut, and is in the title then.
FITTING = 18
#: Seconds after its submit in which a job's workers start if nothing keeps them.
SOON = 60.0

_MUTED = "color:var(--jp-ui-font-color2,#57606a)"
_LINE = "1px solid var(--jp-border-color2,#d8dee4)"
_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.4"
_MONO = (
    "font-family:var(--jp-code-font-family,monospace);font-size:12px;line-height:1.4;margin:0;padding:4px 8px;"
    "background:var(--jp-layout-color2,#f6f8fa);color:inherit;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere"
)
#: What JupyterLab's own style of tables would change; short, as it stands in each cell.
_TD = "padding:4px 6px"
_TR = f"background:transparent;border-bottom:{_LINE}"
_TH = f"padding:4px 6px;vertical-align:bottom;font-weight:600;{_MUTED}"
#: As wide as in the widget, so that nothing moves when this takes its place.
_WIDTHS = {"progress": ";min-width:66px", "host": ";min-width:6em"}
#: Pixels that columns take at least, and those of an output in a narrow window (520 px): a table of many workers
#: scrolls downwards, and two bars around one table are one too many. What has no room is left out, in this order.
_LEAST = {"worker_id": 61, "state": 76, "host": 84, "progress": 98, "runtime": 69, "started": 80, "mem": 75}
_LEAST_OTHERS, NARROW = 60, 410
_LESS = ("started", "cpus", "mem", "restarts", "exit_code", "cpu_used", "mem_now")

#: Bytes of a table without its heads and rows.
_TABLE_BYTES = 900

#: What a text that does not fit is cut to; the whole is in the title. A height, too, as an untrusted notebook
#: may lose the line clamp.
_ONE_LINE = (
    "display:inline-block;max-width:7em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;"
    "vertical-align:bottom"
)
_TWO_LINES = (
    "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;max-height:2.8em;min-width:7em;"
    "overflow:hidden;white-space:normal;overflow-wrap:anywhere"
)

#: In JupyterLab, a widget whose kernel is gone leaves an error. The view that stands below it takes its place.
_COVERS = "<style>.jp-OutputArea-child:not(:has(.t2-job)):has(+.jp-OutputArea-child .t2-beside){display:none}</style>"


def job_html(record: Mapping[str, Any], *, rows: bool = True, beside: str = "") -> str:
    """Return the HTML of a `snapshot`.

    Parameters
    ----------
    record : mapping
        What `t2notebook.views.snapshot.snapshot` returned.
    rows : bool
        Whether the workers' table follows the job's line.
    beside : str
        The class by which a live view that stands in the output before this hides this as long as it lives; empty
        if there is none.
    """
    names = f"t2-static t2-beside {beside}" if beside else "t2-static"
    before = [
        _COVERS if beside else "",
        f'<div class="{names}" style="{_FONT};color:var(--jp-ui-font-color1,#24292f);max-width:100%">',
        _job_line(record),
        _notes(record, is_kept=bool(beside)),
    ]
    after = [_output(record["output"]) if rows else "", "</div>"]
    if rows and record["rows"]:
        before.append(_table(record, MOST_BYTES - sum(map(_bytes, [*before, *after]))))
    return "".join([*before, *after])


def clipped(text: str, most: int, rest: str = "") -> str:
    """Return `text` escaped, in at most about `most` bytes; of one that is longer, what is left out, and where it is.

    Parameters
    ----------
    text : str
    most : int
        Bytes (UTF-8), without the sentence about the rest.
    rest : str
        Words for where the whole is, such as ``job.results() raises all of it``.
    """
    if _bytes(whole := escape(text)) <= most:
        return whole
    kept = text
    while (size := _bytes(escape(kept))) > most:
        kept = kept[: min(len(kept) - 1, len(kept) * most // size)]
    left = f"{len(text) - len(kept):,} more characters" + (f": {rest}" if rest else "")
    return f"{escape(kept)}… ({escape(left)})"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def jobs_html(records: Iterable[Mapping[str, Any]]) -> str:
    """Return several jobs below each other."""
    return "".join(job_html(record) for record in records)


def _job_line(record: Mapping[str, Any]) -> str:
    chip = (
        f'<span style="background:{CHIP[record["tone"]]};color:#fff;border-radius:10px;padding:1px 9px;'
        f'font-size:11px;font-weight:600;letter-spacing:.03em;white-space:nowrap">{escape(record["chip"])}</span> '
    )
    percent = math.floor(100 * record["progress"])
    facts = [record["job_id"], record["each"]]
    moment = record["submitted"]
    if moment is not None:
        facts.append(f"submitted {day(moment)} {clock(moment)} {zone(moment)}")
    if not record["final"]:
        facts.append(f"as of {clock(record['now'], moment)}")
    return (
        '<div style="margin:5px 0 8px">'
        f'<strong style="font-size:14px;margin-right:12px;overflow-wrap:anywhere">'
        f"{clipped(record['name'], NAME_BYTES)}</strong> {chip}"
        '<span style="margin-right:12px"></span>'
        f'<span style="font-variant-numeric:tabular-nums">{escape(record["counts_text"])}'
        f" &nbsp;·&nbsp; {escape(record['elapsed_text'])} &nbsp;·&nbsp; {percent} %</span>"
        f'<div style="{_MUTED};font-size:12px">{escape(" · ".join(filter(None, facts)))}</div></div>'
    )


def _notes(record: Mapping[str, Any], *, is_kept: bool) -> str:
    notes = ""
    if is_kept:
        notes += _note(
            "Not live", f"this is how it was; go on with %twister2 attach {record['job_id']}", _DOT["ended"]
        )
    if record["waiting_for"]:
        notes += _note("Waiting", record["waiting_for"], _DOT["waiting"])
    if record["lost"]:
        notes += _note("Lost", record["lost"], _DOT["bad"])
    if record["reason"]:
        notes += _note("Why", record["reason"], _DOT["bad" if record["tone"] == "bad" else "ended"])
    if record["advice"]:
        notes += _note("Resources", f"{record['advice']}.", _DOT["ended"])
    room = FAILURE_BYTES // max(1, len(record["failures"]))
    for failure in record["failures"]:
        text = _failure(failure["text"], failure["rest"], room)
        notes += (
            f'<details style="margin:2px 0 8px"><summary style="cursor:pointer;{_MUTED}">'
            f"{escape(failure['title'])}</summary>"
            f'<pre style="{_MONO};max-height:300px">{text}</pre></details>'
        )
    return notes


def _note(title: str, text: str, color: str) -> str:
    return (
        f'<div style="border-left:3px solid {color};padding:2px 10px;margin:4px 0 6px;white-space:pre-wrap;'
        f'overflow-wrap:anywhere">'
        f"<strong>{title}:</strong> {clipped(text, NOTE_BYTES)}</div>"
    )


def _failure(text: str, rest: str, most: int) -> str:
    """Return a traceback or an output; of one that is too long, the end, since that says what happened."""
    if _bytes(whole := escape(text)) <= most:
        return whole
    kept = text
    while (size := _bytes(escape(kept))) > most:
        kept = kept[-min(len(kept) - 1, len(kept) * most // size) :]
    return f"… ({len(text) - len(kept):,} characters before this: {escape(rest)})\n{escape(kept)}"


def _table(record: Mapping[str, Any], room: int) -> str:
    is_long = len(record["rows"]) > FITTING_ROWS
    columns = _fitting(_columns(record)) if is_long else _columns(record)
    head = "".join(
        f'<th scope="col" style="{_TH};text-align:{_side(key)}">{escape(heading)}</th>'
        for key, heading in COLUMNS
        if key in columns and key != "message"
    )
    room = min(ROWS_BYTES, room - _TABLE_BYTES - _bytes(head) - _bytes(record["hidden"]))
    body: list[str] = []
    for row in record["rows"]:
        html = _row(row, columns)
        room -= _bytes(html)
        if room < 0:
            break
        body.append(html)
    hidden = record["hidden"]
    if len(body) < len(record["rows"]):
        hidden = (
            f"{len(body):,} of {record['workers']:,} workers are shown, those that had trouble first. "
            "job.tasks has every one."
        )
    style = (
        "border-collapse:collapse;border:0;margin:0;width:100%;table-layout:auto;"
        "font-size:12px;font-variant-numeric:tabular-nums"
    )
    note = f'<div style="{_MUTED};font-size:12px;margin-top:4px">{escape(hidden)}</div>' if hidden else ""
    scrolls = "max-height:420px;overflow:auto" if is_long and _width(columns) <= NARROW else "overflow-x:auto"
    return (
        f'<div style="{scrolls}"><table style="{style}">'
        f'<thead><tr style="{_TR}">{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{note}'
    )


def _columns(record: Mapping[str, Any]) -> list[str]:
    """Return the columns to show: not when each worker started, if all did soon after the job was submitted."""
    began = record["submitted"] or record["now"]
    is_plain = all(row["started"] is None or row["started"] - began < SOON for row in record["rows"])
    return [key for key in record["columns"] if not (is_plain and key == "started")]


def _width(columns: Iterable[str]) -> int:
    """Return the pixels that these columns take at least."""
    return sum(_LEAST.get(key, _LEAST_OTHERS) for key in columns if key != "message")


def _fitting(columns: list[str]) -> list[str]:
    """Leave out what a long table has no room for in a narrow window; `job.tasks` has it."""
    for key in _LESS:
        if _width(columns) > NARROW and key in columns:
            columns = [other for other in columns if other != key]
    return columns


def _row(row: Mapping[str, Any], columns: Collection[str]) -> str:
    """Return a worker's row; its message stands below, where it has the whole width."""
    cells = list(_cells(row, columns))
    message = escape(cell_text(row, "message")) if "message" in columns else ""
    if not message:
        return f'<tr style="{_TR}">{"".join(cells)}</tr>'
    text = (
        f'<div title="{message}" style="{_TWO_LINES}">{message}</div>' if len(message) > FITTING else message
    )
    below = f'<td colspan="{len(cells)}" style="padding:0 6px 4px 24px;text-align:left">{text}</td>'
    return f'<tr style="background:transparent">{"".join(cells)}</tr><tr style="{_TR}">{below}</tr>'


def _cells(row: Mapping[str, Any], columns: Collection[str]) -> Iterable[str]:
    for key, _ in COLUMNS:
        if key not in columns or key == "message":
            continue
        text = escape(cell_text(row, key))
        style = f"{_TD};text-align:{_side(key)}{_WIDTHS.get(key, '')}"
        if key == "state":
            text = f'<span style="color:{_DOT[row["tone"]]}">●</span>&nbsp;{text}'
        elif key == "progress":
            text = _bar(row, text)
        elif key == "host" and len(text) > FITTING // 2:
            text = f'<div style="overflow-wrap:anywhere">{text}</div>'
        elif key in ("cpus", "mem", "mem_now", "started", "runtime"):
            text = text.replace(" ", "&nbsp;")
        yield f'<td style="{style}">{text}</td>'


def _bar(row: Mapping[str, Any], text: str) -> str:
    if not text:
        return ""
    percent = math.floor(100 * (row["progress"] or 0.0))
    note = escape(str(row["text"].get("note", "")))
    if len(note) > FITTING:
        note = f' <span title="{note}" style="opacity:.7;{_ONE_LINE}">{note}</span>'
    elif note:
        note = f' <span style="opacity:.7">{note}</span>'
    tone = _DOT[row["tone"]]
    return (
        '<span style="display:inline-block;width:60px;border-radius:3px;margin-right:6px;background:#8885">'
        f'<span style="display:block;width:{percent}%;height:6px;border-radius:3px;background:{tone}"></span>'
        f"</span>{text.replace(' ', '&nbsp;')}{note}"
    )


def _output(lines: list[list[Any]]) -> str:
    """Return the newest lines of the workers; empty if there are none."""
    if not lines:
        return ""
    shown: list[str] = []
    room = OUTPUT_BYTES
    for worker_id, _, text in reversed(lines[-OUTPUT_LINES:]):
        who = f'<span style="{_MUTED};display:inline-block;min-width:2.5em">{worker_id}</span>'
        shown.insert(0, f"<div>{who} {escape(_cut(text))}</div>")
        room -= _bytes(shown[0])
        if room < 0 and len(shown) > 1:
            del shown[0]
            break
    texts = "".join(shown)
    title = "Output" if len(shown) == len(lines) else "Output, the newest lines"
    return (
        f'<div style="margin-top:8px"><div style="{_MUTED};font-size:12px">{title}</div>'
        f'<div style="{_MONO};max-height:220px">{texts}</div></div>'
    )


def _cut(line: str) -> str:
    return line if len(line) <= OUTPUT_WIDTH else f"{line[:OUTPUT_WIDTH]}…"


def _side(column: str) -> str:
    return "right" if column in NUMERIC else "left"
