"""Tracking of tasks: each end is written down with what follows from it; silence, too, is an end at last. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model.events import Event, EventKind
from ..model.job_table import JobRecord
from ..model.states import JobState, TaskState
from ..model.worker_view import WorkerView
from ..protocol.launch import KILL_GRACE
from .actions import Kill, ShutdownExecutor
from .executor_pool import Executors
from .explainer import Explainer
from .offer_flow import OfferFlow
from .pending_queue import PendingQueue
from .placement.host_health import HostHealth
from .reconciler import Reconciler
from .restart_policy import Decision
from .retirement import Retirement
from .silent_launches import TOLD_AFTER, Silence
from .task_ends import TaskEnds
from .task_timeouts import Deadlines
from .turn import Timers, Turn

#: Seconds that the master has for an answer before a silent launch, or an unreachable worker, is given up.
ANSWER_TIME = 5.0


class TaskTracker:
    """Kills, restarts and gives up tasks, and sees to what follows from their ends.

    Parameters
    ----------
    turn : Turn
    timers : Timers
    waiting : PendingQueue
    flow : OfferFlow
    explainer : Explainer
    silence : Silence
    executors : Executors
    retirement : Retirement
    reconciler : Reconciler
    """

    def __init__(
        self,
        turn: Turn,
        timers: Timers,
        waiting: PendingQueue,
        flow: OfferFlow,
        explainer: Explainer,
        silence: Silence,
        executors: Executors,
        retirement: Retirement,
        reconciler: Reconciler,
    ) -> None:
        self._turn, self._timers, self._waiting, self._flow = turn, timers, waiting, flow
        self._explainer, self._silence = explainer, silence
        self._executors, self._retirement, self._reconciler = executors, retirement, reconciler
        self._task_ends = TaskEnds(turn.jobs, silence, executors)
        self.hosts = HostHealth()
        self.deadlines = Deadlines()
        self._tasks: dict[str, tuple[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    def kill(self, job: JobRecord, reason: str, message: str, grace: float = KILL_GRACE) -> None:
        """End a job: what waits is dropped, what runs is killed.

        Parameters
        ----------
        job : JobRecord
        reason, message : str
        grace : float
            Seconds from SIGTERM to SIGKILL.
        """
        if job.view.state.is_final:
            return
        self._waiting.drop(job.job_id)
        self._turn.record(Event(EventKind.KILL, job.job_id, self._turn.today, reason=reason, message=message))
        self.kill_tasks(job, grace)
        self._settle(job)

    def kill_worker(
        self,
        job: JobRecord,
        worker_id: int,
        reason: str,
        message: str,
        *,
        restart: bool = False,
        grace: float = KILL_GRACE,
    ) -> None:
        """End one worker; the others go on.

        Parameters
        ----------
        job : JobRecord
        worker_id : int
        reason, message : str
        restart : bool
            Start it anew.
        grace : float
            Seconds from SIGTERM to SIGKILL.
        """
        worker = job.view.workers[worker_id]
        if job.view.state.is_final or worker.is_done:
            return
        now, data = self._turn.today, {"restart": True} if restart else {}
        self._turn.record(
            Event(EventKind.KILL, job.job_id, now, worker_id, worker.task_id, "", "", reason, message, data)
        )
        if worker.asked == "end":
            self._waiting.withdraw(job.job_id, worker_id)
        if worker.is_on_mesos:
            self.end_task(worker.task_id, worker.agent, grace)
        self._settle(job)

    def scale(
        self, job: JobRecord, number_of_workers: int, request: str, source: str, leave_time: float
    ) -> None:
        """Change the number of a job's workers.

        Parameters
        ----------
        job : JobRecord
        number_of_workers : int
        request : str
            The same for a repetition, which changes nothing.
        source : str
            Who asked.
        leave_time : float
            Seconds that those have who leave.
        """
        view, before = job.view, job.view.number_of_workers
        if view.state.is_final or request in view.scalings:
            return
        how = "up" if number_of_workers > before else "down"
        message = f"scaled {how} to {number_of_workers} worker{'s' * (number_of_workers != 1)}"
        data = {"number_of_workers": number_of_workers, "before": before, "request": request}
        self._turn.record(
            Event(
                EventKind.SCALED,
                job.job_id,
                self._turn.today,
                source=source,
                reason=f"SCALED_{how.upper()}",
                message=message,
                data=data,
            )
        )
        for worker in view.workers[number_of_workers:before]:
            self._waiting.withdraw(job.job_id, worker.worker_id)
        for worker in view.workers[before:number_of_workers]:
            if worker.state is TaskState.PENDING:
                self._waiting.requeue(job.job_id, job.spec, worker.worker_id, self._turn.now, self._turn.now)
        if number_of_workers > before:
            self._flow.expect()
            self._flow.revive()
            self.kill_tasks(job)  # those that were to leave, and come back as others
        elif leave_time:
            self._timers.later(f"leave {job.job_id}", leave_time, lambda: self.kill_tasks(job), sooner=True)
        else:
            self.kill_tasks(job)
        self._settle(job)

    def kill_tasks(self, job: JobRecord, grace: float = KILL_GRACE) -> None:
        """Kill what is to be killed of a job: all of it, or single workers."""
        for worker in job.view.workers:
            if not (job.view.kill_reason or worker.asked):
                continue
            if not worker.state.is_terminal and worker.task_id:
                self.end_task(worker.task_id, worker.agent, grace)

    def end_task(self, task_id: str, agent: str, grace: float = KILL_GRACE) -> None:
        """Kill a task. While there is no master, the next subscription does it.

        Parameters
        ----------
        task_id, agent : str
        grace : float
            Seconds from SIGTERM to SIGKILL.
        """
        if self._turn.connected:
            self._turn.do(Kill(task_id, agent, grace))

    def worker_failed(self, job: JobRecord, worker_id: int) -> None:
        """Let a job end with the first of its workers that does not end well, unless the others are to go on."""
        if job.spec.faults.keep_going:
            return
        worker = job.view.workers[worker_id]
        self.kill(job, "WORKER_FAILED", f"worker {worker_id} ended as {worker.state.value}: {worker.message}")

    def _settle(self, job: JobRecord) -> None:
        if job.view.state.is_final:
            self._waiting.drop(job.job_id)
            self._flow.suppress_if_idle()
            if job.view.state is JobState.FAILED:
                self.hosts.forget_job(job.job_id)

    def torn_down(self, message: str) -> None:
        """Write down the end of what was torn down: Mesos sends no updates for it."""
        for job in self._turn.jobs.active:
            self._turn.record(*self._ends(job, TaskState.KILLED, "SESSION", "REASON_TEARDOWN", message))

    def removed(self, message: str) -> None:
        """Write down the end of all jobs: the master has ended the framework, and all that it ran."""
        for job in self._turn.jobs.active:
            self._waiting.drop(job.job_id)
            lost = self._ends(job, TaskState.LOST, "SOURCE_MASTER", "REASON_FRAMEWORK_REMOVED", message)
            kill = Event(EventKind.KILL, job.job_id, self._turn.today, reason="MASTER", message=message)
            self._turn.record(*lost, kill)
        self._executors.clear()
        self._tasks.clear()

    def _ends(self, job: JobRecord, state: TaskState, source: str, reason: str, message: str) -> list[Event]:
        now = self._turn.today
        return [
            Event(
                EventKind.STATUS,
                job.job_id,
                now,
                worker.worker_id,
                worker.task_id,
                state.value,
                source,
                reason,
                message,
            )
            for worker in job.view.workers
            if worker.task_id and not worker.state.is_terminal
        ]

    def find(self, task_id: str) -> tuple[JobRecord, int] | None:
        """Return the job and the worker id of a task that has not ended, or None."""
        known = self._tasks.get(task_id)
        return None if known is None else (self._turn.jobs[known[0]], known[1])

    def launched(self, job: JobRecord, worker: WorkerView) -> None:
        """Know a task that is about to be launched."""
        self._tasks[worker.task_id] = (job.job_id, worker.worker_id)
        self.watch(job, worker)

    def adopt_task(self, job: JobRecord, worker_id: int) -> None:
        """Know a task that an earlier session of this framework has launched."""
        worker = job.view.workers[worker_id]
        self._tasks[worker.task_id] = (job.job_id, worker_id)
        proven = worker.started is not None
        self._executors.adopt(worker.executor_id, worker.agent, worker.task_id, job.job_id, proven)
        self.watch(job, worker)

    def adopt_waiting(self, job: JobRecord, worker_id: int) -> None:
        """Queue a worker that an earlier session of this framework was about to launch, or to start again."""
        pause = max(0.0, job.view.workers[worker_id].not_before - self._turn.today)
        self._waiting.requeue(job.job_id, job.spec, worker_id, self._turn.now + pause, self._turn.now)

    def take(
        self,
        job: JobRecord,
        worker: WorkerView,
        state: TaskState,
        source: str,
        reason: str,
        message: str,
        data: Mapping[str, Any],
    ) -> None:
        """Record an end or another state of a worker's task together with what follows from it, and do that.

        Parameters
        ----------
        job : JobRecord
        worker : WorkerView
        state : TaskState
        source, reason, message : str
            Mesos's.
        data : mapping
            Of the status, decoded.
        """
        now = self._turn.today
        if isinstance(ran := data.get("ran"), int | float):
            # RUNNING was told late, with the worker's end; the times of a job's events never go back.
            if state is TaskState.RUNNING:
                now = max(job.view.latest, now - max(0.0, ran))
            data = {name: value for name, value in data.items() if name != "ran"}
        end = self._task_ends.judge(job, worker, state, source, reason, message, data)
        if end.rule.blames_host and worker.host:
            self.hosts.failed(worker.host, job.job_id, self._turn.now, end.blamed)
        elif end.state is TaskState.FINISHED:
            self.hosts.succeeded(worker.host)
        self._turn.record(
            Event(
                EventKind.STATUS,
                job.job_id,
                now,
                worker.worker_id,
                worker.task_id,
                end.state.value,
                source,
                reason,
                end.message,
                {**end.data, "restart": end.restart} if end.restart else end.data,
            )
        )
        self.watch(job, worker)
        if end.restart is not None:
            due = self._turn.now + end.restart["pause"]
            self._waiting.requeue(job.job_id, job.spec, worker.worker_id, due, self._turn.now)
            self._flow.expect()
            self._flow.revive_when_due()
        elif end.state.is_terminal and end.rule.decision is not Decision.DONE:
            self.worker_failed(job, worker.worker_id)

    def ended(self, job: JobRecord, executor_id: str, task_id: str) -> None:
        """Note that a task has ended, and is on record.

        Parameters
        ----------
        job : JobRecord
        executor_id, task_id : str
        """
        del self._tasks[task_id]
        self._reconciler.answered(task_id)
        self._executors.ended(executor_id, task_id, self._turn.now)
        self._retirement.expect()
        self._settle(job)
        self._flow.revive_soon()

    # What does not come: updates of a launch, and of an unreachable worker.

    def watch(self, job: JobRecord, worker: WorkerView) -> None:
        """Wait for so long, and no longer, for what is to be heard of a task."""
        if worker.state in (TaskState.STAGING, TaskState.STARTING):
            image = job.spec.resource_of(worker.worker_id).image
            self._silence.launched(
                worker.task_id, job.job_id, worker.agent, worker.host, self._turn.now, image
            )
            self._explainer.await_silence(TOLD_AFTER[0])
        else:
            self._silence.over(worker.task_id)
            self._explainer.silence_is_over(job.job_id)
        faults = job.spec.faults
        patience = {
            TaskState.STAGING: faults.launch_timeout,
            TaskState.UNREACHABLE: faults.unreachable_timeout,
            TaskState.UNKNOWN: faults.unreachable_timeout,
        }.get(worker.state)
        if patience is None:
            self.deadlines.drop(worker.task_id)
        else:
            self.deadlines.set(worker.task_id, self._turn.now + patience)
            self._await_deadline()

    def resume(self, is_first: bool) -> None:
        """Subscribed: ask what became of the tasks, and repeat what may have been lost."""
        self._reconciler.resume(has_tasks=bool(self._tasks) or not is_first)
        # What could not be heard of while there was no master must not count as silence.
        self.deadlines.postpone(self._turn.now + ANSWER_TIME)
        for job in self._turn.jobs.active:
            self.kill_tasks(job)

    def _await_deadline(self) -> None:
        if (due := self.deadlines.next) is not None:
            self._timers.later("deadline", max(0.0, due - self._turn.now), self._past_deadlines, sooner=True)

    def _past_deadlines(self) -> None:
        now = self._turn.now
        if self._turn.connected:
            for task_id in self.deadlines.pop(now):
                if (known := self._tasks.get(task_id)) is not None:
                    self._give_task_up(self._turn.jobs[known[0]], known[1], task_id)
            self._await_deadline()
        elif self.deadlines.next is not None:
            self._timers.later("deadline", ANSWER_TIME, self._past_deadlines)

    def _give_task_up(self, job: JobRecord, worker_id: int, task_id: str) -> None:
        """Count a task as lost. Should it live all the same, it is fenced off, and killed as soon as heard of."""
        worker = job.view.workers[worker_id]
        self.end_task(task_id, worker.agent)
        where = f" on {worker.host}" if worker.host else ""
        if worker.state is TaskState.STAGING:
            seconds = job.spec.faults.launch_timeout
            reason, message = "LAUNCH_TIMEOUT", f"nothing was heard of its launch{where} for {seconds:g} s"
            self.hosts.failed(worker.host, job.job_id, self._turn.now, message)
        else:
            seconds = job.spec.faults.unreachable_timeout
            what = "unreachable" if worker.state is TaskState.UNREACHABLE else "unknown to the master"
            reason, message = "UNREACHABLE_TIMEOUT", f"{what}{where} for {seconds:g} s"
        self.take(job, worker, TaskState.LOST, "SESSION", reason, message, {})
        self.ended(job, worker.executor_id, task_id)

    def give_silent_up(self, job: JobRecord, worker_ids: Iterable[int], seconds: float) -> None:
        """Count running workers of which nothing is heard as lost, and end what runs them.

        Parameters
        ----------
        job : JobRecord
        worker_ids : iterable of int
        seconds : float
            How long nothing has been heard.
        """
        for worker_id in worker_ids:
            worker = job.view.workers[worker_id]
            if worker.state is not TaskState.RUNNING or job.view.state.is_final:
                continue
            task_id, executor_id = worker.task_id, worker.executor_id
            self.end_task(task_id, worker.agent)
            # An executor that stands still ends no worker: its agent has to.
            self._turn.do(ShutdownExecutor(worker.agent, executor_id))
            message = f"nothing was heard of it for {seconds:g} s, neither from its executor nor from itself"
            self.take(job, worker, TaskState.LOST, "SESSION", "FAILURE_TIMEOUT", message, {})
            self.ended(job, executor_id, task_id)
            self._executors.lost(executor_id)
