"""Reasons for which a session lives on: kernels, and jobs for which it can still do something. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

#: Seconds without a master after which jobs that are only to be killed keep a session no longer.
PATIENCE = 10.0
#: Seconds that a session waits for the kernel that has started it, however soon it ends when nobody needs it any more:
#: that may be slow to come, on a busy machine.
FIRST_SECONDS = 20.0


class Need:
    """The time that a session has left.

    Jobs that run or wait are followed for as long as it takes, also without a master, which may come back, up to
    `failover_timeout`: then Mesos has removed them. Those that are to be killed are another matter: nobody waits for
    them, and without a master their kills reach nobody. They are left to a later session, whose first word to the
    master they are, or to Mesos.

    Parameters
    ----------
    linger : float
        Seconds that it lives on when nobody needs it.
    now : float
        Seconds, by a steady clock.
    failover_timeout : float
        Seconds that a master waits for a framework that is away, and a framework here for its master.
    """

    def __init__(self, linger: float, now: float, failover_timeout: float = math.inf) -> None:
        self._linger, self._failover_timeout = linger, failover_timeout
        self._needed = self._mastered = now

    def touch(self, now: float) -> None:
        """Note that somebody was here."""
        self._needed = now

    def remaining(
        self, now: float, *, attached: bool, connected: bool, killed: Iterable[bool], awaited: bool = False
    ) -> float:
        """Return the seconds that are left, not above 0 if none are.

        Parameters
        ----------
        now : float
        attached : bool
            Whether a kernel is.
        connected : bool
            Whether the master has any of its frameworks subscribed.
        killed : iterable of bool
            Of each job that has not ended: whether it is to be killed.
        awaited : bool
            Whether nobody has come yet.
        """
        if connected:
            self._mastered = now
        jobs = list(killed)
        patience = PATIENCE if all(jobs) else max(PATIENCE, self._failover_timeout)
        if attached or (jobs and now - self._mastered <= patience):
            self._needed = now
        return self._needed + (max(self._linger, FIRST_SECONDS) if awaited else self._linger) - now
