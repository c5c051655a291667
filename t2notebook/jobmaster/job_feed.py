"""A job master that is told of its job by the job's events, as the journal has them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..model.events import TRANSIENT, Event, EventKind
from ..model.job import ComputeResource
from ..model.reducer import JobView
from ..model.states import TaskState
from ..model.worker_info import WorkerInfo
from ..model.worker_view import WorkerView
from .actions import Action
from .job_master import JobMaster
from .members import Presence

#: Of presences of one incarnation, a later one is not taken back.
_ORDER = (Presence.AWAITED, Presence.JOINED, Presence.FINISHED, Presence.FAILED)


class JobFeed:
    """A job's master, and what it knows of its job.

    It has a view of its own, of what it has been told so far. Workers may know more of themselves: one that has opened
    a connection runs, and one that says so has finished, whether or not Mesos's update has been told yet.

    Parameters
    ----------
    job_id : str
    resource_of : callable
        Gives the `ComputeResource` of a worker by its id.

    Attributes
    ----------
    master : JobMaster
    view : JobView
    """

    def __init__(self, job_id: str, resource_of: Callable[[int], ComputeResource]) -> None:
        self.view = JobView(job_id)
        self.master = JobMaster(0)
        self._resource_of = resource_of
        self._launches: dict[int, Event] = {}
        self._told: dict[int, tuple[int, Mapping[str, Any]]] = {}  # worker -> incarnation, its own account
        self._heard: dict[int, tuple[int, Presence, str]] = {}  # worker -> incarnation, presence, address

    def take(self, event: Event, is_past: bool = False) -> list[Action]:
        """Tell the job master of an event; of the past it need not know where workers were.

        Parameters
        ----------
        event : Event
        is_past : bool
        """
        if event.kind in TRANSIENT or (event.seq and event.seq <= self.view.last_seq):
            return []
        self.view.apply(event)
        if event.kind is EventKind.SUBMITTED:
            self.master = JobMaster(self.view.number_of_workers)
        elif event.kind is EventKind.SCALED:
            number, before = self.view.number_of_workers, self.master.number_of_workers
            if number == before:
                return []
            coming = self.view.workers[before:number]
            return self.master.scale(
                number, {one.worker_id: one.restarts + one.is_on_mesos for one in coming}
            )
        elif event.worker_id is not None and event.worker_id < len(self.view.workers):
            if event.kind is EventKind.LAUNCHED:
                self._launches[event.worker_id] = event
            return self.observe(event.worker_id, is_past)
        return []

    def hear(
        self,
        worker_id: int,
        incarnation: int,
        presence: Presence,
        address: str = "",
        info: Mapping[str, Any] | None = None,
    ) -> list[Action]:
        """Take what a worker says of itself.

        Parameters
        ----------
        worker_id, incarnation : int
        presence : Presence
        address : str
            Where it is reached; empty: as before.
        info : mapping, optional
            The record of its `WorkerInfo`, but for the address: what the events need not have told yet.
        """
        if info is not None:
            self._told[worker_id] = (incarnation, info)
        before = self._heard.get(worker_id)
        if before is not None and before[0] == incarnation:
            presence = max(before[1], presence, key=_ORDER.index)
            address = address or before[2]
        self._heard[worker_id] = (incarnation, presence, address)
        return self.observe(worker_id)

    def observe(self, worker_id: int, is_past: bool = False) -> list[Action]:
        """Tell the job master how a worker is, and where."""
        worker = self.view.workers[worker_id]
        incarnation, presence = worker.restarts, _presence(worker)
        heard = self._heard.get(worker_id)
        if heard is not None and heard[0] > incarnation:
            incarnation, presence = heard[0], heard[1]
        elif heard is not None and heard[0] == incarnation:
            presence = max(presence, heard[1], key=_ORDER.index)
        info = {} if is_past else self.info(worker_id)
        return self.master.observe(worker_id, incarnation, presence, info)

    def incarnation(self, worker_id: int) -> int:
        """Return the incarnation of a worker that counts."""
        heard = self._heard.get(worker_id)
        return max(self.view.workers[worker_id].restarts, heard[0] if heard is not None else 0)

    def welcome(self, worker_id: int) -> Mapping[str, Any]:
        """Return what a worker is told that has opened a connection."""
        return {
            "welcome": dict(self.info(worker_id)),
            "faults": self.master.faults,
            "happened": self.master.happenings.last,
            "number_of_workers": self.master.number_of_workers,
            "is_new": self.master.members[worker_id].is_new,
        }

    def info(self, worker_id: int) -> Mapping[str, Any]:
        """Return what others are told of a worker."""
        worker = self.view.workers[worker_id]
        launch = self._launches.get(worker_id)
        data = launch.data if launch is not None else {}
        incarnation, _, address = self._heard.get(worker_id, (-1, Presence.AWAITED, ""))
        if incarnation < worker.restarts or not address:
            address = urlsplit(str(data.get("agent_url", ""))).hostname or worker.host
        told, account = self._told.get(worker_id, (-1, {}))
        if told >= max(worker.restarts, incarnation):
            return {**account, "ip": address}
        ports = tuple(int(port) for port in data.get("ports", ()))
        return WorkerInfo(
            worker_id=worker_id,
            ip=address,
            port=ports[0] if ports else 0,
            node=worker.host,
            rack=str(data.get("rack", "")),
            data_center=str(data.get("data_center", "")),
            compute_resource=self._resource_of(worker_id),
            additional_ports=ports,
            restart_count=max(worker.restarts, incarnation),
        ).to_record()


def _presence(worker: WorkerView) -> Presence:
    if worker.state is TaskState.FINISHED:
        return Presence.FINISHED
    if worker.state.is_terminal:
        return Presence.FAILED
    return Presence.JOINED if worker.started is not None else Presence.AWAITED
