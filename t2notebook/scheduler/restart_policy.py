"""Restart policy: the decision for each state and reason of a worker's task, as one table. Pure.

Reasons are those of Mesos's ``TaskStatus.Reason`` (``include/mesos/v1/mesos.proto``); what they mean is told in
its ``docs/task-state-reasons.md``. ``docs/failures.md`` shows the table to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..model.states import TERMINAL_TASK_STATES, TaskState
from ..protocol.launch import Cause

#: Seconds before the first restart of a worker, doubling up to the cap.
RESTART_FIRST, RESTART_CAP = 0.5, 30.0
#: Seconds before the second retry of a launch that was lost, doubling up to the cap; the first is at once.
RETRY_FIRST, RETRY_CAP = 0.2, 15.0
#: Seconds before a worker that asks to be started anew is: one that always asks must not keep a cluster busy.
ANEW_PAUSE = 0.1
#: A launch that is lost so often in a row is no accident.
MAX_RETRIES = 20
#: How often a worker whose executor's program cannot start is tried again: one agent may be without it, not all.
MAX_STARTS = 1


#: What a person can do about it, by reason.
ADVICE = {
    "REASON_CONTAINER_LIMITATION_MEMORY": "ask for more memory (--ram, ram_mega_bytes)",
    "REASON_CONTAINER_LIMITATION_DISK": "ask for more disk (--disk, disk_giga_bytes)",
}


class Decision(StrEnum):
    """A decision of the scheduler."""

    GO_ON = "go on"  # the worker is on its way, or runs
    WAIT = "wait"  # it may come back; `unreachable_timeout` bounds how long
    DONE = "done"  # it has ended, as it should
    RETRY = "retry"  # a new task at once, not counted: it never ran, or was in the way
    RESTART = "restart"  # a new task after a pause, counted against `max_worker_restarts`
    FAIL = "fail"  # the worker has failed for good, and its job with it, at once or (`keep_going`) at the end


class Condition(StrEnum):
    """A condition beside state and reason."""

    ALWAYS = ""
    ASKED = "its job is being ended"
    NEVER_RAN = "it had not run yet"
    EXCEPTION = "its code raised an exception"
    VERSION = "the executor cannot run this package"
    ENDING = "its executor was just ending"
    START = "the executor's program cannot start"
    USER = "the agent has no such user"
    ANEW = "it asked to be started anew, or was asked to"


@dataclass(frozen=True)
class Rule:
    """A line of the table.

    Parameters
    ----------
    states : tuple of TaskState
    reasons : tuple of str
        Mesos's names; empty: any.
    when : Condition
    decision : Decision
    blames_host : bool
        Whether it counts against the host: the next one may do better.
    why : str
        For people.
    """

    states: tuple[TaskState, ...]
    reasons: tuple[str, ...]
    when: Condition
    decision: Decision
    why: str
    blames_host: bool = False


_FAILED, _KILLED = (TaskState.FAILED,), (TaskState.KILLED,)
_VANISHED = (TaskState.LOST, TaskState.GONE, TaskState.GONE_BY_OPERATOR)
_OF_THE_AGENT = (
    "REASON_AGENT_DISCONNECTED",
    "REASON_AGENT_REMOVED",
    "REASON_AGENT_REMOVED_BY_OPERATOR",
    "REASON_AGENT_REREGISTERED",
    "REASON_AGENT_RESTARTED",
    "REASON_AGENT_UNKNOWN",
    "REASON_MASTER_DISCONNECTED",
)

#: The first rule that fits holds.
RULES: tuple[Rule, ...] = (
    Rule(
        (TaskState.STAGING, TaskState.STARTING, TaskState.RUNNING, TaskState.KILLING),
        (),
        Condition.ALWAYS,
        Decision.GO_ON,
        "it is on its way",
    ),
    Rule(
        (TaskState.FINISHED,), (), Condition.ALWAYS, Decision.DONE, "it has ended well; its result is fetched"
    ),
    Rule(
        (TaskState.UNREACHABLE, TaskState.UNKNOWN),
        (),
        Condition.ALWAYS,
        Decision.WAIT,
        "its agent may come back, and the worker with it; after `unreachable_timeout` it counts as LOST",
    ),
    Rule(
        tuple(sorted(TERMINAL_TASK_STATES - {TaskState.FINISHED})),
        (),
        Condition.ASKED,
        Decision.DONE,
        "that is what was asked for",
    ),
    Rule(
        tuple(sorted(TERMINAL_TASK_STATES - {TaskState.FINISHED})),
        (),
        Condition.ANEW,
        Decision.RETRY,
        "it ended so that it can begin anew (exit code 75, or `job.kill(worker_id, restart=True)`)",
    ),
    Rule(
        (TaskState.ERROR,),
        (),
        Condition.ALWAYS,
        Decision.FAIL,
        "Mesos refuses the task as it is, and would refuse the next one",
    ),
    Rule(_FAILED, (), Condition.EXCEPTION, Decision.FAIL, "run again, the code would raise it again"),
    Rule(_FAILED, (), Condition.VERSION, Decision.FAIL, "the other agents' Python would not do either"),
    Rule(_FAILED, (), Condition.ENDING, Decision.RETRY, "the launch met an executor that was going"),
    Rule(
        _FAILED,
        (),
        Condition.START,
        Decision.RESTART,
        "no Python or a library is missing: one more try, elsewhere if it can be",
        blames_host=True,
    ),
    Rule(
        (*_FAILED, TaskState.DROPPED, TaskState.LOST),
        (),
        Condition.USER,
        Decision.FAIL,
        "the other agents are likely to have the same users",
    ),
    Rule(
        _FAILED,
        (
            "REASON_CONTAINER_LIMITATION",
            "REASON_CONTAINER_LIMITATION_DISK",
            "REASON_CONTAINER_LIMITATION_MEMORY",
            "REASON_MAX_COMPLETION_TIME_REACHED",
        ),
        Condition.ALWAYS,
        Decision.FAIL,
        "it needs more than it asked for, and would again: ask for more",
    ),
    Rule(
        (*_FAILED, TaskState.KILLED),
        ("REASON_CONTAINER_PREEMPTED", "REASON_AGENT_DRAINING", "REASON_TASK_KILLED_DURING_LAUNCH"),
        Condition.ALWAYS,
        Decision.RETRY,
        "it was in somebody's way; it goes elsewhere",
    ),
    Rule(_FAILED, _OF_THE_AGENT, Condition.ALWAYS, Decision.RESTART, "the agent's trouble, not the worker's"),
    Rule(
        _FAILED,
        (),
        Condition.ALWAYS,
        Decision.RESTART,
        "it crashed, or its container could not be made or ended: another try, elsewhere if it goes on",
        blames_host=True,
    ),
    Rule(_KILLED, (), Condition.ALWAYS, Decision.RESTART, "somebody else killed it"),
    Rule(
        (TaskState.DROPPED,),
        ("REASON_CALL_FAILED",),
        Condition.ALWAYS,
        Decision.RESTART,
        "the master refused the launch; ours, not Mesos's reason",
    ),
    Rule(
        (TaskState.DROPPED,),
        (),
        Condition.ALWAYS,
        Decision.RETRY,
        "the launch did not arrive: a stale offer, an executor that was going, a connection that broke",
    ),
    Rule(
        _VANISHED,
        ("REASON_FRAMEWORK_REMOVED",),
        Condition.ALWAYS,
        Decision.FAIL,
        "the master has ended the framework",
    ),
    Rule(_VANISHED, (), Condition.NEVER_RAN, Decision.RETRY, "the launch was lost on its way"),
    Rule(_VANISHED, (), Condition.ALWAYS, Decision.RESTART, "its agent is gone, and it with it"),
)


def decide(
    state: TaskState, reason: str = "", *, asked: bool = False, ran: bool = True, cause: str = ""
) -> Rule:
    """Return the rule for a status.

    Parameters
    ----------
    state : TaskState
        Any but PENDING, which Mesos does not know.
    reason : str
        Mesos's, ``""`` for none.
    asked : bool
        Whether the job is being ended.
    ran : bool
        Whether the task was seen running.
    cause : str
        What our executor told, a `Cause`.

    Raises
    ------
    ValueError
        For PENDING.
    """
    for rule in RULES:
        fits = state in rule.states and (not rule.reasons or reason in rule.reasons)
        if fits and _holds(rule.when, asked, ran, cause):
            return rule
    raise ValueError(f"no rule for {state} {reason}")


def pause_before(decision: Decision, times: int) -> float:
    """Return the seconds to wait before a worker is started again for the `times`-th time (from 1)."""
    if decision is Decision.RETRY:
        return 0.0 if times <= 1 else min(RETRY_CAP, RETRY_FIRST * 2.0 ** min(times - 2, 20))
    return min(RESTART_CAP, RESTART_FIRST * 2.0 ** min(times - 1, 20))


def _holds(when: Condition, asked: bool, ran: bool, cause: str) -> bool:
    return {
        Condition.ALWAYS: True,
        Condition.ASKED: asked,
        Condition.NEVER_RAN: not ran,
        Condition.EXCEPTION: cause == Cause.EXCEPTION,
        Condition.VERSION: cause == Cause.VERSION,
        Condition.ENDING: cause == Cause.ENDING,
        Condition.START: cause == Cause.START,
        Condition.USER: cause == Cause.USER,
        Condition.ANEW: cause == Cause.ANEW,
    }[when]
