"""How long a session lives on, and for whom."""

from __future__ import annotations

import pytest

from t2notebook.session.need import FIRST_SECONDS, PATIENCE, Need

LINGER = 2.0


@pytest.mark.parametrize(
    ("attached", "connected", "killed", "stays"),
    [
        (True, True, [], True),
        (True, False, [True], True),
        (False, True, [], False),
        (False, False, [], False),
        (False, True, [True], True),  # the master tells of its end soon
        (False, False, [False], True),  # it runs, and a master may come back
        (False, False, [True, False], True),
        (False, False, [True, True], False),
    ],
)
def test_a_session_stays_for_kernels_and_for_jobs_that_it_can_do_something_for(
    attached: bool, connected: bool, killed: list[bool], stays: bool
) -> None:
    need = Need(LINGER, 0.0)
    now, remaining = 0.0, LINGER
    while now < 2 * PATIENCE + LINGER and remaining > 0:
        now += 0.5
        remaining = need.remaining(now, attached=attached, connected=connected, killed=killed)
    assert (remaining > 0) is stays
    if not stays and killed:
        assert now >= PATIENCE + LINGER - 0.5


def test_a_master_that_is_only_away_for_a_while_is_waited_for() -> None:
    need = Need(LINGER, 0.0)
    for now in range(1, 60):
        connected = now % int(PATIENCE) == 0
        assert need.remaining(float(now), attached=False, connected=connected, killed=[True]) > 0


def test_somebody_who_looks_in_begins_the_time_anew() -> None:
    need = Need(LINGER, 0.0)
    need.touch(5.0)
    assert need.remaining(6.0, attached=False, connected=True, killed=[]) == pytest.approx(1.0)


def test_whoever_has_started_it_has_longer_to_come() -> None:
    need = Need(LINGER, 0.0)
    assert need.remaining(FIRST_SECONDS - 1, attached=False, connected=True, killed=[], awaited=True) > 0
    assert need.remaining(FIRST_SECONDS, attached=False, connected=True, killed=[], awaited=True) <= 0
