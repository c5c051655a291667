"""Calls of executors over HTTP: an agent's ``/api/v1/executor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..common.link import Json
from ..http import http1, recordio
from ..http.server import Answer, EventStream
from ..v1 import executor_calls, requests
from .agent import Agent
from .state.model import ExecutorRun, ExecutorState

EXECUTOR_HEARTBEAT = 30 * 60.0


class ExecutorApi:
    """Takes what executors call.

    Parameters
    ----------
    agent
    later
        ``later(seconds, call)`` calls something later.
    """

    def __init__(self, agent: Agent, later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._agent, self._later = agent, later

    def handle(self, request: http1.Request) -> Answer:
        """Answer one request.

        Raises
        ------
        Refused
            When it is no such call.
        """
        call = requests.read(request, "executor.Call", "Executor::Call", executor_calls.executor_call)
        framework = self._agent.state.frameworks.get(call["framework_id"]["value"])
        if framework is None:
            return http1.text(400, "Framework cannot be found")
        run = framework.executors.get(call["executor_id"]["value"])
        if run is None or run.command:
            return http1.text(400, "Executor cannot be found")
        if call["type"] == "SUBSCRIBE":
            requests.check_accept(request)
            return self._subscribe(run, call)
        if run.state is ExecutorState.REGISTERING:
            return http1.text(403, "Executor is not subscribed")
        if call["type"] == "UPDATE":
            self._agent.updates.from_executor(run, call["update"]["status"])
        elif call["type"] == "MESSAGE":
            self._agent.custom.message(run, call["message"]["data"])
        return http1.Response(202)

    def _subscribe(self, run: ExecutorRun, call: Json) -> EventStream:
        stream = EventStream([("Content-Type", http1.JSON)])

        def lost() -> None:
            if run.stream is stream:
                run.stream = None

        def beat() -> None:
            if run.stream is stream:
                stream.send(recordio.encode_event({"type": "HEARTBEAT"}))
                self._later(EXECUTOR_HEARTBEAT, beat)

        stream.on_close = lost
        self._agent.custom.subscribe(run, stream, call)
        self._later(EXECUTOR_HEARTBEAT, beat)
        return stream
