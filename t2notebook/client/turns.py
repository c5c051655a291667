"""Turns for a process's other threads while one of ours has much to do."""

from __future__ import annotations

import time

#: Seconds of work at a time, and of a pause that is long enough for another thread to wake.
WORK, PAUSE = 0.002, 0.0001


class Turns:
    """Lets other threads run between two pieces of work.

    A thread that computes lets the interpreter's lock go only when another has waited for it for 5 ms, so a user's cell
    would be late by that again and again while the events of a large job come.
    """

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def next(self) -> None:
        """Say that a piece of work is done, between two of which nothing of the caller's is held."""
        if time.perf_counter() - self._begun > WORK:
            time.sleep(PAUSE)
            self._begun = time.perf_counter()
