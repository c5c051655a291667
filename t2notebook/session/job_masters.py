"""The job masters of a session: what befalls workers, and what they ask, brought together.

A job has one as soon as anybody needs it: then the past is told to it, and what an earlier session kept is given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..jobmaster.actions import DRIVER, Answer, Hold, Scale, Stop
from ..jobmaster.channel_server import ChannelServer, Connection
from ..jobmaster.members import Presence
from ..journal.job_store import AllJobs, JobRecord
from ..model.errors import Twister2Error
from ..model.events import TRANSIENT, Event, EventKind
from ..model.states import TaskState
from ..protocol.frames import Message
from .cluster_job_masters import ClusterJobMasters
from .driver_requests import DriverRequests
from .executors import Executors
from .held_workers import note_held
from .pools import Pools
from .running_job_masters import RunningJobMaster, RunningJobMasters
from .silent_workers import GiveUp, SilentWorkers
from .usage import UsageRecorder
from .zookeeper_publisher import ZooKeeperPublisher

log = logging.getLogger(__name__)

SUPERSEDED = "a newer worker replaces this one"
OVER = "the job is over"

#: ``scale(job, by, request, source, leave_time)`` changes the number of a job's workers, and returns it.
Scaler = Callable[[JobRecord, int, str, str, float], Awaitable[int]]


class JobMasters:
    """The job masters of all jobs of a session, and the connections of their workers.

    Parameters
    ----------
    jobs : AllJobs
    scale : Scaler
        Changes the number of a job's workers, for one of them.
    publisher : ZooKeeperPublisher, optional
        For jobs whose workers find each other in ZooKeeper.
    give_up : GiveUp
        Has others take the places of workers that do not answer.

    Attributes
    ----------
    server : ChannelServer
    executors : Executors
        The executors that run the workers, which have connections of their own.
    driver : DriverRequests
        Requests of jobs' drivers.
    pools : Pools
        Calls and results of pools, which go past the state machines.
    silence : SilentWorkers
        Finds the workers of which nothing is heard.
    cluster : ClusterJobMasters or None
        Those that run as tasks on Mesos; they know the workers of their jobs, and not we.
    """

    cluster: ClusterJobMasters | None = None

    def __init__(
        self,
        jobs: AllJobs,
        scale: Scaler,
        publisher: ZooKeeperPublisher | None = None,
        give_up: GiveUp = lambda job, worker_ids, seconds: None,
    ) -> None:
        self._jobs, self._scale = jobs, scale
        self._publisher = publisher
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = RunningJobMasters(jobs, self._carry)
        self._connections: dict[tuple[str, int], Connection] = {}
        self.driver = DriverRequests(self._running, lambda: self.cluster, self._end)
        self.server = ChannelServer(self)
        self.silence = SilentWorkers(jobs, give_up)
        self.executors = Executors(UsageRecorder(jobs).take, self._heard)
        self.pools = Pools(self._connections)
        jobs.listen(self._on_event)
        self.take_up(jobs)

    def take_up(self, jobs: Iterable[JobRecord]) -> None:
        """Go on with what an earlier session has told ZooKeeper of its jobs."""
        for job in jobs:
            if job.spec.discovery:
                self._publish(self._running.of(job))

    # What connections tell.

    def secret_of(self, job_id: str) -> str | None:
        """Return a job's secret."""
        job = self._jobs.get(job_id)
        return None if job is None else job.secret

    def opened(self, connection: Connection) -> None:
        """A worker is there: one that counts is welcome."""
        key = _key(connection)
        job = self._jobs.get(key[0])
        if job is None or job.view.state.is_final or job.view.kill_reason:
            connection.stop(OVER)
            return
        if "executor" in connection.hello:
            self.executors.opened(connection)
            return
        if not 0 <= key[1] < len(job.view.workers):
            connection.stop(f"the job has no worker {key[1]}")
            return
        worker = job.view.workers[key[1]]
        if connection.hello.get("incarnation") != worker.restarts:
            connection.stop(SUPERSEDED)
            return
        running = self._running.of(job)
        if (earlier := self._connections.get(key)) is not None:
            earlier.close(abort=True)
            running.master.disconnected(key[1])
        self._connections[key] = connection
        address = str(connection.hello.get("address", ""))
        self._running.perform(running, running.feed.hear(key[1], worker.restarts, Presence.JOINED, address))
        connection.send(running.feed.welcome(key[1]))
        self.pools.opened(key)

    def received(self, connection: Connection, message: Message) -> None:
        """A worker asks something."""
        if "executor" in connection.hello:
            self.executors.received(connection, message)
            return
        key = _key(connection)
        self._heard(*key)
        if message.head:
            if self._connections.get(key) is connection:
                self.pools.received(key, connection, message)
            return
        running = self._running.get(key[0])
        number = message.record.get("request")  # 0: no answer is waited for
        if running is None or self._connections.get(key) is not connection or not isinstance(number, int):
            return
        if "pool" in message.record:
            self.pools.received(key, connection, message)
            return
        now = asyncio.get_running_loop().time()
        if str(message.record.get("kind")).startswith("debug"):
            asyncio.get_running_loop().call_soon(self.driver.look_again)
        payload = bytes(message.payload)
        self._running.perform(running, running.master.request(key[1], number, message.record, payload, now))

    def _heard(self, job_id: str, who: str | int) -> None:
        self.silence.heard(job_id, who, asyncio.get_running_loop().time())

    def closed(self, connection: Connection) -> None:
        """A worker's connection is gone; the worker may come back."""
        if "executor" in connection.hello:
            self.executors.closed(connection)
            return
        key = _key(connection)
        if self._connections.get(key) is connection:
            del self._connections[key]
            self.pools.closed(key)
            if (running := self._running.get(key[0])) is not None:
                running.master.disconnected(key[1])

    def written(self, connection: Connection) -> None:
        """A worker has read some of what waited for it."""
        if "executor" not in connection.hello:
            self.pools.written(_key(connection), connection)

    # What befalls jobs.

    def _on_event(self, event: Event, job: JobRecord) -> None:
        if job.view.state.is_final:
            self.executors.end(job.job_id, OVER)
            self.silence.forget(job.job_id)
        running = self._running.get(job.job_id)
        if running is None and job.spec.discovery:
            running = self._running.of(job)
        if running is None:
            return
        self._running.perform(running, running.feed.take(event))
        if event.worker_id is not None and event.kind not in TRANSIENT:
            connection = self._connections.get((job.job_id, event.worker_id))
            worker = job.view.workers[event.worker_id]
            restarts = worker.restarts
            if running.master.debugger.is_holding and (
                worker.state.is_terminal
                or worker.state is TaskState.PENDING
                or event.kind is EventKind.LAUNCHED
            ):
                now = asyncio.get_running_loop().time()
                self._running.perform(running, running.master.leave_debugger(event.worker_id, now))
                self.driver.look_again()
            if connection is not None and connection.hello.get("incarnation") != restarts:
                connection.stop(SUPERSEDED)
        if job.spec.discovery and event.kind not in TRANSIENT:
            self._publish(running)
        if job.view.state.is_final:
            if job.spec.job_master is None or self.cluster is None:
                self._end(running)
            elif event.kind not in TRANSIENT:
                task = asyncio.get_running_loop().create_task(self._end_when_drained(running))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _end_when_drained(self, running: RunningJobMaster) -> None:
        """End it when all is here that the job master on the cluster has for the driver, who may be waiting for it."""
        assert self.cluster is not None
        await self.cluster.drained(running.job)
        self._end(running)

    def _publish(self, running: RunningJobMaster) -> None:
        """Tell workers in ZooKeeper what they need to know, if that is new."""
        job = running.job
        status = None if job.view.state.is_final else running.master.status()
        if self._publisher is not None and running.published != status:
            running.published = status
            self._publisher.publish(job.spec.discovery, job.job_id, job.secret, status)

    def _end(self, running: RunningJobMaster) -> None:
        if self.cluster is not None and self.cluster.is_draining(running.job):
            return
        self._running.perform(running, running.master.end())
        for key in [key for key in self._connections if key[0] == running.job.job_id]:
            self._connections[key].stop(OVER)
        if not running.master.mailboxes:
            self._running.drop(running)

    # Inside.

    def _carry(self, job_id: str, action: Answer | Stop | Scale | Hold) -> None:
        """Bring an answer, or a word, to whom it is for."""
        if isinstance(action, Hold):
            note_held(self._jobs, job_id, action.worker_id, action.why)
            return
        if isinstance(action, Stop):
            if (connection := self._connections.get((job_id, action.to))) is not None:
                connection.stop(action.why)
        elif isinstance(action, Scale):
            task = asyncio.get_running_loop().create_task(self._scale_for(job_id, action))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif action.to == DRIVER:
            self.driver.answered(job_id, action)
        elif (connection := self._connections.get((job_id, action.to))) is not None:
            connection.send({**action.record, "request": action.request}, action.payload)

    async def _scale_for(self, job_id: str, asked: Scale) -> None:
        """Carry out a worker's wish, once, whether or not it has to ask again."""
        if (running := self._running.get(job_id)) is None:
            return
        answer = await self.scale(running.job, asked)
        master = running.master
        self._running.perform(
            running, master.scaling_answered(asked.worker_id, asked.incarnation, asked.request, answer)
        )

    async def scale(self, job: JobRecord, asked: Scale) -> Mapping[str, Any]:
        """Carry out a worker's wish for more workers, or fewer; return what it is told."""
        request = f"{asked.worker_id}.{asked.incarnation}.{asked.request}"
        source = f"WORKER {asked.worker_id}"
        try:
            number = await self._scale(job, asked.by, request, source, asked.leave_time)
        except Twister2Error as error:
            return {"error": str(error)}
        return {"number_of_workers": number}

    async def close(self) -> None:
        """Close all connections and files; workers wait for the next session."""
        self._running.halt()
        if self.cluster is not None:
            await self.cluster.close()
        self.driver.close()
        for task in self._tasks:
            task.cancel()
        self.server.close()
        self.pools.close()
        await self._running.close()


def _key(connection: Connection) -> tuple[str, int]:
    worker_id = connection.hello.get("worker_id")
    return str(connection.hello.get("job_id")), worker_id if isinstance(worker_id, int) else -1
