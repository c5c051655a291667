"""Ends of tasks: what Mesos tells of one, in words for people, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model.job_table import JobRecord, JobTable
from ..model.start_errors import image_failure, unknown_user
from ..model.states import TaskState
from ..model.worker_view import WorkerView
from ..protocol.launch import Cause
from .executor_pool import Executors
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
from .silent_launches import Silence


@dataclass(frozen=True)
class Verdict:
    """A state of a task as it is written down, and what follows from it.

    Parameters
    ----------
    state : TaskState
    message : str
    data : mapping
        Of the status, with what is not for a table.
    rule : Rule
    restart : mapping or None
        What the journal says of the worker's next task; None if there is to be none.
    blamed : str
        For what the worker's host is blamed, if it is.
    """

    state: TaskState
    message: str
    data: Mapping[str, Any]
    rule: Rule
    restart: dict[str, Any] | None
    blamed: str


class TaskEnds:
    """Judges the ends of a framework's tasks.

    Parameters
    ----------
    jobs : JobTable
    silence : Silence
    executors : Executors
    """

    def __init__(self, jobs: JobTable, silence: Silence, executors: Executors) -> None:
        self._jobs, self._silence, self._executors = jobs, silence, executors

    def judge(
        self,
        job: JobRecord,
        worker: WorkerView,
        state: TaskState,
        source: str,
        reason: str,
        message: str,
        data: Mapping[str, Any],
    ) -> Verdict:
        """Return what is to be written down of an end, or of another state, and what follows from it.

        Parameters
        ----------
        job : JobRecord
        worker : WorkerView
            Before that.
        state : TaskState
        source, reason, message : str
            Mesos's.
        data : mapping
            Of the status, decoded.
        """
        # A container's statistics, or two whole ExecutorInfos: for who looks for them, not for a table.
        message, newline, rest = message.partition("\n")
        if newline:
            data = {**data, "details": rest.strip()}
        asked = bool(job.view.kill_reason) or worker.asked == "end"
        is_back = worker.asked == "again" and not asked
        if is_back and state is TaskState.FINISHED:
            state, message = TaskState.KILLED, "it had left, and comes again"
        cause = Cause.ANEW if worker.asked in ("restart", "again") else str(data.get("cause", ""))
        if not cause and (user := unknown_user(message)):
            cause = Cause.USER
            message = (
                f"there is no user {user!r} on {worker.host or 'the agent'}; "
                "name whom workers are to run as with t2.configure(user=...)"
            )
        image = job.spec.resource_of(worker.worker_id).image
        if image and not cause and (text := image_failure(message, image, worker.host or "the agent")):
            data = {**data, "details": "\n".join(filter(None, [message, data.get("details", "")]))}
            cause, message = Cause.START, text
        rule = decide(state, reason, asked=asked, ran=worker.started is not None, cause=cause)
        restart, blamed = None, message or reason
        if worker.result == "ok" and not is_back and rule.decision in (Decision.RETRY, Decision.RESTART):
            # It had ended well, and only the news of that is lost.
            message = f"its result had come before: {message or reason or state.value}"
            state, rule = TaskState.FINISHED, decide(TaskState.FINISHED)
        elif rule.decision in (Decision.RETRY, Decision.RESTART):
            if reason == "LAUNCH_TIMEOUT" or (worker.started is None and "fetch" in message):
                advice = self._silence.advice(worker.agent, worker.host)
                message = "; ".join(filter(None, [message, advice]))
                blamed = advice or blamed
            limit = job.spec.faults.max_worker_restarts
            limit = min(limit, MAX_STARTS) if rule.when is Condition.START else limit
            restart, outlook = _restart(rule, worker, limit)
            message = f"{message or reason or state.value}; {outlook}"
        elif rule.decision is Decision.FAIL and reason in ADVICE:
            message = f"{message or reason}; {self._whose_limit(worker, reason, source)}{ADVICE[reason]}"
        return Verdict(state, message, data, rule, restart, blamed)

    def _whose_limit(self, worker: WorkerView, reason: str, source: str) -> str:
        """Say what an agent's limit of memory holds for; an agent does not know which worker took too much."""
        if reason != "REASON_CONTAINER_LIMITATION_MEMORY" or source == "SOURCE_EXECUTOR":
            return ""
        count = self._executors.count(worker.executor_id)
        others = f"all {count} workers" if count > 1 else "its worker"
        return f"that is its executor with {others} in it{self._greediest(worker.executor_id)}; "

    def _greediest(self, executor_id: str) -> str:
        """Say which worker of an executor was seen nearest to what it asked for, if one was near."""
        seen = [
            (one.use.mem_peak / one.mem, job.job_id, one.worker_id, one.use.mem_peak, one.mem)
            for job in self._jobs.active
            for one in job.view.workers
            if one.executor_id == executor_id and one.use is not None and one.mem
        ]
        share, _, worker_id, peak, asked = max(seen, default=(0.0, "", 0, 0.0, 0.0))
        return (
            f", of whom worker {worker_id} was seen with {peak:.0f} of its {asked:g} MiB"
            if share > 0.8
            else ""
        )


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
