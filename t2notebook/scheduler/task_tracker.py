"""What becomes of tasks: each end is written down with what follows from it; silence, too, is an end at last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..journal.job_store import JobRecord, Jobs
from ..model.events import Event, EventKind
from ..model.reducer import WorkerView
from ..model.start_errors import unknown_user
from ..model.states import JobState, TaskState
from ..protocol.launch import KILL_GRACE, Cause
from .offer_flow import Wants
from .placement.host_health import HostHealth
from .reconciliation import Reconciliation
from .restart_policy import (
    ADVICE,
    ANEW_PAUSE,
    MAX_RETRIES,
    MAX_STARTS,
    Condition,
    Decision,
    Rule,
    decide,
    pause_before,
)
from .retirement import Retirement
from .silent_launches import TOLD_AFTER
from .task_timeouts import Deadlines

#: Seconds that the master has for an answer before a silent launch, or an unreachable worker, is given up.
ANSWER_TIME = 5.0


class Tasks(Wants):
    """Killing, judging, restarting and giving up tasks."""

    def __init__(self, jobs: Jobs, gpus: bool, executor_linger: float) -> None:
        super().__init__(jobs, gpus)
        self.hosts = HostHealth()
        self.deadlines = Deadlines()
        self.reconciliation = Reconciliation()
        self._tasks: dict[str, tuple[str, int]] = {}
        self._retirement = Retirement(self.executors, executor_linger, self._timers, self._shut_executor_down)

    def kill(self, job: JobRecord, reason: str, message: str) -> None:
        """End a job: what waits is dropped, what runs is killed."""
        if job.view.state.is_final:
            return
        self.waiting.drop(job.job_id)
        self.jobs.record(Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason=reason, message=message))
        self._kill_tasks(job)
        self._settle(job)

    def kill_worker(
        self, job: JobRecord, worker_id: int, reason: str, message: str, *, restart: bool = False
    ) -> None:
        """End one worker, for good or to be started anew; the others go on."""
        worker = job.view.workers[worker_id]
        if job.view.state.is_final or worker.is_done:
            return
        now, data = self.jobs.clock(), {"restart": True} if restart else {}
        self.jobs.record(
            Event(EventKind.KILL, job.job_id, now, worker_id, worker.task_id, "", "", reason, message, data)
        )
        if worker.asked == "end":
            self.waiting.withdraw(job.job_id, worker_id)
        if worker.is_on_mesos and self.driver is not None:
            self.driver.kill(worker.task_id, worker.agent, KILL_GRACE)
        self._settle(job)

    def _kill_tasks(self, job: JobRecord) -> None:
        """Kill what is to be killed of a job: all of it, or single workers."""
        for worker in job.view.workers:
            if not (job.view.kill_reason or worker.asked):
                continue
            if not worker.state.is_terminal and worker.task_id and self.driver is not None:
                self.driver.kill(worker.task_id, worker.agent, KILL_GRACE)

    def worker_failed(self, job: JobRecord, worker_id: int) -> None:
        """Let a job end with the first of its workers that does not end well, unless the others are to go on."""
        if job.spec.faults.keep_going:
            return
        worker = job.view.workers[worker_id]
        self.kill(job, "WORKER_FAILED", f"worker {worker_id} ended as {worker.state.value}: {worker.message}")

    def _settle(self, job: JobRecord) -> None:
        if job.view.state.is_final:
            self.waiting.drop(job.job_id)
            self._suppress_if_idle()
            if job.view.state is JobState.FAILED:
                self.hosts.forget_job(job.job_id)

    def give_up(self, message: str) -> None:
        """Write down the end of what was torn down: Mesos sends no updates for it."""
        for job in self.jobs.active:
            self.jobs.record(*self._ends(job, TaskState.KILLED, "SESSION", "REASON_TEARDOWN", message))

    def _ends(self, job: JobRecord, state: TaskState, source: str, reason: str, message: str) -> list[Event]:
        now = self.jobs.clock()
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
        return None if known is None else (self.jobs[known[0]], known[1])

    def adopt_task(self, job: JobRecord, worker_id: int) -> None:
        """Know a task that an earlier session of this framework has launched."""
        worker = job.view.workers[worker_id]
        self._tasks[worker.task_id] = (job.job_id, worker_id)
        proven = worker.started is not None
        self.executors.adopt(worker.executor_id, worker.agent, worker.task_id, job.job_id, proven)
        self._watch(job, worker)

    def adopt_waiting(self, job: JobRecord, worker_id: int) -> None:
        """Queue a worker that an earlier session of this framework was about to launch, or to start again."""
        pause = max(0.0, job.view.workers[worker_id].not_before - self.jobs.clock())
        self.waiting.requeue(job.job_id, job.spec, worker_id, self._now() + pause, self._now())

    def _take(
        self,
        job: JobRecord,
        worker: WorkerView,
        state: TaskState,
        source: str,
        reason: str,
        message: str,
        data: Mapping[str, Any],
    ) -> None:
        """Write down what has become of a worker's task together with what follows from it, and do that."""
        now = self.jobs.clock()
        # A container's statistics, or two whole ExecutorInfos: for who looks for them, not for a table.
        message, newline, rest = message.partition("\n")
        if newline:
            data = {**data, "details": rest.strip()}
        asked = bool(job.view.kill_reason) or worker.asked == "end"
        cause = Cause.ANEW if worker.asked == "restart" else str(data.get("cause", ""))
        if not cause and (user := unknown_user(message)):
            cause = Cause.USER
            message = (
                f"there is no user {user!r} on {worker.host or 'the agent'}; "
                "name whom workers are to run as with t2.configure(user=...)"
            )
        rule = decide(state, reason, asked=asked, ran=worker.started is not None, cause=cause)
        restart = None
        if worker.result == "ok" and rule.decision in (Decision.RETRY, Decision.RESTART):
            # It had ended well, and only the news of that is lost.
            message = f"its result had come before: {message or reason or state.value}"
            state, rule = TaskState.FINISHED, decide(TaskState.FINISHED)
        elif rule.decision in (Decision.RETRY, Decision.RESTART):
            if reason == "LAUNCH_TIMEOUT" or (worker.started is None and "fetch" in message):
                advice = self.silence.advice(worker.agent, worker.host)
                message = "; ".join(filter(None, [message, advice]))
            limit = job.spec.faults.max_worker_restarts
            limit = min(limit, MAX_STARTS) if rule.when is Condition.START else limit
            restart, outlook = _restart(rule, worker, limit)
            message = f"{message or reason or state.value}; {outlook}"
        elif rule.decision is Decision.FAIL and reason in ADVICE:
            message = f"{message or reason}; {self._whose_limit(worker, reason, source)}{ADVICE[reason]}"
        event = Event(
            EventKind.STATUS, job.job_id, now, worker.worker_id, worker.task_id, state.value, source, reason
        )
        if rule.blames_host and worker.host:
            self.hosts.failed(worker.host, job.job_id, self._now())
        elif state is TaskState.FINISHED:
            self.hosts.succeeded(worker.host)
        more = {"restart": restart} if restart else {}
        self.jobs.record(replace(event, message=message, data={**data, **more}))
        self._watch(job, worker)
        if restart is not None:
            due = self._now() + restart["pause"]
            self.waiting.requeue(job.job_id, job.spec, worker.worker_id, due, self._now())
            self._await_offers()
            self._revive_when_due()
        elif state.is_terminal and rule.decision is not Decision.DONE:
            self.worker_failed(job, worker.worker_id)

    def _whose_limit(self, worker: WorkerView, reason: str, source: str) -> str:
        """Say what an agent's limit of memory holds for; an agent does not know which worker took too much."""
        if reason != "REASON_CONTAINER_LIMITATION_MEMORY" or source == "SOURCE_EXECUTOR":
            return ""
        count = self.executors.count(worker.executor_id)
        others = f"all {count} workers" if count > 1 else "its worker"
        return f"that is its executor with {others} in it; "

    def _task_ended(self, job: JobRecord, executor_id: str, task_id: str) -> None:
        del self._tasks[task_id]
        self.reconciliation.answered(task_id)
        self.executors.ended(executor_id, task_id, self._now())
        self._retirement.expect()
        self._settle(job)
        self._revive_soon()

    def _shut_executor_down(self, agent: str, executor_id: str) -> None:
        assert self.driver is not None
        self.driver.shutdown_executor(agent, executor_id)

    # What does not come: updates of a launch, and of an unreachable worker.

    def _watch(self, job: JobRecord, worker: WorkerView) -> None:
        if worker.state in (TaskState.STAGING, TaskState.STARTING):
            self.silence.launched(worker.task_id, job.job_id, worker.agent, worker.host, self._now())
            self._later("silence", TOLD_AFTER[0], self._say_why, sooner=True)
        else:
            self.silence.over(worker.task_id)
            if job.job_id in self._told_silent:
                self._later("silence is over", 0.0, self._say_why)
        faults = job.spec.faults
        patience = {
            TaskState.STAGING: faults.launch_timeout,
            TaskState.UNREACHABLE: faults.unreachable_timeout,
            TaskState.UNKNOWN: faults.unreachable_timeout,
        }.get(worker.state)
        if patience is None:
            self.deadlines.drop(worker.task_id)
        else:
            self.deadlines.set(worker.task_id, self._now() + patience)
            self._await_deadline()

    def _await_deadline(self) -> None:
        if (due := self.deadlines.next) is not None:
            self._later("deadline", max(0.0, due - self._now()), self._past_deadlines, sooner=True)

    def _past_deadlines(self) -> None:
        now = self._now()
        if self.driver is not None and self.driver.connected:
            for task_id in self.deadlines.pop(now):
                if (known := self._tasks.get(task_id)) is not None:
                    self._give_task_up(self.jobs[known[0]], known[1], task_id)
            self._await_deadline()
        elif self.deadlines.next is not None:
            self._later("deadline", ANSWER_TIME, self._past_deadlines)

    def _give_task_up(self, job: JobRecord, worker_id: int, task_id: str) -> None:
        """Count a task as lost. Should it live all the same, it is fenced off, and killed as soon as heard of."""
        assert self.driver is not None
        worker = job.view.workers[worker_id]
        self.driver.kill(task_id, worker.agent, KILL_GRACE)
        where = f" on {worker.host}" if worker.host else ""
        if worker.state is TaskState.STAGING:
            self.hosts.failed(worker.host, job.job_id, self._now())
            seconds = job.spec.faults.launch_timeout
            reason, message = "LAUNCH_TIMEOUT", f"nothing was heard of its launch{where} for {seconds:g} s"
        else:
            seconds = job.spec.faults.unreachable_timeout
            what = "unreachable" if worker.state is TaskState.UNREACHABLE else "unknown to the master"
            reason, message = "UNREACHABLE_TIMEOUT", f"{what}{where} for {seconds:g} s"
        self._take(job, worker, TaskState.LOST, "SESSION", reason, message, {})
        self._task_ended(job, worker.executor_id, task_id)


def _restart(rule: Rule, worker: WorkerView, limit: int) -> tuple[dict[str, Any] | None, str]:
    """Return what the journal says of a worker's next task, None if there is to be none, and that in words."""
    failures, retries = worker.failures, worker.retries
    if rule.decision is Decision.RETRY:
        retries += 1
        if retries > MAX_RETRIES:
            return None, f"given up after {MAX_RETRIES} launches in a row that were lost"
        times, what = retries, "started anew"
    else:
        failures += 1
        if failures > limit:
            return None, (f"no restart is left of {limit}" if limit else "no restart is allowed")
        times, what = failures, f"restart {failures} of {limit}"
    pause = pause_before(rule.decision, times)
    if rule.when is Condition.ANEW:
        pause = max(pause, ANEW_PAUSE)
    record = {
        "restart_count": worker.restarts + 1,
        "failures": failures,
        "retries": retries,
        "pause": pause,
    }
    return record, f"{what} in {pause:g} s" if pause else what
