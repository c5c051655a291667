"""Clusters that are to end with this kernel: they are closed while the process ends."""

from __future__ import annotations

import atexit
import logging
import weakref
from typing import Protocol

log = logging.getLogger("t2notebook.dataflow")


class Ending(Protocol):
    """A cluster, as far as its end with the process is concerned."""

    name: str

    def end_with_kernel(self) -> None:
        """End everything without a loop or a thread: neither is to be had any more."""


_living: weakref.WeakSet[Ending] = weakref.WeakSet()


def add(cluster: Ending) -> None:
    """Close this cluster at the end of the process."""
    _living.add(cluster)


def discard(cluster: Ending) -> None:
    """Leave this cluster alone: it is closed."""
    _living.discard(cluster)


def come_first() -> None:
    """Have the clusters closed before anything that is registered already.

    The link that submitted a job tells the session of the exit, which would end the clusters' jobs first.
    """
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    for cluster in list(_living):
        try:
            cluster.end_with_kernel()
        except Exception:
            log.debug("could not close %s", cluster.name, exc_info=True)
