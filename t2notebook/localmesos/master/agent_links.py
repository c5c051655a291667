"""Links to agents: one agent alone on its link, or a crowd of simulated ones that share one."""

from __future__ import annotations

import uuid

from ..common.link import Json, Link

Key = tuple[Link, int | None]
"""A link, and the member of the crowd behind it (None: there is one agent)."""


class AgentLinks:
    """Names the agents' ends of links, and sends to them by name.

    To a crowd, messages are gathered until `flush` and go out as one.

    Attributes
    ----------
    muted
        Indices (in the cluster) of agents that nothing is sent to and nothing heard of.
    """

    def __init__(self) -> None:
        self._names: dict[Link, dict[int | None, str]] = {}
        self._keys: dict[str, Key] = {}
        self._indices: dict[str, int] = {}
        self.muted: set[int] = set()
        self._gathered: dict[Link, list[tuple[int, Json]]] = {}

    def name(self, link: Link, member: int | None) -> str | None:
        """Give a known agent's name."""
        return self._names.get(link, {}).get(member)

    def names(self, link: Link) -> list[str]:
        """Give the names of all agents behind a link that are not muted."""
        names = list(self._names.get(link, {}).values())
        return [name for name in names if not self.silent(name)] if self.muted else names

    def introduce(self, link: Link, member: int | None, index: int) -> str:
        """Name an agent that registers.

        Parameters
        ----------
        member
            Its number in the crowd behind the link; None if it is alone there.
        index
            Its number in the cluster.
        """
        name = str(uuid.uuid4())
        self._names.setdefault(link, {})[member] = name
        self._keys[name] = (link, member)
        self._indices[name] = index
        return name

    def index(self, name: str) -> int | None:
        """Give an agent's number in the cluster."""
        return self._indices.get(name)

    def silent(self, name: str) -> bool:
        """Tell whether an agent is muted."""
        return bool(self.muted) and self._indices.get(name) in self.muted

    def close(self, index: int) -> None:
        """Close the link of an agent, so that it registers anew."""
        for name in [name for name, found in self._indices.items() if found == index]:
            self.send(name, {"op": "close"})

    def lost(self, link: Link) -> list[str]:
        """Forget a link; give the names of the agents that were behind it."""
        self._gathered.pop(link, None)
        names = list(self._names.pop(link, {}).values())
        for name in names:
            self._keys.pop(name, None)
            self._indices.pop(name, None)
        return names

    def send(self, name: str, message: Json) -> None:
        """Send to an agent; a message that closes its link concerns it alone."""
        key = self._keys.get(name)
        if key is None or self.silent(name):
            return
        link, member = key
        if member is not None:
            self._gathered.setdefault(link, []).append((member, message))
            if message["op"] == "close":
                del self._keys[name], self._indices[name], self._names[link][member]
        elif message["op"] == "close":
            link.close()
        else:
            link.send(message)

    @property
    def waiting(self) -> bool:
        """Tell whether there is something to flush."""
        return bool(self._gathered)

    def flush(self) -> None:
        """Send what was gathered."""
        gathered, self._gathered = self._gathered, {}
        for link, pairs in gathered.items():
            link.send({"op": "many", "messages": pairs})
