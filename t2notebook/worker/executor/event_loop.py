"""A selector with timers and signals: all that an executor waits for, in one place and one thread."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

Callback = Callable[[], None]


class Timer:
    """A callback that waits for its time; `cancel` takes it back."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Let it pass without a call."""
        self.callback = None


class Loop:
    """Waits for descriptors, timers and signals."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._on_signal: dict[int, Callback] = {}
        self._wake, self._woken = os.pipe()
        for number in (self._wake, self._woken):
            os.set_blocking(number, False)
        self.add_reader(self._wake, self._drain)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def add_reader(self, file: Any, callback: Callback) -> None:
        """Call `callback` whenever `file` (or descriptor) can be read."""
        self._selector.register(file, selectors.EVENT_READ, (callback, None))

    def remove_reader(self, file: Any) -> None:
        """Stop watching `file`, also for writing; it has to be open still."""
        self._selector.unregister(file)

    def watch_writing(self, file: Any, callback: Callback | None) -> None:
        """Call `callback` whenever `file`, which has a reader, can be written; None: no more."""
        reader = self._selector.get_key(file).data[0]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if callback is not None else 0)
        self._selector.modify(file, events, (reader, callback))

    def on_signal(self, number: int, callback: Callback) -> None:
        """Call `callback` from the loop after a signal."""
        self._on_signal[number] = callback
        # The handler itself has nothing to do: the wake-up descriptor tells the loop.
        signal.signal(number, lambda *_: None)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Call `callback` once, in `seconds`."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def run_once(self) -> None:
        """Wait for whatever comes first, and make the calls that are due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for key, mask in self._selector.select(timeout):
            for event, callback in zip(
                (selectors.EVENT_WRITE, selectors.EVENT_READ), key.data[::-1], strict=True
            ):
                # An earlier callback of this round may have closed it.
                if mask & event and callback is not None and self._selector.get_map().get(key.fd) is key:
                    callback()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()

    def close(self) -> None:
        """Close the loop's descriptors, in a child as well: watching goes on in the parent."""
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)

    def _drain(self) -> None:
        try:
            numbers = set(os.read(self._wake, 4096))
        except BlockingIOError:
            return
        for number in sorted(numbers):
            if callback := self._on_signal.get(number):
                callback()
