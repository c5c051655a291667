"""Operator calls of the v1 API: their validation."""

from __future__ import annotations

from collections.abc import Callable

from ..common.task_states import Json

_NEEDED = frozenset(
    [
        "GET_METRICS",
        "LIST_FILES",
        "READ_FILE",
        "TEARDOWN",
        "SET_LOGGING_LEVEL",
        "UPDATE_WEIGHTS",
        "RESERVE_RESOURCES",
        "UNRESERVE_RESOURCES",
        "CREATE_VOLUMES",
        "DESTROY_VOLUMES",
        "GROW_VOLUME",
        "SHRINK_VOLUME",
        "UPDATE_MAINTENANCE_SCHEDULE",
        "START_MAINTENANCE",
        "STOP_MAINTENANCE",
        "DRAIN_AGENT",
        "DEACTIVATE_AGENT",
        "REACTIVATE_AGENT",
        "SET_QUOTA",
        "REMOVE_QUOTA",
        "UPDATE_QUOTA",
        "MARK_AGENT_GONE",
    ]
)


def validate_call(_: str) -> Callable[[Json], str | None]:
    """Return the check of an operator's call."""

    def validate(call: Json) -> str | None:
        kind = call.get("type")
        if kind is None:
            return "Expecting 'type' to be present"
        needed = kind.lower()
        return f"Expecting '{needed}' to be present" if kind in _NEEDED and needed not in call else None

    return validate
