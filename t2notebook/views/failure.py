"""Tracebacks of the workers that have failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model.events import Event, EventKind
from ..model.reducer import JobView
from ..model.states import JobState

#: Workers whose tracebacks a view has at most.
MOST = 8

#: A worker's id, ``"traceback"`` or ``"stderr"``, and the text.
Failure = tuple[int, str, str]


def errors_of(events: Iterable[Event]) -> dict[str, Any]:
    """Return what came of tasks instead of a result: type, message and traceback, by task id."""
    return {event.task_id: event.data.get("error") for event in events if event.kind is EventKind.RESULT}


def failures_of(view: JobView, errors: Mapping[str, Any]) -> list[Failure]:
    """Return the tracebacks of a failed job's workers, that of the one by which it failed first.

    Parameters
    ----------
    view : JobView
    errors : mapping
        Those of `errors_of`.

    Returns
    -------
    list of tuple
        At most `MOST`. The worker by which the job failed is among them also where it raised nothing: with
        ``"stderr"`` and no text, which is to be read where it ran. None if the job has not failed.
    """
    if view.state is not JobState.FAILED or view.failed_worker is None:
        return []
    found: list[Failure] = []
    others = sorted(view.troubled - {view.failed_worker})
    for worker_id in (view.failed_worker, *others):
        if worker_id >= len(view.workers) or len(found) == MOST:
            break
        worker = view.workers[worker_id]
        traceback = (errors.get(worker.task_id) or {}).get("traceback") if worker.result == "error" else ""
        if traceback:
            found.append((worker_id, "traceback", str(traceback)))
        elif not found:
            found.append((worker_id, "stderr", ""))
    return found
