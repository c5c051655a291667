"""Workers of a job as columns, which are small and quick to send again and again, and their sums by agent and state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from ..model.packed_workers import PackedWorkers
from ..model.reducer import JobView
from ..model.use import SHOWN
from ..model.worker_view import WorkerView
from .snapshot import (
    LONGEST_MESSAGE,
    LONGEST_NOTE,
    TONES,
    agent_texts,
    is_bad,
    look_of,
    message_of,
    select,
    shorten,
    words_of,
)

#: Up to this many workers a table has a row each.
TABLE_ROWS = 2000
#: Characters of all messages, or of all notes, above which they are cut, to no less than so many each.
MOST_TEXT, LEAST_TEXT = 20_000, 24
#: Columns that are one value where all rows have the same.
_LONG = (
    "state",
    "agent",
    "progress",
    "waiting",
    "launched",
    "started",
    "finished",
    "cpus",
    "mem",
    "cpu_used",
    "mem_now",
)
#: Jobs with more workers than this have sums by agent.
FEW_WORKERS = 200
#: Agents that the sums have at most.
MOST_AGENTS = 10_000


def worker_table(view: JobView) -> dict[str, Any]:
    """Return the workers of `view` as columns, JSON-ready.

    Parameters
    ----------
    view : JobView
        Not changed.

    Returns
    -------
    dict
        One entry a row in ``ids``, ``state``, ``agent`` (places in ``states`` and ``agents``; -1 for none),
        ``progress`` (fraction of 1 or None), ``waiting`` (since when it waited for its present task), ``launched``,
        ``started``, ``finished`` (seconds after the job was submitted, or None), ``cpus``, ``mem`` (MiB), and where
        anything has been measured ``cpu_used`` and ``mem_now``. What few rows have is by the row's place:
        ``restarts``, ``exit_code``, ``note``, ``message``, ``reason``, ``result``, and ``earlier``: when each task
        before the present one began to wait, was launched, started (None if it never did) and ended, at most the
        last 8. ``states`` has name, words and tone, ``agents`` id, host and text; ``bad`` the places of those in
        trouble, the job's failed worker first; ``hidden`` says in words which workers have no row. A column whose
        entries are all equal is that one value (``ids`` never is).
    """
    shown = select(view, TABLE_ROWS)
    workers = shown.workers
    origin = view.submitted or 0.0
    states, agents = _Places(), _Places()
    rows = range(len(workers))
    record: dict[str, Any] = {
        "ids": [worker.worker_id for worker in workers],
        "state": [states.of((worker.state.value, *look_of(worker))) for worker in workers],
        "agent": [agents.of((worker.agent, worker.host)) if worker.agent else -1 for worker in workers],
        "progress": [None if worker.progress is None else round(worker.progress, 3) for worker in workers],
        "cpus": [worker.cpus if worker.task_id else None for worker in workers],
        "mem": [worker.mem if worker.task_id else None for worker in workers],
        "restarts": {row: workers[row].restarts for row in rows if workers[row].restarts},
        "exit_code": {row: workers[row].exit_code for row in rows if workers[row].exit_code is not None},
        "reason": {row: workers[row].reason for row in rows if workers[row].reason},
        "result": {row: workers[row].result for row in rows if workers[row].result == "error"},
        "message": _texts(workers, lambda worker: message_of(worker, view), LONGEST_MESSAGE),
        "note": _texts(workers, lambda worker: worker.text, LONGEST_NOTE),
        "bad": _troubled(workers, view),
        "hidden": shown.hidden,
    }
    for name in ("launched", "started", "finished"):
        record[name] = [_after(getattr(worker, name), origin) for worker in workers]
    record["waiting"] = [_after(worker.waiting_since or origin, origin) for worker in workers]
    record["earlier"] = {row: _tasks(workers[row].earlier, origin) for row in rows if workers[row].earlier}
    measured = [worker.use is not None and worker.use.seconds >= SHOWN for worker in workers]
    if any(measured):
        record["cpu_used"], record["mem_now"] = _use(workers, measured)
    texts = agent_texts(agents.known)
    for name in _LONG:
        if name in record:
            record[name] = _short(record[name])
    record["states"] = [[state, words, tone] for state, tone, words in states.known]
    record["agents"] = [[agent, host, texts[agent]] for agent, host in agents.known]
    return record


def agent_sums(view: JobView) -> tuple[list[str], dict[str, Any]]:
    """Return the workers of a large job summed by agent and state, JSON-ready; of a small one, nothing.

    Returns
    -------
    list of str
        The agents' texts, which seldom change.
    dict
        ``states``: name, words and tone of each; ``counts``: for each state the number of workers on each agent, or one
        number if that is the same on all; ``waiting``: the workers that have no agent yet; ``hidden``: the number of
        agents that are left out.
    """
    if len(view.workers) <= FEW_WORKERS:
        return [], {}
    states, agents = _Places(), _Places()
    waiting = 0
    cells: list[tuple[int, int, int]] = []
    for (state, agent, host), number in _tally(view).items():
        if agent:
            cells.append((states.of(state), agents.of((agent, host)), number))
        else:
            waiting += number
    shown = min(len(agents.known), MOST_AGENTS)
    counts = [[0] * shown for _ in states.known]
    for row, place, number in cells:
        if place < shown:
            counts[row][place] += number
    names = list(islice(agents.known, shown))
    texts = agent_texts(names)
    return [texts[agent] for agent, _ in names], {
        "states": [[state, words_of(state), TONES[state]] for state in states.known],
        "counts": [_short(column) for column in counts],
        "waiting": waiting,
        "hidden": len(agents.known) - shown,
    }


def _tally(view: JobView) -> Mapping[tuple[str, str, str], int]:
    workers = view.workers
    if isinstance(workers, PackedWorkers):
        return workers.tally("state", "agent", "host")
    return Counter((worker.state.value, worker.agent, worker.host) for worker in workers)


def _short(column: list[Any]) -> Any:
    """Return a column, or its only value."""
    return column[0] if column and all(value == column[0] for value in column) else column


class _Places:
    """Values in the order in which they came, and the place of each."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        return self.known.setdefault(value, len(self.known))


def _after(time: float | None, origin: float) -> float | None:
    return None if time is None else round(time - origin, 2)


def _tasks(times: tuple[float, ...], origin: float) -> list[list[float | None]]:
    """Return the four times of each task; the reducer writes 0 for a wait since the submit, and for no start."""
    tasks = (times[at : at + 4] for at in range(0, len(times), 4))
    return [
        [
            _after(waiting or origin, origin),
            _after(launched, origin),
            _after(started or None, origin),
            _after(end, origin),
        ]
        for waiting, launched, started, end in tasks
    ]


def _troubled(workers: list[WorkerView], view: JobView) -> list[int]:
    rows = [row for row, worker in enumerate(workers) if is_bad(worker.result, worker.state.value)]
    rows.sort(key=lambda row: workers[row].worker_id != view.failed_worker)
    return rows


def _texts(workers: list[WorkerView], text_of: Callable[[WorkerView], str], longest: int) -> dict[int, str]:
    """Return the texts that are not empty, by row; when they are many and long, their beginnings."""
    texts = {row: text for row, worker in enumerate(workers) if (text := text_of(worker))}
    if sum(min(len(text), longest) for text in texts.values()) <= MOST_TEXT:
        return {row: shorten(text, longest) for row, text in texts.items()}
    most = max(LEAST_TEXT, MOST_TEXT // len(texts))
    return {row: text if len(text) <= most else f"{text[:most]}…" for row, text in texts.items()}


def _use(
    workers: list[WorkerView], measured: Iterable[bool]
) -> tuple[list[float | None], list[float | None]]:
    cpus: list[float | None] = []
    memory: list[float | None] = []
    for worker, is_known in zip(workers, measured, strict=True):
        if worker.use is None or not is_known:
            cpus.append(None)
            memory.append(None)
            continue
        is_over = worker.state.is_terminal
        cpus.append(round(worker.use.cpu_used if is_over else worker.cpu_now or 0.0, 2))
        memory.append(round(worker.use.mem_peak if is_over else worker.use.mem))
    return cpus, memory
