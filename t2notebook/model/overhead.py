"""Resources of an executor beside its workers'. Pure."""

from __future__ import annotations

import math

#: Cpus and MiB, counted in every fit.
EXECUTOR_CPUS, EXECUTOR_MEM = 0.1, 64.0


def with_executors(cpus: float, mem: float) -> tuple[float, float]:
    """Return what an agent has to have for `cpus` and `mem` (MiB) of workers, in an executor a cpu at the most: so many
    workers of one cpu fit, however they share executors and whosever they are.
    """
    executors = math.ceil(cpus)
    return round(cpus + executors * EXECUTOR_CPUS, 3), mem + executors * EXECUTOR_MEM
