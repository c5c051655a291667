from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.states import TaskState
from t2notebook.protocol.launch import Cause
from t2notebook.scheduler.restart_policy import (
    MAX_RETRIES,
    RESTART_CAP,
    RETRY_CAP,
    RULES,
    Decision,
    Rule,
    decide,
    pause_before,
)

#: Mesos, include/mesos/v1/mesos.proto, enum Reason; the last is ours.
REASONS = [
    "REASON_COMMAND_EXECUTOR_FAILED",
    "REASON_CONTAINER_LAUNCH_FAILED",
    "REASON_CONTAINER_LIMITATION",
    "REASON_CONTAINER_LIMITATION_DISK",
    "REASON_CONTAINER_LIMITATION_MEMORY",
    "REASON_CONTAINER_PREEMPTED",
    "REASON_CONTAINER_UPDATE_FAILED",
    "REASON_MAX_COMPLETION_TIME_REACHED",
    "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
    "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
    "REASON_EXECUTOR_TERMINATED",
    "REASON_EXECUTOR_UNREGISTERED",
    "REASON_FRAMEWORK_REMOVED",
    "REASON_GC_ERROR",
    "REASON_INVALID_FRAMEWORKID",
    "REASON_INVALID_OFFERS",
    "REASON_IO_SWITCHBOARD_EXITED",
    "REASON_MASTER_DISCONNECTED",
    "REASON_RECONCILIATION",
    "REASON_RESOURCES_UNKNOWN",
    "REASON_AGENT_DISCONNECTED",
    "REASON_AGENT_DRAINING",
    "REASON_AGENT_REMOVED",
    "REASON_AGENT_REMOVED_BY_OPERATOR",
    "REASON_AGENT_REREGISTERED",
    "REASON_AGENT_RESTARTED",
    "REASON_AGENT_UNKNOWN",
    "REASON_TASK_KILLED_DURING_LAUNCH",
    "REASON_TASK_CHECK_STATUS_UPDATED",
    "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
    "REASON_TASK_GROUP_INVALID",
    "REASON_TASK_GROUP_UNAUTHORIZED",
    "REASON_TASK_INVALID",
    "REASON_TASK_UNAUTHORIZED",
    "REASON_TASK_UNKNOWN",
    "REASON_CALL_FAILED",
]

reasons = st.sampled_from(["", "REASON_OF_A_LATER_MESOS", *REASONS])
states = st.sampled_from([state for state in TaskState if state is not TaskState.PENDING])
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "failures.md"


@given(states, reasons, st.booleans(), st.booleans(), st.sampled_from(list(Cause)))
def test_each_state_and_reason_has_one_consequence(
    state: TaskState, reason: str, asked: bool, ran: bool, cause: Cause
) -> None:
    rule = decide(state, reason, asked=asked, ran=ran, cause=cause)
    going_on = rule.decision in (Decision.GO_ON, Decision.WAIT)
    assert state.is_terminal != going_on, "what has ended is decided, what has not is not"
    if asked and state.is_terminal:
        assert rule.decision is Decision.DONE, "nothing is started again for a job that is to end"


@pytest.mark.parametrize(
    ("state", "reason", "fields", "decision", "blames_host"),
    [
        ("RUNNING", "REASON_RECONCILIATION", {}, "go on", False),
        ("FINISHED", "", {}, "done", False),
        ("FAILED", "", {"cause": "exception"}, "fail", False),
        ("FAILED", "", {"cause": "version"}, "fail", False),
        ("FAILED", "", {"cause": "ending"}, "retry", False),
        ("FAILED", "", {}, "restart", True),
        ("FAILED", "REASON_EXECUTOR_TERMINATED", {}, "restart", True),
        ("FAILED", "REASON_CONTAINER_LAUNCH_FAILED", {}, "restart", True),
        ("FAILED", "REASON_EXECUTOR_REGISTRATION_TIMEOUT", {}, "restart", True),
        ("FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", {}, "fail", False),
        ("FAILED", "REASON_AGENT_RESTARTED", {}, "restart", False),
        ("FAILED", "REASON_CONTAINER_PREEMPTED", {}, "retry", False),
        ("KILLED", "", {}, "restart", False),
        ("KILLED", "", {"asked": True}, "done", False),
        ("KILLED", "REASON_AGENT_DRAINING", {}, "retry", False),
        ("ERROR", "REASON_TASK_INVALID", {}, "fail", False),
        ("DROPPED", "REASON_INVALID_OFFERS", {}, "retry", False),
        ("DROPPED", "REASON_CALL_FAILED", {}, "restart", False),
        ("LOST", "REASON_INVALID_OFFERS", {"ran": False}, "retry", False),
        ("LOST", "REASON_AGENT_REMOVED", {}, "restart", False),
        ("LOST", "REASON_FRAMEWORK_REMOVED", {}, "fail", False),
        ("GONE", "REASON_RECONCILIATION", {"ran": False}, "retry", False),
        ("GONE", "REASON_RECONCILIATION", {}, "restart", False),
        ("GONE_BY_OPERATOR", "REASON_AGENT_REMOVED_BY_OPERATOR", {}, "restart", False),
        ("UNREACHABLE", "REASON_AGENT_REMOVED", {}, "wait", False),
        ("UNKNOWN", "REASON_RECONCILIATION", {}, "wait", False),
    ],
)
def test_the_usual_ones(
    state: str, reason: str, fields: dict[str, object], decision: str, blames_host: bool
) -> None:
    rule = decide(TaskState(state), reason, **fields)  # type: ignore[arg-type]
    assert (rule.decision.value, rule.blames_host) == (decision, blames_host)


def test_every_reason_that_a_rule_names_is_one_of_mesos() -> None:
    assert {reason for rule in RULES for reason in rule.reasons} <= set(REASONS)


def test_every_rule_is_reached() -> None:
    reached = {
        decide(state, reason, asked=asked, ran=ran, cause=cause)
        for state in TaskState
        if state is not TaskState.PENDING
        for reason in ["", *REASONS]
        for asked in (False, True)
        for ran in (False, True)
        for cause in Cause
    }
    assert set(RULES) == reached


def test_pauses_grow_up_to_a_cap() -> None:
    restarts = [pause_before(Decision.RESTART, times) for times in range(1, 40)]
    retries = [pause_before(Decision.RETRY, times) for times in range(1, 40)]
    assert restarts[:4] == [0.5, 1.0, 2.0, 4.0]
    assert retries[:4] == [0.0, 0.2, 0.4, 0.8]
    assert (restarts[-1], retries[-1]) == (RESTART_CAP, RETRY_CAP)


def row(rule: Rule) -> str:
    reasons = ", ".join(f"`{reason.removeprefix('REASON_')}`" for reason in rule.reasons) or "any"
    counts = "yes" if rule.blames_host else ""
    cells = [", ".join(rule.states), reasons, rule.when.value, rule.decision.value, counts, rule.why]
    return f"| {' | '.join(cells)} |"


def test_the_document_shows_the_very_table() -> None:
    text = DOCUMENT.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    expected = [row(rule) for rule in RULES]
    assert rows == expected, "docs/failures.md should have:\n" + "\n".join(expected)
    assert f"{MAX_RETRIES} launches" in text
