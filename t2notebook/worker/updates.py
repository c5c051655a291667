"""Status updates until the agent has acknowledged them."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from typing import Any

from t2notebook.model.launch import Cause, encode_status_data


class UpdateLog:
    """The updates that are not acknowledged, oldest first, and which of them the agent has not been given."""

    def __init__(self) -> None:
        self._statuses: dict[str, dict[str, Any]] = {}  # by uuid
        self._unposted: dict[str, None] = {}  # an ordered set of uuids

    def add(
        self,
        task_id: str,
        state: str,
        message: str = "",
        exit_code: int | None = None,
        cause: Cause = Cause.NONE,
        phases: Mapping[str, float] | None = None,
    ) -> None:
        """Add an update; `state` in Mesos's name."""
        uuid = bytearray(os.urandom(16))
        uuid[6] = uuid[6] & 0x0F | 0x40  # RFC 9562, version 4
        uuid[8] = uuid[8] & 0x3F | 0x80
        status: dict[str, Any] = {
            "task_id": {"value": task_id},
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "timestamp": time.time(),
            "uuid": base64.b64encode(uuid).decode("ascii"),
        }
        if message:
            status["message"] = message
        if exit_code is not None or cause or phases:
            status["data"] = encode_status_data(exit_code, cause, phases)
        self._statuses[status["uuid"]] = status
        self._unposted[status["uuid"]] = None

    def acknowledge(self, uuid: str) -> None:
        """Forget an update that the scheduler has acknowledged."""
        self._statuses.pop(uuid, None)
        self._unposted.pop(uuid, None)

    def unposted(self) -> list[dict[str, Any]]:
        """Return the statuses that the agent has not been given."""
        return [self._statuses[uuid] for uuid in self._unposted]

    def posted(self, uuid: str) -> None:
        """Note that the agent has been given an update."""
        self._unposted.pop(uuid, None)

    def unacknowledged(self) -> list[dict[str, Any]]:
        """Return the statuses for SUBSCRIBE."""
        return list(self._statuses.values())
