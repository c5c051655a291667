"""A Dask worker's watch over its own memory: a task that outgrows the worker is named before the worker is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

#: Seconds between two looks, at the least and at the most; in between, those that filling what is left takes.
LEAST, MOST = 0.05, 0.5
#: Bytes a second; memory is filled at 1 to 2 GiB/s.
FILLING = 2 << 30
#: Of its memory: more than that, and the executor is about to end it.
FRACTION = 0.95


class MemoryWatch:
    """A thread that calls `on_over` once, with the bytes in use, when this process uses more than it may.

    Dask's own Nanny, which ends such a worker at 95 %, is not there: the executor ends it at its limit, which Mesos
    tells, and a task of that kind would then kill worker after worker.

    Parameters
    ----------
    limit : int
        Bytes.
    on_over : callable
    """

    def __init__(self, limit: int, on_over: Callable[[int], None]) -> None:
        self._limit, self._on_over = limit, on_over
        self._stopped = threading.Event()
        self._process = psutil.Process()
        self._thread = threading.Thread(target=self._watch, name="t2-dask-memory", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            used = self._process.memory_info().rss
            if used > FRACTION * self._limit:
                self._on_over(used)
                return
            time.sleep(pause(used, self._limit))


def pause(used: int, limit: int) -> float:
    """Return the seconds until the next look: each takes the interpreter from a task for a moment.

    Parameters
    ----------
    used, limit : int
        Bytes.
    """
    return min(MOST, max(LEAST, (FRACTION * limit - used) / FILLING))
