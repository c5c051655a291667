from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from t2notebook.protocol.auth import new_secret
from t2notebook.worker.process.environment import WorkerEnvironment
from t2notebook.worker.process.progress import ProgressReporter
from t2notebook.worker.process.session_api import SessionClient
from t2notebook.worker.process.superseded import Superseded
from tests.worker.fakes import FakeSession, free_port


def environment(reports: list[tuple[float, str]]) -> WorkerEnvironment:
    return WorkerEnvironment(
        worker_id=1,
        number_of_workers=4,
        job_id="job",
        config={},
        restart_count=0,
        report=lambda fraction, text: reports.append((fraction, text)),
    )


def test_a_worker_finds_its_ports_if_it_asked_for_some() -> None:
    assert environment([]).additional_ports == ()
    env = WorkerEnvironment(
        worker_id=0,
        number_of_workers=1,
        job_id="job",
        config={},
        restart_count=0,
        report=print,
        additional_ports=(31000, 31001),
    )
    assert env.additional_ports == (31000, 31001)


@pytest.mark.parametrize(
    ("arguments", "fraction"),
    [((0.5,), 0.5), ((1, 4), 0.25), ((5, 4), 1.0), ((0,), 0.0), ((np.int64(3), np.float32(4)), 0.75)],
)
def test_progress(arguments: tuple[Any, ...], fraction: float) -> None:
    reports: list[tuple[float, str]] = []
    environment(reports).progress(*arguments, text="a\nb" + "c" * 500)
    assert reports == [(fraction, ("a b" + "c" * 500)[:200])]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("x",), TypeError),
        ((None,), TypeError),
        ((-1,), ValueError),
        ((1, 0), ValueError),
        ((float("nan"),), ValueError),
    ],
)
def test_progress_that_cannot_be(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^progress: "):
        environment([]).progress(*arguments)


def test_env_cannot_be_pickled_since_it_leads_to_the_secret() -> None:
    with pytest.raises(TypeError, match="env belongs to its worker"):
        pickle.dumps(environment([]))
    with pytest.raises(TypeError):
        pickle.dumps(SessionClient("http://127.0.0.1:1", "job", new_secret()))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter(session: FakeSession, clock: Clock) -> Iterator[Callable[..., ProgressReporter]]:
    clients = []

    def reporter(url: str = session.url) -> ProgressReporter:
        clients.append(SessionClient(url, "tester-job-1", session.secret))
        path = "/v1/jobs/tester-job-1/workers/2/progress?incarnation=0"
        return ProgressReporter(clients[-1], path, clock=clock)

    yield reporter
    for client in clients:
        client.close()


Reporter = Callable[..., ProgressReporter]


def test_five_a_second_and_the_last_one_always(
    session: FakeSession, clock: Clock, reporter: Reporter
) -> None:
    progress = reporter()
    for step in range(1000):
        clock.now = 100 + step / 1000
        progress.report(step / 1000, f"step {step}")
    progress.flush()
    progress.flush()
    sent = [record["progress"] for _, record in session.progress]
    assert sent == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.999], abs=0.002)
    assert session.progress[-1] == (2, {"progress": 0.999, "text": "step 999"})


def test_a_session_that_does_not_answer_costs_little(
    session: FakeSession, clock: Clock, reporter: Reporter
) -> None:
    progress = reporter()
    session.hook = lambda method, path: 503
    for step in range(1000):
        clock.now = 100 + step / 10
        progress.report(step / 1000, "")
    assert len(session.requests) <= 8
    session.hook = lambda method, path: None
    clock.now += 100
    progress.report(1.0, "")
    assert session.progress == [(2, {"progress": 1.0, "text": ""})]
    unreachable = reporter(f"http://127.0.0.1:{free_port()}")
    unreachable.report(0.5, "")
    unreachable.flush()


def test_an_older_incarnation_is_told_to_stop(session: FakeSession, clock: Clock, reporter: Reporter) -> None:
    session.hook = lambda method, path: 409
    with pytest.raises(Superseded):
        reporter().report(0.5, "")
