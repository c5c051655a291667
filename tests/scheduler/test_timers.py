"""Named timers: each is set once, and comes once."""

from __future__ import annotations

from t2notebook.model.job_table import JobTable
from t2notebook.scheduler.actions import SetTimer
from t2notebook.scheduler.turn import Timers, Turn


class Play:
    """Timers that come as a runner has them come."""

    def __init__(self) -> None:
        self.turn = Turn(JobTable())
        self.timers = Timers(self.turn)
        self.came: list[tuple[str, float]] = []
        self._due: dict[str, float] = {}

    def later(self, name: str, delay: float, sooner: bool = False) -> None:
        self.timers.later(name, delay, lambda: self.came.append((name, self.turn.now)), sooner)

    def run(self) -> list[tuple[str, float]]:
        """Let all time pass; return which came, and when."""
        while True:
            for action in self.turn.end():
                assert isinstance(action, SetTimer)
                self._due[action.name] = action.due
            if not self._due:
                return self.came
            name = min(self._due, key=lambda name: self._due[name])
            self.turn.begin(self._due.pop(name), 0.0)
            self.timers.fired(name)


def came(*calls: tuple[str, float, bool]) -> list[tuple[str, float]]:
    """Set timers, each by name, delay and `sooner`; return which came, and when."""
    play = Play()
    for call in calls:
        play.later(*call)
    return play.run()


def test_what_is_due_already_stays() -> None:
    assert came(("a", 2.0, False), ("a", 1.0, False), ("a", 3.0, False), ("b", 1.0, False)) == [
        ("b", 1.0),
        ("a", 2.0),
    ]


def test_a_timer_is_moved_forward_when_it_is_to_be_sooner_and_never_back() -> None:
    assert came(("a", 2.0, False), ("a", 1.0, True), ("a", 3.0, True)) == [("a", 1.0)]


def test_a_timer_that_has_come_can_be_set_again_also_by_itself() -> None:
    play, times = Play(), []

    def again() -> None:
        times.append(play.turn.now)
        if len(times) < 3:
            play.timers.later("a", 5.0, again)

    play.timers.later("a", 5.0, again)
    play.run()
    assert times == [5.0, 10.0, 15.0]


def test_one_that_was_never_set_does_nothing() -> None:
    play = Play()
    play.timers.fired("a")
    assert play.came == []
