"""Job masters of a session by themselves: what a new one knows, and when it is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from t2notebook.jobmaster.actions import DRIVER, Answer, Hold, Scale, Stop
from t2notebook.jobmaster.members import Presence
from t2notebook.journal import Journal
from t2notebook.journal.job_store import AllJobs, JobRecord, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.session.running_job_masters import RunningJobMasters
from tests.scheduler.stage import on_loop


class Desk:
    """One job of two workers; `carried` has what its job master had brought to others."""

    def __init__(self, directory: Path) -> None:
        self.jobs = AllJobs()
        self.home = Jobs(Journal(directory))
        self.jobs.add(self.home)
        resource = ComputeResource(ram_mega_bytes=64, instances=2)
        self.job = self.home.create_now(JobSpec("pi", "ada", (resource,), "0" * 64, 10, "3.11"), "k")
        self.carried: list[Answer | Stop | Scale | Hold] = []
        self.masters = self.another()

    def another(self) -> RunningJobMasters:
        return RunningJobMasters(self.jobs, self.carry)

    def carry(self, job_id: str, action: Answer | Stop | Scale | Hold) -> None:
        assert job_id == self.job.job_id
        self.carried.append(action)

    def run(self, worker_id: int) -> None:
        data = {"agent": "S0", "host": "h1", "executor_id": "t2-1"}
        for kind, state in ((EventKind.LAUNCHED, "STAGING"), (EventKind.STATUS, "RUNNING")):
            self.home.record(
                Event(kind, self.job.job_id, 1.0, worker_id, f"pi-{worker_id}", state, data=data)
            )

    async def answer(self) -> Answer:
        """Return the next answer: its record is on the disk first."""
        while not self.carried:
            await asyncio.sleep(0.01)
        action = self.carried.pop(0)
        assert isinstance(action, Answer)
        return action


def at_desk(
    directory: Path, test: Callable[[Desk, JobRecord], Awaitable[None]], run: Callable[..., None]
) -> None:
    async def main() -> None:
        desk = Desk(directory)
        try:
            await test(desk, desk.job)
        finally:
            desk.masters.halt()
            await desk.masters.close()
            desk.home.journal.close()

    run(main())


def test_a_new_one_knows_the_past(tmp_path: Path) -> None:
    async def test(desk: Desk, job: JobRecord) -> None:
        desk.run(1)
        assert desk.masters.get(job.job_id) is None, "nobody has needed it"
        running = desk.masters.of(job)
        assert running is desk.masters.of(job) is desk.masters.get(job.job_id)
        members = running.master.members
        assert [members[number].presence for number in range(2)] == [Presence.AWAITED, Presence.JOINED]

    at_desk(tmp_path / "s", test, asyncio.run)


def test_one_that_comes_after_it_has_what_it_kept(tmp_path: Path) -> None:
    async def test(desk: Desk, job: JobRecord) -> None:
        running = desk.masters.of(job)
        desk.masters.perform(running, running.master.driver_send("a", [0, 1], b"x"))
        assert (await desk.answer()).record == {"sent": 2}
        desk.masters.drop(running)
        assert desk.masters.get(job.job_id) is None
        again = desk.masters.of(job)
        assert again is not running
        desk.masters.perform(again, again.master.driver_send("a", [0, 1], b"x"))
        assert (await desk.answer()).record == {"sent": 2}
        assert again.master.mailboxes.unread(0) == 1, "the repetition is none of its own"

    at_desk(tmp_path / "s", test, asyncio.run)


def test_it_is_woken_when_somebody_has_waited_long_enough(tmp_path: Path) -> None:
    async def test(desk: Desk, job: JobRecord) -> None:
        running, loop = desk.masters.of(job), asyncio.get_running_loop()
        later, sooner = loop.time() + 100.0, loop.time() + 0.05
        desk.masters.perform(running, running.master.driver_receive("r", 0, 100.0, loop.time()))
        assert running.timer is not None and running.timer.when() >= later
        wait = running.master.request(0, 1, {"kind": "receive", "timeout": 0.05}, b"", loop.time())
        desk.masters.perform(running, wait)
        assert sooner <= running.timer.when() < later, "the first that is due counts"
        answer = await desk.answer()
        assert (answer.to, answer.record) == (0, {"letters": []})
        assert running.timer is not None and running.timer.when() >= later
        desk.masters.perform(running, running.master.mailboxes.post(DRIVER, 0, b"x"))
        assert (await desk.answer()).request == "r"

    at_desk(tmp_path / "s", test, asyncio.run)


def test_who_halts_wakes_nobody(tmp_path: Path) -> None:
    async def test(desk: Desk, job: JobRecord) -> None:
        running = desk.masters.of(job)
        desk.masters.perform(running, running.master.driver_receive("r", 0, 5.0, 0.0))
        desk.masters.halt()
        await asyncio.sleep(100.0)
        assert desk.carried == []

    at_desk(tmp_path / "s", test, on_loop)
