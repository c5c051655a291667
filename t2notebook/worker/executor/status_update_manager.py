"""Gives the agent an executor's status updates: in order, again where that fails, shorter where it refuses them."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from ...model.states import TaskState
from .agent_api import Agent, Refused
from .event_loop import Loop, Timer
from .status_updates import RUNNING_DELAY, UpdateLog
from .task import log

_RETRY = 1.0


class StatusUpdateManager:
    """The updates of an executor on their way to its agent.

    Parameters
    ----------
    agent : Agent
    loop : Loop
        It is woken when something is to be posted; whoever runs it calls `post` after each round.

    Attributes
    ----------
    log : UpdateLog
        Those that are not acknowledged.
    has_lost_an_end : bool
        Whether the end of a task could not be told: its agent tells it when the executor has ended.
    """

    def __init__(self, agent: Agent, loop: Loop) -> None:
        self._agent, self._loop = agent, loop
        self.log = UpdateLog()
        self.has_lost_an_end = False
        self._retry: Timer | None = None

    def add(self, task_id: str, state: TaskState, **facts: Any) -> None:
        """Add an update.

        Parameters
        ----------
        task_id : str
        state : TaskState
        **facts
            As of `UpdateLog.add`.
        """
        self.log.add(task_id, f"TASK_{state}", **facts)
        if state is TaskState.RUNNING:
            self._loop.call_later(RUNNING_DELAY, lambda: None)

    def carried(self) -> None:
        """Note that SUBSCRIBE has given the agent all that it had not acknowledged."""
        for status in self.log.unacknowledged():
            self.log.posted(status["uuid"])

    def post(self) -> None:
        """Give the agent what it has not been given; what fails now is tried again, if need be by SUBSCRIBE."""
        for status in self.log.unposted():
            try:
                self._agent.update(status)
            except Refused as error:
                if not error.is_transient and error.status != 403:
                    self._replace(status, error)
                    continue
                self._post_later()
                return
            except (OSError, http.client.HTTPException):
                self._post_later()
                return
            self.log.posted(status["uuid"])

    def simplify_all(self, error: Refused) -> bool:
        """Shorten what SUBSCRIBE repeats; return whether there was anything to leave out.

        Parameters
        ----------
        error : Refused
            The agent's answer to that.
        """
        shortened = [self.log.simplify(one["uuid"], str(error)) for one in self.log.unacknowledged()]
        if any(shortened):
            log(f"the agent refuses the updates that this executor repeats: {error}")
        return any(shortened)

    def _replace(self, status: Mapping[str, Any], error: Refused) -> None:
        """Have a refused update followed by one that says less, at once; a task must not end unheard."""
        task_id, state = status["task_id"]["value"], status["state"]
        log(f"the agent refuses the update {state} of {task_id}: {error}")
        if self.log.simplify(status["uuid"], str(error)):
            self._post_later(0.0)
            return
        self.log.acknowledge(status["uuid"])
        if TaskState.from_mesos(state).is_terminal:
            log(f"{task_id}: its end cannot be told; ending after the other workers")
            self.has_lost_an_end = True

    def _post_later(self, pause: float = _RETRY) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._loop.call_later(pause, lambda: None)
