"""The traceback of a job that has failed, from its events."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.events import Event, EventKind
from ..model.reducer import JobView
from ..model.states import JobState


def failure_of(view: JobView, events: Iterable[Event]) -> tuple[int, str, str] | None:
    """Return who failed, ``"traceback"`` and its traceback; ``"stderr"`` and no text where it raised nothing.

    Parameters
    ----------
    view : JobView
    events : iterable of Event
        The job's.

    Returns
    -------
    tuple or None
        None if the job has not failed.
    """
    if view.state is not JobState.FAILED or view.failed_worker is None:
        return None
    task_id = view.workers[view.failed_worker].task_id
    errors = (
        event.data.get("error") or {}
        for event in events
        if event.kind is EventKind.RESULT and event.task_id == task_id
    )
    traceback = next((error["traceback"] for error in errors if error.get("traceback")), "")
    return view.failed_worker, "traceback" if traceback else "stderr", str(traceback)
