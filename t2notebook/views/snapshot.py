"""A job as one JSON record: what the widget, the static HTML and the text are all drawn from."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from ..model.packed_workers import PackedWorkers
from ..model.reducer import JobView
from ..model.states import JobState, TaskState
from ..model.use import SHOWN
from ..model.use_advice import advice
from ..model.worker_view import WorkerView
from .failure import Failure

#: Up to this many workers a view has a row each.
ALL_ROWS = 200
#: What it shows of more: the troubled first, then the first ones.
SOME_ROWS, TROUBLED_ROWS = 100, 50
#: A table with more rows than this begins with the workers that are in trouble.
FITTING_ROWS = 10
#: Characters that are shown at most: of a reason, of a message in a row, of a worker's note on its progress.
LONGEST_REASON, LONGEST_MESSAGE, LONGEST_NOTE = 2000, 500, 200
#: Characters of a worker's traceback that are shown at most.
LONGEST_TRACEBACK = 8000

#: Key of a row and its heading, in order.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("worker_id", "Worker"),
    ("state", "State"),
    ("host", "Agent"),
    ("cpus", "CPUs"),
    ("mem", "Memory"),
    ("cpu_used", "CPU use"),
    ("mem_now", "Mem. use"),
    ("progress", "Progress"),
    ("started", "Started"),
    ("runtime", "Runtime"),
    ("restarts", "Restarts"),
    ("exit_code", "Exit"),
    ("message", "Message"),
)
#: Columns of figures, aligned to the right.
NUMERIC = frozenset(
    {"worker_id", "cpus", "mem", "cpu_used", "mem_now", "started", "runtime", "restarts", "exit_code"}
)

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


def snapshot(
    view: JobView,
    *,
    now: float | None = None,
    lost: str = "",
    failures: Sequence[Failure] = (),
    output: Mapping[str, Any] | None = None,
    is_told: bool = False,
    rows: bool = True,
) -> dict[str, Any]:
    """Return `view` as a JSON-ready record.

    Parameters
    ----------
    view : JobView
        The job; not changed.
    now : float, optional
        Seconds since 1970, by the kernel's clock; by default the present. Running times count up to it.
    lost : str
        Why nothing more will be heard of the job, if so.
    failures : sequence of tuple
        Texts that workers which failed have left behind, as `t2notebook.views.failure.failures_of` has them.
    output : mapping, optional
        The newest lines of the workers, as `Tails.newest` has them.
    is_told : bool
        Whether an error that says why the job failed follows this view, which need not say it then.
    rows : bool
        Whether the workers are in it; `t2notebook.views.table` has them shorter.

    Returns
    -------
    dict
        ``rows`` has a record per shown worker: the columns of ``job.tasks`` as they are there, ``runtime``
        in seconds, and under ``text`` what to show where that is not the value itself. ``hidden`` says in words
        which workers have no row; ``each`` what each of them has, if all have the same; ``columns`` has the keys of
        the columns that are not empty in all rows; ``failures`` have a title, the workers, a text, and under ``rest``
        words for where the whole is; ``output`` the newest lines, ``[worker_id, stream, text]`` each; ``advice`` says
        at the end what would have been enough. Times are seconds since 1970, and local where they are texts. Very long
        texts are cut.
    """
    now = time.time() if now is None else now
    shown = select(view)
    each = _each(shown.workers)
    table = _rows(view, shown.workers, now, each) if rows else {}
    running = view.counts.get(TaskState.RUNNING, 0)
    is_lost = bool(lost) and not view.state.is_final
    is_partly = bool(running) and view.state in (JobState.PENDING, JobState.STARTING)
    end = view.finished if view.state.is_final and view.finished is not None else now
    elapsed = max(0.0, end - view.submitted) if view.submitted is not None else 0.0
    return {
        "job_id": view.job_id,
        "name": view.name or view.job_id,
        "state": view.state.value,
        "tone": "bad" if is_lost else "active" if is_partly else TONES[view.state.value],
        "chip": "LOST"
        if is_lost
        else f"{running:,} of {view.number_of_workers:,} running"
        if is_partly
        else view.state.value,
        "final": view.state.is_final,
        "live": not (view.state.is_final or lost),
        "workers": view.number_of_workers,
        "counts": [[state.value, view.counts[state]] for state in TaskState if view.counts.get(state)],
        "counts_text": counts_text(view),
        "progress": round(view.progress, 4),
        "submitted": view.submitted,
        "finished": view.finished,
        "now": now,
        "elapsed": elapsed,
        "elapsed_text": duration(elapsed, running=not view.state.is_final),
        "waiting_for": "" if view.state.is_final else shorten(waiting_for(view)),
        "lost": lost,
        "reason": _why(view, is_told),
        "failures": [] if is_told else _failures(failures),
        "output": _lines(output, failures) if output else [],
        "each": each,
        "advice": advice(view.workers) if view.state.is_final else "",
        **table,
        "hidden": shown.hidden,
    }


def _rows(view: JobView, workers: list[WorkerView], now: float, each: str) -> dict[str, Any]:
    """Return the rows of `workers`, and which columns are not empty in all of them."""
    from ..frames import task_rows

    names = agent_texts((worker.agent, worker.host) for worker in workers)
    tasks = task_rows(replace(view, workers=workers))
    rows = [_row(task, worker, now, names, view) for task, worker in zip(tasks, workers, strict=True)]
    if len(rows) > FITTING_ROWS:
        rows.sort(key=lambda row: not is_bad(row["result"], row["state"]))
    columns = [
        key
        for key, _ in COLUMNS
        if any(cell_text(row, key) for row in rows) and not (each and key in ("cpus", "mem"))
    ]
    return {"columns": columns, "rows": rows}


@dataclass(frozen=True)
class Selection:
    """The workers that get a row, by worker id, and words for the others (empty if there are none)."""

    workers: list[WorkerView]
    hidden: str = ""


def select(view: JobView, most: int = ALL_ROWS) -> Selection:
    """Return all workers of a job that has at most so many; of a larger one, the troubled and the first ones."""
    workers = view.workers
    if len(workers) <= most:
        return Selection(list(workers))
    troubled = [workers[worker_id] for worker_id in sorted(view.troubled)]
    troubled = [worker for worker in troubled if _is_troubled(worker, view)]
    troubled.sort(key=lambda worker: _gravity(worker, view))
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


def waiting_for(view: JobView) -> str:
    """Say what a job waits for: first for whom it waits in the debugger."""
    held = held_workers(view)
    if not held:
        return view.waiting_for
    first = held[0]
    who = f"worker {first}" + (f" and {len(held) - 1} more" if len(held) > 1 else "")
    wait = "waits" if len(held) == 1 else "wait"
    why = view.workers[first].held
    return f"{who} {wait} in the debugger ({why}): %twister2 debug {view.job_id} {first}"


def held_workers(view: JobView) -> list[int]:
    """Return who waits in the debugger."""
    if isinstance(view.workers, PackedWorkers):
        return view.workers.having("held")
    return [worker.worker_id for worker in view.workers if worker.held]


def _each(workers: list[WorkerView]) -> str:
    """Return the resources of every worker in words, if all that were launched have the same."""
    found = {(worker.cpus, worker.mem) for worker in workers if worker.task_id}
    if len(found) != 1:
        return ""
    ((cpus, mem),) = found
    return (
        f"{cpus:g} cpu{'s' * (cpus != 1)} and {mebibytes(mem)} {'each' if len(workers) > 1 else ''}".rstrip()
    )


def _why(view: JobView, is_told: bool) -> str:
    if view.state is JobState.KILLED or (view.state is JobState.FAILED and not is_told):
        return shorten(view.message)
    return ""


def _said(view: JobView, worker: WorkerView) -> tuple[str, ...]:
    """Return the messages of `worker` that stand above the table, and need not stand in it again."""
    if not view.state.is_final:
        return ()
    if view.kill_reason == "WORKER_FAILED" and worker.state is TaskState.KILLED:
        return (worker.message,)  # that it was killed because of the failure that is told above
    is_meant = view.state is JobState.KILLED or worker.worker_id == view.failed_worker
    return (worker.message,) if is_meant and worker.message in view.message else ()


def _failures(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Return titles and texts of what workers have left behind; the same text once."""
    alike: dict[tuple[str, str], list[int]] = {}
    for worker_id, kind, text in failures:
        if text.strip():
            alike.setdefault((kind, text), []).append(worker_id)
    most = LONGEST_TRACEBACK // max(1, (len(alike) + 1) // 2)
    return [_failure(workers, kind, text, most) for (kind, text), workers in alike.items()]


def _failure(workers: list[int], kind: str, text: str, most: int) -> dict[str, Any]:
    """Return a failure, its text cut in the middle."""
    who = f"worker{'s' * (len(workers) > 1)} {', '.join(map(str, workers))}"
    title, rest = f"Traceback of {who}", "job.results() raises all of it"
    if kind != "traceback":
        title = f"The end of worker {workers[0]}'s {kind}"
        rest = f'job.logs({workers[0]}, "{kind}") has all of it'
    text = "\n".join(shorten(line, LONGEST_MESSAGE) for line in text.rstrip().split("\n"))
    if len(text) > most:
        begin, end = text[: most // 4], text[-3 * most // 4 :]
        text = f"{begin}\n… ({len(text) - most:,} characters are left out here: {rest})\n{end}"
    return {"title": title, "workers": workers, "text": text, "rest": rest}


def _lines(output: Mapping[str, Any], failures: Sequence[Failure]) -> list[list[Any]]:
    """Return the newest lines, without the traceback that is shown already: Python wrote it to stderr, too."""
    lines = [*output["lines"], *output["current"]]
    shown = {line for _, kind, text in failures if kind == "traceback" for line in text.splitlines()}
    return [line for line in lines if line[1] != "stderr" or line[2] not in shown]


def agent_texts(agents: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what each agent is shown as: its host, with the end of its id where that does not tell it from others.

    Parameters
    ----------
    agents : iterable of tuple
        Id and host of each; also more than once.
    """
    hosts: dict[str, set[str]] = {}
    for agent, host in agents:
        hosts.setdefault(host, set()).add(agent)
    names = {}
    for host, there in hosts.items():
        tells = len(there) == 1 and not host.startswith("127.") and host not in ("localhost", "::1")
        for agent in there:
            short = agent.rpartition("-")[2]
            names[agent] = host if tells or not short else f"{short} on {host}" if host else short
    return names


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
    parts = (
        f"{view.counts[state]:,} {words_of(state.value)}" for state in TaskState if view.counts.get(state)
    )
    return ", ".join(parts) or "no workers yet"


def duration(seconds: float, *, running: bool = False) -> str:
    """Return ``3.2 s``, ``42 s``, ``3 m 12 s``, ``1 h 04 m`` or ``2 d 03 h``; of what runs, seconds that are full.

    ``static/format.js`` has the same rule for what runs, so that the browser can count on.
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


def clock(seconds: float, now: float | None = None) -> str:
    """Return the local time of day, with the day if that is not the day of `now`."""
    moment = datetime.fromtimestamp(seconds)
    is_today = now is None or moment.date() == datetime.fromtimestamp(now).date()
    return moment.strftime("%H:%M:%S" if is_today else "%d %b %H:%M")


def day(seconds: float) -> str:
    """Return the local day, for what is read on another one."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %Y")


def zone(seconds: float) -> str:
    """Return the name of the local time zone, as it was then."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Z")


def _row(
    task: dict[str, Any], worker: WorkerView, now: float, names: Mapping[str, str], view: JobView
) -> dict[str, Any]:
    row = {name: _json(value) for name, value in task.items()}
    row["result"] = worker.result
    running = worker.started is not None and worker.finished is None and not worker.state.is_terminal
    if worker.started is not None and (running or worker.finished is not None):
        row["runtime"] = max(0.0, (now if running else worker.finished or now) - worker.started)
    else:
        row["runtime"] = None
    row["ticking"] = running
    if row.get("message"):
        row["message"] = shorten(row["message"])
    row["text"] = text = {"cpus": "", "mem": "", "started": "", "runtime": "", "progress": "", "restarts": ""}
    text["cpu_used"] = text["mem_now"] = ""
    if worker.use is not None and worker.use.seconds >= SHOWN:
        is_over = worker.state.is_terminal
        text["cpu_used"] = f"{worker.use.cpu_used if is_over else worker.cpu_now or 0.0:.1f}"
        text["mem_now"] = mebibytes(math.ceil(worker.use.mem_peak if is_over else worker.use.mem))
    row["tone"], text["state"] = look_of(worker)
    text["host"] = names.get(worker.agent, worker.host)
    text["message"] = shorten(message_of(worker, view), LONGEST_MESSAGE)
    if worker.task_id:
        text["cpus"], text["mem"] = f"{worker.cpus:g}", mebibytes(worker.mem)
    if worker.started is not None:
        text["started"] = clock(worker.started, now)
    if row["runtime"] is not None:
        text["runtime"] = duration(row["runtime"], running=running)
    if worker.progress is not None:
        text["progress"] = f"{math.floor(100 * worker.progress)} %"
    if worker.text:
        text["note"] = shorten(worker.text, LONGEST_NOTE)
    if worker.restarts:
        text["restarts"] = str(worker.restarts)
    return row


def _gravity(worker: WorkerView, view: JobView) -> int:
    if worker.worker_id == view.failed_worker:
        return 0
    return 1 if worker.result == "error" or TONES[worker.state.value] == "bad" else 2


def look_of(worker: WorkerView) -> tuple[str, str]:
    """Return the tone of a worker's state, and the state in words."""
    if worker.held:
        return "waiting", "waits in the debugger"
    return TONES[worker.state.value], words_of(worker.state.value)


def message_of(worker: WorkerView, view: JobView) -> str:
    """Return what a worker's row has to say that does not stand above the table already."""
    message = worker.message or ("" if worker.state in _FINE else _reason(worker.reason))
    return "" if message in _said(view, worker) else message


def is_bad(result: str, state: str) -> bool:
    """Whether a worker is in trouble, by its result and its state."""
    return TONES[state] == "bad" or result == "error" or state == TaskState.UNREACHABLE.value


def _is_troubled(worker: WorkerView, view: JobView) -> bool:
    if worker.result == "error" or worker.restarts or worker.worker_id == view.failed_worker:
        return True
    expected = worker.state in (TaskState.KILLED, TaskState.KILLING) and bool(view.kill_reason)
    return worker.state not in _FINE and not expected


def words_of(state: str) -> str:
    """Return a state in words."""
    return state.lower().replace("_", " ")


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
