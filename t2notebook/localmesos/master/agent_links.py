"""The agents behind the master's links: one alone on its link, or a crowd of simulated ones that share one."""

from __future__ import annotations

import uuid

from ..common.link import Json, Link

Key = tuple[Link, int | None]


class Peers:
    """Names the agents' ends of links, and sends to them by name.

    To a crowd, messages are gathered until `flush` and go out as one.

    Attributes
    ----------
    muted
        Places (indices in the cluster) of agents that nothing is sent to and nothing heard of.
    """

    def __init__(self) -> None:
        self._names: dict[Link, dict[int | None, str]] = {}
        self._keys: dict[str, Key] = {}
        self._places: dict[str, int] = {}
        self.muted: set[int] = set()
        self._gathered: dict[Link, list[tuple[int, Json]]] = {}

    def name(self, peer: Link, index: int | None) -> str | None:
        """Give a known agent's name."""
        return self._names.get(peer, {}).get(index)

    def names(self, peer: Link) -> list[str]:
        """Give the names of all agents behind a link that are not muted."""
        names = list(self._names.get(peer, {}).values())
        return [name for name in names if not self.silent(name)] if self.muted else names

    def introduce(self, peer: Link, index: int | None, place: int) -> str:
        """Name an agent that registers."""
        name = str(uuid.uuid4())
        self._names.setdefault(peer, {})[index] = name
        self._keys[name] = (peer, index)
        self._places[name] = place
        return name

    def place(self, name: str) -> int | None:
        """Give an agent's index in the cluster."""
        return self._places.get(name)

    def silent(self, name: str) -> bool:
        """Tell whether an agent is muted."""
        return bool(self.muted) and self._places.get(name) in self.muted

    def close(self, place: int) -> None:
        """Close the link of an agent, so that it registers anew."""
        for name in [name for name, found in self._places.items() if found == place]:
            self.send(name, {"op": "close"})

    def lost(self, peer: Link) -> list[str]:
        """Forget a link; give the names of the agents that were behind it."""
        self._gathered.pop(peer, None)
        names = list(self._names.pop(peer, {}).values())
        for name in names:
            self._keys.pop(name, None)
            self._places.pop(name, None)
        return names

    def send(self, name: str, message: Json) -> None:
        """Send to an agent; a message that closes its link concerns it alone."""
        key = self._keys.get(name)
        if key is None or self.silent(name):
            return
        peer, index = key
        if index is not None:
            self._gathered.setdefault(peer, []).append((index, message))
            if message["op"] == "close":
                del self._keys[name], self._places[name], self._names[peer][index]
        elif message["op"] == "close":
            peer.close()
        else:
            peer.send(message)

    @property
    def waiting(self) -> bool:
        """Tell whether there is something to flush."""
        return bool(self._gathered)

    def flush(self) -> None:
        """Send what was gathered."""
        gathered, self._gathered = self._gathered, {}
        for peer, pairs in gathered.items():
            peer.send({"op": "many", "messages": pairs})
