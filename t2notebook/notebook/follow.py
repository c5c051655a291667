"""Lines of a job's workers in the output of its cell, as they come: each with its worker's id before it, in a colour.

At most `Tails.NEWEST` lines are printed each `INTERVAL`, and less of a job that writes much for long, since a notebook
keeps what is printed. Of what comes faster, the number of lines that were left out is said. Nothing is lost by that:
the logs have all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from ..model.reducer import JobView
from ..views.live_record import Allowance
from .output import OutputContext, kernel_shell
from .publisher import Watch, publisher
from .tail_reader import Reading, reader

#: ANSI colours that are told apart on light and dark; red is for stderr.
COLOURS = (36, 33, 35, 32, 34)
RED, RESET = "\x1b[31m", "\x1b[0m"
#: Seconds between two pieces at least, and that the end waits for the last lines.
INTERVAL, PATIENCE = 0.3, 2.0
#: Bytes that are printed as they come, and bytes a second after that.
AT_ONCE, RATE = 400_000, 2_000


class Lines:
    """Text for the newest lines of all workers. Pure.

    Parameters
    ----------
    job_id : str
    number_of_workers : int
    """

    def __init__(self, job_id: str, number_of_workers: int) -> None:
        self._job_id = job_id
        self._width = len(str(number_of_workers - 1))
        self._end = 0

    def text(self, newest: dict[str, Any], *, last: bool = False) -> str:
        """Return what is new in what `Tails.newest` returned; with `last`, also lines without an end."""
        lines, fresh = newest["lines"], newest["end"] - self._end
        self._end = newest["end"]
        left_out = fresh - len(lines)
        parts = [f"… {left_out:,} more lines: %twister2 logs {self._job_id}\n"] if left_out > 0 else []
        chosen = lines[-fresh:] if fresh > 0 else []
        parts += map(self._line, [*chosen, *(newest["current"] if last else ())])
        return "".join(parts)

    def _line(self, line: Iterable[Any]) -> str:
        worker, stream, text = line
        prefix = f"\x1b[{COLOURS[worker % len(COLOURS)]}m{worker:>{self._width}} |{RESET}"
        return f"{prefix} {RED}{text}{RESET}\n" if stream == "stderr" and text else f"{prefix} {text}\n"


class FollowSink:
    """Prints a job's lines; see `t2notebook.notebook.publisher.Sink`."""

    interval = INTERVAL

    def __init__(self, job: Any, write: Callable[[str], None]) -> None:
        self._lines = Lines(job.job_id, len(job.view().workers))
        self._write = write
        self._allowance = Allowance(RATE, AT_ONCE)
        self._mark: Callable[[], None] = lambda: None
        self._hurry: Callable[[], None] = lambda: None
        self._ended: float | None = None
        self.reading = Reading(job, self._has_read)

    def begin(self, mark: Callable[[], None], hurry: Callable[[], None]) -> None:
        """Print the workers' output from now on."""
        self._mark, self._hurry = mark, hurry
        mark()

    def write(self, view: JobView) -> None:
        """Print what is new; what there is no room for now is counted, and said the next time."""
        now = time.monotonic()
        if self._allowance.is_due(now) and (text := self._lines.text(self.reading.newest())):
            self._write(text)
            self._allowance.spend(text, now)

    def beat(self) -> None:
        """Nobody needs to be told that nothing is new."""

    def is_ready(self, view: JobView) -> bool:
        """Return whether the workers' last lines are here, or have taken too long."""
        if self.reading.is_complete or not view.state.is_final:
            return True
        if self._ended is None:
            self._ended = time.monotonic()
            reader.hurry(self.reading)
        return time.monotonic() - self._ended > PATIENCE

    def finish(self, view: JobView, lost: str) -> None:
        """Print the last lines."""
        reader.leave(self.reading)
        if text := self._lines.text(self.reading.newest(), last=True):
            self._write(text)

    def _has_read(self) -> None:
        if self.reading.is_complete:
            self._hurry()
        else:
            self._mark()


def follow(job: Any) -> Watch | None:
    """Print `job`'s lines into the output of the cell that runs now, until its end; None where there is no kernel."""
    ip = kernel_shell()
    if ip is None:
        return None
    place = OutputContext(ip)
    sink = FollowSink(job, place.write)
    watch = publisher.watch(job, sink, place.run)
    sink.begin(watch.mark, lambda: publisher.hurry(watch))
    return watch
