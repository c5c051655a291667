"""Inputs of a scheduler: what its runner tells it, as plain records. Pure.

Each is handled at a time that comes with it: `now`, seconds that no adjustment of the clock moves, and `today`,
seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..protocol.launch import KILL_GRACE
from .placement.cluster_inventory import Cluster


@dataclass(frozen=True)
class Adopted:
    """An earlier session's framework was taken over: its jobs are known, and it is not subscribed yet."""


@dataclass(frozen=True)
class Subscribed:
    """The framework is subscribed, for the first time or again."""

    framework_id: str


@dataclass(frozen=True)
class Disconnected:
    """There is no master, and why."""

    why: str


@dataclass(frozen=True)
class OffersCame:
    """Offers as Mesos gives them."""

    offers: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Rescinded:
    """An offer is void."""

    offer_id: str


@dataclass(frozen=True)
class Updated:
    """A task's status as Mesos gives it."""

    status: Mapping[str, Any]


@dataclass(frozen=True)
class ExecutorLost:
    """An executor has ended."""

    executor_id: str


@dataclass(frozen=True)
class AgentLost:
    """An agent is gone."""

    agent: str


@dataclass(frozen=True)
class Removed:
    """The master has ended the framework, and all that it ran."""

    message: str


@dataclass(frozen=True)
class CallFailed:
    """A call was not carried out; if not `certain`, it may have been."""

    call: Mapping[str, Any]
    why: str
    certain: bool = True


@dataclass(frozen=True)
class LaunchWithdrawn:
    """A launch was decided on, and its offers were given back before it was sent, and why."""

    task_ids: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Submitted:
    """A job is on the disk, and wants to run."""

    job_id: str


@dataclass(frozen=True)
class KillJob:
    """Somebody wants a job to end; its workers have `grace` seconds for it."""

    job_id: str
    reason: str
    message: str
    grace: float = KILL_GRACE


@dataclass(frozen=True)
class KillWorker:
    """Somebody wants one worker to end, for good or to begin anew."""

    job_id: str
    worker_id: int
    reason: str
    message: str
    restart: bool = False
    grace: float = KILL_GRACE


@dataclass(frozen=True)
class Scale:
    """A job is to have another number of workers; the highest leave, who have `leave_time` seconds for it."""

    job_id: str
    number_of_workers: int
    request: str
    source: str
    leave_time: float = 0.0


@dataclass(frozen=True)
class Silent:
    """Nothing has been heard of running workers, who share an executor, for so many seconds."""

    job_id: str
    worker_ids: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class TimerFired:
    """A timer that was set is due."""

    name: str


@dataclass(frozen=True)
class ClusterRead:
    """The agents' resources; None if the master does not tell them."""

    cluster: Cluster | None


@dataclass(frozen=True)
class Settle:
    """A request to do what the events of unfinished jobs ask for, as far as it has not been done."""


@dataclass(frozen=True)
class Stalled:
    """Nothing can be written down for a while: what is held is of no use."""


@dataclass(frozen=True)
class OffersWanted:
    """Offers were declined that somebody may have had a use for."""


@dataclass(frozen=True)
class TornDown:
    """The framework was torn down; Mesos sends no updates for what it ran."""

    message: str


Input = (
    Adopted
    | Subscribed
    | Disconnected
    | OffersCame
    | Rescinded
    | Updated
    | ExecutorLost
    | AgentLost
    | Removed
    | CallFailed
    | LaunchWithdrawn
    | Submitted
    | KillJob
    | KillWorker
    | Scale
    | Silent
    | TimerFired
    | ClusterRead
    | Settle
    | Stalled
    | OffersWanted
    | TornDown
)
