"""Changes of jobs' states as events on the Jupyter server's bus: a page needs no connection of its own for them."""

from __future__ import annotations

import logging
from typing import Any

from ..model.states import FINAL_JOB_STATES
from .job_list import JobList
from .journals import LIVING, LOST, Row

log = logging.getLogger(__name__)

SCHEMA_ID = "https://schema.t2notebook.invalid/job/v1"
SCHEMA = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Twister2 job",
    "personal-data": True,
    "description": "A job on Mesos has changed its state.",
    "type": "object",
    "properties": {
        "job_id": {"type": "string"},
        "name": {"type": "string"},
        "state": {"type": "string", "description": "a JobState, or LOST"},
        "message": {"type": "string"},
        "notebook": {"type": "string"},
        "seconds": {"type": "number", "description": "from the submit to the end"},
        "has_ended": {"type": "boolean"},
        "active": {"type": "integer", "description": "jobs that go on"},
    },
    "required": ["job_id", "name", "state", "has_ended", "active"],
}


class Announcer:
    """Puts changes on the bus.

    Parameters
    ----------
    bus : jupyter_events.EventLogger
    job_list : JobList
    """

    def __init__(self, bus: Any, job_list: JobList) -> None:
        self._bus, self._job_list = bus, job_list
        bus.register_event_schema(SCHEMA)
        job_list.on_transition(self._on_transition)

    def _on_transition(self, before: Row | None, row: Row) -> None:
        is_new = before is None
        was_active = (
            before is not None and before["session"] == LIVING and before["state"] not in FINAL_JOB_STATES
        )
        is_lost = row["session"] == LOST
        has_ended = row["state"] in FINAL_JOB_STATES or is_lost
        if (is_new and has_ended) or not (was_active or not has_ended):
            return  # it was over when we first heard of it
        try:
            self._bus.emit(
                schema_id=SCHEMA_ID,
                data={
                    "job_id": row["job_id"],
                    "name": row["name"],
                    "state": "LOST" if is_lost else row["state"],
                    "message": str(row["message"] or "")[:500],
                    "notebook": row["notebook"],
                    "seconds": float((row["finished"] or row["submitted"] or 0) - (row["submitted"] or 0)),
                    "has_ended": has_ended,
                    "active": self._job_list.active,
                },
            )
        except Exception:
            log.exception("t2notebook: an event could not be sent")
