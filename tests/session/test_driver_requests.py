"""Requests of drivers to their job masters: answered once they are on the disk, in time, and by whoever has the job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from t2notebook.jobmaster.actions import DRIVER, Answer, Hold, Scale, Stop
from t2notebook.journal import Journal
from t2notebook.journal.job_store import AllJobs, JobRecord, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.session.cluster_job_masters import ClusterJobMasters
from t2notebook.session.driver_requests import DriverRequests
from t2notebook.session.running_job_masters import RunningJobMaster, RunningJobMasters


class Desk:
    """A job of two workers, its job master, and its driver's requests."""

    def __init__(self, directory: Path) -> None:
        self.jobs = AllJobs()
        self.home = Jobs(Journal(directory))
        self.jobs.add(self.home)
        self.ended: list[RunningJobMaster] = []
        self.cluster: Cluster | None = None
        self.running = RunningJobMasters(self.jobs, self.carry)
        self.driver = DriverRequests(
            self.running, lambda: cast("ClusterJobMasters | None", self.cluster), self.ended.append
        )

    def job(self, **fields: Any) -> JobRecord:
        resource = ComputeResource(ram_mega_bytes=64, instances=2)
        return self.home.create_now(JobSpec("pi", "ada", (resource,), "0" * 64, 10, "3.11", **fields), "k")

    def carry(self, job_id: str, action: Answer | Stop | Scale | Hold) -> None:
        if isinstance(action, Answer) and action.to == DRIVER:
            self.driver.answered(job_id, action)

    def worker(self, job: JobRecord, worker_id: int, request: int, record: Mapping[str, Any]) -> None:
        """Have a worker ask something."""
        running, now = self.running.of(job), asyncio.get_running_loop().time()
        self.running.perform(running, running.master.request(worker_id, request, record, b"object", now))


class Cluster:
    """Stands where job masters on the cluster are."""

    def __init__(self) -> None:
        self.drained_jobs: list[str] = []

    async def send(self, job: JobRecord, send_id: str, receivers: Any, payload: bytes) -> Mapping[str, Any]:
        return {"sent": 2, "request": send_id}

    async def debug(self, job: JobRecord, worker_id: int, record: Any) -> Mapping[str, Any]:
        return {"output": "there", "prompt": "(Pdb) "}

    async def drained(self, job: JobRecord) -> None:
        self.drained_jobs.append(job.job_id)


def at_desk(directory: Path, test: Callable[[Desk], Awaitable[None]]) -> None:
    async def main() -> None:
        desk = Desk(directory)
        try:
            async with asyncio.timeout(60):
                await test(desk)
        finally:
            desk.driver.close()
            desk.running.halt()
            await desk.running.close()
            desk.home.journal.close()

    asyncio.run(main())


def test_a_message_is_taken_once_however_often_it_is_sent(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        job = desk.job()
        for _ in range(2):
            assert await desk.driver.send(job, "a", None, b"x") == {"sent": 2}
        assert "not 7" in (await desk.driver.send(job, "b", [7], b"x"))["error"]
        assert desk.running.of(job).master.mailboxes.unread(1) == 1

    at_desk(tmp_path / "s", test)


def test_who_waits_for_messages_gets_them_as_they_come_or_none_in_time(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        job = desk.job()
        assert (await desk.driver.receive(job, "r1", 0, 0.01)).record == {"letters": []}
        waiting = asyncio.create_task(desk.driver.receive(job, "r2", 0, 60.0))
        await asyncio.sleep(0)
        desk.worker(job, 1, 1, {"kind": "send", "to": DRIVER})
        answer = await waiting
        assert (answer.record, answer.payload) == ({"letters": [[1, 1, 6]]}, b"object")
        assert desk.driver.taken(job) == 1
        assert desk.ended == [], "the job goes on"

    at_desk(tmp_path / "s", test)


def test_what_a_job_master_on_the_cluster_had_is_kept_under_the_next_numbers(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        job = desk.job()
        await desk.driver.take(job, [])
        await desk.driver.take(job, [(1, 0, b"one"), (2, 1, b"two")])
        assert desk.driver.taken(job) == 2
        answer = await desk.driver.receive(job, "r", 0, 0.0)
        assert answer.record == {"letters": [[1, 0, 3], [2, 1, 3]]}

    at_desk(tmp_path / "s", test)


def test_who_has_read_all_of_a_job_that_is_over_lets_its_job_master_go(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        job = desk.job()
        desk.cluster = Cluster()
        desk.home.record(Event(EventKind.KILL, job.job_id, 1.0, reason="USER"))
        assert job.view.state.is_final
        await desk.driver.receive(job, "r", 0, 0.0)
        assert desk.ended == [desk.running.get(job.job_id)]
        assert desk.cluster.drained_jobs == [job.job_id], "all is here that there is"

    at_desk(tmp_path / "s", test)


def test_a_job_master_on_the_cluster_is_asked_itself(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        desk.cluster = Cluster()
        job = desk.job(job_master=ComputeResource(cpu=0.1, ram_mega_bytes=64))
        assert await desk.driver.send(job, "a", None, b"x") == {"sent": 2}
        answer = await desk.driver.debug(job, 0, {"do": "attach", "driver": "d"}, 5.0)
        assert answer == {"output": "there", "prompt": "(Pdb) "}
        assert desk.running.get(job.job_id) is None

    at_desk(tmp_path / "s", test)


def test_a_driver_that_debugs_waits_until_the_worker_asks_for_a_line_again(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        job = desk.job()
        question = {"kind": "debug", "why": "breakpoint()", "prompt": "(Pdb) ", "timeout": 60.0}
        desk.worker(job, 0, 1, {**question, "output": "hello\n"})
        attached = await desk.driver.debug(job, 0, {"do": "attach", "driver": "d"}, 60.0)
        assert (attached["output"], attached["prompt"]) == ("hello\n", "(Pdb) ")
        line = {"do": "line", "driver": "d", "line": "p 1"}
        asked = asyncio.create_task(desk.driver.debug(job, 0, line, 60.0))
        await asyncio.sleep(0.01)
        assert not asked.done()
        desk.worker(job, 0, 2, {**question, "output": "1\n"})
        desk.driver.look_again()
        assert (await asked)["output"] == "1\n"
        slow = await desk.driver.debug(job, 0, line, 0.01)
        assert "prompt" not in slow, "it is told that nothing has come yet"

    at_desk(tmp_path / "s", test)


def test_who_closes_answers_nobody(tmp_path: Path) -> None:
    async def test(desk: Desk) -> None:
        waiting = asyncio.create_task(desk.driver.receive(desk.job(), "r", 0, 60.0))
        await asyncio.sleep(0)
        desk.driver.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    at_desk(tmp_path / "s", test)
