"""Faults on demand: what can be made to go wrong, as requests, and what of them a master has to mind. Pure.

========  ==============================  =============================================================
request   arguments                       what happens
========  ==============================  =============================================================
kill      process                         "agent1" or "master" gets SIGKILL, and stays dead
start     process                         it is started again (a new master remembers nothing)
restart   process, pause=0                both, with a pause in between (seconds)
drop      agent, seconds=for ever         neither side hears the other any more
heal      agent                           it does again, and the agent registers anew
delay     seconds, agent=all              agents' status updates reach the master so much later; 0 ends it
repeat    times, agent=all                frameworks get each update so many times more; 0 ends it
rescind   agent=all                       outstanding offers are rescinded
========  ==============================  =============================================================

An agent is named "agent1", "agent2", ...; the simulated ones go on counting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

HELP = (
    "after so many seconds: kill:PROCESS, restart:PROCESS[:PAUSE], drop:AGENT[:SECONDS], heal:AGENT, "
    "delay:SECONDS[:AGENT], repeat:TIMES[:AGENT], rescind[:AGENT]; PROCESS is master or an AGENT, which is agent1, ..."
)


def _agent(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError
    number = text.removeprefix("agent")
    if number == text or not number.isascii() or not number.isdigit() or number.startswith("0"):
        raise ValueError(f"'{text}' is no agent: they are agent1, agent2, ...")
    return text


def _process(text: Any) -> str:
    return str(text) if re.fullmatch(r"master[2-9]?|simulator", text) else _agent(text)


def _seconds(text: Any) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(f"'{text}' are no seconds")
    return value


def _times(text: Any) -> int:
    value = int(text)
    if not 0 <= value <= 1000:
        raise ValueError(f"'{text}' times: 0 to 1000")
    return value


Reader = Callable[[Any], Any]

REQUESTS: dict[str, tuple[tuple[str, Reader, bool], ...]] = {
    "kill": (("process", _process, True),),
    "start": (("process", _process, True),),
    "restart": (("process", _process, True), ("pause", _seconds, False)),
    "drop": (("agent", _agent, True), ("seconds", _seconds, False)),
    "heal": (("agent", _agent, True),),
    "delay": (("seconds", _seconds, True), ("agent", _agent, False)),
    "repeat": (("times", _times, True), ("agent", _agent, False)),
    "rescind": (("agent", _agent, False),),
}
"""By name, the arguments in their order: name, reader, whether it must be there."""

OF_PROCESSES = frozenset({"kill", "start", "restart"})
"""Requests that the supervisor performs; the others are the master's."""


@dataclass(frozen=True)
class Timed:
    """A fault to come."""

    after: float
    request: Json


def parse(text: str) -> Timed:
    """Read `SECONDS:WHAT[:ARGUMENT...]`.

    Raises
    ------
    ValueError
        It is none; the text says why.
    """
    after, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"'{text}' is not SECONDS:WHAT")
    name, *arguments = rest.split(":")
    specs = REQUESTS.get(name)
    if specs is None or len(arguments) > len(specs):
        raise ValueError(f"'{rest}' is none of: {HELP}")
    given = {spec[0]: value for spec, value in zip(specs, arguments, strict=False)}
    return Timed(_seconds(after), check({"op": name, **given}))


def check(request: Any) -> Json:
    """Check a request, and give it with its arguments as they are meant.

    Raises
    ------
    ValueError
        It is none; the text says why.
    """
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise ValueError("a fault is an object with 'op'")
    specs = REQUESTS.get(request["op"])
    if specs is None:
        raise ValueError(f"no fault '{request['op']}': there are {', '.join(REQUESTS)}")
    found: Json = {"op": request["op"]}
    for name, reader, needed in specs:
        value = request.get(name)
        if value is not None:
            try:
                found[name] = reader(value)
            except TypeError:
                raise ValueError(f"'{name}' has the wrong type") from None
        elif needed:
            raise ValueError(f"'{request['op']}' needs '{name}'")
    return found


def index_of(agent: str) -> int:
    """Give an agent's index in the cluster, from 0."""
    return int(agent.removeprefix("agent")) - 1


@dataclass
class LinkFaults:
    """The faults of links that are in force, by agent's index (None stands for all)."""

    dropped: dict[int, float] = field(default_factory=dict)
    delays: dict[int | None, float] = field(default_factory=dict)
    repeats: dict[int | None, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.dropped or self.delays or self.repeats)

    def add(self, now: float, request: Json) -> None:
        """Put a checked request (drop, heal, delay, repeat) in force, or end it."""
        op = request["op"]
        index = index_of(request["agent"]) if "agent" in request else None
        if op == "drop" and index is not None:
            self.dropped[index] = now + request.get("seconds", math.inf)
        elif op == "heal" and index is not None:
            self.dropped.pop(index, None)
        elif op == "delay":
            _set(self.delays, index, request["seconds"])
        elif op == "repeat":
            _set(self.repeats, index, request["times"])

    def healed(self, now: float) -> list[int]:
        """Give (and forget) the agents whose time of silence is over."""
        found = [index for index, until in self.dropped.items() if until <= now]
        for index in found:
            del self.dropped[index]
        return found

    def delay(self, index: int) -> float:
        """Give how much later an agent's updates arrive."""
        return self.delays.get(index, self.delays.get(None, 0.0))

    def times(self, index: int) -> int:
        """Give how many times more a framework gets an agent's update."""
        return self.repeats.get(index, self.repeats.get(None, 0))


def _set(table: dict[int | None, Any], index: int | None, value: float) -> None:
    if value:
        table[index] = value
    elif index is None:
        table.clear()
    else:
        table.pop(index, None)
