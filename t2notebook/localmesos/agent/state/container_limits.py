"""Limits of executors' containers, kept fitting to the tasks in them. No I/O."""

from __future__ import annotations

from .agent_state import AgentState
from .model import ExecutorRun
from .runtime import Runtime


class ContainerLimits:
    """Computes what a container may use, once for all tasks that come or go together.

    The limits of an executor are a sum over its tasks: of a thousand that come at once each would cost a thousand.
    """

    def __init__(self, state: AgentState, runtime: Runtime) -> None:
        self._state = state
        self._runtime = runtime

    def fit(self, run: ExecutorRun) -> None:
        """Fit the limits of a container that is there to the tasks in it."""
        run.resizing = None
        if run.sized and run.container_id in self._state.containers:
            self._runtime.limit(run.container_id, run.limits)

    def fit_soon(self, run: ExecutorRun, seconds: float = 0.0) -> None:
        """Fit them in so many seconds, or earlier if that was asked for."""
        due = self._runtime.now() + seconds
        if run.resizing is not None:
            if run.resizing.when() <= due:
                return
            run.resizing.cancel()
        run.resizing = self._runtime.later(seconds, self.fit, run)
