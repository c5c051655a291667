"""Messages between the notebook and workers, and among workers, in real jobs."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.session.conftest import eventually, sessions_of


class Inbox:
    """The messages that came, in their order."""

    def __init__(self) -> None:
        self.got: list[tuple[int, Any]] = []
        self.threads: set[str] = set()

    def __call__(self, worker_id: int, obj: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.got.append((worker_id, obj))


def echo(env: Any) -> int:
    for count, value in enumerate(env.messages()):
        if value is None:
            return count
        env.send_to_driver(("echo", value))
    return -1


def test_there_and_back(t2: Any) -> None:
    job = t2.submit(echo, workers=2, cpu=0.5, ram=64)
    inbox = Inbox()
    assert job.on_message(inbox) is inbox
    for number in range(20):
        job.send(number % 2, {"number": number})
    eventually(lambda: len(inbox.got) == 20)
    for who in (0, 1):
        assert [value[1]["number"] for one, value in inbox.got if one == who] == list(range(who, 20, 2))
    assert job.broadcast(None) == 2
    assert job.results(30) == [10, 10]
    assert "MainThread" not in inbox.threads


def test_a_message_and_back_takes_about_a_millisecond(t2: Any) -> None:
    job = t2.submit(echo, workers=1, cpu=0.5, ram=64)
    come = threading.Event()
    job.on_message(lambda who, value: come.set())
    took = []
    for number in range(60):
        begun = time.perf_counter()
        come.clear()
        job.send(0, number)
        assert come.wait(10)
        took.append(time.perf_counter() - begun)
    job.send(0, None)
    job.results(30)
    assert sorted(took)[30] < 0.05, "far from a poll's pace"


def test_what_was_sent_before_anybody_was_there_comes_too(t2: Any) -> None:
    def work(env: Any) -> list[Any]:
        env.send_to_driver("first")
        return list(env.messages(timeout=1.0))

    job = t2.submit(work, workers=1, cpu=0.5, ram=64)
    job.send(0, "early")
    job.send(0, np.arange(3))
    (result,) = job.results(30)
    assert result[0] == "early" and result[1].tolist() == [0, 1, 2]
    inbox = Inbox()
    job.on_message(inbox)
    eventually(lambda: inbox.got == [(0, "first")])
    late = t2.attach(job.job_id)
    with pytest.raises(t2.MessageRefused, match="has ended"):
        late.send(0, "too late")


def test_workers_send_to_each_other(t2: Any) -> None:
    def work(env: Any) -> list[Any]:
        count = env.number_of_workers
        for step in range(50):
            for other in range(count):
                if other != env.worker_id:
                    env.send(other, (env.worker_id, step))
        got = []
        for sender, step in env.messages(timeout=30):
            got.append((sender, step))
            if len(got) == 50 * (count - 1):
                break
        env.worker_controller.wait_on_barrier(30)
        return got

    for me, got in enumerate(t2.submit(work, workers=3, cpu=0.5, ram=64).results(90)):
        for sender in {0, 1, 2} - {me}:
            assert [step for one, step in got if one == sender] == list(range(50))


def test_large_messages_go_both_ways(t2: Any) -> None:
    def work(env: Any) -> int:
        value = next(env.messages(timeout=30))
        env.send_to_driver(value * 2)
        return value.nbytes

    job = t2.submit(work, workers=1, cpu=0.5, ram=256)
    inbox = Inbox()
    job.on_message(inbox)
    job.send(0, np.ones(1_000_000))
    assert job.results(60) == [8_000_000]
    eventually(lambda: inbox.got)
    assert (inbox.got[0][1] == 2).all()
    with pytest.raises(t2.MessageRefused, match="32 MiB are the most"):
        job.send(0, bytes(33 << 20))


def test_what_cannot_be_sent_is_said(t2: Any) -> None:
    def work(env: Any) -> list[str]:
        import threading

        import t2notebook as t2

        told = []
        for to, value in ((5, 1), (0, {"lock": threading.Lock()}), (-1, 1)):
            try:
                env.send(to, value)
            except (t2.Twister2Error, TypeError) as error:
                told.append(str(error))
        return told

    job = t2.submit(work, workers=1, cpu=0.5, ram=64)
    (told,) = job.results(30)
    assert told[0] == "the message was not sent: the job has only worker 0, not 5"
    assert told[1].startswith("the message cannot be pickled: dict value ['lock'] is a")
    assert "give a worker's number" in told[2]
    with pytest.raises(IndexError):
        job.send(1, "x")
    with pytest.raises(t2.PackageError):
        t2.submit(echo, workers=1, cpu=0.5, ram=64, replace=True, name="x").send(0, threading.Lock())
    t2.attach("x").kill()


def test_a_worker_that_dies_with_a_message_in_its_hands_gets_it_again(t2: Any, tmp_path: Path) -> None:
    marker = str(tmp_path / "died")

    def work(env: Any) -> list[Any]:
        import os

        got = []
        for value in env.messages(timeout=30):
            got.append(value)
            if value == 3 and not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), 9)
            if value == 5:
                return got
        return got

    job = t2.submit(work, workers=1, cpu=0.5, ram=64)
    for number in range(6):
        job.send(0, number)
    (got,) = job.results(60)
    assert got == [3, 4, 5], "what was read before is not given again"


def test_callbacks_that_raise_or_block_hold_up_nobody(t2: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def work(env: Any) -> str:
        for number in range(3):
            env.send_to_driver(number)
        return "done"

    gate = threading.Event()
    job = t2.submit(work, workers=1, cpu=0.5, ram=64)
    seen = []

    @job.on_message
    def take(worker_id: int, value: Any) -> None:
        gate.wait(20)
        seen.append(value)
        raise ValueError(f"about {value}")

    assert job.results(30) == ["done"], "a callback that blocks does not block the kernel"
    gate.set()
    eventually(lambda: seen == [0, 1, 2])
    eventually(lambda: "ValueError: about 2" in capsys.readouterr().err)


@pytest.mark.parametrize("times", [1, 2])
def test_a_session_that_is_killed_with_messages_on_their_way(t2: Any, home: Path, times: int) -> None:
    def work(env: Any) -> list[Any]:
        import time

        got = []
        if env.worker_id == 0:
            for number in range(200):
                env.send(1, number)
                env.send_to_driver(number)
                time.sleep(0.01)
        for value in env.messages():
            got.append(value)
            if value == "end" or value == 199:
                break
        return got

    job = t2.submit(work, workers=2, cpu=0.5, ram=64)
    inbox = Inbox()
    job.on_message(inbox)
    for _ in range(times):
        before = len(inbox.got)
        eventually(lambda: len(inbox.got) > before + 20, timeout=40)  # noqa: B023
        for pid in sessions_of(home):
            os.kill(pid, signal.SIGKILL)
    job.send(0, "end")
    results = job.results(90)
    assert results == [["end"], list(range(200))]
    eventually(lambda: [value for _, value in inbox.got] == list(range(200)), timeout=20)
