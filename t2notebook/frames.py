"""Events and states as tables: rows for every view, and the same rows as DataFrames."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .model.events import TRANSIENT, Event, EventKind
from .model.job import JobSpec
from .model.metrics import PHASES, JobMetrics
from .model.reducer import JobView
from .model.states import JobState, TaskState
from .model.use import Use, use_of, workers_use

if TYPE_CHECKING:
    import pandas as pd

#: The attribute by which a notebook knows these tables, and parts of them.
MARK = "t2notebook"

#: What people look for comes first and long ids last, so that a message is in sight without scrolling.
TASK_COLUMNS = {
    "worker_id": "int64",
    "state": "category",
    "message": "str",
    "host": "str",
    "progress": "float64",
    "exit_code": "Int64",
    "restarts": "int64",
    "started": "time",
    "finished": "time",
    "cpus": "float64",
    "mem": "float64",
    "cpu_used": "float64",
    "mem_now": "float64",
    "mem_peak": "float64",
    "ports": "str",
    "reason": "str",
    "agent": "str",
    "task_id": "str",
}

EVENT_COLUMNS = {
    "time": "time",
    "worker_id": "Int64",
    "kind": "str",
    "state": "category",
    "message": "str",
    "reason": "str",
    "source": "str",
    "task_id": "str",
}

JOB_COLUMNS = {
    "job_id": "str",
    "name": "str",
    "state": "category",
    "workers": "int64",
    "running": "int64",
    "finished_workers": "int64",
    "message": "str",
    "submitted": "time",
    "started": "time",
    "finished": "time",
    "session": "str",
}

WHY_COLUMNS = {
    "time": "time",
    "host": "str",
    "lacked": "str",
    "offered": "float64",
    "asked": "float64",
    "message": "str",
    "agent": "str",
    "offer": "str",
}

USAGE_COLUMNS = {
    "time": "time",
    "worker_id": "int64",
    "cpu": "float64",
    "mem": "float64",
    "read": "int64",
    "written": "int64",
    "gpu": "float64",
    "gpu_mem": "float64",
}

#: Seconds before a worker's end of which `usage_frame` tells nothing by themselves.
_MOMENT = 0.5

_STATES = {"job_state": [state.value for state in JobState], "state": [state.value for state in TaskState]}


def task_rows(view: JobView) -> list[dict[str, Any]]:
    """Return one row a worker, by worker id, with the columns of ``job.tasks``.

    Times are seconds since 1970 or None; states are strings; `mem` is MiB; `progress` a fraction of 1 or
    None; `cpu_used` (mean cpus), `mem_now` and `mem_peak` (MiB) are None until they have been measured.
    """
    return [
        {
            "worker_id": worker.worker_id,
            "state": worker.state.value,
            "message": worker.message or (worker.held and f"waits in the debugger: {worker.held}"),
            "host": worker.host,
            "progress": worker.progress,
            "exit_code": worker.exit_code,
            "restarts": worker.restarts,
            "started": worker.started,
            "finished": worker.finished,
            "cpus": worker.cpus,
            "mem": worker.mem,
            "cpu_used": None if worker.use is None else round(worker.use.cpu_used, 3),
            "mem_now": None if worker.use is None or worker.state.is_terminal else round(worker.use.mem, 1),
            "mem_peak": None if worker.use is None else round(worker.use.mem_peak, 1),
            "ports": ", ".join(f"{worker.host}:{port}" for port in worker.ports),
            "reason": worker.reason,
            "agent": worker.agent,
            "task_id": worker.task_id,
        }
        for worker in view.workers
    ]


def tasks_frame(view: JobView) -> pd.DataFrame:
    """Return ``job.tasks``: one row a worker; times UTC, `state` categorical, `exit_code` nullable."""
    return _frame(task_rows(view), TASK_COLUMNS, "state")


class EventColumns:
    """Rows of ``job.events`` as columns of plain numbers, to be made a frame at once however many there are.

    Texts are kept once, and by their places in the rows; a hundred thousand events take some 5 MB.
    """

    _TEXTS = ("kind", "state", "message", "reason", "source", "task_id")

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._times = array("d")
        self._workers = array("q")
        self._places: dict[str, dict[str, int]] = {name: {} for name in self._TEXTS}
        self._codes = {name: array("i") for name in self._TEXTS}
        for event in events:
            self.append(event)

    def append(self, event: Event) -> None:
        """Add an event's row, if it is one that has a row."""
        if event.kind in TRANSIENT or event.kind is EventKind.USAGE:
            return
        self._times.append(event.time)
        self._workers.append(-1 if event.worker_id is None else event.worker_id)
        for name in self._TEXTS:
            text = event.kind.value if name == "kind" else getattr(event, name)
            places = self._places[name]
            self._codes[name].append(places.setdefault(text, len(places)))

    def copy(self) -> EventColumns:
        """Return what is here now, for a frame that is made beside whoever appends."""
        twin = EventColumns()
        twin._times, twin._workers = self._times[:], self._workers[:]
        twin._codes = {name: codes[:] for name, codes in self._codes.items()}
        twin._places = {name: places.copy() for name, places in self._places.items()}
        return twin

    def frame(self) -> pd.DataFrame:
        """Return ``job.events``: oldest first; times UTC, `state` categorical."""
        import numpy as np
        import pandas as pd

        workers = np.array(self._workers, dtype="int64")
        data: dict[str, Any] = {}
        for name, kind in EVENT_COLUMNS.items():
            if kind == "time":
                milliseconds = np.floor(np.array(self._times, dtype="float64") * 1e3).astype("int64")
                times = pd.Series(milliseconds.astype("datetime64[ms]"))
                data[name] = times.dt.tz_localize("UTC")
            elif name == "worker_id":
                data[name] = pd.arrays.IntegerArray(workers.clip(0), workers < 0)
            elif kind == "category":
                states = {state: number for number, state in enumerate(_STATES["state"])}
                codes = np.array([states.get(state, -1) for state in self._places[name]], dtype="int64")
                codes = codes[np.array(self._codes[name], dtype="int64")]
                data[name] = pd.Categorical.from_codes(codes, categories=_STATES["state"])
            else:
                texts = pd.Series(list(self._places[name]), dtype="str").array
                data[name] = texts.take(np.array(self._codes[name], dtype="int64"))
        return pd.DataFrame(data)


def events_frame(events: Iterable[Event]) -> pd.DataFrame:
    """Return ``job.events``: one row a journalled event, oldest first; times UTC, `state` categorical."""
    return EventColumns(events).frame()


def usage_frame(events: Iterable[Event], view: JobView, now: float) -> pd.DataFrame:
    """Return ``job.usage``: one row a worker and look, oldest first.

    Parameters
    ----------
    events : iterable of Event
        All of the job's.
    view : JobView
        For what has been seen of workers since the last event.
    now : float
        Seconds since 1970.
    """
    rows: list[dict[str, Any]] = []
    last: dict[int, tuple[int, Use]] = {}
    restarts = [0] * len(view.workers)

    def add(time: float, worker_id: int, restart: int, use: Use) -> None:
        before = last.get(worker_id)
        since = before[1] if before is not None and before[0] == restart else Use(0.0, 0.0, 0.0, 0.0, 0.0)
        if (seconds := use.seconds - since.seconds) <= 0:
            return
        last[worker_id] = restart, use
        rows.append(
            {
                "time": time,
                "worker_id": worker_id,
                "cpu": round(max(0.0, use.cpu - since.cpu) / seconds, 3),
                "mem": use.mem,
                "read": use.read,
                "written": use.written,
                "gpu": use.gpu,
                "gpu_mem": use.gpu_mem,
            }
        )

    for event in events:
        if event.kind is EventKind.USAGE:
            for worker_id, restart, use in workers_use(event.data):
                add(event.time, worker_id, restart, use)
        elif event.worker_id is None or event.worker_id >= len(restarts):
            continue
        elif event.kind is EventKind.LAUNCHED:
            restarts[event.worker_id] = int(event.data.get("restart_count", 0))
        elif event.kind is EventKind.STATUS and (ended := use_of(event.data)) is not None:
            known = last.get(event.worker_id)
            is_new = known is None or known[0] != restarts[event.worker_id]
            # Over a moment, the cpu of a process that ends is noise.
            if is_new or (known is not None and ended.seconds - known[1].seconds >= _MOMENT):
                add(event.time, event.worker_id, restarts[event.worker_id], ended)
    for worker in view.workers:
        if worker.use is not None and not worker.state.is_terminal:
            add(now, worker.worker_id, worker.restarts, worker.use)
    return _frame(rows, USAGE_COLUMNS, "state")


def job_row(view: JobView) -> dict[str, Any]:
    """Return a job as a row of ``t2.jobs()``."""
    return {
        "job_id": view.job_id,
        "name": view.name,
        "state": view.state.value,
        "workers": view.number_of_workers,
        "running": view.counts[TaskState.RUNNING],
        "finished_workers": view.counts[TaskState.FINISHED],
        "submitted": view.submitted,
        "started": view.started,
        "finished": view.finished,
        "message": view.message or view.waiting_for,
    }


def overview_row(view: JobView, spec: JobSpec) -> dict[str, Any]:
    """Return a job as a row for who watches many: `job_row`, and what it asked for and where it comes from.

    `progress` is a fraction of 1; `failed_workers` counts those whose task has ended and not well; `cpus` and `mem`
    (MiB) are what all workers ask for together; `notebook` is a path, or empty.
    """
    # What was killed because another failed has not failed itself.
    well = (TaskState.FINISHED, TaskState.KILLED)
    unwell = (state for state in view.counts if state.is_terminal and state not in well)
    is_failing = view.state not in (JobState.COMPLETED, JobState.KILLED)
    more, last = view.number_of_workers - spec.number_of_workers, spec.resources[-1]
    return {
        **job_row(view),
        "failed_workers": sum(view.counts[state] for state in unwell) if is_failing else 0,
        "progress": view.progress,
        "cpus": sum(part.cpu * part.instances for part in spec.resources) + more * last.cpu,
        "mem": sum(part.ram_mega_bytes * part.instances for part in spec.resources)
        + more * last.ram_mega_bytes,
        "notebook": spec.notebook,
    }


def jobs_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return ``t2.jobs()``: one row a job."""
    return _frame(list(rows), JOB_COLUMNS, "job_state")


def why_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return ``job.why``: one row an offer and a thing that it lacked; `offered` and `asked` in Mesos's
    units.
    """
    return _frame(list(rows), WHY_COLUMNS, "state")


def metrics_series(metrics: JobMetrics) -> pd.Series:
    """Return ``job.metrics``: by name; seconds, and `utilisation` as a fraction of 1."""
    import pandas as pd

    return pd.Series(metrics.summary(), dtype="float64", name="metrics")


def phases_frame(metrics: JobMetrics) -> pd.DataFrame:
    """Return ``job.phases``: one row a worker, one column a phase, seconds; NaN for what is not known."""
    import pandas as pd

    rows = [{name: getattr(phases, name) for name in PHASES} for phases in metrics.workers]
    frame = pd.DataFrame(rows, columns=list(PHASES), dtype="float64")
    frame.insert(0, "worker_id", range(len(rows)))
    return frame


def why_text(view: JobView, why: pd.DataFrame) -> str:
    """Return in words why a job waits or has waited, and ``job.why`` as a table under it.

    Parameters
    ----------
    view : JobView
    why : pandas.DataFrame
        The job's ``why``.
    """
    launched = [worker for worker in view.workers if worker.state is not TaskState.PENDING and worker.task_id]
    head = f"Job {view.job_id} is {view.state}"
    if view.waiting_for:
        head += f": {view.waiting_for}."
    elif view.state is JobState.PENDING:
        head += f": {view.counts[TaskState.PENDING]} of {view.number_of_workers} workers wait; no offer has come yet."
    elif not launched:
        head += "; none of its workers was ever launched."
    elif why.empty:
        head += "; no worker waited for resources: the first offers did."
    else:
        head += f"; {len(launched)} of {view.number_of_workers} workers were launched, after waiting for:"
    if why.empty:
        return head
    columns = [name for name in ("host", "lacked", "offered", "asked", "message") if why[name].notna().any()]
    agents = why.groupby(columns, dropna=False, sort=False).agent.nunique().rename("agents").reset_index()
    if (agents.agents < 2).all():
        agents = agents.drop(columns="agents")
    table = agents.to_string(index=False, na_rep="", justify="left", max_colwidth=None)
    return f"{head}\n\n{table}"


def _frame(rows: list[Any], columns: Mapping[str, str], states: str) -> pd.DataFrame:
    import pandas as pd

    data: dict[str, Any] = {}
    for name, kind in columns.items():
        values = [row.get(name) for row in rows]
        if kind == "time":
            # More digits than clocks of several machines are worth would only push the rest out of sight.
            milliseconds = [None if value is None else math.floor(value * 1e3) for value in values]
            data[name] = pd.Series(milliseconds, dtype="Int64").astype("datetime64[ms]").dt.tz_localize("UTC")
        elif kind == "category":
            data[name] = pd.Categorical(values, categories=_STATES[states])
        elif kind == "str":
            data[name] = pd.Series(["" if value is None else value for value in values], dtype="str")
        else:
            data[name] = pd.Series(values, dtype=kind)
    frame = pd.DataFrame(data)
    frame.attrs[MARK] = True
    return frame
