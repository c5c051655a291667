"""Events of a job, as immutable records: the only source that every view of a job is derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .text import dumps


class EventKind(StrEnum):
    """The kind of an event."""

    SUBMITTED = "SUBMITTED"  # the job is accepted; data: number_of_workers, name, resources
    LAUNCHED = (
        "LAUNCHED"  # the intent to launch a task, written before ACCEPT; data: agent, host, cpus, mem, ...
    )
    STATUS = "STATUS"  # a Mesos status update, written before its ACKNOWLEDGE; data: uuid, exit_code
    RESULT = "RESULT"  # a worker's result has arrived; data: ok, size, error
    KILL = "KILL"  # somebody asked for the end of the job, or of one worker (data: restart); reason says who
    SCALED = "SCALED"  # the number of workers has changed; data: number_of_workers, before, request
    PROGRESS = "PROGRESS"  # a worker's own account; data: progress, text. Not kept in the journal
    USAGE = "USAGE"  # use of the workers since the last such event; data: workers, a list each (`model.use`)
    HELD = "HELD"  # a worker waits in the debugger (data: held, in words), or has left it (held is empty)
    USE = "USE"  # use of some workers now; data as of USAGE. Not kept in the journal
    PENDING = "PENDING"  # why workers wait for resources, in words (message). Not kept in the journal


#: Events that live views want but nobody needs again after a restart.
TRANSIENT = frozenset({EventKind.PROGRESS, EventKind.PENDING, EventKind.USE})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job.

    Parameters
    ----------
    kind : EventKind
    job_id : str
    time : float
        Seconds since 1970, UTC, by the clock of the session.
    worker_id : int or None
        None for what concerns the whole job.
    task_id : str
    state : str
        A `TaskState` value; empty where the event tells none.
    source, reason : str
        As Mesos gives them (``SOURCE_EXECUTOR``, ``REASON_EXECUTOR_TERMINATED``), or ours (``SESSION``,
        ``USER``).
    message : str
        For people.
    data : mapping
        What depends on the kind; JSON-ready.
    seq : int
        Position in the session's journal, from 1; 0 while not written and for transient events.
    """

    kind: EventKind
    job_id: str
    time: float
    worker_id: int | None = None
    task_id: str = ""
    state: str = ""
    source: str = ""
    reason: str = ""
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
    _json: str = field(default="", init=False, repr=False, compare=False)

    def numbered(self, seq: int) -> Event:
        """Return the event with its place in the journal."""
        return Event(
            self.kind,
            self.job_id,
            self.time,
            self.worker_id,
            self.task_id,
            self.state,
            self.source,
            self.reason,
            self.message,
            self.data,
            seq,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record without empty fields."""
        record: dict[str, Any] = {"kind": self.kind.value, "job_id": self.job_id, "time": self.time}
        if self.worker_id is not None:
            record["worker_id"] = self.worker_id
        for name in ("task_id", "state", "source", "reason", "message", "seq"):
            if value := getattr(self, name):
                record[name] = value
        if self.data:
            record["data"] = dict(self.data)
        return record

    def to_json(self) -> str:
        """Return `to_dict` as text, which is made once: the journal and each kernel get the same."""
        if not self._json:
            object.__setattr__(self, "_json", dumps(self.to_dict()))
        return self._json

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Event:
        """Inverse of `to_dict`."""
        return cls(**{**record, "kind": EventKind(record["kind"])})
