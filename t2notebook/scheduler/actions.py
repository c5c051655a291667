"""Actions that a scheduler decides on, and that its runner performs: plain records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model.events import Event


@dataclass(frozen=True)
class Record:
    """Write events to the journal; they are numbered, and folded into their jobs' views already.

    Parameters
    ----------
    events : tuple of Event
    ended : tuple of str
        Ids of the jobs that have ended with them.
    """

    events: tuple[Event, ...]
    ended: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accept:
    """Launch tasks on offers: ACCEPT. Waits for the events that were recorded before it.

    Parameters
    ----------
    offer_ids : tuple of str
    tasks : tuple of dict
        TaskInfos.
    refuse_seconds : float
        For what the tasks leave.
    """

    offer_ids: tuple[str, ...]
    tasks: tuple[dict[str, Any], ...]
    refuse_seconds: float


@dataclass(frozen=True)
class Acknowledge:
    """Acknowledge a status update: ACKNOWLEDGE. Waits for the events that were recorded before it."""

    status: Mapping[str, Any]


@dataclass(frozen=True)
class Decline:
    """Give offers back: DECLINE."""

    offer_ids: tuple[str, ...]
    refuse_seconds: float


@dataclass(frozen=True)
class Revive:
    """Ask for offers: REVIVE."""


@dataclass(frozen=True)
class Suppress:
    """Ask for no offers: SUPPRESS."""


@dataclass(frozen=True)
class Kill:
    """End a task: KILL. Waits for the events that were recorded before it."""

    task_id: str
    agent: str
    grace: float


@dataclass(frozen=True)
class Reconcile:
    """Ask what became of tasks, given as pairs of task id and agent id; of none: of all. RECONCILE."""

    tasks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ShutdownExecutor:
    """End an executor: SHUTDOWN."""

    agent: str
    executor_id: str


@dataclass(frozen=True)
class Repeat:
    """Make a call once more that was refused."""

    call: Mapping[str, Any]


@dataclass(frozen=True)
class SetTimer:
    """Come back with `TimerFired`; a timer of the same name that has not fired is moved.

    Parameters
    ----------
    name : str
    due : float
        Seconds, by the clock that no adjustment moves.
    """

    name: str
    due: float


@dataclass(frozen=True)
class AskCluster:
    """Ask the master what its agents have; come back with `ClusterRead`."""


Action = (
    Record
    | Accept
    | Acknowledge
    | Decline
    | Revive
    | Suppress
    | Kill
    | Reconcile
    | ShutdownExecutor
    | Repeat
    | SetTimer
    | AskCluster
)
