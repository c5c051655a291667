from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.events import Event, EventKind
from t2notebook.model.metrics import PHASES, measure

JOB = "ada-pi-abc"


def event(kind: EventKind, time: float, worker: int | None = None, state: str = "", **data: object) -> Event:
    return Event(kind, JOB, time, worker, f"t-{worker}", state, data=data)


def submitted(workers: int) -> Event:
    return event(EventKind.SUBMITTED, 100.0, number_of_workers=workers)


def launched(time: float, worker: int = 0, cpus: float = 2.0) -> Event:
    return event(EventKind.LAUNCHED, time, worker, "STAGING", cpus=cpus)


def status(time: float, state: str, worker: int = 0, **phases: float) -> Event:
    return event(EventKind.STATUS, time, worker, state, phases=phases)


def test_a_job_of_one_worker() -> None:
    events = [
        submitted(1),
        launched(100.5),
        status(101.5, "RUNNING", fetch=0.25),
        status(111.5, "FINISHED", start=0.1, run=8.8, result=1.0),
    ]
    found = measure(events, 111.5, package=0.01).summary()
    assert found == pytest.approx(
        {
            "ramp_up": 1.5,
            "completion": 11.5,
            "utilisation": 8.8 / 11.0,
            "package": 0.01,
            "offer": 0.5,
            "launch": 0.75,
            "fetch": 0.25,
            "start": 0.1,
            "run": 8.8,
            "result": 1.0,
        }
    )
    assert tuple(found)[3:] == PHASES


def test_a_restart_costs_utilisation_and_has_phases_of_its_own() -> None:
    events = [
        submitted(1),
        launched(101.0),
        status(102.0, "RUNNING", fetch=0.0),
        status(106.0, "FAILED"),
        launched(108.0),
        status(109.0, "RUNNING", fetch=0.0),
        status(113.0, "FINISHED", run=4.0),
    ]
    found = measure(events, 113.0)
    assert found.ramp_up == 2.0, "it had run once"
    assert found.workers[0].offer == 2.0
    assert found.utilisation == (4.0 + 4.0) / 10.0, "the first ran until it failed"


def test_what_is_not_known_yet_is_nan() -> None:
    found = measure([submitted(2), launched(101.0), status(102.0, "RUNNING", fetch=0.1)])
    assert math.isnan(found.ramp_up), "the second has not run"
    assert math.isnan(found.completion)
    assert math.isnan(found.utilisation)
    assert found.workers[0].launch == pytest.approx(0.9)
    assert math.isnan(found.workers[1].offer)
    assert set(measure([]).summary()) == {"ramp_up", "completion", "utilisation", *PHASES}


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=5))
def test_utilisation_is_a_fraction(lives: list[tuple[float, float, float]]) -> None:
    events = [submitted(len(lives))]
    for worker, (wait, run, share) in enumerate(lives):
        events += [
            launched(100 + wait, worker),
            status(100 + wait, "RUNNING", worker),
            status(101 + wait + run, "FINISHED", worker, run=run * share),
        ]
    found = measure(events, 130.0)
    assert 0 <= found.utilisation <= 1
    assert 0 <= found.ramp_up <= 30


def test_nonsense_of_an_executor_harms_nothing() -> None:
    events = [submitted(1), launched(101.0), status(102.0, "RUNNING", fetch="soon")]  # type: ignore[arg-type]
    assert math.isnan(measure(events).workers[0].fetch)


def test_a_worker_that_could_not_say_how_long_it_ran_was_running_all_the_same() -> None:
    events = [submitted(1), launched(101.0), status(102.0, "RUNNING"), status(105.0, "KILLED")]
    assert measure(events, 105.0).utilisation == 3.0 / 4.0
