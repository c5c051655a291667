"""The scheduler's decisions, with a driver that only writes down what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.events import EventKind
from t2notebook.model.job import FaultTolerance
from t2notebook.model.states import JobState, TaskState
from t2notebook.protocol.launch import Cause, WorkerLaunch, encode_status_data
from t2notebook.scheduler import offer_flow
from t2notebook.scheduler.call_retries import CAP
from t2notebook.scheduler.inputs import Removed, Settle, TornDown
from t2notebook.scheduler.reconciliation import FIRST_PAUSE
from t2notebook.scheduler.restart_policy import RESTART_FIRST
from tests.scheduler.stage import RAISED, Stage
from tests.scheduler.stage import on_stage as play


@pytest.fixture
def on_stage(tmp_path: Path) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    return lambda scenario: play(tmp_path, scenario)


def test_a_job_from_revive_to_suppress(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=2)
        assert stage.driver.names() == ["reviveOffers"]
        stage.offer()
        assert stage.driver.names() == ["reviveOffers", "acceptOffers", "suppressOffers"]
        for worker in job.view.workers:
            stage.update(worker.task_id, "RUNNING")
        assert job.view.state is JobState.STARTED
        for worker in job.view.workers:
            stage.result(job, worker.worker_id)
            stage.update(worker.task_id, "FINISHED")
        assert job.view.state is JobState.COMPLETED

    on_stage(scenario)


def test_the_task_carries_the_secret_in_its_data_alone(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        (task,) = stage.driver.launched()
        assert WorkerLaunch.decode(task.pop("data")).secret == job.secret
        assert job.secret not in repr(task)
        assert task["executor"]["command"]["uris"][0]["cache"] is True

    on_stage(scenario)


def test_an_update_is_on_the_disk_before_it_is_acknowledged(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.update(job.view.workers[0].task_id, "RUNNING")
        assert "RUNNING" in stage.driver.known_at_ack[0]

    on_stage(scenario)


def test_an_end_that_tells_that_the_worker_ran_is_two_changes_at_their_times(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=3)
        stage.offer()
        for worker, ran, state in zip(
            job.view.workers, (0.02, 5.0, 0.1), ("FINISHED",) * 2 + ("FAILED",), strict=True
        ):
            await asyncio.sleep(0.5)
            data = encode_status_data(int(state == "FAILED"), Cause.NONE, {"run": 0.01}, ran=ran)
            stage.result(job, worker.worker_id)
            stage.update(worker.task_id, state, data=data, message="")
        changes = [event for event in job.events if event.kind is EventKind.STATUS]
        assert [(event.worker_id, event.state) for event in changes[:5]] == [
            (0, "RUNNING"),
            (0, "FINISHED"),
            (1, "RUNNING"),
            (1, "FINISHED"),
            (2, "RUNNING"),
        ]
        times = [event.time for event in changes]
        assert times == sorted(times), (
            "also of one that says to have run for longer than since the last event"
        )
        first, second, third = job.view.workers
        assert first.started is not None and second.started is not None and third.started is not None
        assert all("ran" not in event.data for event in changes)
        assert changes[0].data == {"exit_code": None} and changes[1].data["phases"] == {"run": 0.01}
        stage.update(first.task_id, "FINISHED", data=encode_status_data(0, ran=0.02))
        assert len([event for event in job.events if event.worker_id == 0]) == 4, (
            "it comes again, and counts once"
        )
        assert len([call for call in stage.driver.calls if call[0] == "acknowledge"]) == 4

    on_stage(scenario)


def test_an_update_that_comes_twice_is_acknowledged_twice_and_counts_once(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        task_id = job.view.workers[0].task_id
        for state in ("RUNNING", "RUNNING", "FAILED", "FAILED"):
            stage.update(task_id, state)
        assert stage.driver.names().count("acknowledge") == 4
        states = [event.state for event in job.events if event.kind is EventKind.STATUS]
        assert states == ["RUNNING", "FAILED"]

    on_stage(scenario)


def test_a_task_that_nobody_knows_is_acknowledged_and_killed(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        stage.update("of-another-life", "RUNNING")
        assert stage.driver.names() == ["acknowledge", "kill"]
        stage.update("of-another-life", "KILLED")
        assert stage.driver.names() == ["acknowledge", "kill", "acknowledge"]

    on_stage(scenario)


def test_what_does_not_fit_is_declined_for_long_and_told(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, cpu=16)
        stage.offer()
        assert stage.driver.calls[-1] == ("declineOffer", [{"value": "O1"}], {"refuse_seconds": 3600.0})
        assert (
            job.view.waiting_for
            == "1 worker waiting: h1: 4.0 cpus free, 16.1 asked, 0.1 of it for the executor"
        )
        assert "suppressOffers" not in stage.driver.names(), "what waits wants offers"
        (row,) = stage.scheduler.why(job)
        assert (row["lacked"], row["offered"], row["asked"]) == ("cpus", 4.0, 16.1)

    on_stage(scenario)


def test_when_nothing_is_offered_that_is_said(on_stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer_flow, "NO_OFFER_AFTER", 0.02)
    monkeypatch.setattr("t2notebook.scheduler.pending_queue.NO_OFFER_AFTER", 0.01)

    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        await asyncio.sleep(0.1)
        assert job.view.waiting_for.startswith("1 worker waiting: the master has made no offer")

    on_stage(scenario)


def test_whose_job_holds_what_is_lacking_is_said(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        first = stage.submit(workers=3)
        stage.offer()
        stage.play(first)
        second = stage.submit(workers=2)
        stage.offer(cpus=0.9)
        sentence = (
            "2 workers waiting: h1: 0.9 cpus free, 1.1 asked, 0.1 of it for the executor; "
            f"3.0 cpus are held by your own job {first.job_id}, started less than a minute ago"
        )
        assert second.view.waiting_for == sentence
        assert [row["message"] for row in stage.scheduler.why(second)][1:] == [sentence.split("; ")[1]]
        stage.jobs.clock = lambda: first.view.started + 150.0  # type: ignore[operator]
        assert stage.scheduler.why(second)[1]["message"].endswith("started 2 min ago")
        stage.play(first, "FINISHED")
        assert len(stage.scheduler.why(second)) == 1, "it holds nothing any more"

    on_stage(scenario)


def test_a_full_cluster_makes_no_offer_and_who_fills_it_is_said(
    on_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer_flow, "NO_OFFER_AFTER", 0.02)
    monkeypatch.setattr("t2notebook.scheduler.pending_queue.NO_OFFER_AFTER", 0.01)

    async def scenario(stage: Stage) -> None:
        for number in range(5):
            stage.submit(workers=1, cpu=number + 1, name=f"n{number}")
            stage.offer(number, cpus=8.0)
        job = stage.submit(workers=1)
        await asyncio.sleep(0.1)
        assert job.view.waiting_for == (
            "1 worker waiting: the master has made no offer; nothing is free; "
            "5.0 cpus are held by your own job n4, which is starting; "
            "4.0 cpus are held by your own job n3, which is starting; "
            "3.0 cpus are held by your own job n2, which is starting; 3.0 cpus by 2 more of your jobs"
        )

    on_stage(scenario)


def test_a_failed_worker_ends_the_others(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=3)
        stage.offer()
        tasks = [worker.task_id for worker in job.view.workers]
        stage.update(tasks[1], "FAILED", message="ValueError: boom", data=RAISED)
        assert [arguments[0] for name, *arguments in stage.driver.calls if name == "kill"] == [
            tasks[0],
            tasks[2],
        ]
        for task_id in (tasks[0], tasks[2]):
            stage.update(task_id, "KILLED")
        assert job.view.state is JobState.FAILED
        assert job.view.message == "worker 1 on h1 failed: ValueError: boom"

    on_stage(scenario)


def test_with_keep_going_a_failed_worker_ends_nobody_else(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=3, faults=FaultTolerance(keep_going=True))
        stage.offer()
        tasks = [worker.task_id for worker in job.view.workers]
        stage.update(tasks[1], "FAILED", message="ValueError: boom", data=RAISED)
        stage.scheduler.feed(Settle())
        assert "kill" not in stage.driver.names(), "neither now nor when the session is another"
        assert not job.view.kill_reason
        for worker_id in (0, 2):
            stage.update(tasks[worker_id], "FINISHED")
            stage.result(job, worker_id)
        assert job.view.state is JobState.FAILED
        assert job.view.message == "worker 1 on h1 failed: ValueError: boom"
        assert not stage.state.waiting

    on_stage(scenario)


def accept_of(stage: Stage) -> dict[str, Any]:
    return {"type": "ACCEPT", "accept": {"operations": [{"launch": {"task_infos": stage.driver.launched()}}]}}


def test_a_launch_that_the_master_refuses_is_tried_again_a_few_times_and_says_why(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(max_worker_restarts=1))
        stage.offer()
        stage.scheduler.call_failed(accept_of(stage), "HTTP 400: no")
        worker = job.view.workers[0]
        assert (worker.state, worker.restarts, worker.failures) == (TaskState.PENDING, 1, 1)
        await asyncio.sleep(RESTART_FIRST)
        stage.driver.calls.clear()
        stage.offer(2)
        stage.scheduler.call_failed(accept_of(stage), "HTTP 400: no")
        assert job.view.state is JobState.FAILED
        assert worker.state is TaskState.DROPPED
        assert worker.message == "the launch did not reach the master: HTTP 400: no; no restart is left of 1"

    on_stage(scenario)


def test_the_offers_of_a_refused_launch_go_back(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(workers=1)
        stage.offer()
        call = accept_of(stage)
        call["accept"]["offer_ids"] = [{"value": "O1"}]
        stage.scheduler.call_failed(call, "HTTP 400: no")
        assert stage.driver.calls[-1] == ("declineOffer", [{"value": "O1"}], {"refuse_seconds": 0.0})

    on_stage(scenario)


def test_a_refused_kill_is_made_again_until_the_task_has_ended(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.play(job)
        stage.kill(job, "USER", "enough")
        task_id = job.view.workers[0].task_id
        call = {"type": "KILL", "framework_id": {"value": "F"}, "kill": {"task_id": {"value": task_id}}}
        for attempt in range(12):
            stage.scheduler.call_failed(call, "HTTP 400: no")
            assert "the master refuses KILL (HTTP 400: no)" in job.view.waiting_for
            await asyncio.sleep(CAP)
            assert stage.asked("again") == [(call,)] * (attempt + 1)
        stage.scheduler.call_failed(call, "HTTP 400: no")
        stage.play(job, "KILLED")
        assert job.view.state is JobState.KILLED
        await asyncio.sleep(CAP)
        assert len(stage.asked("again")) == 12

    on_stage(scenario)


def test_what_frees_up_is_asked_for_at_once_and_then_now_and_then(on_stage: Any) -> None:
    """The next of many small jobs that each take the whole cluster waited a fifth of a second for the last one."""

    async def scenario(stage: Stage) -> None:
        first = stage.submit(workers=3)
        stage.offer()
        stage.play(first, "RUNNING")
        stage.submit(workers=3)
        stage.driver.calls.clear()
        begun, revived = stage.loop.time(), []
        for worker in first.view.workers:
            stage.update(worker.task_id, "FINISHED")
            before = len(stage.asked("reviveOffers"))
            while len(stage.asked("reviveOffers")) == before and stage.loop.time() < begun + 2:
                await asyncio.sleep(0.001)
            revived.append(stage.loop.time() - begun)
        assert revived[0] < 0.02
        assert revived[1] - revived[0] > 0.15

    on_stage(scenario)


def test_a_refused_revive_is_made_again_while_anything_waits(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        call = {"type": "REVIVE", "framework_id": {"value": "F"}, "revive": {"roles": []}}
        stage.scheduler.call_failed(call, "HTTP 503: busy")
        assert "the master refuses REVIVE (HTTP 503: busy)" in job.view.waiting_for
        await asyncio.sleep(CAP)
        assert stage.asked("again") == [(call,)]
        stage.scheduler.call_failed(call, "HTTP 503: busy")
        stage.offer()
        await asyncio.sleep(CAP)
        assert len(stage.asked("again")) == 1, "what waited has got its offer"

    on_stage(scenario)


@pytest.mark.parametrize("kind", ["DECLINE", "SUPPRESS", "ACKNOWLEDGE", "SHUTDOWN"])
def test_what_nobody_waits_for_is_not_repeated_for_ever(on_stage: Any, kind: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.scheduler.suppressed_roles()
        for _ in range(20):
            stage.scheduler.call_failed({"type": kind}, "HTTP 400: no")
            await asyncio.sleep(CAP)
        repeated = kind in ("DECLINE", "SUPPRESS")
        # Each ATTEMPTS + 1 refusals in a row are one series.
        assert len(stage.asked("again")) == (17 if repeated else 0)

    on_stage(scenario)


def test_a_new_subscription_begins_anew(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.play(job)
        stage.kill(job, "USER", "enough")
        kill = {"type": "KILL", "kill": {"task_id": {"value": job.view.workers[0].task_id}}}
        stage.scheduler.call_failed(kill, "HTTP 400: no")
        stage.scheduler.disconnected("gone")
        before = len(stage.asked("kill"))
        stage.scheduler.subscribed("F", {}, "127.0.0.1")
        assert len(stage.asked("kill")) == before + 1
        await asyncio.sleep(CAP)
        assert not stage.asked("again")

    on_stage(scenario)


def test_of_a_launch_that_may_have_arrived_the_master_is_asked(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        task_id = job.view.workers[0].task_id
        stage.scheduler.call_failed(accept_of(stage), "connection reset", certain=False)
        assert job.view.workers[0].state is TaskState.STAGING, "a second one now could run beside the first"
        await asyncio.sleep(FIRST_PAUSE)
        assert stage.asked("reconcile") == [([(task_id, "S1")],)]
        stage.update(task_id, "GONE", reason="REASON_RECONCILIATION")
        assert job.view.workers[0].restarts == 1, "it never ran: the next one may come at once"

    on_stage(scenario)


def test_after_a_gap_tasks_are_asked_for_and_kills_repeated(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        task_id = job.view.workers[0].task_id
        stage.scheduler.disconnected("the master is gone")
        stage.driver.connected = False
        stage.kill(job, "USER", "killed by the user")
        stage.driver.connected = True
        stage.driver.calls.clear()
        stage.scheduler.subscribed("F", {}, "127.0.0.1")
        assert ("reconcile", [(task_id, "S1")]) in stage.driver.calls
        assert ("kill", task_id, "S1", 3.0) in stage.driver.calls
        stage.update(task_id, "GONE", uuid=None)
        assert job.view.state is JobState.KILLED

    on_stage(scenario)


def test_a_framework_that_was_removed_ends_its_jobs_and_says_so(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        running, waiting = stage.submit(workers=1), stage.submit(workers=1, cpu=64)
        stage.offer()
        stage.scheduler.error("Framework has been removed")
        stage.scheduler.feed(Removed("Framework has been removed"))
        assert (running.view.state, waiting.view.state) == (JobState.FAILED, JobState.KILLED)
        assert "Framework has been removed" in running.view.message
        assert waiting.view.message == "Framework has been removed"
        assert stage.errors == ["Framework has been removed"]

    on_stage(scenario)


def test_executors_that_waited_long_enough_are_shut_down(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        worker = job.view.workers[0]
        stage.update(worker.task_id, "RUNNING")
        stage.result(job, 0)
        stage.update(worker.task_id, "FINISHED")
        assert len(stage.state.executors) == 1
        await asyncio.sleep(0.3)
        assert ("shutdown_executor", "S1", worker.executor_id) in stage.driver.calls
        assert len(stage.state.executors) == 0

    on_stage(scenario)


def test_a_waiting_executor_is_used_again_under_the_same_info(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        first = stage.submit(workers=1)
        stage.offer()
        stage.update(first.view.workers[0].task_id, "RUNNING")
        stage.result(first, 0)
        stage.update(first.view.workers[0].task_id, "FINISHED")
        stage.submit(workers=2)
        stage.offer()
        before, *after = [task["executor"] for task in stage.driver.launched()]
        assert all(executor == before for executor in after), "an ExecutorInfo of one id may never change"
        stage.scheduler.executor_lost("S1", before["executor_id"]["value"], 0)
        assert len(stage.state.executors) == 0

    on_stage(scenario)


def test_while_nothing_waits_subscribe_suppresses(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert stage.scheduler.suppressed_roles() == ["*"]
        stage.submit()
        assert stage.scheduler.suppressed_roles() == []

    on_stage(scenario)


def test_idle_executors_make_room_for_what_does_not_fit_beside_them(on_stage: Any) -> None:
    """Idle executors held an agent's cpus for a minute, while a large worker waited on an empty cluster."""

    async def scenario(stage: Stage) -> None:
        for number in range(3):
            small = stage.submit(workers=1)
            stage.offer(number=1)
            stage.update(small.view.workers[0].task_id, "RUNNING")
            # each job meets an agent whose executors are all busy, so each gets one of its own
            stage.state.executors.launched(
                small.view.workers[0].executor_id, "S1", f"keeps-busy-{number}", "x"
            )
        for executor in stage.state.executors.running():
            for task_id in list(stage.state.executors._executors[executor.executor_id].tasks):
                stage.state.executors.ended(executor.executor_id, task_id, 0.0)
        assert len(stage.state.executors.idle()) == 3
        large = stage.submit(workers=1, cpu=3.8)
        stage.offer(number=1, cpus=3.7)
        shut = [call for call in stage.driver.calls if call[0] == "shutdown_executor"]
        assert len(shut) == 2, "one may stay: the worker could use it"
        stage.driver.calls.clear()
        stage.scheduler.executor_lost("S1", shut[0][2], 0)
        await asyncio.sleep(0.3)
        assert "reviveOffers" in stage.driver.names()
        assert not large.view.state.is_final

    on_stage(scenario)


def test_why_a_job_waited_is_kept(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, cpu=16)
        stage.offer()
        stage.kill(job, "USER", "killed by the user")
        assert job.view.state is JobState.KILLED
        (row,) = stage.scheduler.why(job)
        assert row["lacked"] == "cpus"

    on_stage(scenario)


def test_what_was_torn_down_is_written_down(on_stage: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=2)
        stage.offer()
        stage.kill(job, "SESSION", "the session was ended")
        stage.scheduler.feed(TornDown("torn down with its session"))
        assert job.view.state is JobState.KILLED
        assert {worker.message for worker in job.view.workers} == {"torn down with its session"}

    on_stage(scenario)
