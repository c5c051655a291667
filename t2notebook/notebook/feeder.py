"""The feeder: one thread per kernel that keeps views of the cluster true, while somebody sees them."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Protocol

log = logging.getLogger(__name__)

#: Seconds between two questions to the cluster, at least.
INTERVAL = 1.0
#: Asking may take this share of the time: what takes long, on a large cluster, is asked less often.
SHARE = 0.1


class View(Protocol):
    """A view that is kept true."""

    is_shown: bool

    def refresh(self) -> None:
        """Ask the cluster and show what it says; called on the feeder's thread only."""


class Feeder:
    """Refreshes views once a second while they are seen, and at once when they say so."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._due: dict[View, float] = {}
        self._thread: threading.Thread | None = None
        self._pid = 0

    def follow(self, view: View) -> None:
        """Keep `view` true from now on."""
        with self._condition:
            if self._pid != os.getpid():  # forked: the thread is the parent's, and so are its views
                self._due, self._thread, self._pid = {}, None, os.getpid()
            self._due[view] = 0.0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="t2notebook-cluster", daemon=True)
                self._thread.start()
            self._condition.notify()

    def hurry(self, view: View) -> None:
        """Refresh `view` now."""
        with self._condition:
            if view in self._due:
                self._due[view] = 0.0
                self._condition.notify()

    def _run(self) -> None:
        while True:
            view = self._next()
            begun = time.monotonic()
            try:
                view.refresh()
            except Exception:
                log.exception("a view of the cluster could not be refreshed")
            took = time.monotonic() - begun
            with self._condition:
                # Marked meanwhile: it stays due.
                if self._due[view]:
                    self._due[view] = time.monotonic() + max(INTERVAL, took / SHARE)

    def _next(self) -> View:
        with self._condition:
            while True:
                now = time.monotonic()
                # One that is marked is written although nobody sees it: whoever looks next finds it true.
                waiting = [(due, view) for view, due in self._due.items() if view.is_shown or not due]
                due, view = min(waiting, key=lambda pair: pair[0], default=(None, None))
                if view is not None and due is not None and due <= now:
                    self._due[view] = now
                    return view
                self._condition.wait(None if due is None else due - now)


#: The one of this kernel.
feeder = Feeder()
