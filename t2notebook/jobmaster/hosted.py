"""A job master as a task on Mesos: the worker function of a job of its own, with the standard library alone.

It serves the workers of one job, whether or not a session lives. A session that does is connected as well: it tells the
events of the job, sends what the driver sends, and takes what is meant for the driver. What this one has to go on with
after its end stands in a log (`signed_log`), in the job's persistent volume or in the sandbox, from where the session
gives it to the next incarnation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ..model.events import Event
from ..model.job import ComputeResource
from ..model.process import allow_many_files
from ..model.worker_view import WorkerView
from ..protocol.frames import Message
from .actions import DRIVER, Action, Answer, Hold, Scale, Stop
from .channel_server import ChannelServer, Connection
from .job_feed import JobFeed
from .members import Presence
from .runner import Runner
from .signed_log import FILE, SignedLog

log = logging.getLogger(__name__)

#: What follows a job's id where a session introduces itself, and not a worker.
SESSION = "/session"
#: The credential that is the secret of the job that is served.
SECRET = "job_secret"
BACKLOG = 4096
#: The text of its progress where it listens on another port than Mesos gave it, and how often that is said, seconds.
PORT, PORT_PAUSE = "port ", 2.0
SUPERSEDED = "a newer worker replaces this one"
OVER = "the job is over"


class Host:
    """The job master of one job, and the connections to it.

    Parameters
    ----------
    job_id, secret : str
        Of the job that is served.
    resources : sequence of ComputeResource
        Of its workers.
    submitted : Event
        The job's first event.
    path : str
        Of the log.
    incarnation : int
        How often a job master of this job has been started before.
    """

    def __init__(
        self,
        job_id: str,
        secret: str,
        resources: Iterable[ComputeResource],
        submitted: Event,
        path: str,
        incarnation: int,
    ) -> None:
        self._job_id, self._secret = job_id, secret
        self._resources = [one for resource in resources for one in [resource] * resource.instances]
        self._feed = JobFeed(job_id, self._resource_of)
        self._feed.take(submitted)
        self._path, self._incarnation = path, incarnation
        self._log = SignedLog(path, secret)
        self._runner = Runner(self._log, self._carry)
        self._is_ready = self._is_over = False
        self._workers: dict[int, Connection] = {}
        self._session: Connection | None = None
        self._claims = -1
        self._progress: dict[int, Mapping[str, Any]] = {}
        self._scales: dict[tuple[int, int, int], Scale] = {}  # wishes that no session has answered
        self._held: dict[int, tuple[str, int]] = {}  # who waits in the debugger: why, and its incarnation
        self._timer: asyncio.TimerHandle | None = None
        self.server = ChannelServer(self)
        if not incarnation:
            self._is_ready = True  # nothing has happened before

    def _resource_of(self, worker_id: int) -> ComputeResource:
        return self._resources[min(worker_id, len(self._resources) - 1)]

    # What connections tell.

    def secret_of(self, name: str) -> str | None:
        """Return the job's secret; to workers only when what they are told rests on all that was before."""
        if name == self._job_id + SESSION or (name == self._job_id and self._is_ready):
            return self._secret
        return None

    def opened(self, connection: Connection) -> None:
        """A worker is there, or a session."""
        if str(connection.hello.get("job_id")).endswith(SESSION):
            self._session_opened(connection)
            return
        worker_id, incarnation = _whole(connection, "worker_id"), _whole(connection, "incarnation")
        if self._is_over:
            connection.stop(OVER)
        elif worker_id < 0:
            connection.stop(f"the job has no worker {worker_id}")
        elif self._is_unheard_of(worker_id, incarnation):
            connection.close()  # it asks again, until the session has told of it
        elif incarnation < self._feed.incarnation(worker_id):
            connection.stop(SUPERSEDED)
        else:
            if (earlier := self._workers.get(worker_id)) is not None:
                earlier.close(abort=True)
                self._feed.master.disconnected(worker_id)
            self._workers[worker_id] = connection
            address = str(connection.hello.get("address", ""))
            info = connection.hello.get("info")
            info = info if isinstance(info, dict) else None
            self._perform(self._feed.hear(worker_id, incarnation, Presence.JOINED, address, info))
            connection.send(self._feed.welcome(worker_id))

    def _is_unheard_of(self, worker_id: int, incarnation: int) -> bool:
        """Whether a worker must have come since the job was scaled up: it can be here before the news of that."""
        if worker_id >= len(self._feed.view.workers):
            return True
        has_left = worker_id >= self._feed.master.number_of_workers
        return has_left and incarnation > self._feed.incarnation(worker_id)

    def received(self, connection: Connection, message: Message) -> None:
        """A worker asks something, or the session tells something."""
        if connection is self._session:
            self._from_session(message)
            return
        worker_id, record = _whole(connection, "worker_id"), message.record
        number = record.get("request")
        if self._workers.get(worker_id) is not connection or not isinstance(number, int):
            return
        if record.get("kind") == "progress":
            incarnation = _whole(connection, "incarnation")
            told = {"progress": record.get("progress"), "text": record.get("text")}
            self._progress[worker_id] = {"worker_id": worker_id, "incarnation": incarnation, **told}
            self._tell_progress(worker_id)
        elif record.get("kind") == "finished":
            incarnation = _whole(connection, "incarnation")
            self._perform(self._feed.hear(worker_id, incarnation, Presence.FINISHED))
        else:
            now = asyncio.get_running_loop().time()
            self._perform(self._feed.master.request(worker_id, number, record, bytes(message.payload), now))

    def closed(self, connection: Connection) -> None:
        """A connection is gone; who had it may come back."""
        worker_id = _whole(connection, "worker_id")
        if connection is self._session:
            self._session = None
            self._feed.master.mailboxes.forget(DRIVER)
        elif self._workers.get(worker_id) is connection:
            del self._workers[worker_id]
            self._feed.master.disconnected(worker_id)

    def written(self, connection: Connection) -> None:
        """A worker has read; nothing waits for that but pools, which are the session's."""

    # The session.

    def _session_opened(self, connection: Connection) -> None:
        claims = _whole(connection, "claims")
        if claims < self._claims:
            connection.stop("a newer session has taken the job over")
            return
        self._claims = claims
        earlier, self._session = self._session, connection
        if earlier is not None:
            earlier.stop("a newer session has taken the job over")
        needs_log = not self._is_ready and not self._log.was_there
        connection.send({"last_seq": self._feed.view.last_seq, "needs_log": needs_log})

    def _from_session(self, message: Message) -> None:
        record, now = message.record, asyncio.get_running_loop().time()
        kind = record.get("kind")
        if kind == "log":
            self._log.close()
            self._log = SignedLog(self._path, self._secret, bytes(message.payload))
            self._runner = Runner(self._log, self._carry)
        elif kind == "events":
            for one in record["events"]:
                event = Event.from_dict(one)
                actions = self._feed.take(event, is_past=not self._is_ready)
                if self._is_ready and event.worker_id is not None and self._is_gone(event.worker_id):
                    actions = [*actions, *self._feed.master.leave_debugger(event.worker_id, now)]
                if self._is_ready:
                    self._perform(actions)
                    if event.worker_id is not None:
                        self._stop_older(event.worker_id)
        elif kind == "ready":
            if not self._is_ready:
                for worker in self._feed.view.workers:
                    self._feed.observe(worker.worker_id)
                self._feed.master.restore(self._log.kept(), now)
                self._is_ready = True
                self._await_deadline()
            for worker_id in self._progress:
                self._tell_progress(worker_id)
            for wish in self._scales.values():
                self._tell_wish(wish)
            for worker_id, (why, _) in self._held.items():
                self._tell_held(worker_id, why)
        elif kind == "debug":
            worker_id, said = int(record["worker_id"]), record["record"]
            answer, actions = self._feed.master.debugger.drive(worker_id, said, now)
            self._perform([*actions, Answer(DRIVER, str(record["request"]), answer)])
        elif kind == "scaled":
            who = (int(record["worker_id"]), int(record["incarnation"]), int(record["request"]))
            if self._scales.pop(who, None) is not None:
                self._perform(self._feed.master.scaling_answered(*who, record["answer"]))
        elif kind == "driver_send":
            receivers = record["to"]
            self._perform(
                self._feed.master.driver_send(str(record["request"]), receivers, bytes(message.payload))
            )
        elif kind == "driver_receive":
            request, acknowledged = str(record["request"]), int(record["acknowledged"])
            year = 365 * 86400.0
            self._perform(self._feed.master.driver_receive(request, acknowledged, year, now))
        elif kind == "end":
            self._is_over = True
            self._perform(self._feed.master.end())
            for connection in list(self._workers.values()):
                connection.stop(OVER)
            unread = self._feed.master.mailboxes.last(DRIVER)
            self._perform([Answer(DRIVER, str(record["request"]), {"last": unread})])

    def _stop_older(self, worker_id: int) -> None:
        connection = self._workers.get(worker_id)
        if connection is not None and _whole(connection, "incarnation") < self._feed.incarnation(worker_id):
            connection.stop(SUPERSEDED)

    def _tell_progress(self, worker_id: int) -> None:
        if self._session is not None:
            self._session.send({"progress": self._progress[worker_id]})

    def _tell_wish(self, wish: Scale) -> None:
        if self._session is not None:
            self._session.send({"scale": asdict(wish)})

    def _is_gone(self, worker_id: int) -> bool:
        """Return whether a worker that waits in the debugger has ended; the session's news may be older than it."""
        if worker_id not in self._held:
            return False
        worker, held = self._feed.view.workers[worker_id], self._held[worker_id][1]
        return worker.restarts > held or (worker.restarts == held and worker.state.is_terminal)

    def _tell_held(self, worker_id: int, why: str) -> None:
        if self._session is not None:
            self._session.send({"held": {"worker_id": worker_id, "why": why}})

    # Actions.

    def _perform(self, actions: Iterable[Action]) -> None:
        self._runner.add(self._job_id, actions)
        self._await_deadline()

    def _carry(self, job_id: str, action: Answer | Stop | Scale | Hold) -> None:
        """Bring an answer, or a word, to whom it is for."""
        if isinstance(action, Scale):  # whether there are resources for it is for a session to say
            self._scales[action.worker_id, action.incarnation, action.request] = action
            self._tell_wish(action)
        elif isinstance(action, Hold):
            self._held[action.worker_id] = action.why, self._feed.incarnation(action.worker_id)
            if not action.why:
                del self._held[action.worker_id]
            self._tell_held(action.worker_id, action.why)
        elif action.to == DRIVER and isinstance(action, Answer):
            if self._session is not None:
                self._session.send({**action.record, "request": action.request}, action.payload)
        elif (connection := self._workers.get(action.to)) is None:
            pass
        elif isinstance(action, Answer):
            connection.send({**action.record, "request": action.request}, action.payload)
        else:
            connection.stop(action.why)

    def _await_deadline(self) -> None:
        deadline = self._feed.master.next_deadline
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._perform(self._feed.master.tick(asyncio.get_running_loop().time()))


def place_of(worker: WorkerView) -> tuple[int, int]:
    """Return the number of a job master's place, which grows with each, and its port there.

    Parameters
    ----------
    worker : WorkerView
        The job master's; launched.
    """
    number, port = 2 * (worker.restarts + 1), worker.ports[0]
    if worker.text.startswith(PORT):
        number, port = number + 1, int(worker.text.removeprefix(PORT))
    return number, port


async def listen(host: Host, port: int) -> int:
    """Listen where the agent is, on the port that Mesos has given; return the port: another, if that one is taken.

    Raises
    ------
    OSError
    """
    address = os.environ.get("MESOS_AGENT_ENDPOINT", "").rpartition(":")[0].strip("[]") or None
    tries = [(address, port), (None, port), (address, 0), (None, 0)]
    for at, number in tries:
        try:
            server = await asyncio.get_running_loop().create_server(
                host.server.connection, at, number, backlog=BACKLOG
            )
            return int(server.sockets[0].getsockname()[1])
        except OSError as error:
            # The agent's address may not be this container's, and a program of the host may have the port.
            log.info("cannot listen on port %d of %s: %s", number, at or "all addresses", error)
    raise OSError("there is no port to listen on")


def _whole(connection: Connection, name: str) -> int:
    value = connection.hello.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def run(env: Any) -> None:
    """Serve the workers of a job until this task is killed: the worker function of a job master.

    Parameters
    ----------
    env : WorkerEnvironment
        Its `config` says which job is served, its credentials have that job's secret, and its one port is where.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    config = env.config
    is_folder = bool(env.persistent_volume) and "://" not in env.persistent_volume
    allow_many_files()

    async def serve() -> None:
        host = Host(
            config["job_id"],
            env.credentials[SECRET],
            [ComputeResource(**one) for one in config["resources"]],
            Event.from_dict(config["submitted"]),
            os.path.join(env.persistent_volume if is_folder else os.getcwd(), FILE),
            env.restart_count,
        )
        port = await listen(host, env.additional_ports[0])
        log.info("serves the workers of %s on port %d", config["job_id"], port)
        while port != env.additional_ports[0]:
            # Who looks for it is told again and again: no journal keeps that.
            await asyncio.to_thread(env.progress, 0.0, text=f"{PORT}{port}")
            await asyncio.sleep(PORT_PAUSE)
        await asyncio.Event().wait()

    asyncio.run(serve())
