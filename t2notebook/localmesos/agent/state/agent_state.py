"""The memory that an agent's parts share. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...common.task_states import Json
from ..containerizer.paths import AgentIdentity
from .model import ExecutorRun, FrameworkRun


@dataclass
class AgentState:
    """An agent's frameworks and containers, and who it is itself.

    Attributes
    ----------
    identity, info
        Its id, address and work directory; its AgentInfo.
    frameworks
        By id.
    containers
        Executors whose containers have not ended, by container id.
    reconnecting
        Containers of an earlier agent's executors that have not subscribed to this one yet.
    started
        Seconds since 1970.
    """

    identity: AgentIdentity
    info: Json
    frameworks: dict[str, FrameworkRun] = field(default_factory=dict)
    containers: dict[str, ExecutorRun] = field(default_factory=dict)
    reconnecting: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.time)

    @property
    def shown_info(self) -> Json:
        """Give the AgentInfo as executors and operators see it."""
        return {name: value for name, value in self.info.items() if name != "checkpoint"}

    def find(self, framework_id: str, executor_id: str) -> ExecutorRun | None:
        """Find an executor that has not ended."""
        framework = self.frameworks.get(framework_id)
        return None if framework is None else framework.executors.get(executor_id)

    def executors(self) -> Iterator[ExecutorRun]:
        """Give all executors that have not ended."""
        return (run for framework in self.frameworks.values() for run in framework.executors.values())
