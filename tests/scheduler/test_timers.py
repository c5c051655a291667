"""Named timers: each is set once, and comes once."""

from __future__ import annotations

import asyncio

from t2notebook.scheduler.timers import Timers
from tests.scheduler.stage import on_loop


def came(*calls: tuple[str, float, bool]) -> list[tuple[str, float]]:
    """Set timers, each by name, delay and `sooner`; return which came, and when."""
    found: list[tuple[str, float]] = []

    async def main() -> None:
        timers = Timers()
        start = timers.now()
        for name, delay, sooner in calls:
            timers.later(name, delay, lambda name=name: found.append((name, timers.now() - start)), sooner)  # type: ignore[misc]
        await asyncio.sleep(100)

    on_loop(main())
    return [(name, round(time, 3)) for name, time in found]


def test_what_is_due_already_stays() -> None:
    assert came(("a", 2.0, False), ("a", 1.0, False), ("a", 3.0, False), ("b", 1.0, False)) == [
        ("b", 1.0),
        ("a", 2.0),
    ]


def test_a_timer_is_moved_forward_when_it_is_to_be_sooner_and_never_back() -> None:
    assert came(("a", 2.0, False), ("a", 1.0, True), ("a", 3.0, True)) == [("a", 1.0)]


def test_a_timer_that_has_come_can_be_set_again_also_by_itself() -> None:
    times: list[float] = []

    async def main() -> None:
        timers = Timers()

        def again() -> None:
            times.append(round(timers.now()))
            if len(times) < 3:
                timers.later("a", 5.0, again)

        timers.later("a", 5.0, again)
        await asyncio.sleep(100)

    on_loop(main())
    assert times == [5, 10, 15]


def test_a_closed_one_lets_nothing_come() -> None:
    found: list[str] = []

    async def main() -> None:
        timers = Timers()
        timers.later("a", 1.0, lambda: found.append("a"))
        timers.close()
        await asyncio.sleep(100)

    on_loop(main())
    assert found == []
