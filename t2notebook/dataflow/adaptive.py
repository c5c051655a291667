"""Dask's adaptive scaling for a cluster whose workers leave by its own way, which moves their data first."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from distributed.deploy.adaptive import Adaptive

#: Seconds after which it tries again to have workers where none could be had.
RETRY = 60.0


class MesosAdaptive(Adaptive):
    """Dask's adaptive scaling.

    Where workers end before they join the Dask scheduler, others are tried after a while, not at each interval.
    """

    _last_try = -math.inf

    async def scale_up(self, n: int) -> None:
        """Have so many workers."""
        now = time.monotonic()
        if not self.cluster.is_infeasible or now - self._last_try > RETRY:
            self._last_try = now
            await super().scale_up(n)

    async def scale_down(self, workers: Sequence[str]) -> None:
        """Let workers leave."""
        if workers:
            await self.cluster.scale_down(workers)
