"""The parts of an agent that its executors of every kind work with."""

from __future__ import annotations

from dataclasses import dataclass

from .agent_state import AgentState
from .container_limits import ContainerLimits
from .retention import Retention
from .runtime import Runtime
from .state_log import StateLog
from .status_updates import StatusUpdates


@dataclass(frozen=True, slots=True)
class AgentParts:
    """An agent's memory, its world, and what it writes down, limits, keeps and tells."""

    state: AgentState
    runtime: Runtime
    log: StateLog
    limits: ContainerLimits
    retention: Retention
    updates: StatusUpdates
