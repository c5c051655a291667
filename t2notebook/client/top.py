"""Use of a job's workers as a table for people: ``%twister2 top`` and ``t2notebook top``."""

from __future__ import annotations

import math

from ..model.reducer import JobView
from ..model.states import TaskState
from ..model.use import Use
from ..model.use_advice import advice
from ..model.wording import counted
from ..model.worker_view import WorkerView

ORDERS = ("worker", "cpu", "mem")
#: Workers that have a line; of more, those that use most.
MOST_ROWS = 60


def top_text(view: JobView, by: str = "worker") -> str:
    """Return what a job's workers use now, as lines of text: a sum, a line a worker, and what would have been enough.

    Parameters
    ----------
    view : JobView
    by : str
        One of `ORDERS`.
    """
    known = [(worker, worker.use) for worker in view.workers if worker.use is not None]
    running = [(worker, use) for worker, use in known if not worker.state.is_terminal]
    lines = [_head(view, running, known)]
    if not known:
        waits = any(worker.state is TaskState.RUNNING for worker in view.workers)
        lines.append(
            "Nothing has been measured yet; that is done once a second."
            if waits
            else "No worker has run yet."
            if not view.state.is_final
            else "Nothing was measured."
        )
        return "\n".join(lines)
    if by == "worker" and len(known) > MOST_ROWS:
        by = "cpu"
    if by == "cpu":
        known.sort(key=lambda one: -_cpu_now(*one))
    elif by == "mem":
        known.sort(key=lambda one: -one[1].mem if not one[0].state.is_terminal else 0.0)
    lines += _table(known[:MOST_ROWS])
    if (more := len(known) - MOST_ROWS) > 0:
        lines.append(f"... and {more} more workers, which use less")
    if view.state.is_final and (told := advice(view.workers)):
        lines += ["", f"It {told}."]
    return "\n".join(lines)


def _head(view: JobView, running: list[tuple[WorkerView, Use]], known: list[tuple[WorkerView, Use]]) -> str:
    head = f"{view.name} [{view.job_id}]: {view.state.value}"
    if running:
        cpus, mem = (sum(getattr(worker, name) for worker, _ in running) for name in ("cpus", "mem"))
        used = sum(_cpu_now(worker, use) for worker, use in running)
        held = sum(use.mem for _, use in running)
        head += f", {len(running)} running: {used:.1f} of {cpus:g} cpus, {math.ceil(held):,} of {mem:,g} MiB"
    elif known:
        head += f", {counted(len(known), 'worker')} used {sum(use.cpu for _, use in known):.1f} cpu-seconds"
    return head


def _cpu_now(worker: WorkerView, use: Use) -> float:
    if worker.state.is_terminal:
        return 0.0
    return use.cpu_used if worker.cpu_now is None else worker.cpu_now


def _table(rows: list[tuple[WorkerView, Use]]) -> list[str]:
    has_gpu = any(use.gpu is not None or use.gpu_mem is not None for _, use in rows)
    cells = [
        ["worker", "state", "host", "cpu", "mean", "asked", "MiB", "peak", "asked", "read", "written"]
        + (["gpu", "gpu MiB"] if has_gpu else [])
    ]
    for worker, use in rows:
        is_over = worker.state.is_terminal
        cells.append(
            [
                str(worker.worker_id),
                worker.state.value.lower(),
                worker.host,
                "-" if is_over else f"{_cpu_now(worker, use):.2f}",
                f"{use.cpu_used:.2f}",
                f"{worker.cpus:g}",
                "-" if is_over else f"{math.ceil(use.mem)}",
                f"{math.ceil(use.mem_peak)}",
                f"{worker.mem:g}",
                _bytes(use.read),
                _bytes(use.written),
                *(
                    [
                        "" if use.gpu is None else f"{use.gpu:.2f}",
                        "" if use.gpu_mem is None else f"{use.gpu_mem:g}",
                    ]
                    if has_gpu
                    else []
                ),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = (1, 2)
    return [
        "  ".join(
            text.ljust(width) if index in left else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
