"""Probing tasks: commands as containers of their own, TCP and HTTP by the agent; results become status updates."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ...checks.checker import Checker, News
from ...common.task_states import Json
from ..containerizer import sandbox
from ..containerizer.docker import command_line
from ..state.model import ExecutorRun, TaskRun
from ..state.runtime import Connecting, Runtime

SETTLING = 0.06
"""Before the first probe, as long as Mesos's executor takes: a task has begun when it is looked at."""


@dataclass
class Probing:
    """A check that goes on.

    Attributes
    ----------
    launched, tell
        As `CheckRunner.start` got them.
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


class CheckRunner:
    """Starts, repeats and ends the checks of tasks whose executor is the agent itself."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._checks: dict[tuple[str, str], list[Probing]] = {}
        self._probes: dict[str, Probing] = {}

    def start(
        self,
        run: ExecutorRun,
        task: TaskRun,
        launched: Json,
        tell: Callable[[ExecutorRun, TaskRun, News], None],
    ) -> None:
        """Start a task's checks.

        Parameters
        ----------
        launched
            The task's own launch request: a command check runs in the same place, as the same user.
        tell
            Gets what their results make the executor say.
        """
        age = 0.0 if task.since is None else max(0.0, time.time() - task.since)
        for name in ("check", "health_check"):
            if name in task.info:
                checker = Checker(
                    task.info[name],
                    health=name == "health_check",
                    now=self._runtime.now() - age,
                    healthy=task.healthy,
                    check_status=task.check_status,
                )
                probing = Probing(run, task, checker, launched, tell)
                self._checks.setdefault((run.framework_id, task.id), []).append(probing)
                probing.timer = self._runtime.later(
                    max(SETTLING, SETTLING + checker.delay - age), self._probe, probing
                )

    def stop(self, run: ExecutorRun, task_id: str) -> None:
        """End a task's checks; a probe that runs is killed."""
        for probing in self._checks.pop((run.framework_id, task_id), []):
            probing.stopped = True
            if probing.timer is not None:
                probing.timer.cancel()
            if probing.probe is not None:
                self._runtime.destroy(probing.probe)

    def _probe(self, probing: Probing) -> None:
        checker = probing.checker
        if probing.stopped:
            return
        if checker.kind == "COMMAND":
            command, launched = checker.command, probing.launched
            values = sandbox.values_of(command.get("environment", {}).get("variables", []))
            own = sandbox.command_line(command)
            probing.probe = str(uuid.uuid4())
            self._probes[probing.probe] = probing
            if "engine" in launched:
                self._runtime.launch(command_line.probe(launched, probing.probe, own, values))
            else:
                env = launched["env"] | values
                self._runtime.launch({**launched, "id": probing.probe, "env": env, **own})
            if checker.timeout:
                probing.timer = self._runtime.later(checker.timeout, self._timed_out, probing, probing.probe)
            return
        where = checker.info[checker.kind.lower()]

        def done(outcome: int | bool | None) -> None:
            self._probed(probing, outcome)

        path = where.get("path", "/") if checker.kind == "HTTP" else None
        scheme, timeout = where.get("scheme", "http"), checker.timeout or 3600.0
        self._runtime.connect(Connecting(where["port"], path, scheme, timeout), done)

    def _timed_out(self, probing: Probing, probe: str) -> None:
        if probing.probe == probe:
            probing.probe = None
            self._probes.pop(probe, None)
            self._runtime.destroy(probe)
            self._probed(probing, None)

    def container_exited(self, container_id: str, status: int | None) -> bool:
        """Note a container's end.

        Parameters
        ----------
        status
            The raw wait status; None if it never began.

        Returns
        -------
        bool
            Whether it was a probe's.
        """
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
        news = probing.checker.result(outcome, self._runtime.now())
        if news is not None:
            probing.tell(probing.run, probing.task, news)
        if not probing.stopped:
            probing.timer = self._runtime.later(probing.checker.interval, self._probe, probing)
