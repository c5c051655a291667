"""Probing tasks: commands as containers of their own, TCP and HTTP by the agent; results become status updates."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ..checks.checker import Checker, News
from ..common.task_states import Json
from .containerizer import sandbox
from .model import ExecutorRun, TaskRun
from .runtime import Connecting
from .task_status import AgentUpdates

SETTLING = 0.06
"""Before the first probe, as long as Mesos's executor takes: a task has begun when it is looked at."""


@dataclass
class Probing:
    """A check that goes on.

    Attributes
    ----------
    launched
        The task's own launch request: a command check runs in the same place, as the same user.
    tell
        Gets what its results make the executor say.
    probe
        The container of the command that runs now.
    """

    run: ExecutorRun
    task: TaskRun
    checker: Checker
    launched: Json
    tell: Callable[[ExecutorRun, TaskRun, News], None]
    timer: asyncio.TimerHandle | None = None
    probe: str | None = None
    stopped: bool = False


class Checks(AgentUpdates):
    """Starting, repeating and ending checks."""

    def _start_checks(
        self,
        run: ExecutorRun,
        task: TaskRun,
        launched: Json,
        tell: Callable[[ExecutorRun, TaskRun, News], None],
    ) -> None:
        age = 0.0 if task.since is None else max(0.0, time.time() - task.since)
        for name in ("check", "health_check"):
            if name in task.info:
                checker = Checker(
                    task.info[name],
                    health=name == "health_check",
                    now=self.runtime.now() - age,
                    healthy=task.healthy,
                    check_status=task.check_status,
                )
                probing = Probing(run, task, checker, launched, tell)
                self._checks.setdefault((run.framework_id, task.id), []).append(probing)
                probing.timer = self.runtime.later(
                    max(SETTLING, SETTLING + checker.delay - age), self._probe, probing
                )

    def _stop_checks(self, run: ExecutorRun, task_id: str) -> None:
        for probing in self._checks.pop((run.framework_id, task_id), []):
            probing.stopped = True
            if probing.timer is not None:
                probing.timer.cancel()
            if probing.probe is not None:
                self.runtime.destroy(probing.probe)

    def _probe(self, probing: Probing) -> None:
        checker = probing.checker
        if probing.stopped:
            return
        if checker.kind == "COMMAND":
            command, launched = checker.command, probing.launched
            variables = command.get("environment", {}).get("variables", [])
            env = launched["env"] | sandbox.values_of(variables)
            own = sandbox.command_line(command)
            probing.probe = str(uuid.uuid4())
            self._probes[probing.probe] = probing
            self.runtime.launch({**launched, "id": probing.probe, "env": env, **own})
            if checker.timeout:
                probing.timer = self.runtime.later(checker.timeout, self._timed_out, probing, probing.probe)
            return
        where = checker.info[checker.kind.lower()]

        def done(outcome: int | bool | None) -> None:
            self._probed(probing, outcome)

        path = where.get("path", "/") if checker.kind == "HTTP" else None
        scheme, timeout = where.get("scheme", "http"), checker.timeout or 3600.0
        self.runtime.connect(Connecting(where["port"], path, scheme, timeout), done)

    def _timed_out(self, probing: Probing, probe: str) -> None:
        if probing.probe == probe:
            probing.probe = None
            self._probes.pop(probe, None)
            self.runtime.destroy(probe)
            self._probed(probing, None)

    def _probe_ended(self, container_id: str, status: int | None) -> bool:
        """Note a container's end; False if it was no probe's."""
        probing = self._probes.pop(container_id, None)
        if probing is None:
            return False
        probing.probe = None
        if probing.timer is not None:
            probing.timer.cancel()
        code = None if status is None or not os.WIFEXITED(status) else os.WEXITSTATUS(status)
        self._probed(probing, code)
        return True

    def _probed(self, probing: Probing, outcome: int | bool | None) -> None:
        if probing.stopped:
            return
        news = probing.checker.result(outcome, self.runtime.now())
        if news is not None:
            probing.tell(probing.run, probing.task, news)
        if not probing.stopped:
            probing.timer = self.runtime.later(probing.checker.interval, self._probe, probing)
