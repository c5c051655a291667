"""Workers that wait in the debugger, and the driver that is attached: what either says in, words to both out. Pure.

A worker that stops asks for a line, numbered, with what it has printed since the last one; who is attached gives it.
While any worker is held, the job's clocks stand still.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .actions import Action, Answer, Hold

#: Seconds after its last word in which an attached driver counts as there; it says something every third of that.
LEASE = 60.0
#: Characters of output that are kept until somebody reads them: the last ones.
MOST_OUTPUT = 200_000


@dataclass(slots=True)
class _Held:
    why: str
    timeout: float
    until: float
    output: str = ""
    prompt: str = ""
    request: int | None = None
    seen: int = -1  # the last question whose output has been taken
    line: tuple[int, Mapping[str, Any]] | None = None  # the last answer, for a question that is repeated
    driver: str = ""
    lease: float = 0.0


class Debugger:
    """The held workers of a job."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self._since = 0.0

    @property
    def is_holding(self) -> bool:
        """Whether a worker is held."""
        return bool(self._held)

    @property
    def next_deadline(self) -> float:
        """The time by which `tick` is to be called; infinite: not at all."""
        return min(
            (min(one.until, one.lease if one.driver else math.inf) for one in self._held.values()),
            default=math.inf,
        )

    # What workers say.

    def ask(self, worker_id: int, request: int, record: Mapping[str, Any], now: float) -> list[Action]:
        """Take a worker's question for a line; it may repeat it.

        Parameters
        ----------
        worker_id, request : int
        record : mapping
            ``why`` it is held, its ``output`` and ``prompt``, and the seconds after which it goes on if nobody comes.
        now : float
        """
        held, actions = self._held.get(worker_id), list[Action]()
        if held is None:
            if not self._held:
                self._since = now
            timeout = _number(record.get("timeout"))
            why = str(record.get("why", ""))[:500]
            held = self._held[worker_id] = _Held(why, timeout, now + timeout)
            actions.append(Hold(worker_id, why))
        if held.line is not None and held.line[0] == request:
            return [*actions, Answer(worker_id, request, held.line[1])]
        if request > held.seen:
            held.seen = request
            held.output = (held.output + str(record.get("output", "")))[-MOST_OUTPUT:]
            held.prompt = str(record.get("prompt", ""))[:200]
        held.request = request
        return actions

    def end(
        self, worker_id: int, request: int, record: Mapping[str, Any], now: float
    ) -> tuple[list[Action], float]:
        """A worker goes on; return also for how many seconds the clocks have stood still, if they go again.

        Parameters
        ----------
        worker_id, request : int
        record : mapping
        now : float
        """
        actions, stood = self.drop(worker_id, now)
        return [*actions, Answer(worker_id, request, {})], stood

    def drop(self, worker_id: int, now: float) -> tuple[list[Action], float]:
        """A worker is held no more, whatever has become of it."""
        if self._held.pop(worker_id, None) is None:
            return [], 0.0
        return [Hold(worker_id, "")], 0.0 if self._held else now - self._since

    def disconnected(self, worker_id: int) -> None:
        """A worker's connection broke: it asks again."""
        if (held := self._held.get(worker_id)) is not None:
            held.request = None

    # What the driver says.

    def drive(
        self, worker_id: int, record: Mapping[str, Any], now: float
    ) -> tuple[dict[str, Any], list[Action]]:
        """Take a word of a driver's, and return the answer, and actions.

        Parameters
        ----------
        worker_id : int
        record : mapping
            ``do`` is ``"attach"``, ``"line"`` (with ``line``), ``"poll"``, ``"ping"`` or ``"detach"``; ``driver`` says
            which one.
        now : float

        Returns
        -------
        dict
            ``output`` since the last answer, and ``prompt`` when a line is asked for; ``ended`` when the worker is not
            held (any more), ``error`` when another driver is attached.
        """
        held, driver, do = self._held.get(worker_id), str(record.get("driver", "")), record.get("do")
        if held is None:
            return {"ended": True}, []
        if held.driver and held.driver != driver and held.lease > now:
            return {
                "error": f"somebody else is attached to worker {worker_id} (a kernel that has died is, for a minute)"
            }, []
        if do == "detach":
            if held.driver == driver:
                self._free(held, now)
            return {}, []
        held.driver, held.lease, held.until = driver, now + LEASE, math.inf
        if do == "ping":
            return {}, []
        actions: list[Action] = []
        if do == "line" and held.request is not None:
            answer = {"line": str(record.get("line", ""))}
            held.line = held.request, answer
            actions.append(Answer(worker_id, held.request, answer))
            held.request = None
        output, held.output = held.output, ""
        asks = held.request is not None
        return {"output": output, "why": held.why, **({"prompt": held.prompt} if asks else {})}, actions

    def tick(self, now: float) -> list[Action]:
        """Let those go on to whom nobody has come, and forget drivers that say nothing any more."""
        actions: list[Action] = []
        for worker_id, held in self._held.items():
            if held.driver and held.lease <= now:
                self._free(held, now)
            if held.until <= now:
                held.until = math.inf
                if held.request is not None:
                    answer = {"end": f"nobody attached for {held.timeout:g} s"}
                    held.line = held.request, answer
                    actions.append(Answer(worker_id, held.request, answer))
                    held.request = None
        return actions

    @staticmethod
    def _free(held: _Held, now: float) -> None:
        held.driver, held.until = "", now + held.timeout


def _number(value: Any) -> float:
    limit = 365.0 * 86400.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 600.0
    return min(max(0.0, float(value)), limit)
