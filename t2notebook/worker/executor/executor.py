"""The executor: Mesos's events and the ends of processes in, workers and status updates out. One thread.

Started on an agent as ``exec <python> <core>.pyz [--idle-timeout SECONDS]`` in the sandbox.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...model.process import default_signals
from ...model.states import TaskState
from ...model.use import Use
from ...protocol.auth import MOVES
from ...protocol.launch import KILL_GRACE, UNPLACED, Cause, WorkerLaunch
from ..session_address import SessionAddress
from . import memory
from .agent_api import Agent, Refused, StreamEnded
from .event_loop import Loop, Timer
from .lifecycle import Action, Phase, Trigger
from .memory import MemoryWatch
from .memory_groups import MemoryGroups
from .settings import Settings
from .status_update_manager import StatusUpdateManager
from .surveillance import Surveillance
from .task import Task, log

if TYPE_CHECKING:
    from .log_copies import LogCopies
    from .package_cache import PackageStore

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
#: A package that takes longer than this is worth an update of its own (seconds).
SLOW_FETCH = 0.15
_REGISTRATION = 60.0  # the agent's default patience with a new executor
_LONGEST_URL = 500
#: A killed worker that used more of its memory than this when it was last seen was probably killed for that.
_SUSPICIOUS = 0.9
#: How many ended tasks are remembered, so that a repeated LAUNCH is not run again.
_REMEMBERED = 1000


class Executor:
    """Runs the workers that an agent hands it.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._agent = Agent(settings)
        self._loop = Loop()
        self._store: PackageStore | None = None
        self._memory = MemoryWatch(self._loop, MemoryGroups.here())
        self._surveillance = Surveillance(self._loop, self._memory, settings.executor_id)
        self._log_copies: LogCopies | None = None
        self._updates = StatusUpdateManager(self._agent, self._loop)
        self._tasks: dict[str, Task] = {}
        self._to_fork: list[Task] = []
        self._ended: dict[str, None] = {}
        self._unacknowledged_tasks: dict[str, Mapping[str, Any]] = {}
        self._can_say_killing = False
        self._connected = False
        self._deadline = time.monotonic() + _REGISTRATION  # for the (re-)subscription
        self._exit_code: int | None = None  # set: no more workers, and this is how it ends
        self._idle: Timer | None = None
        self._loop.on_signal(signal.SIGCHLD, self._reap)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.on_signal(number, lambda: self._shut_down("was told to end by a signal"))

    def run(self) -> int:
        """Serve until there is nothing more to do; return the exit code."""
        self._subscribe()
        self._watch_idleness()
        while True:
            self._fork_all()
            if self._connected:
                self._updates.post()
            if self._updates.has_lost_an_end and self._exit_code is None:
                self._exit_code = 1
            if self._exit_code is not None and not self._tasks and not self._log_copies:
                return self._exit_code
            self._loop.run_once()

    # The connection to the agent

    def _subscribe(self) -> None:
        try:
            self._agent.subscribe(
                list(self._unacknowledged_tasks.values()),
                self._updates.log.unacknowledged(),
                meanwhile=self._warm_up,
            )
        except Refused as error:
            if error.is_transient or self._updates.simplify_all(error):
                self._subscribe_later(str(error))
            else:
                log(f"the agent refuses this executor: {error}")
                self._lose_agent()
        except (OSError, http.client.HTTPException) as error:
            self._subscribe_later(str(error))
        else:
            self._connected = True
            self._updates.carried()
            self._loop.add_reader(self._agent.stream, self._read_events)
            self._read_events()

    def _subscribe_later(self, why: str) -> None:
        if time.monotonic() > self._deadline:
            log(f"the agent cannot be reached: {why}")
            self._lose_agent()
            return
        # Spread, as Mesos asks, so that many executors do not fall upon a restarted agent at once.
        pause = random.uniform(0.05, max(0.1, self._settings.subscription_backoff_max))
        self._loop.call_later(pause, self._resubscribe)

    def _resubscribe(self) -> None:
        if self._exit_code is None or self._tasks:
            self._subscribe()

    def _warm_up(self) -> None:
        """Import what workers need while the agent thinks; in every fork it is then there already."""
        from ..process import exit_functions, run  # noqa: F401
        from . import log_copies, package_cache

        if self._store is None:
            exit_functions.count_ours()
            self._store = package_cache.PackageStore(self._loop)
            self._log_copies = log_copies.LogCopies(self._loop, log)

    def _read_events(self) -> None:
        try:
            while self._connected and (events := self._agent.receive()):
                for event in events:
                    self._on_event(event)
        except StreamEnded as error:
            self._disconnect(str(error))

    def _disconnect(self, why: str) -> None:
        self._connected = False
        self._loop.remove_reader(self._agent.stream)
        self._agent.close()
        if self._exit_code is not None:
            return
        if not self._settings.checkpoint:
            log(f"the agent is gone ({why}), and the framework does not checkpoint: ending")
            self._lose_agent()
            return
        log(f"the agent is gone ({why}); waiting for it for {self._settings.recovery_timeout:g} s")
        self._deadline = time.monotonic() + self._settings.recovery_timeout
        self._loop.call_later(0.05, self._resubscribe)

    def _lose_agent(self) -> None:
        self._end_workers(self._settings.shutdown_grace_period)
        self._exit_code = 1

    # Events of the agent

    def _on_event(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "LAUNCH":
            self._launch(event["launch"]["task"])
        elif kind == "ACKNOWLEDGED":
            self._unacknowledged_tasks.pop(event["acknowledged"]["task_id"]["value"], None)
            self._updates.log.acknowledge(event["acknowledged"]["uuid"])
        elif kind == "KILL":
            self._kill(event["kill"])
        elif kind == "SHUTDOWN":
            self._shut_down("the agent shuts this executor down")
        elif kind == "SUBSCRIBED":
            capabilities = event["subscribed"].get("framework_info", {}).get("capabilities", [])
            self._can_say_killing = {"type": "TASK_KILLING_STATE"} in capabilities
        elif kind == "MESSAGE":
            self._message(event["message"].get("data", ""))
        elif kind == "ERROR":
            log(f"the agent says: {event.get('error', {}).get('message', '')}")
            self._lose_agent()
        elif kind not in ("HEARTBEAT", "UNKNOWN"):
            log(f"ignored an event of type {kind}")

    def _launch(self, info: Mapping[str, Any]) -> None:
        task_id = info["task_id"]["value"]
        if task_id in self._tasks or task_id in self._ended:
            log(f"ignored a second launch of {task_id}")
            return
        self._unacknowledged_tasks[task_id] = info
        task = self._tasks[task_id] = Task(task_id, self._settings.sandbox, _grace(info, KILL_GRACE))
        if self._idle is not None:
            self._idle.cancel()
        if self._exit_code is not None:
            task.refusal, task.cause = "the executor is ending", Cause.ENDING
            self._apply(task, Trigger.REFUSE)
            return
        try:
            task.launch = WorkerLaunch.decode(info.get("data", ""))
            task.session_address = SessionAddress(task.launch.url)
            if job_master := task.launch.job_master:
                task.job_master_address = SessionAddress("")
                number = task.launch.job_master_number
                task.job_master_address.write("" if job_master == UNPLACED else job_master, number)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            task.refusal, task.cause = f"cannot read the launch of {task_id}: {error}", Cause.VERSION
            self._apply(task, Trigger.REFUSE)
            return
        if task.launch.python != PYTHON:
            task.refusal = (
                f"the job was packaged by Python {task.launch.python}, this agent's executor runs Python "
                f"{PYTHON}; install Python {task.launch.python} on the agents, or run the notebook under "
                f"Python {PYTHON}"
            )
            task.cause = Cause.VERSION
            self._apply(task, Trigger.REFUSE)
            return
        self._apply(task, Trigger.LAUNCH)

    def _kill(self, kill: Mapping[str, Any]) -> None:
        task_id = kill["task_id"]["value"]
        task = self._tasks.get(task_id)
        if task is None:
            log(f"ignored a kill of {task_id}, which does not run here")
            return
        task.grace = _grace(kill, task.grace)
        self._apply(task, Trigger.KILL)

    def _message(self, data: str) -> None:
        """Take the address of a session, or of a job master, that has taken the last one's place, and answer; it is
        repeated until then.
        """
        try:
            record = json.loads(base64.b64decode(data))
            kind, url, claims, jobs = (record.get(name) for name in ("kind", "url", "claims", "jobs"))
        except (ValueError, AttributeError):
            kind = None
        if kind not in MOVES or not (
            isinstance(url, str)
            and len(url) <= _LONGEST_URL
            and isinstance(claims, int)
            and isinstance(jobs, dict)
        ):
            log(f"ignored a message of kind {kind}")
            return
        told = [task for task in self._tasks.values() if task.move(str(kind), url, claims, jobs)]
        what = str(kind).replace("_", " ")
        if not told:
            # The launch that it is for may be on its way, with the address before: it is told again until then.
            log(f"ignored a message about a new {what} that none of our jobs has signed")
            return
        log(f"the {what} is at {url} now; told {len(told)} workers")
        # Job masters of several jobs may have the same number of moves.
        record = {"kind": kind, "claims": claims, **({"url": url} if kind == "job_master" else {})}
        answer = base64.b64encode(json.dumps(record).encode()).decode("ascii")
        try:
            self._agent.message(answer)
        except (OSError, http.client.HTTPException, Refused) as error:
            log(f"the answer did not get to the session, which will ask again: {error}")

    def _shut_down(self, why: str) -> None:
        log(f"{why}; {len(self._tasks)} workers")
        # The agent destroys what is left at the end of its period; the updates have to be out before.
        period = self._settings.shutdown_grace_period
        self._end_workers(period - min(1.0, period / 5))
        self._exit_code = 0

    def _end_workers(self, grace: float) -> None:
        for task in list(self._tasks.values()):
            task.grace = min(task.grace, grace)
            self._apply(task, Trigger.KILL)

    # The tasks' state machines

    def _apply(self, task: Task, trigger: Trigger) -> None:
        for action in task.lifecycle.apply(trigger):
            _ACTIONS[action](self, task)

    def _fetch(self, task: Task) -> None:
        assert task.launch is not None and self._store is not None
        task.timer = self._loop.call_later(SLOW_FETCH, lambda: self._apply(task, Trigger.SLOW))
        self._store.want(
            task.task_id,
            task.launch,
            lambda package, why: self._fetched(task, package, why),
            task.session_address,
        )

    def _fetched(self, task: Task, package: int, why: str) -> None:
        from .package_cache import GONE

        task.package, task.refusal = package, why
        if GONE in why:
            task.cause = Cause.VERSION
        task.fetched = time.monotonic()
        self._apply(task, Trigger.REFUSE if why else Trigger.PACKAGE)

    def _fork(self, task: Task) -> None:
        task.stop_timer()
        self._to_fork.append(task)

    def _fork_all(self) -> None:
        """Make the processes of all tasks that one round of events has made ready, one right after the other.

        After each fork the executor gets a copy of every page that it writes to; so it is to write little in between.
        """
        if not self._to_fork:
            return
        from . import fork

        to_fork, self._to_fork = self._to_fork, []
        ready = [task for task in to_fork if task.lifecycle.phase is Phase.FORKING and self._prepare(task)]
        anonymous, resident = memory.anonymous(), memory.resident()
        with fork.forking():
            for task in ready:
                try:
                    task.start(anonymous, resident)
                except OSError as error:
                    task.refusal = f"cannot start a process for the worker: {error}"
        for task in ready:
            if not task.pid:
                self._apply(task, Trigger.REFUSE)
                continue
            task.started()
            if task.memory_limit:
                self._memory.add(
                    task.task_id,
                    task.pid,
                    task.memory_limit,
                    task.inherited,
                    partial(self._over_memory, task),
                )
            self._surveillance.add(task)
            self._apply(task, Trigger.FORKED)

    def _prepare(self, task: Task) -> bool:
        """Make ready what a task's process needs; return whether that can be."""
        if task.launch is not None and task.launch.preload:
            from . import preload

            for trouble in preload.load(task.launch.preload):
                log(trouble)
        try:
            task.prepare(self._loop)
        except OSError as error:
            task.refusal = f"cannot start a process for the worker: {error}"
            self._apply(task, Trigger.REFUSE)
            return False
        return True

    def _over_memory(self, task: Task, used: int, pids: list[int]) -> None:
        """End a worker that took more than its own: its neighbours must not die of it."""
        task.refusal = task.over_memory(used, len(pids))
        log(task.refusal)
        self._apply(task, Trigger.OVER_MEMORY)
        for pid in pids:  # those that have left its process group, too
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass

    def _send_killing(self, task: Task) -> None:
        if self._can_say_killing:
            self._send(task, TaskState.KILLING)

    def _send_exit_status(self, task: Task) -> None:
        exit_status = task.exit_status()
        use = self._surveillance.remove(task)
        ran_out = self._memory.ran_out(task.task_id)
        used = self._memory.remove(task.task_id)
        if task.exit_code == -signal.SIGKILL and ran_out:
            task.refusal = (
                f"{task.over_memory(max(used, ran_out))} and wanted more: the kernel ended it alone"
            )
            self._send_limited(task, use)
            return
        if task.exit_code == -signal.SIGKILL and used > _SUSPICIOUS * task.memory_limit:
            # The kernel was quicker than we, which kills who has most.
            task.refusal = f"{task.over_memory(used)} when it was killed, probably for lack of memory"
            self._send_limited(task, use)
            return
        self._send(
            task,
            exit_status.state,
            exit_status.message,
            exit_status.exit_code,
            exit_status.cause,
            exit_status.phases,
            use=use,
            result=exit_status.result,
        )

    def _send_limited(self, task: Task, use: Use | None = None) -> None:
        reason = "REASON_CONTAINER_LIMITATION_MEMORY"
        use = use or self._surveillance.remove(task)
        self._send(task, TaskState.FAILED, task.refusal, task.exit_code, reason=reason, use=use)

    def _send_killed(self, task: Task) -> None:
        use = self._surveillance.remove(task)
        self._send(task, TaskState.KILLED, task.refusal, task.exit_code, use=use)

    def _start_grace(self, task: Task) -> None:
        # A scheduler repeats its KILLs; that must not put off the end.
        task.deadline = min(task.deadline, time.monotonic() + task.grace)
        task.stop_timer()
        left = max(0.0, task.deadline - time.monotonic())
        task.timer = self._loop.call_later(left, lambda: self._apply(task, Trigger.GRACE_OVER))

    def _release(self, task: Task) -> None:
        task.stop_timer()
        self._surveillance.remove(task)
        self._memory.remove(task.task_id)
        task.close()
        if self._store is not None:
            self._store.release(task.task_id)
        del self._tasks[task.task_id]
        self._ended[task.task_id] = None
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._watch_idleness()

    def _send(
        self,
        task: Task,
        state: TaskState,
        message: str = "",
        exit_code: int | None = None,
        cause: Cause = Cause.NONE,
        phases: Mapping[str, float] | None = None,
        reason: str = "",
        use: Use | None = None,
        result: Mapping[str, str] | None = None,
    ) -> None:
        self._updates.add(
            task.task_id,
            state,
            message=message,
            exit_code=exit_code,
            cause=cause,
            phases=phases,
            reason=reason,
            use=use,
            result=result,
        )
        log(f"{task.name}: {state}{f' ({message})' if message else ''}")

    def _reap(self) -> None:
        for task in list(self._tasks.values()):
            if task.reap():
                if task.launch is not None and self._log_copies is not None:
                    self._log_copies.make(task.launch, task.directory)
                self._apply(task, Trigger.EXIT)
        if self._store is not None:
            self._store.reap()
        if self._log_copies is not None:
            self._log_copies.reap()

    # The rest

    def _watch_idleness(self) -> None:
        if not self._tasks:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = self._loop.call_later(self._settings.idle_timeout, self._end_idle)

    def _end_idle(self) -> None:
        if not self._connected:
            # Whether there is anything to do will be known when the agent is back, or given up.
            self._watch_idleness()
        elif not self._tasks and self._exit_code is None:
            log("nothing to do any more; ending")
            self._exit_code = 0


_ACTIONS: dict[Action, Callable[[Executor, Task], None]] = {
    Action.FETCH: Executor._fetch,
    Action.FORK: Executor._fork,
    Action.SEND_STARTING: lambda executor, task: executor._send(task, TaskState.STARTING),
    Action.SEND_RUNNING: lambda executor, task: executor._send(
        task, TaskState.RUNNING, phases={"fetch": task.fetched - task.received}
    ),
    Action.SEND_KILLING: Executor._send_killing,
    Action.SEND_FAILED: lambda executor, task: executor._send(
        task, TaskState.FAILED, task.refusal, None, task.cause
    ),
    Action.SEND_EXIT_STATUS: Executor._send_exit_status,
    Action.SEND_KILLED: Executor._send_killed,
    Action.SEND_LIMITED: lambda executor, task: executor._send_limited(task),
    Action.TERMINATE: lambda executor, task: task.signal(signal.SIGTERM),
    Action.START_GRACE: Executor._start_grace,
    Action.STOP_GRACE: lambda executor, task: task.stop_timer(),
    Action.DESTROY: lambda executor, task: task.signal(signal.SIGKILL),
    Action.RELEASE: Executor._release,
}


def _grace(record: Mapping[str, Any], default: float) -> float:
    """Return the seconds in a `kill_policy`, `default` if there is none."""
    period = record.get("kill_policy", {}).get("grace_period", {})
    return float(period["nanoseconds"]) / 1e9 if "nanoseconds" in period else default


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an executor as this process, and exit."""
    settings = Settings.read(os.environ, sys.argv[1:] if arguments is None else arguments)
    default_signals()
    # Workers inherit the environment; the token is not theirs.
    os.environ.pop("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", None)
    # Relative entries (the zip application itself) would be lost when a worker changes its directory.
    sys.path[:] = [os.path.abspath(path) if path else path for path in sys.path]
    code = Executor(settings).run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to tidy, and the agent waits for the end.
    os._exit(code)


if __name__ == "__main__":
    main()
