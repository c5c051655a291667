"""A job as one JSON record: what the widget, the static HTML and the text are all drawn from."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from ..model.reducer import JobView, WorkerView
from ..model.states import JobState, TaskState

#: Up to this many workers a view has a row each.
ALL_ROWS = 200
#: What it shows of more: the troubled first, then the first ones.
SOME_ROWS, TROUBLED_ROWS = 100, 50
#: Characters that are shown at most: of a reason, of a message in a row, of a worker's note on its progress.
LONGEST_REASON, LONGEST_MESSAGE, LONGEST_NOTE = 2000, 500, 200

#: Key of a row and its heading, in order.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("worker_id", "Worker"),
    ("state", "State"),
    ("host", "Host"),
    ("cpus", "CPUs"),
    ("mem", "Memory"),
    ("progress", "Progress"),
    ("started", "Started (UTC)"),
    ("runtime", "Runtime"),
    ("restarts", "Restarts"),
    ("exit_code", "Exit"),
    ("message", "Message"),
)
#: Columns of figures, aligned to the right.
NUMERIC = frozenset({"worker_id", "cpus", "mem", "started", "runtime", "restarts", "exit_code"})

#: How a state looks: the tone that both renderings colour.
TONES: dict[str, str] = {
    **dict.fromkeys(("PENDING", "STAGING", "UNREACHABLE", "UNKNOWN", "KILLING"), "waiting"),
    **dict.fromkeys(("STARTING", "STARTED", "RUNNING"), "active"),
    **dict.fromkeys(("COMPLETED", "FINISHED"), "good"),
    **dict.fromkeys(("FAILED", "ERROR", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR"), "bad"),
    "KILLED": "ended",
}

_FINE = frozenset(
    {TaskState.PENDING, TaskState.STAGING, TaskState.STARTING, TaskState.RUNNING, TaskState.FINISHED}
)


def snapshot(view: JobView, *, now: float | None = None, lost: str = "") -> dict[str, Any]:
    """Return `view` as a JSON-ready record.

    Parameters
    ----------
    view : JobView
        The job; not changed.
    now : float, optional
        Seconds since 1970, by the kernel's clock; by default the present. Running times count up to it.
    lost : str
        Why nothing more will be heard of the job, if so.

    Returns
    -------
    dict
        ``rows`` has a record per shown worker: the columns of ``job.tasks`` as they are there, ``runtime``
        in seconds, and under ``text`` what to show where that is not the value itself. ``hidden`` says in
        words which workers have no row; ``columns`` has the keys of the columns that are not empty in all
        rows. Times are seconds since 1970. Very long texts are cut.
    """
    from ..frames import task_rows

    now = time.time() if now is None else now
    shown = select(view)
    rows = [
        _row(task, worker, now)
        for task, worker in zip(task_rows(replace(view, workers=shown.workers)), shown.workers, strict=True)
    ]
    end = view.finished if view.state.is_final and view.finished is not None else now
    elapsed = max(0.0, end - view.submitted) if view.submitted is not None else 0.0
    return {
        "job_id": view.job_id,
        "name": view.name or view.job_id,
        "state": view.state.value,
        "tone": TONES[view.state.value],
        "final": view.state.is_final,
        "live": not (view.state.is_final or lost),
        "workers": len(view.workers),
        "counts": [[state.value, view.counts[state]] for state in TaskState if view.counts.get(state)],
        "counts_text": counts_text(view),
        "progress": round(view.progress, 4),
        "submitted": view.submitted,
        "finished": view.finished,
        "now": now,
        "elapsed": elapsed,
        "elapsed_text": duration(elapsed, running=not view.state.is_final),
        "waiting_for": "" if view.state.is_final else view.waiting_for,
        "lost": lost,
        "reason": shorten(view.message) if view.state in (JobState.FAILED, JobState.KILLED) else "",
        "columns": [key for key, _ in COLUMNS if any(cell_text(row, key) for row in rows)],
        "rows": rows,
        "hidden": shown.hidden,
    }


@dataclass(frozen=True)
class Selection:
    """The workers that get a row, by worker id, and words for the others (empty if there are none)."""

    workers: list[WorkerView]
    hidden: str = ""


def select(view: JobView) -> Selection:
    """Return all workers of a small job; of a large one, the troubled and the first ones."""
    workers = view.workers
    if len(workers) <= ALL_ROWS:
        return Selection(list(workers))
    troubled = [worker for worker in workers if _is_troubled(worker, view)]
    chosen = {worker.worker_id: worker for worker in troubled[:TROUBLED_ROWS]}
    for worker in workers:
        if len(chosen) == SOME_ROWS:
            break
        chosen.setdefault(worker.worker_id, worker)
    hidden = f"{len(chosen):,} of {len(workers):,} workers are shown: the first ones"
    if troubled:
        some = "all" if len(troubled) <= TROUBLED_ROWS else f"{TROUBLED_ROWS} of"
        hidden += f" and {some} {len(troubled):,} that had trouble"
    return Selection(
        [chosen[worker_id] for worker_id in sorted(chosen)], hidden + ". job.tasks has every one."
    )


def cell_text(row: Mapping[str, Any], column: str) -> str:
    """Return what a row shows in a column, the same in every rendering."""
    text = row["text"].get(column)
    if text is None:
        value = row.get(column)
        return "" if value is None else str(value)
    return str(text)


def shorten(text: str, most: int = LONGEST_REASON) -> str:
    """Return `text`; of one that is longer than `most` characters, so many and how many more there are."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def counts_text(view: JobView) -> str:
    """Return ``3 running, 1 finished``."""
    parts = (f"{view.counts[state]:,} {_words(state)}" for state in TaskState if view.counts.get(state))
    return ", ".join(parts) or "no workers yet"


def duration(seconds: float, *, running: bool = False) -> str:
    """Return ``3.2 s``, ``42 s``, ``3 m 12 s``, ``1 h 04 m`` or ``2 d 03 h``; of what runs, seconds that are full.

    ``job_view.js`` has the same rule for what runs, so that the browser can count on.
    """
    if seconds < 9.95 and not running:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds * 1000:.0f} ms"
    whole = int(seconds) if running else round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} m {second:02} s"
    hours, minute = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minute:02} m"
    return f"{hours // 24} d {hours % 24:02} h"


def mebibytes(amount: float) -> str:
    """Return `amount` MiB as ``256 MiB`` or ``1.5 GiB``."""
    return f"{amount:g} MiB" if amount < 1024 else f"{round(amount / 1024, 2):g} GiB"


def size(number_of_bytes: float) -> str:
    """Return ``812 B``, ``1.2 kB`` or ``3.4 MB``, in powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if number_of_bytes < 1000:
            return f"{number_of_bytes:.0f} B" if unit == "B" else f"{number_of_bytes:.1f} {unit}"
        number_of_bytes /= 1000
    return f"{number_of_bytes:.1f} GB"


def clock(seconds: float) -> str:
    """Return the time of day, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def _row(task: dict[str, Any], worker: WorkerView, now: float) -> dict[str, Any]:
    row = {name: _json(value) for name, value in task.items()}
    running = worker.started is not None and worker.finished is None and not worker.state.is_terminal
    if worker.started is not None and (running or worker.finished is not None):
        row["runtime"] = max(0.0, (now if running else worker.finished or now) - worker.started)
    else:
        row["runtime"] = None
    row["ticking"] = running
    if row.get("message"):
        row["message"] = shorten(row["message"])
    row["tone"] = TONES[worker.state.value]
    row["text"] = text = {"cpus": "", "mem": "", "started": "", "runtime": "", "progress": "", "restarts": ""}
    text["state"] = _words(worker.state)
    message = worker.message or ("" if worker.state in _FINE else _reason(worker.reason))
    text["message"] = shorten(message, LONGEST_MESSAGE)
    if worker.task_id:
        text["cpus"], text["mem"] = f"{worker.cpus:g}", mebibytes(worker.mem)
    if worker.started is not None:
        text["started"] = clock(worker.started)
    if row["runtime"] is not None:
        text["runtime"] = duration(row["runtime"], running=running)
    if worker.progress is not None:
        text["progress"] = f"{math.floor(100 * worker.progress)} %"
    if worker.text:
        text["note"] = shorten(worker.text, LONGEST_NOTE)
    if worker.restarts:
        text["restarts"] = str(worker.restarts)
    return row


def _is_troubled(worker: WorkerView, view: JobView) -> bool:
    if worker.result == "error" or worker.restarts or worker.worker_id == view.failed_worker:
        return True
    expected = worker.state in (TaskState.KILLED, TaskState.KILLING) and bool(view.kill_reason)
    return worker.state not in _FINE and not expected


def _words(state: TaskState) -> str:
    return state.value.lower().replace("_", " ")


def _reason(reason: str) -> str:
    return reason.removeprefix("REASON_").replace("_", " ").lower()


def _json(value: Any) -> Any:
    """Return a cell of ``job.tasks`` as JSON has it: times as seconds since 1970, a missing value as None."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
