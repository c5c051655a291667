"""Requests of jobs' drivers to their job masters, here or on the cluster: messages, and words that debug a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..jobmaster.actions import DRIVER, Action, Answer
from ..journal.job_store import JobRecord
from .cluster_job_master import Letters
from .cluster_job_masters import ClusterJobMasters
from .running_job_masters import RunningJobMaster, RunningJobMasters

#: Seconds between two questions of a driver's to a job master on the cluster, which tells nothing by itself.
ASK_AGAIN = 0.2


class DriverRequests:
    """The requests of drivers that have not been answered.

    Parameters
    ----------
    running : RunningJobMasters
    cluster : callable
        Returns the job masters that run as tasks on Mesos; None before there can be any.
    end : callable
        Called with the job master of a job that is over, when its driver has been given what there was.
    """

    def __init__(
        self,
        running: RunningJobMasters,
        cluster: Callable[[], ClusterJobMasters | None],
        end: Callable[[RunningJobMaster], None],
    ) -> None:
        self._running, self._cluster, self._end = running, cluster, end
        self._answers: dict[tuple[str, int | str], asyncio.Future[Answer]] = {}
        self._debugged = asyncio.Event()

    async def send(
        self, job: JobRecord, send_id: str, receivers: list[int] | None, payload: bytes
    ) -> Mapping[str, Any]:
        """Take a message of the driver's; the answer says how many workers it is for, or an ``error``.

        Parameters
        ----------
        job : JobRecord
        send_id : str
            The same for each repetition.
        receivers : list of int or None
            None: all that have not ended.
        payload : bytes
        """
        if job.spec.job_master is not None and (cluster := self._cluster()) is not None:
            record: Mapping[str, Any] = await cluster.send(job, send_id, receivers, payload)
            return {name: value for name, value in record.items() if name != "request"}
        running = self._running.of(job)
        answer = self._answer(job.job_id, send_id)
        self._running.perform(running, running.master.driver_send(send_id, receivers, payload))
        return (await answer).record

    async def receive(self, job: JobRecord, request: str, acknowledged: int, timeout: float) -> Answer:
        """Wait for messages to the driver.

        Parameters
        ----------
        job : JobRecord
        request : str
        acknowledged : int
            The number of the last message that the driver has taken.
        timeout : float
            Seconds.
        """
        if (cluster := self._cluster()) is not None and job.view.state.is_final:
            await cluster.drained(job)
        running = self._running.of(job)
        answer = self._answer(job.job_id, request)
        now = asyncio.get_running_loop().time()
        self._running.perform(running, running.master.driver_receive(request, acknowledged, timeout, now))
        try:
            return await answer
        finally:
            self._answers.pop((job.job_id, request), None)
            if job.view.state.is_final:
                self._end(running)

    def taken(self, job: JobRecord) -> int:
        """Return the number of the last message to the driver that is kept here."""
        return self._running.of(job).master.mailboxes.last(DRIVER)

    async def take(self, job: JobRecord, letters: Letters) -> None:
        """Keep messages to the driver that a job master on the cluster had; when this returns they are on the disk.

        Parameters
        ----------
        job : JobRecord
        letters : list of (number, sender, payload)
            Those that follow on the last that was kept.
        """
        if not letters:
            return
        running = self._running.of(job)
        actions: list[Action] = []
        for _, sender, payload in letters:
            actions += running.master.mailboxes.post(DRIVER, sender, payload)
        request = f"kept-{letters[-1][0]}"
        kept = self._answer(job.job_id, request)
        self._running.perform(running, [*actions, Answer(DRIVER, request, {})])
        await kept

    async def debug(
        self, job: JobRecord, worker_id: int, record: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any]:
        """Take a word of a driver's that debugs a worker; the answer comes when the worker asks for a line again.

        Parameters
        ----------
        job : JobRecord
        worker_id : int
        record : mapping
            As of `jobmaster.debugger`.
        timeout : float
            Seconds that are waited for that at the most.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        answer = await self._drive(job, worker_id, record)
        output = str(answer.get("output", ""))
        if record.get("do") in ("line", "poll", "attach"):
            while "output" in answer and "prompt" not in answer and loop.time() < deadline:
                try:
                    async with asyncio.timeout(ASK_AGAIN if job.spec.job_master else deadline - loop.time()):
                        await self._debugged.wait()
                except TimeoutError:
                    if not job.spec.job_master:
                        break
                answer = await self._drive(job, worker_id, {**record, "do": "poll"})
                output += str(answer.get("output", ""))
        return {**answer, "output": output}

    async def _drive(self, job: JobRecord, worker_id: int, record: Mapping[str, Any]) -> Mapping[str, Any]:
        if job.spec.job_master and (cluster := self._cluster()) is not None:
            return await cluster.debug(job, worker_id, record)
        running, now = self._running.of(job), asyncio.get_running_loop().time()
        answer, actions = running.master.debugger.drive(worker_id, record, now)
        self._running.perform(running, actions)
        return answer

    def answered(self, job_id: str, answer: Answer) -> None:
        """Give the driver of a job the answer to what it has asked."""
        future = self._answers.pop((job_id, answer.request), None)
        if future is not None and not future.done():
            future.set_result(answer)

    def look_again(self) -> None:
        """Have those look again who wait for a worker in the debugger."""
        self._debugged.set()
        self._debugged = asyncio.Event()

    def _answer(self, job_id: str, request: str) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[job_id, request] = future
        return future

    def close(self) -> None:
        """Leave unanswered what has been asked."""
        for future in self._answers.values():
            future.cancel()
