"""The factor by which a machine that others use as well is slower, for limits that are meant for an idle one."""

from __future__ import annotations

import time

#: Seconds of processor time that are looked at, and in how many pieces with a pause before each.
_WORK, _PIECES = 0.05, 5


def slowness() -> float:
    """Return how many times longer than its processor time a piece of work takes here and now; 1 on an idle machine."""
    took = spent = 0.0
    for _ in range(_PIECES):
        time.sleep(0.002)  # whoever has slept is woken late on a busy machine, which counts as well
        began, used = time.perf_counter(), time.thread_time()
        while time.thread_time() - used < _WORK / _PIECES:
            pass
        took += time.perf_counter() - began
        spent += time.thread_time() - used
    return max(1.0, took / spent)


def longer(seconds: float) -> float:
    """Return a limit for what takes less than `seconds` on an idle machine.

    An idle machine keeps the limit. A busy one has twice what its slowness makes of it, since what several processes do
    in turn is put off in each.
    """
    factor = slowness()
    return seconds if factor < 1.1 else seconds * 2 * factor
