"""Status updates until they are acknowledged: one in flight a task, repeated after 10 s doubling to 10 min. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ...common.task_states import TERMINAL, Json

RETRY_FIRST = 10.0
RETRY_LONGEST = 600.0

Key = tuple[str, str]
"""(framework id, task id)"""

REMEMBERED = 50
"""Uuids of a task that are checkpointed: an executor repeats only what was not acknowledged to it."""


@dataclass
class _Stream:
    pending: deque[Json] = field(default_factory=deque)
    seen: dict[str, None] = field(default_factory=dict)
    latest: str = "TASK_STAGING"
    terminal: bool = False
    due: float = 0.0
    interval: float = RETRY_FIRST


class StatusUpdateManager:
    """All tasks' updates on one agent."""

    def __init__(self) -> None:
        self._streams: dict[Key, _Stream] = {}

    def add(self, key: Key, status: Json, now: float) -> Json | None:
        """Queue an update; give it back if it is to be sent now.

        A second update of one uuid is the executor's retry and is dropped; so is any after a terminal one.

        Parameters
        ----------
        now
            Seconds of the caller's steady clock.
        """
        stream = self._streams.setdefault(key, _Stream())
        if stream.terminal or status["uuid"] in stream.seen:
            return None
        stream.seen[status["uuid"]] = None
        stream.latest = status["state"]
        stream.terminal = status["state"] in TERMINAL
        stream.pending.append(status)
        return self._start(stream, now) if len(stream.pending) == 1 else None

    def acknowledge(self, key: Key, uuid: str, now: float) -> tuple[bool, Json | None]:
        """Note an acknowledgement.

        Parameters
        ----------
        uuid
            Of the update that it is for.
        now
            Seconds of the caller's steady clock.

        Returns
        -------
        tuple
            Whether the task is done with, and the next update to send.
        """
        stream = self._streams.get(key)
        if stream is None or not stream.pending or stream.pending[0]["uuid"] != uuid:
            return False, None
        stream.pending.popleft()
        if stream.pending:
            return False, self._start(stream, now)
        if stream.terminal:
            del self._streams[key]
            return True, None
        return False, None

    def latest(self, key: Key) -> str | None:
        """Give the newest state of a task, sent or not."""
        stream = self._streams.get(key)
        return None if stream is None else stream.latest

    def due(self, now: float) -> list[tuple[Key, Json]]:
        """Give what is to be sent again, and double its wait."""
        found = []
        for key, stream in self._streams.items():
            if stream.pending and now >= stream.due:
                stream.interval = min(stream.interval * 2, RETRY_LONGEST)
                stream.due = now + stream.interval
                found.append((key, stream.pending[0]))
        return found

    def in_flight(self) -> list[tuple[Key, Json]]:
        """Give every task's first unacknowledged update (sent again when the link is new)."""
        return [(key, stream.pending[0]) for key, stream in self._streams.items() if stream.pending]

    def first(self, key: Key) -> Json | None:
        """Give a task's first unacknowledged update."""
        stream = self._streams.get(key)
        return stream.pending[0] if stream is not None and stream.pending else None

    def forget(self, key: Key) -> None:
        """Drop a task's updates."""
        self._streams.pop(key, None)

    def forget_framework(self, framework_id: str) -> None:
        """Drop a removed framework's updates: nobody will acknowledge them."""
        for key in [key for key in self._streams if key[0] == framework_id]:
            del self._streams[key]

    def dump(self, key: Key) -> Json | None:
        """Give what has to be known of a task's updates after a restart; None when they are done with."""
        stream = self._streams.get(key)
        if stream is None:
            return None
        seen = list(stream.seen)[-REMEMBERED:]
        return {"pending": list(stream.pending), "seen": seen, "latest": stream.latest}

    def restore(self, key: Key, dumped: Json, now: float) -> None:
        """Take up a task's updates again.

        Parameters
        ----------
        dumped
            What `dump` gave.
        now
            Seconds of the caller's steady clock.
        """
        stream = self._streams[key] = _Stream(deque(dumped["pending"]), dict.fromkeys(dumped["seen"]))
        stream.latest = dumped["latest"]
        stream.terminal = stream.latest in TERMINAL
        if stream.pending:
            self._start(stream, now)

    @staticmethod
    def _start(stream: _Stream, now: float) -> Json:
        stream.interval = RETRY_FIRST
        stream.due = now + RETRY_FIRST
        return stream.pending[0]
