"""The runner of a scheduler: it tells the state machine what happens, and performs what that decides, journal first.
The only part of the scheduler that knows the driver, the clock, the timers and the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..journal.job_store import Jobs
from ..mesos.agent_files import Sandbox
from ..mesos.driver import Driver
from ..mesos.transport import Connection
from ..model.job_table import JobRecord
from . import inputs
from .actions import (
    Accept,
    Acknowledge,
    Action,
    AskCluster,
    Decline,
    Kill,
    Reconcile,
    Record,
    Repeat,
    Revive,
    SetTimer,
    ShutdownExecutor,
    Suppress,
)
from .cluster_query import ClusterQuery
from .messages import running_before
from .placement.cluster_inventory import Cluster
from .placement.requests import RunningExecutor
from .state import SchedulerState

log = logging.getLogger(__name__)

#: Offers that come while nothing can be written down are wanted again soon, seconds.
REFUSE_SECONDS = 5.0
#: The reason for the end of a launch that was never sent.
GIVEN_BACK = "its offers were given back while the journal could not be written"


class Runner:
    """The `Listener` of a framework's driver.

    ACCEPT, ACKNOWLEDGE and KILL wait until the events that were recorded before them are on the disk, and keep their
    order: no KILL overtakes the ACCEPT of its task, and who has lost the journal kills nothing. RECONCILE waits while
    an ACCEPT does, since the master would say that it does not know the task. Nothing else waits. While the journal
    refuses writes, offers are declined at once.

    Parameters
    ----------
    state : SchedulerState
    jobs : Jobs
        The jobs of the state machine, and their journal.
    on_subscribed : callable
        Called with the framework id.
    on_error : callable
        Called with the message when the master has ended the framework.
    on_message : callable
        Called with an executor's id and what it says.
    first : callable
        Gives what is to be awaited before an update is taken, or None. A mapping that it returns is taken in the
        update's place.

    Attributes
    ----------
    driver : Driver or None
        To be set before the driver is started.
    """

    def __init__(
        self,
        state: SchedulerState,
        jobs: Jobs,
        *,
        on_subscribed: Callable[[str], None] = lambda framework_id: None,
        on_error: Callable[[str], None] = lambda message: None,
        on_message: Callable[[str, str], None] = lambda executor_id, data: None,
        first: Callable[[Mapping[str, Any]], Awaitable[Any] | None] = lambda status: None,
    ) -> None:
        self.state = state
        self.driver: Driver | None = None
        self._jobs = jobs
        self._on_subscribed, self._on_error, self._on_message = on_subscribed, on_error, on_message
        self._first = first
        self._loop = asyncio.get_running_loop()
        self._query = ClusterQuery(
            self._connect, lambda: self.driver.framework["roles"] if self.driver else ()
        )
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[tuple[str, str]] = set()
        self._unsent: dict[tuple[str, ...], tuple[str, ...]] = {}  # offers of the ACCEPTs that wait, by tasks
        self._is_closed = False
        self._perform_one: dict[type, Callable[[Any], None]] = {
            Record: lambda action: jobs.write(action.events, action.ended),
            Accept: self._accept,
            Acknowledge: self._acknowledge,
            Kill: self._kill,
            SetTimer: self._set_timer,
            AskCluster: lambda action: self._start(self._ask_cluster()),
            Decline: self._call,
            Reconcile: self._reconcile,
            Repeat: self._call,
            Revive: self._call,
            ShutdownExecutor: self._call,
            Suppress: self._call,
        }

    def feed(self, told: inputs.Input) -> None:
        """Tell the state machine what has happened, and do what it decides."""
        if self._is_closed:
            return
        self.perform(self.state.handle(told, self._loop.time(), self._jobs.clock()))

    def perform(self, actions: Sequence[Action]) -> None:
        """Do what was decided, in order."""
        for action in actions:
            self._perform_one[type(action)](action)

    def close(self) -> None:
        """Do nothing more; what waits for the journal is dropped, and the next session finds out from Mesos."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    # What may be asked.

    def why(self, job: JobRecord) -> list[dict[str, Any]]:
        """Return why workers of a job wait, as rows of ``job.why``."""
        return self.state.why(job, self._loop.time(), self._jobs.clock())

    def sandbox(self, job: JobRecord, worker_id: int) -> tuple[Sandbox, str] | None:
        """Return a worker's sandbox and its folder there, or None before it was launched."""
        worker, agents = job.view.workers[worker_id], self.state.launcher.agents
        if self.driver is None or worker.agent not in agents or not self.driver.framework_id:
            return None
        url, driver = agents[worker.agent], self.driver
        return Sandbox(url, driver.framework_id, worker.executor_id, driver.credentials), worker.task_id

    async def cluster(self) -> Cluster | None:
        """Return what the master's agents have, whatever is offered now; None if that cannot be had."""
        return await self._query.ask()

    def executors(self) -> list[RunningExecutor]:
        """Return the living executors of this framework."""
        return self.state.executors.running()

    def suppressed_roles(self) -> list[str]:
        """Return the roles that SUBSCRIBE, which follows at once, is to suppress."""
        return self.state.roles_to_suppress()

    # What the driver tells.

    def subscribed(self, framework_id: str, master: Mapping[str, Any], local_host: str) -> None:
        """Keep the framework id before anything is launched: no framework is left whose id is lost.

        Parameters
        ----------
        framework_id : str
        master : mapping
            MasterInfo.
        local_host : str
            This machine's address on the way to the master.
        """
        self._on_subscribed(framework_id)
        self.feed(inputs.Subscribed(framework_id))

    def disconnected(self, why: str) -> None:
        """Offers are void."""
        self._query.forget()
        self.feed(inputs.Disconnected(why))

    def offers(self, offers: list[Mapping[str, Any]]) -> None:
        """Offers are declined at once while no intent can be written down."""
        if self._jobs.is_stalled:
            ids = tuple(offer["id"]["value"] for offer in offers)
            self._call(Decline(ids, REFUSE_SECONDS))
        else:
            self.feed(inputs.OffersCame(tuple(offers)))

    def rescinded(self, offer_id: str) -> None:
        """Hold an offer no more; an ACCEPT that crosses it comes back as DROPPED."""
        self.feed(inputs.Rescinded(offer_id))

    def update(self, status: Mapping[str, Any]) -> None:
        """Take an update; a failed worker's after its traceback has been looked for."""
        key = status["task_id"]["value"], status.get("uuid", "")
        if key in self._held:
            return  # the same once more, since it is not acknowledged yet
        if (running := running_before(status)) is not None:
            self.feed(inputs.Updated(running))
        before = self._first(status)
        if before is None:
            self.feed(inputs.Updated(status))
            return
        self._held.add(key)
        self._start(self._update_later(before, status, key))

    async def _update_later(
        self, before: Awaitable[Any], status: Mapping[str, Any], key: tuple[str, str]
    ) -> None:
        try:
            more = await before
        finally:
            self._held.discard(key)
        self.feed(inputs.Updated(more if isinstance(more, Mapping) else status))

    def message(self, agent_id: str, executor_id: str, data: str) -> None:
        """Pass an executor's message on to whoever awaits an answer.

        Parameters
        ----------
        agent_id, executor_id : str
        data : str
            Base64.
        """
        self._on_message(executor_id, data)

    def executor_lost(self, agent_id: str, executor_id: str, status: int | None) -> None:
        """Pass on that an executor has ended.

        Parameters
        ----------
        agent_id, executor_id : str
        status : int or None
            Its exit status.
        """
        self.feed(inputs.ExecutorLost(executor_id))

    def agent_lost(self, agent_id: str) -> None:
        """An agent is gone."""
        self.feed(inputs.AgentLost(agent_id))

    def error(self, message: str) -> None:
        """Pass on that the master has ended the framework to who decides what that means."""
        self._on_error(message)

    def call_failed(self, call: Mapping[str, Any], why: str, certain: bool = True) -> None:
        """Pass on that a call was not carried out, or may not have been.

        Parameters
        ----------
        call : mapping
        why : str
        certain : bool
            Whether the master cannot have carried it out.
        """
        self.feed(inputs.CallFailed(call, why, certain))

    # What the journal tells.

    def stalled(self, why: str) -> None:
        """Give back what is offered while nothing can be written down; ask for offers when it can (`why` is empty)."""
        if not why:
            self.feed(inputs.OffersWanted())
            return
        self._give_back()
        self.feed(inputs.Stalled())

    def _give_back(self) -> None:
        """Decline the offers of launches that wait: they may have to wait for long."""
        held = [offer_id for offer_ids in self._unsent.values() for offer_id in offer_ids]
        for task_ids in self._unsent:
            self._unsent[task_ids] = ()
        if held:
            self._call(Decline(tuple(held), REFUSE_SECONDS))

    # What is decided.

    def _accept(self, action: Accept) -> None:
        task_ids = tuple(task["task_id"]["value"] for task in action.tasks)
        self._unsent[task_ids] = action.offer_ids
        if self._jobs.is_stalled:
            self._give_back()

        def send() -> None:
            offer_ids = self._unsent.pop(task_ids)
            if not offer_ids:
                self.feed(inputs.LaunchWithdrawn(task_ids, GIVEN_BACK))
            elif self.driver is not None and not self._is_closed:
                self.driver.acceptOffers(
                    _ids(offer_ids),
                    [{"type": "LAUNCH", "launch": {"task_infos": list(action.tasks)}}],
                    {"refuse_seconds": action.refuse_seconds},
                )

        self._jobs.when_durable(send)

    def _acknowledge(self, action: Acknowledge) -> None:
        def send() -> None:
            if self.driver is not None and not self._is_closed:
                self.driver.acknowledgeStatusUpdate(action.status)

        self._jobs.when_durable(send)

    def _kill(self, action: Kill) -> None:
        self._jobs.when_durable(lambda: self._call(action))

    def _reconcile(self, action: Reconcile) -> None:
        if self._unsent:
            self._jobs.when_durable(lambda: self._call(action))
        else:
            self._call(action)

    def _call(self, action: Action) -> None:
        driver = self.driver
        if driver is None or self._is_closed:
            return
        match action:
            case Kill(task_id, agent, grace):
                driver.kill(task_id, agent, grace)
            case Decline(offer_ids, seconds):
                driver.declineOffer(_ids(offer_ids), {"refuse_seconds": seconds})
            case Revive():
                driver.reviveOffers()
            case Suppress():
                driver.suppressOffers()
            case Reconcile(tasks):
                driver.reconcile(list(tasks))
            case ShutdownExecutor(agent, executor_id):
                driver.shutdown_executor(agent, executor_id)
            case Repeat(call):
                driver.again(call)

    def _set_timer(self, action: SetTimer) -> None:
        if (known := self._timers.pop(action.name, None)) is not None:
            known.cancel()
        self._timers[action.name] = self._loop.call_at(action.due, self._fire, action.name)

    def _fire(self, name: str) -> None:
        del self._timers[name]
        try:
            self.feed(inputs.TimerFired(name))
        except Exception:
            log.exception("what was to be done at the time %r failed", name)

    async def _ask_cluster(self) -> None:
        self.feed(inputs.ClusterRead(await self._query.ask()))

    async def _connect(self) -> Connection:
        if self.driver is None:
            raise ConnectionError("no master is known")
        return await self.driver.connect()

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ids(offer_ids: Sequence[str]) -> list[dict[str, str]]:
    return [{"value": offer_id} for offer_id in offer_ids]
