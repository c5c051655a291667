"""A scheduler that is rebuilt from the journal knows what the one before knew, wherever that was cut off."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2notebook.journal import Journal
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.states import JobState, TaskState
from t2notebook.protocol import auth
from t2notebook.scheduler.inputs import Adopted, Settle
from t2notebook.session.announcer import Announcer
from tests.scheduler.stage import Stage, on_loop, on_stage


class NextStage(Stage):
    """The stage of the next session: what is in the journal, taken over."""

    def begin(self) -> None:
        self.scheduler.feed(Adopted())
        self.scheduler.subscribed("F", {}, "127.0.0.1")
        self.scheduler.feed(Settle())

    def job(self) -> JobRecord:
        (job,) = self.jobs
        return job


def taken_over(directory: Path, before: Any, after: Any) -> None:
    """Run `before(stage)`, end that scheduler as a crash does, and run `after(stage)` on the next."""

    async def first(stage: Stage) -> None:
        before(stage)

    on_stage(directory, first)

    async def second() -> None:
        stage = NextStage(directory)
        try:
            after(stage)
        finally:
            stage.scheduler.close()
            stage.jobs.journal.close()

    on_loop(second())


def test_what_runs_is_asked_about_and_goes_on(tmp_path: Path) -> None:
    def before(stage: Stage) -> None:
        job = stage.submit(workers=2)
        stage.offer()
        stage.play(job)

    def after(stage: NextStage) -> None:
        job = stage.job()
        ((tasks,),) = stage.asked("reconcile")[:1]
        assert sorted(tasks) == [(worker.task_id, "S1") for worker in job.view.workers]
        assert stage.state.launcher.agents == {"S1": "http://127.0.0.1:5051"}, "their sandboxes can be read"
        for worker in job.view.workers:
            stage.result(job, worker.worker_id)
            stage.update(worker.task_id, "FINISHED")
        assert job.view.state is JobState.COMPLETED

    taken_over(tmp_path, before, after)


def test_adopted_executors_get_no_launches_and_no_id_twice(tmp_path: Path) -> None:
    def before(stage: Stage) -> None:
        job = stage.submit(workers=2, cpu=3.0)
        stage.offer()
        stage.play(job)
        assert [worker.state for worker in job.view.workers] == [TaskState.RUNNING, TaskState.PENDING]

    def after(stage: NextStage) -> None:
        job = stage.job()
        assert stage.state.executors.jobs_by_executor() == {("t2-1", "S1"): {job.job_id}}
        stage.result(job, 0)
        stage.update(job.view.workers[0].task_id, "FINISHED")
        stage.offer(1)
        (task,) = stage.driver.launched()
        assert task["executor"]["executor_id"] == {"value": "t2-2"}

    taken_over(tmp_path, before, after)


def test_a_launch_that_never_went_out_is_made_again_under_another_id(tmp_path: Path) -> None:
    def before(stage: Stage) -> None:
        stage.submit(workers=1)
        stage.driver.acceptOffers = lambda *_: None  # type: ignore[method-assign]
        stage.offer()

    def after(stage: NextStage) -> None:
        job = stage.job()
        old = job.view.workers[0].task_id
        stage.update(old, "GONE", reason="REASON_RECONCILIATION", source="SOURCE_MASTER")
        stage.offer()
        (task,) = stage.driver.launched()
        assert task["task_id"]["value"] != old
        assert job.view.workers[0].restarts == 1
        stage.update(old, "RUNNING")
        assert [call[0] for call in stage.asked("kill")] == [old], (
            "should it live all the same, it is fenced off"
        )

    taken_over(tmp_path, before, after)


def test_what_was_to_follow_from_a_failure_follows(tmp_path: Path) -> None:
    """The session died between the end of one worker and the KILLs of the others: they ran for ever."""

    def before(stage: Stage) -> None:
        job = stage.submit(workers=2)
        stage.offer()
        stage.play(job)
        event = Event(EventKind.STATUS, job.job_id, 1.0, 0, job.view.workers[0].task_id, "FAILED")
        stage.jobs.record(event)

    def after(stage: NextStage) -> None:
        job = stage.job()
        assert job.view.kill_reason == "WORKER_FAILED"
        assert job.view.workers[1].task_id in [call[0] for call in stage.asked("kill")]
        stage.update(job.view.workers[1].task_id, "KILLED")
        assert job.view.state is JobState.FAILED

    taken_over(tmp_path, before, after)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["offer", "RUNNING", "FINISHED", "FAILED", "LOST", "UNREACHABLE", "result", "kill"]
            ),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
def test_cut_off_anywhere_nothing_is_forgotten_and_nothing_is_launched_twice(
    steps: list[tuple[str, int]],
) -> None:
    def before(stage: Stage) -> None:
        job = stage.submit(workers=4, cpu=1.5)
        for name, worker_id in steps:
            worker = job.view.workers[worker_id]
            if name == "offer":
                stage.offer(worker_id + 1)
            elif name == "kill":
                if worker_id == 3:
                    stage.kill(job, "USER", "enough")
            elif worker.is_on_mesos:
                if name == "result":
                    stage.result(job, worker_id)
                else:
                    stage.update(worker.task_id, name)

    def after(stage: NextStage) -> None:
        job = stage.job()
        on_mesos = {worker.task_id for worker in job.view.workers if worker.is_on_mesos}
        pending = [worker.worker_id for worker in job.view.workers if worker.state is TaskState.PENDING]
        if job.view.state.is_final:
            assert not stage.state.waiting
            return
        assert {task for task in on_mesos if stage.state.tracker.find(task)} == on_mesos
        waiting = stage.state.waiting.requests(1e12)
        assert sorted(worker for request in waiting for worker in request.worker_ids) == sorted(pending)
        used = {event.task_id for event in job.events if event.kind is EventKind.LAUNCHED}
        for number in range(10, 16):
            stage.offer(number)
        launched = [task["task_id"]["value"] for task in stage.driver.launched()]
        assert not used & set(launched), "a task id is never used again"
        assert len(set(launched)) == len(launched)

    with tempfile.TemporaryDirectory() as directory:
        taken_over(Path(directory), before, after)


def announce(jobs: list[JobRecord], seconds: float, answer_after: int | None) -> list[dict[str, Any]]:
    """Return the messages that an executor gets that answers after so many."""
    sent: list[dict[str, Any]] = []

    async def main() -> None:
        import asyncio

        def send(executor_id: str, agent: str, data: str) -> None:
            assert (executor_id, agent) == ("t2-1", "S1")
            sent.append(json.loads(base64.b64decode(data)))
            if answer_after is not None and len(sent) >= answer_after:
                asyncio.get_running_loop().call_soon(
                    announcer.heard, "t2-1", encode(kind="session", claims=3)
                )

        announcer = Announcer("http://h:1", 3, send)
        announcer.tell("t2-1", "S1", jobs)
        announcer.heard("t2-1", "!")
        announcer.heard("t2-1", encode(kind="session", claims=2))
        await asyncio.sleep(seconds)
        assert len(announcer) == (0 if answer_after else 1)
        announcer.close()

    on_loop(main())
    return sent


def encode(**record: Any) -> str:
    return base64.b64encode(json.dumps(record).encode()).decode()


@pytest.mark.parametrize(("answer_after", "number"), [(1, 1), (3, 3), (None, 11)])
def test_executors_are_told_until_they_answer(tmp_path: Path, answer_after: int | None, number: int) -> None:
    journal = Journal(tmp_path)
    job = Jobs(journal).create_now(JobSpec("pi", "ada", (ComputeResource(),), "0" * 64, 1, "3.11"), "k")
    journal.close()
    sent = announce([job], 170.0, answer_after)
    assert len(sent) == number, "at growing intervals"
    assert sent[0]["url"] == "http://h:1"
    signature = sent[0]["jobs"][job.job_id]
    assert auth.matches_move(signature, job.secret, "http://h:1", 3)
    assert not auth.matches_move(signature, job.secret, "http://evil:1", 3)
    assert not auth.matches_move(signature, job.secret, "http://h:1", 4)
    assert job.secret not in json.dumps(sent)
