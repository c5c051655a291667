"""Moves that the executors of a framework are told of: of their session, and of job masters on the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..journal.job_store import JobRecord, Jobs
from ..scheduler.executor_pool import Executors
from .announcer import Announcer


class Announcements:
    """The announcers of a framework, and the executors that each has to reach.

    Parameters
    ----------
    executors : Executors
        The framework's; one that runs nothing any more is told nothing.
    jobs : Jobs
    url : str
        Where workers reach this session.
    claims : int
        How often the journal has been taken over.
    send : callable
        Called with ``(executor id, agent id, data)``; `data` is base64.
    """

    def __init__(
        self,
        executors: Executors,
        jobs: Jobs,
        url: str,
        claims: int,
        send: Callable[[str, str, str], None],
    ) -> None:
        self._executors, self._jobs = executors, jobs
        self._url, self._claims, self._send_now = url, claims, send
        self._session: Announcer | None = None
        self._job_masters: dict[str, Announcer] = {}  # by the job that is served

    def session_moved(self) -> None:
        """Tell the executors that an earlier session had where we are, until they have heard it."""
        self._session = Announcer(self._url, self._claims, self._send)
        for (executor_id, agent), job_ids in self._executors.jobs_by_executor().items():
            self._session.tell(executor_id, agent, [self._jobs[job_id] for job_id in sorted(job_ids)])

    def job_master_moved(self, job: JobRecord, url: str, number: int) -> None:
        """Tell the executors of a job's workers where its job master on the cluster is, until they have heard it.

        Parameters
        ----------
        job : JobRecord
        url : str
        number : int
            Of that place; a later one has a higher number.
        """
        if (earlier := self._job_masters.pop(job.job_id, None)) is not None:
            earlier.close()
        announcer = self._job_masters[job.job_id] = Announcer(url, number, self._send, "job_master")
        for (executor_id, agent), job_ids in self._executors.jobs_by_executor(adopted=False).items():
            if job.job_id in job_ids:
                announcer.tell(executor_id, agent, [job])

    def heard(self, executor_id: str, data: str) -> None:
        """Take what an executor says.

        Parameters
        ----------
        executor_id : str
        data : str
            Base64.
        """
        for announcer in self._announcers:
            announcer.heard(executor_id, data)

    def close(self) -> None:
        """Tell nobody any more."""
        for announcer in self._announcers:
            announcer.close()

    @property
    def _announcers(self) -> list[Announcer]:
        return [*([self._session] if self._session is not None else []), *self._job_masters.values()]

    def _send(self, executor_id: str, agent: str, data: str) -> None:
        if (executor_id, agent) not in self._executors.jobs_by_executor(adopted=False):
            asyncio.get_running_loop().call_soon(self._forget, executor_id)
        else:
            self._send_now(executor_id, agent, data)

    def _forget(self, executor_id: str) -> None:
        for announcer in self._announcers:
            announcer.forget(executor_id)
