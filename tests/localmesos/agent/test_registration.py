"""Pauses before an agent asks a master to register it: as Mesos's agent makes them, and what they cost a first job."""

from __future__ import annotations

import itertools
import random
import statistics

from t2notebook.localmesos.agent.registration import pauses


def test_without_a_factor_a_master_is_asked_again_within_a_second() -> None:
    first = list(itertools.islice(pauses(None, lambda: 0.0), 12))
    assert first[0] == 0.0
    assert first[1:4] == [0.01, 0.02, 0.04]
    assert first[-1] == 1.0


def test_with_one_they_are_at_random_and_their_bound_doubles_up_to_a_minute() -> None:
    longest = list(itertools.islice(pauses(1.0, lambda: 1.0), 9))
    assert longest == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert list(itertools.islice(pauses(1.0, lambda: 0.5), 3)) == [0.5, 1.0, 2.0]


def registered(deaf: float, rng: random.Random) -> float:
    """Return when an agent is registered whose registrations are dropped at first, for so many seconds."""
    time = 0.0
    for pause in pauses(1.0, rng.random):
        time += pause
        if time >= deaf:
            return time
    raise AssertionError


def test_agents_that_ask_ten_seconds_too_early_come_half_a_minute_late() -> None:
    """A first job on Apache Mesos in containers once waited 31 s: agents had asked a master that did not lead yet."""
    rng = random.Random(1)
    last = [max(registered(10.0, rng) for _ in range(3)) for _ in range(6_000)]
    assert 20 < statistics.median(last) < 22
    assert 0.14 < sum(seconds >= 31 for seconds in last) / len(last) < 0.19
    # Those that start when somebody leads are there at once.
    assert max(registered(0.0, rng) for _ in range(1000)) <= 1.0
    # And the longest that a pause can be is a minute: no agent stays away for good.
    assert max(last) < 10 + 60
