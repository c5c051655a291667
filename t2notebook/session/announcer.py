"""Tells the executors of a framework that was taken over where its session is now, until each has answered."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..journal.job_store import JobRecord
from ..model.text import dumps
from ..protocol import auth

log = logging.getLogger(__name__)

#: Mesos delivers a framework message once or not at all: pauses between attempts, seconds.
FIRST, CAP = 0.5, 30.0


@dataclass
class _Executor:
    agent: str
    data: str
    pause: float = FIRST
    timer: asyncio.TimerHandle | None = None


class Announcer:
    """Sends ``{"kind": "session", "url": ..., "claims": ..., "jobs": {job id: signature}}``.

    The signature is under the job's secret, which only its executors have; `claims` grows with each session
    that takes the framework over, so that an old message convinces nobody.

    Parameters
    ----------
    url : str
        Where workers reach this session.
    claims : int
        How often the journal has been taken over; of a job master, how often it has been launched.
    send : callable
        Called with ``(executor id, agent id, data)``; `data` is base64.
    kind : str
        ``"session"``, or ``"job_master"`` where it is a job master on the cluster that has moved.
    """

    def __init__(
        self, url: str, claims: int, send: Callable[[str, str, str], None], kind: str = "session"
    ) -> None:
        self._url, self._claims, self._send_now = url, claims, send
        self._kind = kind
        self._executors: dict[str, _Executor] = {}

    def __len__(self) -> int:
        return len(self._executors)

    def tell(self, executor_id: str, agent: str, jobs: Iterable[JobRecord]) -> None:
        """Tell an executor, now and again, until it has answered or `forget` is called.

        Parameters
        ----------
        executor_id, agent : str
        jobs : iterable of JobRecord
            Those whose workers it runs.
        """
        self.forget(executor_id)
        record = {
            "kind": self._kind,
            "url": self._url,
            "claims": self._claims,
            "jobs": {
                job.job_id: auth.sign_move(job.secret, self._url, self._claims, self._kind) for job in jobs
            },
        }
        data = base64.b64encode(dumps(record).encode()).decode("ascii")
        self._executors[executor_id] = _Executor(agent, data)
        self._send(executor_id)

    def heard(self, executor_id: str, data: str) -> None:
        """Take what an executor says; an answer to the last message ends the repetition."""
        try:
            record: dict[str, Any] = json.loads(base64.b64decode(data))
            is_ours = record["kind"] == self._kind and record["claims"] == self._claims
            if is_ours and record.get("url", self._url) == self._url:
                self.forget(executor_id)
        except (ValueError, KeyError, TypeError):
            log.warning("executor %s said something else than an answer", executor_id)

    def forget(self, executor_id: str) -> None:
        """Tell an executor no more."""
        executor = self._executors.pop(executor_id, None)
        if executor is not None and executor.timer is not None:
            executor.timer.cancel()

    def close(self) -> None:
        """Tell nobody any more."""
        for executor_id in list(self._executors):
            self.forget(executor_id)

    def _send(self, executor_id: str) -> None:
        executor = self._executors[executor_id]
        self._send_now(executor_id, executor.agent, executor.data)
        executor.timer = asyncio.get_running_loop().call_later(executor.pause, self._send, executor_id)
        executor.pause = min(CAP, 2 * executor.pause)
