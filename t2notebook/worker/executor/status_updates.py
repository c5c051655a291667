"""Status updates until the agent has acknowledged them, and what takes the place of one that it refuses.

That a worker runs is told a moment later than it could be: of one that has ended by then, one update tells both.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...model.states import TaskState
from ...model.text import sendable
from ...model.use import Use
from ...protocol.launch import Cause, encode_status_data

#: Characters of a message; Mesos sets no limit, and keeps each in the master's memory.
MAX_MESSAGE = 4000
#: The same of a message that stands in a refused one's place.
_SHORT = 300
#: Seconds for which RUNNING waits for the worker's end: most workers of small jobs take no longer, and each update
#: passes through agent, master and session, and its acknowledgement back.
RUNNING_DELAY = 0.03


@dataclass(frozen=True)
class _Running:
    """A RUNNING that has not been told: its uuid, since when it is so on the monotonic clock, and its phases."""

    uuid: str
    since: float
    phases: Mapping[str, float]


class UpdateLog:
    """The updates that are not acknowledged, oldest first, and which of them the agent has not been given."""

    def __init__(self) -> None:
        self._statuses: dict[str, dict[str, Any]] = {}  # by uuid
        self._unposted: dict[str, None] = {}  # an ordered set of uuids
        self._simplified: dict[str, int] = {}  # by uuid: how often
        self._running: dict[str, _Running] = {}  # by task: told to nobody yet

    def add(
        self,
        task_id: str,
        state: str,
        message: str = "",
        exit_code: int | None = None,
        cause: Cause = Cause.NONE,
        phases: Mapping[str, float] | None = None,
        reason: str = "",
        use: Use | None = None,
        result: Mapping[str, str] | None = None,
    ) -> None:
        """Add an update.

        Parameters
        ----------
        task_id : str
        state, reason : str
            In Mesos's names.
        message : str
        exit_code : int, optional
        cause : Cause
        phases : mapping, optional
            Seconds, by the names of `model.metrics.PHASES`.
        use : Use, optional
            What the worker has used.
        result : mapping, optional
            Its result, as `compressed_result` gives it.
        """
        now, phases, ran = time.monotonic(), dict(phases or {}), None
        if (running := self._running.pop(task_id, None)) is not None and TaskState.from_mesos(
            state
        ).is_terminal:
            ran, phases = now - running.since, {**running.phases, **phases}
            self.acknowledge(running.uuid)
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
        if reason:
            status["reason"] = reason
        if message:
            status["message"] = sendable(message, MAX_MESSAGE)
        if exit_code is not None or cause or phases or use is not None or ran is not None:
            status["data"] = encode_status_data(exit_code, cause, phases, use, result, ran)
        if state == "TASK_RUNNING":
            self._running[task_id] = _Running(status["uuid"], now, phases)
        self._statuses[status["uuid"]] = status
        self._unposted[status["uuid"]] = None

    def acknowledge(self, uuid: str) -> None:
        """Forget an update that the scheduler has acknowledged."""
        self._statuses.pop(uuid, None)
        self._unposted.pop(uuid, None)
        self._simplified.pop(uuid, None)

    def simplify(self, uuid: str, why: str) -> bool:
        """Make an update that the agent refuses one that says less; return whether there was anything to leave out.

        First the message becomes short and ASCII, and says that the whole was refused; then there is none, nor `data`,
        of which the exit code and the cause are lost; a result is in the sandbox, too. State, task and uuid stay.
        """
        status = self._statuses.get(uuid)
        times = self._simplified[uuid] = self._simplified.get(uuid, 0) + 1
        if status is None or times > 2 or (times == 2 and not {"message", "data"}.intersection(status)):
            return False
        message = status.pop("message", "")
        if times == 1:
            plain = message[:_SHORT].encode("ascii", "backslashreplace").decode("ascii")
            told = sendable(" ".join(why.split()), 200)
            status["message"] = f"{plain} (the agent refused the whole message: {told})".strip()
        else:
            status.pop("data", None)
        return True

    def unposted(self) -> list[dict[str, Any]]:
        """Return the statuses that the agent has not been given, but those that may yet become part of another."""
        latest = time.monotonic() - RUNNING_DELAY
        waiting = {running.uuid for running in self._running.values() if running.since > latest}
        return [self._statuses[uuid] for uuid in self._unposted if uuid not in waiting]

    def posted(self, uuid: str) -> None:
        """Note that the agent has been given an update."""
        self._unposted.pop(uuid, None)
        if (status := self._statuses.get(uuid)) is not None:
            self._running.pop(status["task_id"]["value"], None)

    def unacknowledged(self) -> list[dict[str, Any]]:
        """Return the statuses for SUBSCRIBE."""
        return list(self._statuses.values())
