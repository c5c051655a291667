"""The states of jobs and tasks, and which may follow which: two enums and two tables."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """State of a job, in Twister2's names.

    PENDING while a worker waits for resources; STARTING when all are launched but not all run yet; STARTED
    when all run (or have ended well); COMPLETED, FAILED and KILLED are final.
    """

    PENDING = "PENDING"
    STARTING = "STARTING"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in FINAL_JOB_STATES


FINAL_JOB_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.KILLED})

#: A lost or restarted worker takes a job back to PENDING; nothing follows a final state.
JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset(JobState) - {JobState.PENDING},
    JobState.STARTING: frozenset(JobState) - {JobState.STARTING},
    JobState.STARTED: frozenset(JobState) - {JobState.STARTED},
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.KILLED: frozenset(),
}


class TaskState(StrEnum):
    """State of a worker's task: Mesos's `TaskState` without ``TASK_``, and PENDING for a worker without a
    task.

    Source: Mesos, ``include/mesos/v1/mesos.proto``, enum TaskState.
    """

    PENDING = "PENDING"
    STAGING = "STAGING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    KILLING = "KILLING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    ERROR = "ERROR"
    LOST = "LOST"
    DROPPED = "DROPPED"
    UNREACHABLE = "UNREACHABLE"
    GONE = "GONE"
    GONE_BY_OPERATOR = "GONE_BY_OPERATOR"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def from_mesos(cls, name: str) -> TaskState:
        """Return the state that Mesos calls `name` (``TASK_RUNNING``); an unknown name is UNKNOWN."""
        try:
            return cls(name.removeprefix("TASK_"))
        except ValueError:
            return cls.UNKNOWN

    @property
    def is_active(self) -> bool:
        """Whether a task has been launched that has not ended, as far as is known."""
        return self is not TaskState.PENDING and not self.is_terminal

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended for good. UNREACHABLE and UNKNOWN have not: the agent may come back."""
        return self in TERMINAL_TASK_STATES


TERMINAL_TASK_STATES = frozenset(
    {
        TaskState.FINISHED,
        TaskState.FAILED,
        TaskState.KILLED,
        TaskState.ERROR,
        TaskState.LOST,
        TaskState.DROPPED,
        TaskState.GONE,
        TaskState.GONE_BY_OPERATOR,
    }
)

_ALIVE = frozenset(
    {
        TaskState.STAGING,
        TaskState.STARTING,
        TaskState.RUNNING,
        TaskState.KILLING,
        TaskState.UNREACHABLE,
        TaskState.UNKNOWN,
    }
)

#: What may follow what for one task. A terminal state is final for its task; a worker that is started again
#: is PENDING until it has a new one.
TASK_TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset({TaskState.STAGING, TaskState.KILLED}),
    **{state: (_ALIVE - {state}) | TERMINAL_TASK_STATES for state in _ALIVE},
    **{state: frozenset() for state in TERMINAL_TASK_STATES},
}
