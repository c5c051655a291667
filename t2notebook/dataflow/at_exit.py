"""Clusters that are to end with this kernel, while the process ends, or when everything is shut down."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import Protocol

from .. import client
from . import scheduler_process

log = logging.getLogger("t2notebook.dataflow")


class Ending(Protocol):
    """A cluster, as far as its end with the process is concerned."""

    name: str

    def end_with_kernel(self) -> None:
        """End everything without a loop or a thread: neither is to be had any more."""

    def shut_down(self) -> None:
        """End everything, what was to be detached too, and wait for that."""


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


def _shut_down_all() -> None:
    for cluster in list(_living):
        try:
            cluster.shut_down()
        except Exception:
            log.debug("could not close %s", cluster.name, exc_info=True)
    scheduler_process.close_fork_server()


client.before_shutdown(_shut_down_all)
# They are the kernel's, not of a process that was forked from it and ends before.
os.register_at_fork(after_in_child=_living.clear)
