"""Workers that are started again: when, how often, and that there is never a second one beside the first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from t2notebook.model.job import FaultTolerance
from t2notebook.model.reducer import reduce
from t2notebook.model.states import JobState, TaskState
from t2notebook.protocol.launch import Cause, WorkerLaunch, encode_status_data
from t2notebook.scheduler.reconciliation import PERIOD
from t2notebook.scheduler.restart_policy import MAX_RETRIES
from tests.scheduler.stage import RAISED, Stage, on_stage

CRASHED = encode_status_data(-11)
Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda scenario: on_stage(tmp_path, scenario)


def test_a_crashed_worker_is_started_again_after_a_growing_pause_and_keeps_its_id(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=2)
        stage.offer()
        stage.play(job)
        worker = job.view.workers[1]
        pauses = []
        for count in range(1, 6):
            old = worker.task_id
            stage.update(old, "FAILED", message="killed by signal 11 (SIGSEGV)", data=CRASHED)
            assert (worker.state, worker.restarts, worker.exit_code) == (TaskState.PENDING, count, -11)
            assert f"SIGSEGV); restart {count} of 5 in" in worker.message
            stage.offer(count + 1)
            assert worker.task_id == old, "it pauses"
            revived = len(stage.asked("reviveOffers"))
            began = stage.loop.time()
            while len(stage.asked("reviveOffers")) == revived:
                await asyncio.sleep(0.05)
            await asyncio.sleep(max(0.0, worker.not_before - stage.jobs.clock() + 0.001))
            pauses.append(round(stage.loop.time() - began, 1))
            stage.offer(count + 1)
            assert worker.task_id == f"{job.job_id}-1-{count}" != old
            launch = WorkerLaunch.decode(stage.driver.launched()[-1]["data"])
            assert (launch.worker_id, launch.restart_count) == (1, count)
            stage.update(worker.task_id, "RUNNING")
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]
        stage.update(worker.task_id, "FAILED", message="killed by signal 11 (SIGSEGV)", data=CRASHED)
        assert worker.state is TaskState.FAILED
        assert ("kill", job.view.workers[0].task_id, "S1", 3.0) in stage.driver.calls
        stage.update(job.view.workers[0].task_id, "KILLED")
        assert job.view.state is JobState.FAILED
        assert job.view.message.endswith("killed by signal 11 (SIGSEGV); no restart is left of 5")
        assert reduce(job.job_id, job.events) == job.view, "what the journal tells is what was seen"

    play(scenario)


def test_while_a_worker_pauses_that_is_why_the_job_waits(play: Play) -> None:
    """It said that no offer had come yet."""

    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.play(job)
        stage.update(job.view.workers[0].task_id, "FAILED", message="exited with code 4", data=CRASHED)
        assert job.view.waiting_for == "worker 0: exited with code 4; restart 1 of 5 in 0.5 s"
        await asyncio.sleep(0.6)
        stage.offer(2)
        assert job.view.waiting_for == ""

    play(scenario)


def test_a_message_of_many_lines_is_kept_but_not_shown(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.play(job)
        text = (
            "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB\n\nMEMORY STATISTICS: \ncache 20480\n"
        )
        reason = "REASON_CONTAINER_LIMITATION_MEMORY"
        stage.update(job.view.workers[0].task_id, "FAILED", reason=reason, message=text)
        (message,) = [event.message for event in job.events if event.state == "FAILED"]
        assert message == (
            "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB; that is its executor with its worker in it; "
            "ask for more memory (--ram, ram_mega_bytes)"
        )
        assert any("MEMORY STATISTICS" in event.data.get("details", "") for event in job.events)

    play(scenario)


def test_an_exception_of_the_users_is_not_tried_again(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.play(job)
        stage.update(job.view.workers[0].task_id, "FAILED", message="ValueError: boom", data=RAISED)
        assert job.view.state is JobState.FAILED
        assert job.view.workers[0].restarts == 0

    play(scenario)


def test_a_host_on_which_a_worker_keeps_crashing_is_left_for_another(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        worker = job.view.workers[0]
        stage.state.tracker.hosts.seen(["h2"])
        for _ in range(2):
            await asyncio.sleep(max(0.0, worker.not_before - stage.jobs.clock() + 0.001))
            stage.offer(1)
            stage.play(job)
            assert worker.host == "h1"
            stage.update(worker.task_id, "FAILED", data=CRASHED)
        await asyncio.sleep(1.1)
        stage.offer(1)
        assert worker.state is TaskState.PENDING
        assert "h1: avoided for 29 s, since workers failed there 2 times" in job.view.waiting_for
        stage.offer(2)
        assert (worker.state, worker.host) == (TaskState.STAGING, "h2")

    play(scenario)


def test_a_job_that_crashes_everywhere_says_nothing_of_the_hosts(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.state.tracker.hosts.seen(["h2"])
        job = stage.submit(workers=1, faults=FaultTolerance(max_worker_restarts=1))
        worker = job.view.workers[0]
        for _ in range(2):
            await asyncio.sleep(max(0.0, worker.not_before - stage.jobs.clock() + 0.001))
            stage.offer(1)
            stage.play(job)
            stage.update(worker.task_id, "FAILED", data=CRASHED)
        assert job.view.state is JobState.FAILED
        assert stage.state.tracker.hosts.excluded(stage.loop.time()) == {}

    play(scenario)


def test_a_launch_that_meets_an_ending_executor_is_repeated_at_once_and_not_counted(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(max_worker_restarts=0))
        worker_states = []
        stage.offer()
        worker = job.view.workers[0]
        stage.update(worker.task_id, "DROPPED", message="Executor terminating")
        worker_states.append((worker.state, worker.restarts, worker.failures, worker.retries))
        stage.offer(2)
        stage.update(worker.task_id, "FAILED", data=encode_status_data(None, Cause.ENDING))
        worker_states.append((worker.state, worker.restarts, worker.failures, worker.retries))
        await asyncio.sleep(0.21)
        stage.offer(3)
        stage.play(job)
        worker_states.append((worker.state, worker.restarts, worker.failures, worker.retries))
        assert worker_states == [
            (TaskState.PENDING, 1, 0, 1),
            (TaskState.PENDING, 2, 0, 2),
            (TaskState.RUNNING, 2, 0, 0),
        ]

    play(scenario)


def test_launches_that_are_always_lost_come_to_an_end(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        worker = job.view.workers[0]
        for number in range(MAX_RETRIES + 1):
            await asyncio.sleep(max(0.0, worker.not_before - stage.jobs.clock() + 0.001))
            stage.offer(number + 1)
            stage.update(worker.task_id, "DROPPED", message="gone")
        assert job.view.state is JobState.FAILED
        assert worker.message == f"gone; given up after {MAX_RETRIES} launches in a row that were lost"

    play(scenario)


def test_an_unreachable_worker_that_comes_back_in_time_is_taken_back(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(unreachable_timeout=60))
        stage.offer()
        stage.play(job)
        worker = job.view.workers[0]
        stage.update(worker.task_id, "UNREACHABLE", reason="REASON_AGENT_REMOVED")
        await asyncio.sleep(59)
        stage.play(job)
        await asyncio.sleep(600)
        assert (worker.state, worker.restarts) == (TaskState.RUNNING, 0)
        assert stage.asked("kill") == []

    play(scenario)


@pytest.mark.parametrize("state", ["UNREACHABLE", "UNKNOWN"])
def test_an_unreachable_worker_is_replaced_in_time_and_killed_when_it_returns(play: Play, state: str) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(unreachable_timeout=60))
        stage.offer()
        stage.play(job)
        worker = job.view.workers[0]
        old = worker.task_id
        stage.update(old, state)
        await asyncio.sleep(60.1)
        assert (worker.state, worker.restarts, worker.failures) == (TaskState.PENDING, 1, 1)
        assert "on h1 for 60 s; restart 1 of 5 in 0.5 s" in worker.message
        assert not stage.state.reconciler.rounds.unanswered, "nobody waits for an answer about it any more"
        await asyncio.sleep(0.6)
        stage.offer(2)
        assert worker.task_id == f"{job.job_id}-0-1"
        stage.driver.calls.clear()
        stage.update(old, state, reason="REASON_RECONCILIATION")
        assert stage.asked("kill") == [], "a KILL is answered so; another would be, too, for ever"
        stage.driver.calls.clear()
        stage.update(old, "RUNNING", reason="REASON_RECONCILIATION")
        assert stage.driver.names() == ["acknowledge", "kill"]
        assert stage.driver.calls[1][1] == old
        stage.update(old, "KILLED")
        assert (worker.state, worker.task_id) == (TaskState.STAGING, f"{job.job_id}-0-1")

    play(scenario)


def test_what_cannot_be_heard_without_a_master_is_not_held_against_the_worker(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(unreachable_timeout=60, launch_timeout=60))
        stage.offer()
        worker = job.view.workers[0]
        stage.driver.connected = False
        stage.scheduler.disconnected("gone")
        await asyncio.sleep(3600)
        assert worker.state is TaskState.STAGING
        stage.driver.connected = True
        stage.scheduler.subscribed("F", {}, "127.0.0.1")
        await asyncio.sleep(2)
        stage.play(job)
        await asyncio.sleep(100)
        assert (worker.state, worker.restarts) == (TaskState.RUNNING, 0)

    play(scenario)


def test_a_launch_that_nothing_is_heard_of_is_given_up_and_made_elsewhere(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(launch_timeout=60))
        stage.offer()
        worker = job.view.workers[0]
        old = worker.task_id
        await asyncio.sleep(60.1)
        assert ("kill", old, "S1", 3.0) in stage.driver.calls
        assert worker.message == "nothing was heard of its launch on h1 for 60 s; started anew"
        stage.offer(2)
        assert worker.task_id == f"{job.job_id}-0-1"

    play(scenario)


def test_a_worker_whose_result_is_here_is_not_started_again_when_the_news_of_its_end_is_lost(
    play: Play,
) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1)
        stage.offer()
        stage.play(job)
        stage.result(job, 0)
        stage.update(job.view.workers[0].task_id, "GONE", reason="REASON_RECONCILIATION")
        assert job.view.state is JobState.COMPLETED
        assert job.view.workers[0].message == "its result had come before: REASON_RECONCILIATION"

    play(scenario)


def test_a_job_that_is_being_killed_restarts_nothing(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=2)
        stage.offer()
        stage.play(job)
        stage.update(job.view.workers[0].task_id, "FAILED", data=CRASHED)
        assert job.view.state is JobState.PENDING
        stage.kill(job, "USER", "you killed it")
        stage.update(job.view.workers[1].task_id, "FAILED", data=CRASHED)
        assert job.view.state is JobState.KILLED
        await asyncio.sleep(10)
        assert not stage.state.waiting
        asked = [name for name in stage.driver.names() if name.endswith("Offers")]
        assert asked[-1] == "suppressOffers"

    play(scenario)


def test_tasks_are_asked_for_by_name_until_all_have_answered_then_all_at_once_and_again_later(
    play: Play,
) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=2)
        stage.offer()
        stage.play(job)
        first, second = (worker.task_id for worker in job.view.workers)
        stage.scheduler.disconnected("gone")
        stage.scheduler.subscribed("F", {}, "127.0.0.1")
        stage.update(first, "RUNNING", reason="REASON_RECONCILIATION")
        await asyncio.sleep(8)
        stage.update(second, "RUNNING", reason="REASON_RECONCILIATION")
        await asyncio.sleep(60)
        questions = [sorted(task for task, _ in tasks) for (tasks,) in stage.asked("reconcile")]
        assert questions[0] == sorted([first, second])
        assert questions[1:-1] == [[second]] * len(questions[1:-1])
        assert 2 <= len(questions[1:-1]) <= 4
        assert questions[-1] == [], "the implicit one"
        stage.driver.calls.clear()
        await asyncio.sleep(PERIOD)
        assert sorted(task for task, _ in stage.asked("reconcile")[0][0]) == sorted([first, second])

    play(scenario)


def test_one_worker_is_ended_for_good_and_the_others_go_on(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=3)
        stage.offer(cpus=2.3)
        running, ended, waiting = job.view.workers
        stage.play(job)
        stage.kill_worker(job, 2, "USER", "not needed")
        assert waiting.state is TaskState.KILLED and job.job_id not in stage.state.waiting
        stage.kill_worker(job, 1, "USER", "too slow")
        assert stage.asked("kill") == [(ended.task_id, "S1", 3.0)]
        stage.scheduler.subscribed("F", {}, "127.0.0.1")
        assert stage.asked("kill") == [(ended.task_id, "S1", 3.0)] * 2, "it may have been lost"
        stage.update(ended.task_id, "KILLED")
        stage.offer(2)
        assert (ended.state, running.state) == (TaskState.KILLED, TaskState.RUNNING)
        stage.result(job, 0)
        stage.update(running.task_id, "FINISHED")
        assert job.view.state is JobState.KILLED
        assert reduce(job.job_id, job.events) == job.view

    play(scenario)


@pytest.mark.parametrize("how", ["asked", "exit code"])
def test_a_worker_begins_anew_as_often_as_it_likes(play: Play, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=1, faults=FaultTolerance(max_worker_restarts=0))
        stage.offer()
        worker = job.view.workers[0]
        for count in range(1, 2 * MAX_RETRIES):
            stage.play(job)
            if how == "asked":
                stage.kill_worker(job, 0, "USER", "again", restart=True)
                stage.update(worker.task_id, "KILLED")
            else:
                stage.update(worker.task_id, "FAILED", data=encode_status_data(75, Cause.ANEW))
            assert (worker.state, worker.failures) == (TaskState.PENDING, 0)
            assert 0 < worker.not_before - stage.jobs.clock() <= 0.1, "not in a tight loop"
            await asyncio.sleep(0.2)
            stage.offer(count + 1)
            assert worker.restarts == count and worker.is_on_mesos

    play(scenario)


def test_an_executor_that_has_imported_modules_is_for_jobs_that_want_the_same(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        first = stage.submit(workers=1, preload=("pandas",))
        stage.offer(1)
        executor = first.view.workers[0].executor_id
        stage.play(first)
        stage.result(first, 0)
        stage.update(first.view.workers[0].task_id, "FINISHED", executor_id={"value": executor})
        plain = stage.submit(workers=1)
        stage.offer(1)
        assert plain.view.workers[0].executor_id != executor
        same = stage.submit(workers=1, preload=("pandas",))
        stage.offer(1)
        assert same.view.workers[0].executor_id == executor
        launch = WorkerLaunch.decode(stage.driver.launched()[-1]["data"])
        assert launch.preload == ("pandas",)

    play(scenario)


def test_a_lost_agents_host_is_nowhere_else_to_go(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(workers=1, cpu=99.0)
        stage.offer(1)
        stage.offer(2)
        hosts = stage.state.tracker.hosts
        for number in range(3):
            hosts.failed("h1", "other", float(number))
        assert set(hosts.excluded(3.0)) == {"h1"}
        stage.scheduler.agent_lost("S2")
        assert hosts.excluded(3.0) == {}

    play(scenario)
