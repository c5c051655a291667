"""One framework and all that is its own: journal, jobs, scheduler, driver, results; how it begins, and its three
ends: torn down, left to a later session, or stepped back from.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ..jobmaster.contacts import Contacts
from ..journal import Journal, Lease
from ..journal.job_store import JobRecord, Jobs
from ..mesos.agent_files import Sandbox
from ..mesos.credentials import Credentials
from ..mesos.detector import MasterDetector
from ..mesos.driver import Driver
from ..model.errors import JournalError, NotOwner
from ..model.events import Event, EventKind
from ..model.start_errors import refused_user
from ..protocol.launch import KILL_GRACE
from ..scheduler import inputs
from ..scheduler.messages import ExecutorTemplate
from ..scheduler.runner import Runner
from ..scheduler.state import SchedulerState
from .admission import Admission
from .announcements import Announcements
from .end_details import EndDetails
from .framework_facts import FrameworkFacts
from .framework_life import FrameworkLife, Life
from .job_commands import JobCommands
from .result_fetcher import ResultFetcher
from .retention import KEEP_BYTES, Quota

log = logging.getLogger(__name__)

#: What a master says to the old subscriber of a framework, and to one whose `failover_timeout` is over (Mesos,
#: ``src/master/master.cpp``).
FAILED_OVER, REMOVED = "Framework failed over", "Framework has been removed"
#: Seconds that an ending session waits for its journal.
FLUSH_TIMEOUT = 5.0


class Framework:
    """A framework of this session: its own, or one that it has taken over.

    Parameters
    ----------
    journal : Journal
        Claimed, if it is an earlier session's: then its jobs hold, and its framework id and FrameworkInfo, if it
        had come so far.
    executor_linger : float
        Seconds that an idle executor is kept for the next job.
    on_over : callable
        Called with this object when the framework has ended by itself, or is somebody else's now.

    Attributes
    ----------
    facts : FrameworkFacts
    is_adopted : bool
    life : FrameworkLife
    taken_by : str
        The session that has it, if it was taken over.
    commands : JobCommands
    admission : Admission
    """

    def __init__(
        self, journal: Journal, executor_linger: float, on_over: Callable[[Framework], None]
    ) -> None:
        self.journal = journal
        self.jobs = Jobs(journal, writer=ThreadPoolExecutor(1, "t2notebook-journal"))
        self.facts = FrameworkFacts(journal.meta())
        self.is_adopted = self.facts.is_adopted
        self.life = FrameworkLife()
        self.runner: Runner | None = None
        self.driver: Driver | None = None
        self.taken_by = ""
        self.commands = JobCommands(self.jobs, self._working_runner, lambda: self.trouble)
        self.admission = Admission(self.jobs, self.commands)
        self._executor_linger = executor_linger
        self._on_over = on_over
        self._announcements: Announcements | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._results = ResultFetcher(self.jobs, self.sandbox)
        self.jobs.listen(self._results.on_event)
        self.jobs.listen(Quota(self.jobs, KEEP_BYTES).on_event)
        self.jobs.commits.on_stall = self._on_stall
        loop = asyncio.get_running_loop()
        # Whichever thread finds out.
        journal.on_lost = partial(loop.call_soon_threadsafe, self._lost_journal)

    # Life.

    @property
    def over(self) -> str:
        """The reason why it takes no more jobs; empty while it does."""
        return self.life.why

    @property
    def trouble(self) -> str:
        """The reason why it does not work now; empty if it does."""
        return self.jobs.commits.stalled or self.over or (self.runner.state.trouble if self.runner else "")

    @property
    def connected(self) -> bool:
        """Whether it is subscribed."""
        return self.driver is not None and self.driver.connected

    def start(
        self,
        masters: MasterDetector,
        credentials: Credentials,
        worker_url: str,
        template: ExecutorTemplate,
        info: dict[str, Any],
        contacts: Contacts | None = None,
    ) -> None:
        """Subscribe; one that was taken over as what it was, and with what it had.

        Parameters
        ----------
        masters : MasterDetector
        credentials : Credentials
            For these masters.
        worker_url : str
            Where workers reach this session.
        template : ExecutorTemplate
        info : dict
            FrameworkInfo of a new framework.
        contacts : Contacts
            Addresses from which `worker_url` has been reached.
        """
        if self.life.state is not Life.NEW:
            return
        if (earlier := self.facts.framework_info()) is not None:
            info = earlier
        else:
            self.jobs.set_meta(framework=json.dumps(info))
        self.life.move(Life.SUBSCRIBING)
        state = SchedulerState(
            self.jobs.table,
            template,
            worker_url,
            self._executor_linger,
            roles=tuple(info.get("roles", ())),
            gpus={"type": "GPU_RESOURCES"} in info["capabilities"],
            contacts=contacts,
        )
        self._announcements = announcements = Announcements(
            state.executors, self.jobs, worker_url, self.facts.claims, self._send_message
        )
        details = EndDetails(state.tracker.find, self.sandbox, self._results)
        runner = self.runner = Runner(
            state,
            self.jobs,
            on_subscribed=self._subscribed,
            on_error=self._on_error,
            on_message=announcements.heard,
            first=details.before,
        )
        if self.is_adopted:
            runner.feed(inputs.Adopted())
        else:
            # Job masters first: a job whose workers fill the cluster would wait for its own for ever.
            for job in sorted(self.jobs.active, key=lambda job: not job.spec.serves):
                runner.feed(inputs.Submitted(job.job_id))
        self.driver = runner.driver = Driver(runner, info, masters, self._suppressed_roles, credentials)
        self._results.look_again()
        if self.facts.cluster_is_gone(str(masters.current)):
            self._on_error("the embedded Mesos has ended, and all that it ran")
        else:
            self.driver.start()

    async def end(self, why: str) -> None:
        """End it, with all that it runs: each job gets its end on record."""
        if not self.life.is_over:
            self.commands.kill_all(why)
            if self.connected:
                deadline = time.monotonic() + KILL_GRACE + 1.0
                while self.jobs.active and time.monotonic() < deadline:
                    await asyncio.sleep(0.02)
            # Mesos sends no updates for what ended with its framework.
            await self._tear_down("torn down with its session")
        await self._close()

    async def leave(self) -> None:
        """Stop and leave it to a later session: what it runs goes on, up to its `failover_timeout`."""
        await self._close()

    async def tear_down(self) -> None:
        """Tear it down: nothing of it runs any more. Its jobs stay readable."""
        await self._tear_down()

    async def _tear_down(self, ends: str = "") -> None:
        if self._announcements is not None:
            self._announcements.close()
        was_connected = self.connected
        if self.driver is not None:
            await self.jobs.commits.flush(FLUSH_TIMEOUT)
            try:
                self.journal.check_owner()
            except JournalError:
                was_connected = False
            await self.driver.stop(teardown=was_connected)
        if self.runner is not None:
            if ends:
                self.runner.feed(inputs.TornDown(ends))
            self.runner.close()
        if was_connected or self.driver is None or not self.driver.framework_id:
            if self.life.may(Life.TORN_DOWN):
                self.life.move(Life.TORN_DOWN, "torn down")
            self.jobs.set_meta(over=self.over)

    async def _close(self) -> None:
        self._stop_talking()
        if self.driver is not None:
            await self.driver.stop()
        for task in self._ending:
            task.cancel()
        self._results.close()
        await self.jobs.commits.flush(FLUSH_TIMEOUT)
        self.jobs.commits.close()
        if self.life.may(Life.CLOSED):
            self.life.move(Life.CLOSED)
        try:
            self.journal.set_meta(owner="")
        except JournalError as error:
            log.warning("%s", error)
        self.journal.close()

    def _stop_talking(self) -> None:
        if self.runner is not None:
            self.runner.close()
        if self._announcements is not None:
            self._announcements.close()

    def keep(self) -> None:
        """See to it that the journal is where others look for it."""
        try:
            self.journal.keep()
        except JournalError as error:
            self.jobs.commits.stall(error)

    def renew(self) -> None:
        """Say in the journal that we live."""
        self.jobs.commits.renew()

    # Jobs.

    def _working_runner(self) -> Runner | None:
        """Return the scheduler that takes commands, if there is one."""
        return self.runner if self.driver is not None and not self.life.is_over else None

    def sandbox_of(self, launch: Event) -> tuple[Sandbox, str] | None:
        """Return the sandbox of a launch, and the worker's folder there; None if it is not known."""
        url = str(launch.data.get("agent_url", ""))
        if self.driver is None or not self.driver.framework_id or not url:
            return None
        executor_id = str(launch.data["executor_id"])
        return Sandbox(url, self.driver.framework_id, executor_id, self.driver.credentials), launch.task_id

    def why(self, job: JobRecord) -> list[dict[str, Any]]:
        """Return why workers of a job wait, as rows of ``job.why``."""
        return self.runner.why(job) if self.runner is not None else []

    def sandbox(self, job: JobRecord, worker_id: int) -> tuple[Sandbox, str] | None:
        """Return a worker's sandbox and its folder there, or None before it was launched."""
        return self.runner.sandbox(job, worker_id) if self.runner is not None else None

    @property
    def is_at_rest(self) -> bool:
        """Whether it has nothing left to do."""
        return not self.jobs.active and not self._results.is_busy and not self._ending

    # What the driver tells.

    def _suppressed_roles(self) -> list[str]:
        """Return what SUBSCRIBE is to suppress; asked right before it, which is the last moment to step back."""
        assert self.runner is not None
        self.journal.check_owner()
        return self.runner.suppressed_roles()

    def _subscribed(self, framework_id: str) -> None:
        assert self.runner is not None
        self.jobs.set_meta(framework_id=framework_id)  # before any launch: no framework whose id is lost
        if self.life.state is not Life.SUBSCRIBING:
            return
        self.life.move(Life.ACTIVE)
        if self.is_adopted:
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        """Do what an earlier session did not come to, and tell the executors that it had where we are."""
        if self.runner is None or self._announcements is None:
            return
        self.runner.feed(inputs.Settle())
        self._announcements.session_moved()

    def _send_message(self, executor_id: str, agent: str, data: str) -> None:
        assert self.driver is not None
        self.driver.sendFrameworkMessage({"value": executor_id}, {"value": agent}, data)

    def announce_job_master(self, job: JobRecord, url: str, number: int) -> None:
        """Tell the executors of a job's workers where its job master on the cluster is, until they have heard it.

        Parameters
        ----------
        job : JobRecord
        url : str
        number : int
            Of that place; a later one has a higher number.
        """
        if self._announcements is not None and self.driver is not None and not self.life.is_over:
            self._announcements.job_master_moved(job, url, number)

    def _on_stall(self, why: str) -> None:
        note = f"{why}; nothing is lost, the session goes on when it can" if why else ""
        now = self.jobs.clock()
        self.jobs.tell(
            *(
                Event(EventKind.PENDING, job.job_id, now, source="SESSION", message=note)
                for job in self.jobs.active
            )
        )
        if self.runner is not None:
            self.runner.stalled(why)

    def _on_error(self, message: str) -> None:
        if FAILED_OVER in message:
            self._soon(self.on_taken_over())
        else:
            self._soon(self.on_removed(refused_user(message)))

    def _lost_journal(self) -> None:
        self._soon(self.on_taken_over())

    async def lose_master(self, message: str) -> None:
        """End it with the master that it was subscribed to, which is gone for good."""
        if self.driver is not None and not self.life.is_over:
            await self.driver.stop()
            await self.on_removed(message)

    async def on_removed(self, message: str) -> None:
        """Write down the end of a framework that the master ended; what finished before has its results yet."""
        assert self.runner is not None
        if not self.life.may(Life.CONCLUDING):
            return
        self.life.move(Life.CONCLUDING)
        if self.is_adopted:
            if REMOVED in message:
                message = self.facts.explain_removal()
            await self._results.collect(message)
        if not self.life.may(Life.REMOVED):
            return  # the session has ended meanwhile, or it is somebody else's
        self.life.move(Life.REMOVED, message)
        self.runner.feed(inputs.Removed(message))
        self.jobs.set_meta(over=message)
        self._on_over(self)

    async def on_taken_over(self) -> None:
        """Leave it for good to who has it now: nothing more is written, killed or torn down."""
        if not self.life.may(Life.TAKEN_OVER):
            return
        successor = "another client of the master, which is no session of yours"
        try:
            lease = Lease.decode(self.journal.meta().get("owner", ""))
            if lease is not None and lease != self.journal.lease:
                successor = lease.name
        except Exception:
            log.exception("who took the framework over cannot be told")
        self.taken_by = successor
        self.life.move(Life.TAKEN_OVER, f"{successor} has taken its framework over")
        log.warning("%s; this session steps back", self.over)
        self._stop_talking()
        self._results.close()
        if self.driver is not None:
            await self.driver.stop()
        self.jobs.commits.close()
        try:
            # A foreigner has the framework; no later session of ours may take it back.
            self.journal.set_meta(over=self.over)
        except NotOwner:
            pass
        except JournalError as error:
            log.warning("%s", error)
        self._on_over(self)

    def _soon(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
