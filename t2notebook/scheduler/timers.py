"""Timers by name, on the event loop: each is set once, and comes once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timers:
    """Named timers of the running event loop."""

    def __init__(self) -> None:
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def now(self) -> float:
        """Return a time, in seconds, that no adjustment of the clock moves."""
        return asyncio.get_running_loop().time()

    def later(self, name: str, delay: float, callback: Callable[[], None], sooner: bool = False) -> None:
        """Call once, `delay` seconds from now; what is due already stays, unless this is to be `sooner`."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(name)
        if timer is not None and not timer.cancelled():
            if not sooner or timer.when() <= loop.time() + delay:
                return
            timer.cancel()

        def fire() -> None:
            del self._timers[name]
            callback()

        self._timers[name] = loop.call_later(delay, fire)

    def close(self) -> None:
        """Stop all."""
        for timer in self._timers.values():
            timer.cancel()
