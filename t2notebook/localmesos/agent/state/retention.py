"""Retention of an agent's directories: those of runs, executors and frameworks go some time after these ended.

When is the collector's to decide (`gc`); which, is decided here.
"""

from __future__ import annotations

import os

from ..containerizer.paths import executor_path, framework_path
from .agent_state import AgentState
from .model import ExecutorRun, FrameworkRun
from .runtime import Runtime
from .state_log import StateLog


class Retention:
    """Gives directories to the collector, and takes them back when something lives in them again.

    Parameters
    ----------
    state, runtime, log
        The parts of the agent that it works with.
    """

    def __init__(self, state: AgentState, runtime: Runtime, log: StateLog) -> None:
        self._state = state
        self._runtime = runtime
        self._log = log

    def retain_framework(self, framework: FrameworkRun) -> None:
        """Take a framework's directory back."""
        self._runtime.unschedule_gc(framework_path(self._state.identity, framework.id))

    def retain_executor(self, run: ExecutorRun) -> None:
        """Take an executor's directory back."""
        self._runtime.unschedule_gc(executor_path(self._state.identity, run.framework_id, run.executor_id))

    def discard(self, framework: FrameworkRun, run: ExecutorRun) -> None:
        """Give a run's directories up, and those around it in which nothing lives."""
        self._runtime.schedule_gc(run.directory)
        if run.executor_id not in framework.executors:
            self._runtime.schedule_gc(executor_path(self._state.identity, framework.id, run.executor_id))
        self.discard_framework(framework)

    def discard_framework(self, framework: FrameworkRun) -> None:
        """Give a framework's directory up if none of its executors lives."""
        if not framework.executors:
            self._runtime.schedule_gc(framework_path(self._state.identity, framework.id))

    def lives_in(self, directory: str) -> bool:
        """Tell whether something that has not ended has its sandbox in a directory."""
        inside = directory.rstrip("/") + "/"
        return any((run.directory + "/").startswith(inside) for run in self._state.executors())

    def collected(self, directory: str) -> None:
        """Note that a directory is gone: what lay in it is shown no more, and need not be remembered."""
        inside = directory.rstrip("/") + "/"
        for framework in self._state.frameworks.values():
            for run in framework.completed:
                if not run.collected and (run.directory + "/").startswith(inside):
                    run.collected = True
                    self._log.forget_run(run)
            own = framework_path(self._state.identity, framework.id)
            if own == directory and not self._log.has_updates(framework.id):
                self._log.forget_framework(framework)


def directories(work_dir: str, agent_id: str) -> tuple[list[str], list[str]]:
    """Find what earlier agents left: all of other ids, and this one's frameworks, executors and runs."""
    slaves = os.path.join(work_dir, "slaves")
    others = [one for one in _inside(slaves) if os.path.basename(one) != agent_id]
    found = []
    for framework in _inside(os.path.join(slaves, agent_id, "frameworks")):
        found.append(framework)
        for executor in _inside(os.path.join(framework, "executors")):
            found += [executor, *_inside(os.path.join(executor, "runs"))]
    return others, found


def _inside(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [one.path for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
