"""Until when something must have been heard of a task. Pure: times are given."""

from __future__ import annotations


class Deadlines:
    """Deadlines by task id; times in seconds, by a clock that is never adjusted."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self.next: float | None = None

    def __len__(self) -> int:
        return len(self._times)

    def set(self, task_id: str, time: float) -> None:
        """Give a task a deadline, instead of the one that it may have.

        `next` is never later than the first deadline, but may be earlier: looking then finds nothing due.
        """
        self._times[task_id] = time
        self.next = time if self.next is None else min(self.next, time)

    def drop(self, task_id: str) -> None:
        """A task has been heard of."""
        self._times.pop(task_id, None)
        if not self._times:
            self.next = None

    def postpone(self, time: float) -> None:
        """Let no deadline end before `time`."""
        for task_id, old in self._times.items():
            self._times[task_id] = max(time, old)
        self._find_next()

    def pop(self, now: float) -> list[str]:
        """Take out, and return, the tasks whose deadline has passed."""
        due = [task_id for task_id, time in self._times.items() if time <= now]
        for task_id in due:
            del self._times[task_id]
        self._find_next()
        return due

    def _find_next(self) -> None:
        self.next = min(self._times.values(), default=None)
