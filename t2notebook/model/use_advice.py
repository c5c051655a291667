"""Advice on what to ask for, from what workers have used. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .states import TaskState
from .use import Use
from .worker_view import WorkerView

#: Seconds that a worker has to run before it is said what would have been enough for it.
TELLING = 5.0
#: Part of what was asked for that counts as much less, and how many times as much counts as much more.
LITTLE, MUCH = 0.5, 1.25
#: Part of its time that a worker may have waited for a cpu; of one that waited longer nobody knows what it needs.
STARVED = 0.1
#: Room that an advice leaves above what was used.
_ROOM = 1.25
_CPUS = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)
#: MiB; Mesos gives no container less than the first.
_LEAST_MEM = 32


def advice(workers: Sequence[WorkerView]) -> str:
    """Return in one line what workers that have ended would have needed, if that is much less or more than they asked.

    Less is advised only where all of them have come to their end, and did so at the first attempt: what one that was
    ended before would have used more, or used when it was tried before, nobody knows.

    Parameters
    ----------
    workers : sequence of WorkerView
    """
    groups: dict[tuple[float, float], list[Use]] = {}
    cut_short: set[tuple[float, float]] = set()
    for worker in workers:
        asked = worker.cpus, worker.mem
        if worker.use is not None and worker.state.is_terminal:
            groups.setdefault(asked, []).append(worker.use)
        if worker.task_id and (worker.state is not TaskState.FINISHED or worker.restarts):
            cut_short.add(asked)
    parts = [
        part
        for asked, uses in groups.items()
        if max(use.seconds for use in uses) >= TELLING
        and (part := _advice(*asked, uses, is_whole=asked not in cut_short))
    ]
    return "; ".join(parts)


def _advice(cpus: float, mem: float, uses: Sequence[Use], is_whole: bool) -> str:
    # What ran for a moment says little about cpus.
    cpu_peak = max(use.cpu_peak for use in uses)
    mem_peak = max(use.mem_peak for use in uses)
    enough_cpu, enough_mem = _enough_cpus(cpu_peak), _enough_mem(mem_peak)
    options = []
    # One that had to wait for a cpu would have used more.
    is_known = is_whole and all(use.waited < STARVED * use.seconds for use in uses)
    if (is_known and cpu_peak < LITTLE * cpus and enough_cpu < cpus) or (
        cpu_peak > MUCH * cpus and enough_cpu > cpus
    ):
        options.append(f"--cpus {enough_cpu:g}")
    if is_whole and mem_peak < LITTLE * mem and enough_mem <= mem - _LEAST_MEM:
        options.append(f"--ram {enough_mem:g}")
    if not options:
        return ""
    amount = f"{cpu_peak:.1f}" if cpu_peak >= 0.05 else "0.1"
    unit = "cpu" if cpus == 1 else "cpus"
    return (
        f"used at most {amount} of {cpus:g} {unit} and {math.ceil(mem_peak):g} of {mem:g} MiB a worker: "
        f"{' '.join(options)} would do"
    )


def _enough_cpus(used: float) -> float:
    # Threads that are always busy are measured as a little more, or less, than whole cpus.
    wanted = _ROOM * used if used < 0.9 else used - 0.05
    return next((step for step in _CPUS if step >= wanted), float(math.ceil(wanted)))


def _enough_mem(used: float) -> float:
    wanted = max(float(_LEAST_MEM), _ROOM * used)
    step = 2.0 ** math.floor(math.log2(wanted))
    return next(amount for amount in (step, 1.5 * step, 2 * step) if amount >= wanted)
