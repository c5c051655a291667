"""The state of one worker, as its job's events tell it. The reducer folds them into it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .states import TaskState
from .use import Use

#: How many earlier tasks of a worker are remembered, with their times.
EARLIER = 8

_VERBS = {
    TaskState.KILLED: "was killed",
    TaskState.LOST: "was lost",
    TaskState.GONE: "is gone",
    TaskState.GONE_BY_OPERATOR: "is gone",
    TaskState.DROPPED: "was dropped",
    TaskState.ERROR: "was refused",
}


@dataclass
class WorkerView:
    """The state of one worker; a row of ``job.tasks``.

    Times are seconds since 1970; `cpus` as Mesos counts them, `mem` in MiB; `progress` is a fraction of 1.
    `result` is ``""`` until the worker's result has arrived, then ``"ok"`` or ``"error"``. `restarts` counts
    the tasks that the worker has had before this one, its incarnation; `failures` those of them that count
    against ``max_worker_restarts``, and `retries` the launches that were lost since it last ran. `changed` is
    when its state last changed. `asked` says what somebody wants of this worker alone: ``"end"``, for good,
    ``"restart"``, or ``"again"``: it was to leave and is to come back, so it is started anew however it ends.
    `use` is what its present task has used as far as is known, and `cpu_now` how many cpus it used between the last
    two looks. `held` says why it waits in the debugger, if it does. It waits for its present task since `waiting_since`
    (0.0 for since the job was submitted), which was launched at `launched`; `earlier` has the times of the last tasks
    before it (`EARLIER`), four each: since when it waited, launched, started (0.0 if it never ran), ended.
    """

    worker_id: int
    task_id: str = ""
    state: TaskState = TaskState.PENDING
    agent: str = ""
    host: str = ""
    executor_id: str = ""
    cpus: float = 0.0
    mem: float = 0.0
    ports: tuple[int, ...] = ()
    started: float | None = None
    finished: float | None = None
    restarts: int = 0
    failures: int = 0
    retries: int = 0
    not_before: float = 0.0
    changed: float = 0.0
    progress: float | None = None
    text: str = ""
    exit_code: int | None = None
    source: str = ""
    reason: str = ""
    message: str = ""
    result: str = ""
    asked: str = ""
    asked_because: str = ""
    use: Use | None = None
    cpu_now: float | None = None
    held: str = ""
    waiting_since: float = 0.0
    launched: float | None = None
    earlier: tuple[float, ...] = ()

    def note_end(self, time: float) -> None:
        """Keep the times of the task that has ended at `time` among the earlier ones: another is to follow."""
        if self.launched is not None:
            times = (self.waiting_since, self.launched, self.started or 0.0, time)
            self.earlier = (*self.earlier, *times)[-4 * EARLIER :]
        self.waiting_since, self.launched = time, None

    def note_use(self, use: Use) -> None:
        """Take figures that are newer than those that are known."""
        before = self.use
        if before is not None and use.seconds < before.seconds:
            return
        if before is None or use.seconds - before.seconds > 0.2:
            seconds = use.seconds - (before.seconds if before is not None else 0.0)
            spent = use.cpu - (before.cpu if before is not None else 0.0)
            self.cpu_now = max(0.0, spent / seconds) if seconds > 0 else None
        self.use = use

    @property
    def is_on_mesos(self) -> bool:
        """Whether it has a task that has not ended, as far as is known."""
        return self.state.is_active

    @property
    def is_good(self) -> bool:
        """Whether it has ended well and its result is here."""
        return self.state is TaskState.FINISHED and self.result == "ok"

    @property
    def partial_progress(self) -> float:
        """Progress so far, as a fraction of 1; 0 once it has finished."""
        return 0.0 if self.state is TaskState.FINISHED else self.progress or 0.0

    @property
    def end_text(self) -> str:
        """The end of a worker that failed, in words."""
        where = f" on {self.host}" if self.host else ""
        what = self.message or self.reason or self.state.value
        return f"worker {self.worker_id}{where} {_VERBS.get(self.state, 'failed')}: {what}"

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to come: the task ended and, if it ended well, its result is here."""
        return self.state.is_terminal and (self.state is not TaskState.FINISHED or bool(self.result))
