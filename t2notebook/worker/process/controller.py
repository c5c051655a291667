"""The worker controller, in Twister2's words: who the workers of a job are, and barriers that they wait at."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

from ...model.errors import BarrierTimeout, JobFaulty
from ...model.worker_info import WorkerInfo

#: Seconds that are waited for all workers, at a barrier, and at the init barrier, unless it is said (Twister2's).
ALL_TIMEOUT, BARRIER_TIMEOUT, INIT_TIMEOUT = 100.0, 100.0, 600.0


class Discovery(Protocol):
    """The place where workers are asked for: a job master's client, or ZooKeeper's.

    Attributes
    ----------
    faults : int or None
        How many failures of workers this one knows of; None before it is connected.
    welcome : mapping
        What others are told of this worker; empty before it is connected.
    number_of_workers : int
        How many workers the job has, as was heard last; 0 before anything was.
    is_new : bool
        Whether this worker came when the job was scaled up, and has not failed since.
    """

    faults: int | None
    welcome: Mapping[str, Any]
    number_of_workers: int
    is_new: bool

    def connect(self) -> None:
        """Be connected."""

    def ask(self, record: Mapping[str, Any], payload: bytes = b"") -> tuple[Mapping[str, Any], bytes]:
        """Ask something, and wait for the answer."""


class WorkerController:
    """Finds and waits for the other workers of a job: ``env.worker_controller``.

    Parameters
    ----------
    client : Discovery
    worker_id, number_of_workers, restart_count : int
    scalable : bool
        Whether the number of workers may change.
    """

    def __init__(
        self,
        client: Discovery,
        worker_id: int,
        number_of_workers: int,
        restart_count: int,
        scalable: bool = False,
    ) -> None:
        self._client = client
        self._worker_id = worker_id
        self._number_of_workers = number_of_workers
        self._restart_count = restart_count
        self._scalable = scalable

    @property
    def number_of_workers(self) -> int:
        """The number of workers, as this one last heard of it: with each barrier, list of workers, or worker event."""
        return self._client.number_of_workers or self._number_of_workers

    def get_number_of_workers(self) -> int:
        """Return how many workers the job has now; of one that can be scaled, the job master is asked."""
        if self._scalable:
            self._client.ask({"kind": "hello"})
        return self.number_of_workers

    def worker_restart_count(self) -> int:
        """Return how often this worker was restarted."""
        return self._restart_count

    def get_worker_info(self) -> WorkerInfo:
        """Return where this worker is, as the others see it."""
        self._client.connect()
        return WorkerInfo.from_record(self._client.welcome)

    def get_worker_info_for_id(self, worker_id: int) -> WorkerInfo | None:
        """Return where a worker is, None if it has not joined."""
        return next((info for info in self.get_joined_workers() if info.worker_id == worker_id), None)

    def get_joined_workers(self) -> list[WorkerInfo]:
        """Return the workers that run or have finished, by worker id; waits for nobody."""
        return _workers(self._client.ask({"kind": "joined"}))

    def get_all_workers(self, timeout: float = ALL_TIMEOUT) -> list[WorkerInfo]:
        """Wait until all workers have joined, and return them by worker id.

        Parameters
        ----------
        timeout : float
            Seconds.

        Raises
        ------
        TimeoutError
            When some have not, or at once, when one has failed for good; the message names them (`t2.BarrierTimeout`).
        """
        seconds = _seconds(timeout)
        answer = self._client.ask({"kind": "all", "timeout": seconds})
        if why := answer[0].get("never"):
            raise BarrierTimeout(f"not all workers can join: {why}")
        if why := answer[0].get("timed_out"):
            raise BarrierTimeout(f"not all workers joined within {seconds:g} s: {why}")
        return _workers(answer)

    def wait_on_barrier(self, timeout: float = BARRIER_TIMEOUT) -> None:
        """Wait until all workers of the job are at the barrier.

        Parameters
        ----------
        timeout : float
            Seconds; that of the worker who comes first holds for all.

        Raises
        ------
        TimeoutError
            When not all came in time, or one has finished and will never come (`t2.BarrierTimeout`).
        JobFaulty
            When a worker has failed since this one was last at a barrier: the one that takes its place begins anew.
            Each worker is told once; the next barrier waits for all again.
        """
        self._wait("DEFAULT", timeout)

    def wait_on_init_barrier(self, timeout: float = INIT_TIMEOUT) -> None:
        """Wait until all workers of the job are at the init barrier, which the failure of a worker does not break.

        A job that begins anew together after a failure meets here: those that caught `JobFaulty`, and the restarted
        one.

        Parameters
        ----------
        timeout : float
            Seconds; that of the worker who comes first holds for all.

        Raises
        ------
        TimeoutError
            When not all came in time.
        JobFaulty
            When a worker has failed for good.
        """
        self._wait("INIT", timeout)

    def __repr__(self) -> str:
        return f"<worker controller of worker {self._worker_id} of {self.number_of_workers}>"

    def _wait(self, barrier: str, timeout: float) -> None:
        seconds = _seconds(timeout)
        self._client.connect()  # so that it is known which failures are old
        record, _ = self._client.ask({"kind": "barrier", "barrier": barrier, "timeout": seconds})
        self._client.faults = int(record["faults"])
        if record["result"] == "TIMED_OUT":
            raise BarrierTimeout(f"the barrier was not passed: {record['why']}")
        if record["result"] == "JOB_FAULTY":
            raise JobFaulty(f"the barrier was not passed: {record['why']}")


def _workers(answer: tuple[Any, bytes]) -> list[WorkerInfo]:
    return [WorkerInfo.from_record(record) for record in json.loads(zlib.decompress(answer[1]))]


def _seconds(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise ValueError(f"timeout is {timeout!r}; give seconds, 0 or more")
    return float(timeout)
