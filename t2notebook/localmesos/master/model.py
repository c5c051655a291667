"""Frameworks, agents, offers and tasks as a master knows them. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..common.resources import Resources
from ..common.task_states import TERMINAL, TRANSITIONS, Json, can, roles_of

MAX_COMPLETED_TASKS = 1000


@dataclass
class Task:
    """A task as the master knows it; `TaskInfo.data` is never kept.

    Attributes
    ----------
    state
        The latest state that the agent told of, acknowledged or not (it frees the resources).
    update_state, update_uuid
        The latest update that was forwarded to the framework (it answers reconciliation).
    """

    id: str
    name: str
    framework_id: str
    agent_id: str
    executor_id: str
    role: str
    resources: Resources
    resources_json: list[Json]
    state: str = "TASK_STAGING"
    update_state: str | None = None
    update_uuid: str | None = None
    statuses: list[Json] = field(default_factory=list)
    labels: Json | None = None
    discovery: Json | None = None

    @property
    def known_state(self) -> str:
        """Give the state that the framework may be told."""
        return self.update_state or self.state

    def move(self, state: str) -> bool:
        """Go to a state if the table allows it."""
        if state not in TRANSITIONS.get(self.state, frozenset()):
            return False
        self.state = state
        return True

    def revive(self, state: str) -> None:
        """Take the state that a lost agent reports after all (the one exception to the table)."""
        self.state = state
        self.update_state = state

    def note(self, status: Json) -> None:
        """Remember a status; of equal states in a row only the last, as Mesos does."""
        kept = {name: value for name, value in status.items() if name != "data"}
        if self.statuses and self.statuses[-1]["state"] == kept["state"]:
            self.statuses[-1] = kept
        else:
            self.statuses.append(kept)


@dataclass
class Executor:
    """A custom executor as the master knows it: its info must never change, and it holds resources."""

    info: Json
    resources: Resources
    role: str


@dataclass
class Offer:
    """An offer that is outstanding."""

    id: str
    framework_id: str
    agent_id: str
    role: str
    resources: Resources


@dataclass
class Framework:
    """A framework, from its first SUBSCRIBE to its removal.

    Attributes
    ----------
    recovered
        An agent told of it, and it did not come back yet.
    served_by
        Ids of the agents that were ever given work of it, or came with some (in order; the values mean nothing).
    """

    id: str
    info: Json
    registered: float
    reregistered: float
    recovered: bool = False
    stream_id: str | None = None
    unregistered: float = 0.0
    failover_at: float | None = None
    suppressed: set[str] = field(default_factory=set)
    tasks: dict[str, Task] = field(default_factory=dict)
    unreachable: dict[str, Task] = field(default_factory=dict)
    completed: deque[Task] = field(default_factory=lambda: deque(maxlen=MAX_COMPLETED_TASKS))
    offers: dict[str, Offer] = field(default_factory=dict)
    served_by: dict[str, None] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Tell whether a stream is open."""
        return self.stream_id is not None

    @property
    def roles(self) -> list[str]:
        """Give the roles it is subscribed to."""
        return roles_of(self.info)

    def can(self, capability: str) -> bool:
        """Tell whether it has a capability."""
        return can(self.info, capability)


@dataclass
class Agent:
    """An agent, registered or lost.

    Attributes
    ----------
    info
        The v1 AgentInfo.
    heard
        When its link broke or it was last heard (the caller's clock).
    kills
        What could not be sent while its link was broken.
    """

    id: str
    info: Json
    pid: str
    total: Resources
    registered: float
    link: str | None
    heard: float
    reregistered: float | None = None
    executors: dict[tuple[str, str], Executor] = field(default_factory=dict)
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    unreachable_since: float | None = None
    kills: list[Json] = field(default_factory=list)

    @property
    def hostname(self) -> str:
        """Give the name that offers carry."""
        return str(self.info["hostname"])

    @property
    def reachable(self) -> bool:
        """Tell whether it counts as registered."""
        return self.unreachable_since is None

    def executors_of(self, framework_id: str) -> list[str]:
        """Give the ids of a framework's custom executors here."""
        return [executor for framework, executor in self.executors if framework == framework_id]

    def allocated(self) -> Resources:
        """Sum up what tasks and executors hold."""
        total = Resources()
        for task in self.tasks.values():
            if task.state not in TERMINAL:
                total = total + task.resources
        for executor in self.executors.values():
            total = total + executor.resources
        return total
