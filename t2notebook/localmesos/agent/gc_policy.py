"""Which of an agent's directories may go one day: those of runs, executors and frameworks that ended. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterable

from .containerizer import sandbox
from .containerizer.sandbox import AgentPlace
from .model import ExecutorRun, FrameworkRun
from .runtime import Runtime
from .state_log import AgentMemory


class Garbage(AgentMemory):
    """Gives directories to the collector, and takes them back when something lives in them again."""

    place: AgentPlace
    runtime: Runtime

    def _keep_framework(self, framework: FrameworkRun) -> None:
        self.runtime.keep(sandbox.framework_path(self.place, framework.id))

    def _keep_executor(self, run: ExecutorRun) -> None:
        self.runtime.keep(sandbox.executor_path(self.place, run.framework_id, run.executor_id))

    def _discard(self, framework: FrameworkRun, run: ExecutorRun) -> None:
        """Give a run's directories up, and those around it in which nothing lives."""
        self.runtime.garbage(run.directory)
        if run.executor_id not in framework.executors:
            self.runtime.garbage(sandbox.executor_path(self.place, framework.id, run.executor_id))
        self._discard_framework(framework)

    def _discard_framework(self, framework: FrameworkRun) -> None:
        if not framework.executors:
            self.runtime.garbage(sandbox.framework_path(self.place, framework.id))

    def lives_in(self, directory: str) -> bool:
        """Tell whether something that has not ended has its sandbox in a directory."""
        inside = directory.rstrip("/") + "/"
        runs = (run for one in self.frameworks.values() for run in one.executors.values())
        return any((run.directory + "/").startswith(inside) for run in runs)

    def collected(self, directory: str) -> None:
        """Note that a directory is gone: what lay in it is shown no more, and need not be remembered."""
        inside = directory.rstrip("/") + "/"
        for framework in self.frameworks.values():
            for run in framework.completed:
                if not run.collected and (run.directory + "/").startswith(inside):
                    run.collected = True
                    self.forget_run(run)
            own = sandbox.framework_path(self.place, framework.id)
            if own == directory and not any(key[0] == framework.id for key, _ in self.updates.in_flight()):
                self.forget_framework(framework)

    def left_behind(self, entries: Iterable[str]) -> list[str]:
        """Pick from directories (of agents, frameworks, executors and runs) those in which nothing lives."""
        return [one for one in entries if not self.lives_in(one)]


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
