"""How long a session lives on, and for whom."""

from __future__ import annotations

import asyncio

import pytest

from t2notebook.session.need import FIRST_SECONDS, PATIENCE, Need
from t2notebook.session.session import Session

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


def test_a_master_that_is_gone_for_good_is_not() -> None:
    """Sessions lived for ever where a cluster had ended with jobs on it."""
    need = Need(LINGER, 0.0, failover_timeout=60.0)
    assert need.remaining(0.0, attached=False, connected=True, killed=[False]) > 0
    assert need.remaining(59.0, attached=False, connected=False, killed=[False, True]) > 0
    assert need.remaining(61.0 + LINGER, attached=False, connected=False, killed=[False, True]) <= 0
    assert need.remaining(62.0 + LINGER, attached=True, connected=False, killed=[False]) > 0, "a kernel waits"


def test_somebody_who_looks_in_begins_the_time_anew() -> None:
    need = Need(LINGER, 0.0)
    need.touch(5.0)
    assert need.remaining(6.0, attached=False, connected=True, killed=[]) == pytest.approx(1.0)


def test_whoever_has_started_it_has_longer_to_come() -> None:
    need = Need(LINGER, 0.0)
    assert need.remaining(FIRST_SECONDS - 1, attached=False, connected=True, killed=[], awaited=True) > 0
    assert need.remaining(FIRST_SECONDS, attached=False, connected=True, killed=[], awaited=True) <= 0


def test_a_session_that_nothing_watches_any_more_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its watch had failed, and it lived for ever without a word."""
    ended: list[str] = []
    session = Session.__new__(Session)
    monkeypatch.setattr(session, "_leave", lambda: ended.append("left to the next"), raising=False)

    async def watch(error: Exception | None) -> None:
        if error is not None:
            raise error

    async def main() -> None:
        cancelled = asyncio.create_task(asyncio.sleep(60))
        tasks = [
            asyncio.create_task(watch(None)),
            asyncio.create_task(watch(OSError("no such place"))),
            cancelled,
        ]
        cancelled.cancel()
        for task in tasks:
            task.add_done_callback(session._watched)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert ended == ["left to the next"]
    assert "no such place" in caplog.text
