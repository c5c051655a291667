"""Jobs that get more workers while they run, and fewer, from the notebook and from a worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import eventually, sessions_of


def wait(env: Any) -> Any:
    for command in env.messages():
        if command == "end":
            workers = env.worker_controller.get_all_workers(30)
            return [one.worker_id for one in workers], env.number_of_workers, env.restart_count


def test_more_workers_come_and_the_highest_leave(t2: Any) -> None:
    job = t2.submit(wait, workers=2, cpu=0.5, ram=64, scalable=True)
    events: list[Any] = []
    assert job.on_worker_event(events.append) == events.append
    eventually(lambda: job.state.value == "STARTED")
    assert job.scale_up_workers(2) == 4
    assert len(job.tasks) == 4
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * 4)
    assert job.scale_down_workers(1, leave_time=0) == 3
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * 3 + ["KILLED"])
    left = job.tasks.iloc[3]
    assert (left.reason, left.message) == ("SCALED_DOWN", "scaled down to 3 workers")
    assert job.broadcast("end") == 3
    assert job.results(30) == [([0, 1, 2], 3, 0)] * 3
    assert job.state.value == "COMPLETED"
    assert job.view().number_of_workers == 3
    scalings = job.events[job.events.kind == "SCALED"]
    assert scalings.message.tolist() == ["scaled up to 4 workers", "scaled down to 3 workers"]
    with pytest.raises(t2.JobFailed, match="has left: scaled down to 3 workers"):
        job.result(3)
    eventually(lambda: len(events) == 4)
    kinds = [(one.kind, one.number_of_workers) for one in events]
    assert kinds == [("all_joined", 2), ("scaled_up", 4), ("all_joined", 4), ("scaled_down", 3)]
    with pytest.raises(t2.ScalingError, match="has ended"):
        job.scale_up_workers(1)
    assert t2.attach(job.job_id).results() == [([0, 1, 2], 3, 0)] * 3


def test_a_worker_that_had_left_comes_again_as_another(t2: Any) -> None:
    job = t2.submit(wait, workers=3, cpu=0.5, ram=64, scalable=True)
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * 3)
    job.scale_down_workers(2, leave_time=0)
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING", "KILLED", "KILLED"])
    # One has ended, of the other it is not known yet when it is wanted again.
    job.scale_up_workers(1)
    job.scale_down_workers(1, leave_time=30)
    job.scale_up_workers(2)
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * 3 and job.tasks.restarts[1] >= 1)
    job.broadcast("end")
    results = job.results(60)
    assert [one[:2] for one in results] == [([0, 1, 2], 3)] * 3
    assert [one[2] for one in results] == job.tasks.restarts.tolist()
    assert job.tasks.task_id.is_unique


def test_barriers_follow_the_number_and_those_who_leave_are_told(t2: Any) -> None:
    def meet(env: Any) -> int:
        if env.worker_id == 0:
            next(env.messages(timeout=60))
        env.worker_controller.wait_on_barrier(60)
        return env.worker_controller.get_number_of_workers()

    job = t2.submit(meet, workers=3, cpu=0.5, ram=64, scalable=True)
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * 3)
    time.sleep(0.3)
    job.scale_down_workers(1, leave_time=60)
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING", "RUNNING", "KILLED"])
    job.send(0, "go")
    assert job.results(30) == [2, 2]


def test_from_inside_a_worker_with_listeners_on_its_side(t2: Any) -> None:
    def work(env: Any) -> Any:
        import threading

        told: list[Any] = []
        leaving = threading.Event()

        @env.on_worker_event
        def changed(event: Any) -> None:
            told.append((event.kind, event.number_of_workers))
            if event.kind == "scaled_down" and env.worker_id >= event.number_of_workers:
                leaving.set()

        if env.worker_id == 0:
            env.worker_controller.get_all_workers(30)
            assert env.scale_up_workers(2) == 3
            env.worker_controller.get_all_workers(60)
            assert env.scale_down_workers(1, leave_time=60) == 2
            for _ in range(300):
                if ("scaled_down", 2) in told:
                    break
                leaving.wait(0.1)
            env.send(1, "end")
            return told, env.number_of_workers
        if env.worker_id == 1:
            return next(env.messages(timeout=60))
        assert leaving.wait(60)
        return "went by itself"

    job = t2.submit(work, workers=1, cpu=0.5, ram=64, scalable=True)
    (told, number), other = job.results(90)
    assert other == "end" and number == 2
    assert told == [
        ("all_joined", 1),
        ("scaled_up", 3),
        ("all_joined", 3),
        ("scaled_down", 2),
    ]
    eventually(lambda: job.tasks.state[2] == "FINISHED")
    assert job.result(2) == "went by itself"
    assert job.events[job.events.kind == "SCALED"].source.tolist() == ["WORKER 0"] * 2


def test_what_cannot_be_scaled_says_why(t2: Any) -> None:
    fixed = t2.submit(wait, workers=2, cpu=0.5, ram=64)
    for scale in (fixed.scale_up_workers, fixed.scale_down_workers):
        with pytest.raises(
            t2.ScalingError, match="none of its resources is scalable; submit it with scalable=True"
        ):
            scale(1)
    fixed.kill()
    two = t2.Twister2Job(
        name="two",
        worker=wait,
        resources=[
            t2.ComputeResource(cpu=0.25, ram=64, instances=2, scalable=True),
            t2.ComputeResource(cpu=0.5, ram=64, instances=1),
        ],
    )
    assert [one.scalable for one in two.resources] == [False, True]
    job = t2.submit(two)
    with pytest.raises(
        t2.ScalingError, match="cannot lose 3 workers: 1 of its 3 workers are not scalable, so 2 can"
    ):
        job.scale_down_workers(3)
    for wrong in (0, -1, True, 1.5, "1"):
        with pytest.raises(t2.ScalingError, match="give a whole number from 1"):
            job.scale_up_workers(wrong)
    with pytest.raises(t2.ScalingError, match="leave_time"):
        job.scale_down_workers(1, leave_time=-1)
    with pytest.raises(t2.SubmitError, match="leave one of the two out"):
        t2.submit(wait, scalable=True, discovery="zk://127.0.0.1:1/x")
    with pytest.raises(t2.SubmitError, match="at most one"):
        t2.Twister2Job("x", wait, [t2.ComputeResource(scalable=True)] * 2)
    job.scale_down_workers(2, leave_time=0)
    eventually(lambda: job.tasks.state[0] == "RUNNING")
    job.send(0, "end")
    assert job.results(30) == [([0], 1, 0)]


@pytest.mark.parametrize(
    ("seconds", "job_master"),
    [
        (0.0, "session"),
        (0.02, "session"),
        (0.3, "session"),
        *(pytest.param(seconds, "cluster", marks=pytest.mark.slow) for seconds in (0.0, 0.02, 0.3)),
    ],
)
def test_a_session_killed_in_the_middle_of_scaling(
    t2: Any, home: Path, seconds: float, job_master: str
) -> None:
    job = t2.submit(wait, workers=1, cpu=0.25, ram=64, scalable=True, job_master=job_master)
    eventually(lambda: job.state.value == "STARTED")
    pids = sessions_of(home)

    def kill() -> None:
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert job.scale_up_workers(2) == 3, "asked again, it is done once"
    thread.join()
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING"] * 3, 60)
    assert job.scale_down_workers(1) == 2
    for pid in sessions_of(home):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: job.tasks.state.tolist() == ["RUNNING", "RUNNING", "KILLED"], 60)
    job.broadcast("end")
    assert [one[:2] for one in job.results(60)] == [([0, 1], 2)] * 2
