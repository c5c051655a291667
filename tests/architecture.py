"""The picture of the architecture, drawn from the table of layers: ``python -m tests.architecture`` writes it."""

from __future__ import annotations

import textwrap
from html import escape
from pathlib import Path

from tests.test_layers import ASIDE, ROWS

PICTURE = Path(__file__).resolve().parents[1] / "docs/architecture.svg"

#: Processes at run time: name, colour, and what it holds.
PROCESSES = {
    "kernel": ("#dbeafe", "notebook kernel", "magics, handles, frames, one publisher thread"),
    "server": ("#ede9fe", "Jupyter server", "lists and kills jobs, kernel or not"),
    "session": ("#dcfce7", "session", "scheduler, journal, job master, one per user and master"),
    "mesos": ("#f1f5f9", "Mesos", "master and agents, real or embedded"),
    "agent": ("#ffedd5", "executor and workers", "on agents; a fork for each worker"),
    "all": ("#ffffff", "", ""),
}

#: Each part of the table: the process that it lives in, and its idea.
PARTS = {
    "notebook": ("kernel", "magics, widgets, rendering"),
    "server": ("server", "Jupyter server extension"),
    "dataflow": ("kernel", "TSets on Dask, MesosCluster"),
    "client": ("kernel", "handles"),
    "config": ("kernel", "settings"),
    "jupyter_config": ("kernel", "settings in Jupyter"),
    "cli": ("kernel", "command line"),
    "__main__": ("kernel", "python -m t2notebook"),
    "session": ("session", "the process that wires the parts below"),
    "scheduler": ("session", "decisions: placement, restarts, reconciliation"),
    "jobmaster": ("session", "the workers' meeting point: discovery, barriers, messages"),
    "package": ("kernel", "cell and variables to a job package; core package"),
    "mesos": ("session", "Mesos client: driver, detector, credentials"),
    "views": ("all", "records of jobs, and the ES modules that draw them"),
    "journal": ("session", "events on disk (SQLite)"),
    "frames": ("kernel", "events as DataFrames"),
    "worker": ("agent", "executor and worker processes"),
    "protocol": ("all", "shared by both sides of the wire: archives, signatures, launch data"),
    "model": ("all", "jobs, resources, states, events, the reducer"),
    "_version": ("all", "the version"),
    "localmesos": ("mesos", "embedded Mesos"),
    "_vendor": ("session", "pymesos"),
}

WIDTH, ROW, GAP, LEFT, INNER = 980, 44, 8, 24, 716
#: Where the layers begin, below the processes.
TOP = 236


def draw() -> str:
    """Return the picture as SVG."""
    height = TOP + len(ROWS) * (ROW + GAP) + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#0f172a" role="img" '
        'aria-label="Processes and layers of t2notebook">',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="#475569"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_processes(),
        _text(LEFT, TOP - 14, "Layers: imports go downward only; the colour is the process's", bold=True),
    ]
    for number, row in enumerate(ROWS):
        top = TOP + number * (ROW + GAP)
        width = (INNER - GAP * (len(row) - 1)) / len(row)
        for place, name in enumerate(row):
            parts.append(_part(name, LEFT + place * (width + GAP), top, width, ROW))
    left = LEFT + INNER + 24
    rank = {name: number for number, row in enumerate(ROWS) for name in row}
    for name, users in ASIDE.items():
        top = TOP + min(rank[user] for user in users) * (ROW + GAP)
        bottom = TOP + max(rank[user] for user in users) * (ROW + GAP) + ROW
        parts.append(_part(name, left, top, WIDTH - LEFT - left, bottom - top))
        parts.append(_arrow(LEFT + INNER + 2, (top + bottom) / 2, left - 2, (top + bottom) / 2))
    foot = TOP + len(ROWS) * (ROW + GAP) + 22
    parts.append(
        _text(
            LEFT, foot, "White: in every process. Aside stands what imports nothing of the rest.", small=True
        )
    )
    return "\n".join([*parts, "</svg>", ""])


def _processes() -> list[str]:
    boxes = {
        "kernel": (LEFT, 40, 210),
        "server": (LEFT, 128, 210),
        "session": (330, 40, 210),
        "mesos": (746, 40, 210),
        "agent": (746, 128, 210),
    }
    found = [_text(LEFT, 26, "Processes", bold=True)]
    for name, (left, top, width) in boxes.items():
        colour, title, text = PROCESSES[name]
        found.append(_box(left, top, width, 62, colour))
        found.append(_text(left + 10, top + 24, title, bold=True))
        lines = textwrap.wrap(text, 34)
        found += [_text(left + 10, top + 41 + 14 * at, line, small=True) for at, line in enumerate(lines)]
    found += [
        _arrow(236, 62, 328, 62, both=True),
        _text(282, 54, "Unix socket", small=True, centre=True),
        _arrow(236, 152, 328, 98, both=True),
        _arrow(542, 62, 744, 62, both=True),
        _text(643, 54, "v1 HTTP API: offers, updates, files", small=True, centre=True),
        _arrow(851, 104, 851, 126, both=True),
        _arrow(744, 160, 542, 92),
        _text(600, 150, "signed HTTP: package,", small=True, centre=True),
        _text(600, 164, "progress, messages, result", small=True, centre=True),
    ]
    return found


def _part(name: str, left: float, top: float, width: float, height: float) -> str:
    process, text = PARTS[name]
    if width < 30 + 6.2 * len(text):  # no room for more than its name
        text = ""
    middle = top + height / 2
    lines = [_text(left + width / 2, middle + (-2 if text else 4), name.strip("_"), bold=True, centre=True)]
    if text:
        lines.append(_text(left + width / 2, middle + 13, text, small=True, centre=True))
    return "\n".join([_box(left, top, width, height, PROCESSES[process][0]), *lines])


def _box(left: float, top: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6" fill="{colour}" '
        'stroke="#94a3b8"/>'
    )


def _arrow(x1: float, y1: float, x2: float, y2: float, both: bool = False) -> str:
    start = ' marker-start="url(#end)"' if both else ""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#475569"{start} marker-end="url(#end)"/>'


def _text(
    x: float, y: float, text: str, *, bold: bool = False, small: bool = False, centre: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    size = ' font-size="11.5" fill="#334155"' if small else ""
    anchor = ' text-anchor="middle"' if centre else ""
    return f'<text x="{x:g}" y="{y:g}"{weight}{size}{anchor}>{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw())
