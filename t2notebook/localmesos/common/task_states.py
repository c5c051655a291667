"""Task states and the transitions that Mesos's status update state machine allows."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TERMINAL = frozenset(
    {
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_LOST",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
    }
)

_LIVE = frozenset({"TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})

TRANSITIONS: dict[str, frozenset[str]] = {
    "TASK_STAGING": _LIVE | TERMINAL | {"TASK_UNREACHABLE"},
    "TASK_STARTING": _LIVE | TERMINAL | {"TASK_UNREACHABLE"},
    "TASK_RUNNING": _LIVE | TERMINAL | {"TASK_UNREACHABLE"},
    "TASK_KILLING": _LIVE | TERMINAL | {"TASK_UNREACHABLE"},
    "TASK_UNREACHABLE": _LIVE | TERMINAL | {"TASK_STAGING"},
    **{state: frozenset() for state in TERMINAL},
}
"""From each state the states that may follow: an executor may repeat itself, but nothing leaves a terminal state (save
that an agent which was given up for lost reports again: the master's `Task.revive`)."""

MAX_COMPLETED_FRAMEWORKS = 50


def can(info: Json, capability: str) -> bool:
    """Tell whether a FrameworkInfo has a capability."""
    return any(item.get("type") == capability for item in info.get("capabilities", ()))


def roles_of(info: Json) -> list[str]:
    """Give the roles of a FrameworkInfo."""
    return list(info.get("roles", [])) if can(info, "MULTI_ROLE") else [info.get("role", "*")]


def state_for(info: Json, state: str) -> str:
    """Give a state as a framework knows it: one that is not PARTITION_AWARE hears TASK_LOST instead."""
    return state if can(info, "PARTITION_AWARE") else "TASK_LOST"
