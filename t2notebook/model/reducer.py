"""The reducer: a job's state as a fold over its events, the same in the session, a kernel and a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableSequence
from dataclasses import dataclass, field
from typing import Any

from .events import Event, EventKind
from .states import FINAL_JOB_STATES, JOB_TRANSITIONS, TASK_TRANSITIONS, JobState, TaskState
from .use import use_of, workers_use
from .worker_view import WorkerView


@dataclass
class JobView:
    """A job as its events tell it.

    `apply` folds one event in, at constant cost. `workers` are all that there ever were, by worker id; those from
    `number_of_workers` on have left, or are about to, since the job was scaled down. `counts` says how many of the
    others are in each state. `scalings` has the number of workers after each change of it, by who asked for it.
    `troubled` says which workers have failed, were started again, or ended or are away unasked; those that went with
    their job are not among them. `latest` is the latest time of an event. `workers` may be any sequence that can be
    changed: a worker that has changed is stored there again.
    """

    job_id: str
    name: str = ""
    number_of_workers: int = 0
    state: JobState = JobState.PENDING
    submitted: float | None = None
    started: float | None = None
    finished: float | None = None
    message: str = ""
    waiting_for: str = ""
    workers: MutableSequence[WorkerView] = field(default_factory=list)
    counts: Counter[TaskState] = field(default_factory=Counter)
    kill_reason: str = ""
    kill_message: str = ""
    failed_worker: int | None = None
    scalings: dict[str, int] = field(default_factory=dict)
    last_seq: int = 0
    latest: float = field(default=0.0, compare=False, repr=False)
    troubled: set[int] = field(default_factory=set, compare=False, repr=False)
    #: Why each worker waits that is to be started again, in the order in which their tasks have ended.
    _restarting: dict[int, str] = field(default_factory=dict, compare=False, repr=False)
    _done: int = 0
    #: The sum of the progress of the workers that are present and have not finished.
    _partial: float = field(default=0.0, compare=False, repr=False)

    def apply(self, event: Event) -> WorkerView | None:
        """Fold `event` in; return the worker that changed, or None.

        An event that was applied before (by its `seq`), one of another task than the worker's present one,
        and one that the transition table forbids change nothing.
        """
        if event.seq:
            if event.seq <= self.last_seq:
                return None
            self.last_seq = event.seq
        self.latest = max(self.latest, event.time)
        worker = self._fold(event)
        self._settle(event.time)
        return worker

    @property
    def progress(self) -> float:
        """Mean progress of the workers, as a fraction of 1; a finished worker counts as 1."""
        if not self.workers:
            return 0.0
        total = self.counts[TaskState.FINISHED] + max(0.0, self._partial)
        return min(1.0, total / self.number_of_workers)

    @property
    def present(self) -> list[WorkerView]:
        """The workers that the job has now: those that have left are not among them."""
        return list(self.workers[: self.number_of_workers])

    def _fold(self, event: Event) -> WorkerView | None:
        if event.kind is EventKind.SUBMITTED:
            self.name = str(event.data.get("name", ""))
            self.number_of_workers = int(event.data["number_of_workers"])
            make: Callable[[Iterable[WorkerView]], MutableSequence[WorkerView]] = type(self.workers)
            self.workers = make(map(WorkerView, range(self.number_of_workers)))
            self.counts = Counter({TaskState.PENDING: self.number_of_workers})
            self.submitted = event.time
            return None
        if event.kind is EventKind.SCALED:
            self._scale(event)
            return None
        if event.kind is EventKind.KILL and event.worker_id is not None:
            return self._ask(event)
        if event.kind is EventKind.KILL:
            self.kill_message = self.kill_message or event.message
            self.kill_reason = self.kill_reason or event.reason or "USER"
            self.message = self.message or event.message
            if self.state not in FINAL_JOB_STATES:
                for worker in self.workers:
                    if worker.state is TaskState.PENDING:
                        self._end_pending(worker, event)
                        self._store(worker)
            return None
        if event.kind is EventKind.PENDING:
            self.waiting_for = event.message
            return None
        if event.kind in (EventKind.USE, EventKind.USAGE):
            for worker_id, restarts, use in workers_use(event.data):
                if worker_id < len(self.workers):
                    worker = self.workers[worker_id]
                    if worker.restarts == restarts and not worker.state.is_terminal and worker.task_id:
                        worker.note_use(use)
                        self.workers[worker_id] = worker
            return None
        if event.worker_id is None or event.worker_id >= len(self.workers):
            return None
        worker = self.workers[event.worker_id]
        partial = worker.partial_progress
        changed = self._fold_worker(worker, event)
        if changed is not None:
            self._partial += (worker.partial_progress - partial) * self._is_present(worker)
            self._store(worker)
        return changed

    def _fold_worker(self, worker: WorkerView, event: Event) -> WorkerView | None:
        if event.kind is EventKind.LAUNCHED:
            return self._launch(worker, event)
        if event.task_id != worker.task_id:
            return None
        was_done = worker.is_done
        if event.kind is EventKind.STATUS:
            self._update(worker, event)
        elif event.kind is EventKind.RESULT:
            worker.result = worker.result or ("ok" if event.data.get("ok") else "error")
            if event.source == "SESSION":  # the worker ended well, but its result is lost
                worker.message = event.data.get("error", {}).get("message", worker.message)
        elif event.kind is EventKind.HELD:
            worker.held = "" if worker.state.is_terminal else str(event.data.get("held", ""))
        elif event.kind is EventKind.PROGRESS:
            if worker.state.is_terminal:
                return None
            worker.progress = event.data.get("progress", worker.progress)
            worker.text = event.data.get("text") or ""
        self._done += (worker.is_done - was_done) * self._is_present(worker)
        return worker

    def _store(self, worker: WorkerView) -> None:
        """Put a worker back that has changed, and keep `troubled` true of it."""
        is_expected = worker.state in _FINE or (
            worker.state in (TaskState.KILLED, TaskState.KILLING) and bool(self.kill_reason)
        )
        if worker.restarts or worker.result == "error" or not is_expected:
            self.troubled.add(worker.worker_id)
        else:
            self.troubled.discard(worker.worker_id)
        self.workers[worker.worker_id] = worker

    def _count(self, worker: WorkerView, sign: int) -> None:
        """Count a worker among those that are present, or with -1 no more."""
        self.counts[worker.state] += sign
        self._done += sign * worker.is_done
        self._partial += sign * worker.partial_progress

    def _is_present(self, worker: WorkerView) -> bool:
        return worker.worker_id < self.number_of_workers

    def _scale(self, event: Event) -> None:
        """Let the highest workers leave, or more come; one that is on its way out is started anew if it is to stay."""
        number = int(event.data["number_of_workers"])
        if self.state in FINAL_JOB_STATES:
            return
        self.scalings[str(event.data.get("request", ""))] = number
        if len(self.scalings) > _SCALINGS:
            del self.scalings[next(iter(self.scalings))]
        for worker in self.workers[number : self.number_of_workers]:
            self._count(worker, -1)
        before, self.number_of_workers = self.number_of_workers, number
        for worker in self.workers[number:before]:
            if not worker.state.is_terminal:
                worker.asked, worker.asked_because = "end", event.message
            if worker.state is TaskState.PENDING:
                self._end_pending(worker, event)
            self._store(worker)
        if self.failed_worker is not None and self.failed_worker >= number:
            # It is none of the job's workers any more; others may have failed as well.
            ended = (one for one in self.present if one.state.is_terminal and one.asked != "end")
            failed = (one.worker_id for one in ended if one.state is not TaskState.FINISHED)
            self.failed_worker = next(failed, None)
        for worker_id in range(before, number):
            if worker_id == len(self.workers):
                self.workers.append(WorkerView(worker_id, waiting_since=event.time))
            worker = self.workers[worker_id]
            if worker.is_on_mesos:
                worker.asked, worker.asked_because = "again", event.message
            elif worker.state.is_terminal:
                self._renew(worker, event.time)
            self._count(worker, 1)
            self._store(worker)
        if not self.counts[TaskState.PENDING]:
            self.waiting_for = ""

    def _renew(self, worker: WorkerView, time: float) -> None:
        """Have a worker that had left come again, as another incarnation of itself."""
        worker.note_end(time if worker.finished is None else worker.finished)
        worker.waiting_since = time
        worker.state, worker.changed = TaskState.PENDING, time
        worker.restarts += bool(worker.task_id)
        worker.retries, worker.not_before = 0, 0.0
        worker.started = worker.finished = worker.progress = worker.exit_code = None
        worker.text = worker.source = worker.reason = worker.message = worker.result = ""
        worker.asked = worker.asked_because = ""

    def _ask(self, event: Event) -> WorkerView | None:
        """Note that one worker is to end, for good or to be started anew; the others go on."""
        assert event.worker_id is not None
        if event.worker_id >= len(self.workers) or self.state in FINAL_JOB_STATES:
            return None
        worker = self.workers[event.worker_id]
        if worker.is_done or worker.asked == "end":
            return None
        worker.asked = "restart" if event.data.get("restart") else "end"
        worker.asked_because = event.message
        if worker.state is TaskState.PENDING and worker.asked == "end":
            self._end_pending(worker, event)
        self._store(worker)
        return worker

    def _launch(self, worker: WorkerView, event: Event) -> WorkerView | None:
        if worker.state is not TaskState.PENDING and not worker.state.is_terminal:
            return None
        self._done -= worker.is_done and self._is_present(worker)
        if worker.launched is not None:
            worker.note_end(event.time if worker.finished is None else worker.finished)
        self._move(worker, TaskState.STAGING, event.time)
        data = event.data
        worker.launched = event.time
        worker.task_id = event.task_id
        worker.agent, worker.host = data.get("agent", ""), data.get("host", "")
        worker.executor_id = data.get("executor_id", "")
        worker.ports = tuple(data.get("ports", ()))
        worker.cpus, worker.mem = data.get("cpus", 0.0), data.get("mem", 0.0)
        worker.restarts = data.get("restart_count", 0)
        worker.started = worker.finished = worker.progress = worker.exit_code = None
        worker.text = worker.source = worker.reason = worker.message = worker.result = ""
        worker.asked = worker.asked_because = ""
        worker.use = worker.cpu_now = None
        worker.held = ""
        self._waits_no_more(worker)
        return worker

    def _waits_no_more(self, worker: WorkerView) -> None:
        """Let the end of a worker's last task be no reason for waiting any more: of those who wait, another's is."""
        reason = self._restarting.pop(worker.worker_id, "")
        if not self.counts[TaskState.PENDING]:
            self.waiting_for = ""
        elif reason and reason == self.waiting_for:
            self.waiting_for = next(reversed(self._restarting.values()), "")

    def _update(self, worker: WorkerView, event: Event) -> None:
        state = TaskState(event.state)
        if state is worker.state:
            return
        if state not in TASK_TRANSITIONS[worker.state]:
            return
        self._move(worker, state, event.time)
        worker.source, worker.reason, worker.message = event.source, event.reason, event.message
        if state is TaskState.KILLED and self.kill_reason:
            worker.reason = worker.reason or self.kill_reason
            worker.message = worker.message or self._killed_because()
        elif state is TaskState.KILLED and worker.asked == "end":
            who = "USER" if self._is_present(worker) else "SCALED_DOWN"
            worker.reason, worker.message = worker.reason or who, worker.message or worker.asked_because
        if state is TaskState.RUNNING and worker.started is None:
            worker.started = event.time
            worker.retries = 0
        if state.is_terminal:
            worker.held = ""
        if (use := use_of(event.data)) is not None:
            worker.note_use(use)
        restart = None if self.kill_reason or worker.asked == "end" else event.data.get("restart")
        if state.is_terminal and restart:
            self._await_restart(worker, event, restart)
        elif state.is_terminal:
            worker.finished = event.time
            worker.exit_code = event.data.get("exit_code", worker.exit_code)
            if state is TaskState.KILLED and not event.message and worker.exit_code is not None:
                worker.message += _own_end(worker.exit_code, worker.message)
            worker.progress = event.data.get("progress", worker.progress)
            worker.text = event.data.get("text", worker.text)
            if state is TaskState.FINISHED:
                worker.progress = 1.0
            elif self.failed_worker is None and not self.kill_reason and worker.asked != "end":
                self.failed_worker = worker.worker_id

    def _await_restart(self, worker: WorkerView, event: Event, restart: Mapping[str, Any]) -> None:
        worker.note_end(event.time)
        self._move(worker, TaskState.PENDING, event.time)
        worker.exit_code = event.data.get("exit_code")
        worker.started = worker.finished = worker.progress = None
        worker.text = worker.result = ""
        worker.restarts = restart["restart_count"]
        worker.failures, worker.retries = restart["failures"], restart["retries"]
        self.waiting_for = self._restarting[worker.worker_id] = f"worker {worker.worker_id}: {event.message}"
        worker.not_before = event.time + restart["pause"]

    def _killed_because(self) -> str:
        if self.kill_reason == "WORKER_FAILED" and self.failed_worker is not None:
            return f"killed because worker {self.failed_worker} failed"
        return self.kill_message

    def _end_pending(self, worker: WorkerView, event: Event) -> None:
        self._move(worker, TaskState.KILLED, event.time)
        worker.finished = event.time
        worker.source, worker.reason, worker.message = event.source, event.reason, event.message
        self._done += self._is_present(worker)
        self._waits_no_more(worker)

    def _move(self, worker: WorkerView, state: TaskState, time: float) -> None:
        if self._is_present(worker):
            self.counts[worker.state] -= 1
            self.counts[state] += 1
        worker.state, worker.changed = state, time

    def _settle(self, time: float) -> None:
        if not JOB_TRANSITIONS[self.state] or not self.workers:
            return
        state = self._derive()
        if state not in JOB_TRANSITIONS[self.state]:
            return
        self.state = state
        if state is JobState.STARTED and self.started is None:
            self.started = time
        if state in FINAL_JOB_STATES:
            self.finished = time
            self.waiting_for = ""
            self.message = self._verdict(state) or self.message

    def _derive(self) -> JobState:
        if self._done == self.number_of_workers and not self._is_being_left():
            if self.kill_reason not in ("", "WORKER_FAILED") and self.counts[TaskState.KILLED]:
                return JobState.KILLED  # also when a worker had failed before, and the others were to go on
            if self.failed_worker is not None:
                return JobState.FAILED
            if self.counts[TaskState.FINISHED] == self.number_of_workers:
                failed = [worker for worker in self.present if worker.result == "error"]
                if failed:
                    self.failed_worker = failed[0].worker_id
                    return JobState.FAILED
                return JobState.COMPLETED
            return JobState.KILLED
        if self.counts[TaskState.PENDING]:
            return JobState.PENDING
        if self.counts[TaskState.STAGING] or self.counts[TaskState.STARTING]:
            return JobState.STARTING if self.started is None else self.state
        return JobState.STARTED

    def _is_being_left(self) -> bool:
        """Whether workers that are to leave have not ended."""
        return any(worker.is_on_mesos for worker in self.workers[self.number_of_workers :])

    def _verdict(self, state: JobState) -> str:
        if state is JobState.FAILED and self.failed_worker is not None:
            text = self.workers[self.failed_worker].end_text
            # Without a kill, each of them came to its own end.
            failed = 0 if self.kill_reason else sum(not worker.is_good for worker in self.present)
            if failed > 1:
                text = f"{failed} of {self.number_of_workers} workers failed; the first: {text}"
            return text
        if state is JobState.KILLED and not self.kill_reason:
            return next((worker.end_text for worker in self.present if worker.asked == "end"), "")
        return ""


#: How many of the last changes of the number of workers are remembered, for who asks for one again.
_SCALINGS = 1000

#: States of a worker with which all is well.
_FINE = frozenset(
    {TaskState.PENDING, TaskState.STAGING, TaskState.STARTING, TaskState.RUNNING, TaskState.FINISHED}
)


def _own_end(exit_code: int, before: str) -> str:
    """Say of a worker that was told to end that it did so by itself: its exit code alone would look like success."""
    if exit_code < 0:
        return ""
    return f"{', and ' if before else ''}ended by itself with exit code {exit_code}"


def reduce(job_id: str, events: Iterable[Event]) -> JobView:
    """Return the job that `events`, in order, describe."""
    view = JobView(job_id)
    for event in events:
        view.apply(event)
    return view
