"""`Profile`: where a worker spent its time, by samples of its threads' stacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .stacks import frame_lines

if TYPE_CHECKING:
    import pandas as pd

Frame = tuple[str, int, str, str]


class Profile:
    """Samples of one worker's stacks, each with the seconds that it stands for; `Job.profile` makes it.

    In a notebook it shows itself as a flame graph.

    Parameters
    ----------
    job_id : str
    worker_id : int
    answer : mapping
        As the session gives it.

    Attributes
    ----------
    job_id : str
    worker_id : int
    note : str
        Why there are none, or not all.
    count : int
        How many looks there were.
    samples : list of (str, float, tuple)
        A thread's name, seconds, and its frames (file, line, function, text), outermost first.
    """

    def __init__(self, job_id: str, worker_id: int, answer: Mapping[str, Any]) -> None:
        self.job_id, self.worker_id = job_id, worker_id
        self.note = str(answer.get("note", ""))
        self.count = int(answer.get("count", 0))
        self.samples: list[tuple[str, float, tuple[Frame, ...]]] = [
            (
                str(thread),
                float(seconds),
                tuple((str(f), int(n), str(name), str(t or "")) for f, n, name, t in frames),
            )
            for thread, seconds, frames in answer.get("samples") or ()
        ]

    @property
    def seconds(self) -> float:
        """Seconds for which it was looked at."""
        by_thread: dict[str, float] = {}
        for thread, seconds, _ in self.samples:
            by_thread[thread] = by_thread.get(thread, 0.0) + seconds
        return max(by_thread.values(), default=0.0)

    @property
    def frame(self) -> pd.DataFrame:
        """A row a function: seconds in it alone, and with what it called; the most first."""
        import pandas as pd

        own: dict[tuple[str, str], float] = {}
        total: dict[tuple[str, str], float] = {}
        for _, seconds, frames in self.samples:
            places = [(name, file) for file, _, name, _ in frames]
            for place in set(places):
                total[place] = total.get(place, 0.0) + seconds
            if places:
                own[places[-1]] = own.get(places[-1], 0.0) + seconds
        rows = [(name, file, own.get((name, file), 0.0), spent) for (name, file), spent in total.items()]
        rows.sort(key=lambda row: (-row[2], -row[3]))
        return pd.DataFrame(rows, columns=["function", "file", "own", "total"])

    def text(self, most: int = 15) -> str:
        """Return the busiest places as lines of text.

        Parameters
        ----------
        most : int
            Lines.
        """
        head = f"Worker {self.worker_id} of {self.job_id}, {self.seconds:.1f} s, {self.count} samples"
        if self.note:
            head += f": {self.note}"
        lines: dict[tuple[str, Frame], float] = {}
        for thread, seconds, frames in self.samples:
            if frames:
                lines[thread, frames[-1]] = lines.get((thread, frames[-1]), 0.0) + seconds
        out = [head]
        whole = self.seconds or 1.0
        for (thread, frame), seconds in sorted(lines.items(), key=lambda one: -one[1])[:most]:
            place, *text = frame_lines(frame)
            out.append(f"{100 * seconds / whole:5.1f} %  {thread}  {place.strip()}")
            out += [f"         {line.strip()}" for line in text]
        return "\n".join(out)

    def __repr__(self) -> str:
        return self.text()
