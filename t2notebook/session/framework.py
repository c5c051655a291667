"""One framework and all that is its own: journal, jobs, scheduler, driver, results; how it begins, and its three
ends: torn down, left to a later session, or stepped back from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from ..jobmaster.contacts import Contacts
from ..journal import Journal, Lease
from ..journal.job_store import JobRecord, Jobs
from ..mesos.agent_files import PAGE
from ..mesos.credentials import Credentials
from ..mesos.detector import MasterDetector
from ..mesos.driver import Driver
from ..model.errors import JournalError, NotOwner
from ..model.events import Event, EventKind
from ..model.job import JobSpec
from ..model.start_errors import start_failure, unknown_user
from ..model.states import TaskState
from ..protocol.launch import KILL_GRACE, Cause, encode_status_data
from ..scheduler import recovery
from ..scheduler.messages import ExecutorTemplate
from ..scheduler.runner import Runner
from ..scheduler.state import Scheduler
from .announcer import Announcer
from .result_fetcher import ResultFetcher
from .retention import KEEP_BYTES, Quota

log = logging.getLogger(__name__)

#: What a master says to the old subscriber of a framework, and to one whose `failover_timeout` is over (Mesos,
#: ``src/master/master.cpp``).
FAILED_OVER, REMOVED = "Framework failed over", "Framework has been removed"
#: Seconds that a failed worker's traceback is looked for before its end is told.
TRACEBACK_PATIENCE = 3.0
#: Seconds that an agent has to repeat an update of which the master has told the state alone.
UPDATE_PATIENCE = 2.0
#: Reasons for the end of a task that never reached its executor's code.
_OF_EXECUTORS = ("", "REASON_EXECUTOR_TERMINATED", "REASON_COMMAND_EXECUTOR_FAILED")
_TOLD_BY_AGENTS = frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.KILLED})


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
    is_adopted : bool
    over : str
        Why it takes no more jobs; empty while it does.
    trouble : str
        What keeps it from working now.
    """

    def __init__(
        self, journal: Journal, executor_linger: float, on_over: Callable[[Framework], None]
    ) -> None:
        self.journal = journal
        self.jobs = Jobs(journal)
        self.facts = journal.meta()
        self.is_adopted = self.claims > 0
        self.scheduler: Scheduler | None = None
        self.driver: Driver | None = None
        self.over = ""
        self.taken_by = ""
        self._stalled = ""
        self._executor_linger = executor_linger
        self._on_over = on_over
        self._announcer: Announcer | None = None
        self._patient: Runner | None = None
        self._has_adopted = self._is_concluding = False
        self._ending: set[asyncio.Task[None]] = set()
        self._results = ResultFetcher(self)
        self.jobs.listen(self._results.on_event)
        self.jobs.listen(Quota(self.jobs, KEEP_BYTES).on_event)
        journal.on_lost = lambda: self._soon(self.on_taken_over())

    # Life.

    @property
    def trouble(self) -> str:
        """What keeps it from working now; empty if nothing does."""
        return self._stalled or self.over or (self.scheduler.trouble if self.scheduler else "")

    @property
    def is_stalled(self) -> bool:
        """Whether its journal cannot be written."""
        return bool(self._stalled)

    @property
    def connected(self) -> bool:
        """Whether it is subscribed."""
        return self.driver is not None and self.driver.connected

    @property
    def claims(self) -> int:
        """How often its journal has been taken over."""
        return int(self.facts.get("claims", 0))

    @property
    def worker_port(self) -> int:
        """Where its workers look for their session; 0 if it has had none."""
        return int(self.facts.get("worker_port", 0))

    def start(
        self,
        masters: MasterDetector,
        access: Credentials,
        worker_url: str,
        template: ExecutorTemplate,
        info: dict[str, Any],
        contacts: Contacts | None = None,
    ) -> None:
        """Subscribe; one that was taken over as what it was, and with what it had.

        Parameters
        ----------
        masters : Masters
        access : Access
            Who we are there.
        worker_url : str
            Where workers reach this session.
        template : ExecutorTemplate
        info : dict
            FrameworkInfo of a new framework.
        contacts : Contacts
            Who has reached us there.
        """
        if self.over:
            return
        if framework_id := self.facts.get("framework_id"):
            info = {**json.loads(self.facts["framework"]), "id": {"value": framework_id}}
        else:
            self.journal.set_meta(framework=json.dumps(info))
        scheduler = self.scheduler = Scheduler(
            self.jobs,
            template,
            worker_url,
            self._executor_linger,
            on_subscribed=self._subscribed,
            gpus={"type": "GPU_RESOURCES"} in info["capabilities"],
            contacts=contacts,
        )
        self._patient = Runner(
            scheduler,
            on_stall=self._on_stall,
            on_error=self._on_error,
            on_message=self._on_message,
            first=self._before,
        )
        if self.is_adopted:
            self._announcer = Announcer(worker_url, self.claims, self._send_message)
            recovery.adopt(scheduler)
        else:
            for job in self.jobs.active:
                scheduler.submit(job)
        self.driver = scheduler.driver = Driver(self._patient, info, masters, self._suppressed_roles, access)
        self._results.look_again()
        if self._cluster_is_gone(str(masters.current)):
            self._on_error("the embedded Mesos has ended, and all that it ran")
        else:
            self.driver.start()

    def _cluster_is_gone(self, master: str) -> bool:
        """Whether it ran on an embedded Mesos that is no more: another would take its id for a new one's."""
        return (
            self.is_adopted
            and self.facts.get("master") == "local"
            and self.facts.get("master_address", master) != master
        )

    async def end(self, why: str) -> None:
        """End it, with all that it runs: each job gets its end on record."""
        if not self.over:
            self.kill_all(why)
            if self.connected:
                deadline = time.monotonic() + KILL_GRACE + 1.0
                while self.jobs.active and time.monotonic() < deadline:
                    await asyncio.sleep(0.02)
            await self._tear_down()
            if self._patient is not None:
                self._patient.do(self._give_up)
        await self._close()

    def _give_up(self) -> None:
        if self.scheduler is not None:
            self.scheduler.give_up("torn down with its session")

    async def leave(self) -> None:
        """Stop and leave it to a later session: what it runs goes on, up to its `failover_timeout`."""
        await self._close()

    async def tear_down(self) -> None:
        """Tear it down: nothing of it runs any more. Its jobs stay readable."""
        await self._tear_down()

    async def _tear_down(self) -> None:
        self._stop_talking()
        was_connected = self.connected
        if self.driver is not None:
            try:
                self.journal.check_owner()
            except JournalError:
                was_connected = False
            await self.driver.stop(teardown=was_connected)
        if was_connected or self.driver is None or not self.driver.framework_id:
            self.over = self.over or "torn down"
            self._note(over=self.over)

    async def _close(self) -> None:
        self._stop_talking()
        if self.driver is not None:
            await self.driver.stop()
        for task in self._ending:
            task.cancel()
        self._results.close()
        self._note(owner="")
        self.journal.close()

    def _stop_talking(self) -> None:
        if self.scheduler is not None:
            self.scheduler.close()
        if self._announcer is not None:
            self._announcer.close()

    def _note(self, **facts: str) -> None:
        try:
            self.journal.set_meta(**facts)
        except JournalError as error:
            log.warning("%s", error)

    def keep(self) -> None:
        """See to it that the journal is where others look for it."""
        try:
            self.journal.keep()
        except JournalError as error:
            self._stall(error)

    def renew(self) -> None:
        """Say in the journal that we live."""
        if self._patient is None or not self._patient.is_stalled:
            try:
                self.journal.renew()
            except JournalError as error:
                self._stall(error)

    # Jobs.

    def accept(self, spec: JobSpec, client: str, credentials: Mapping[str, str] | None = None) -> JobRecord:
        """Take a job in: when this returns, it is in the journal.

        Raises
        ------
        JournalError
            When it cannot be; then nothing was submitted.
        """
        if self._stalled:
            raise JournalError(self._stalled)
        try:
            return self.jobs.submit(spec, client, credentials)
        except JournalError as error:
            self._stall(error)
            raise

    def _stall(self, error: JournalError) -> None:
        if self._patient is not None and not isinstance(error, NotOwner):
            self._patient.stall(str(error))

    def submit(self, job: JobRecord) -> None:
        """Have a new job scheduled, now or as soon as there is a scheduler."""
        if self.scheduler is not None and self.driver is not None:
            self.scheduler.submit(job)

    def kill(self, job: JobRecord, reason: str, message: str) -> None:
        """End a job, as soon as that can be written down.

        Raises
        ------
        NotOwner
            When it is somebody else's to kill.
        """
        if self._patient is not None:
            self._patient.do(lambda: self._kill(job, reason, message))
        else:
            self._kill(job, reason, message)
        if self.journal.is_lost:
            raise NotOwner(f"another session has taken over the journal in {self.journal.directory}")

    def kill_worker(self, job: JobRecord, worker_id: int, reason: str, message: str, restart: bool) -> None:
        """End one worker of a job, for good or to be started anew, as soon as that can be written down.

        Raises
        ------
        NotOwner
            When it is somebody else's to kill.
        """

        def kill() -> None:
            if self.scheduler is not None and self.driver is not None and not self.over:
                self.scheduler.kill_worker(job, worker_id, reason, message, restart=restart)
            elif not restart:
                now = self.jobs.clock()
                event = Event(EventKind.KILL, job.job_id, now, worker_id, reason=reason, message=message)
                self.jobs.record(event)

        if self._patient is not None:
            self._patient.do(kill)
        else:
            kill()
        if self.journal.is_lost:
            raise NotOwner(f"another session has taken over the journal in {self.journal.directory}")

    def kill_all(self, why: str) -> None:
        """End all jobs, as far as they are ours."""
        for job in self.jobs.active:
            if not job.view.kill_reason:
                with contextlib.suppress(JournalError):
                    self.kill(job, "SESSION", why)

    def _kill(self, job: JobRecord, reason: str, message: str) -> None:
        if self.scheduler is not None and self.driver is not None and not self.over:
            self.scheduler.kill(job, reason, message)
        elif not job.view.state.is_final:
            event = Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason=reason, message=message)
            self.jobs.record(event)

    @property
    def is_at_rest(self) -> bool:
        """Whether it has nothing left to do."""
        return not self.jobs.active and not self._results.is_busy and not self._ending

    # What the driver tells.

    def _suppressed_roles(self) -> list[str]:
        """Return what SUBSCRIBE is to suppress; asked right before it, which is the last moment to step back."""
        assert self.scheduler is not None
        self.journal.check_owner()
        return self.scheduler.suppressed_roles()

    def _subscribed(self, framework_id: str) -> None:
        assert self.driver is not None and self.scheduler is not None
        self.journal.set_meta(framework_id=framework_id)
        if self.is_adopted and not self._has_adopted:
            self._has_adopted = True
            recovery.settle(self.scheduler)
            for (executor_id, agent), job_ids in self.scheduler.executors.jobs_by_executor().items():
                assert self._announcer is not None
                self._announcer.tell(executor_id, agent, [self.jobs[job_id] for job_id in sorted(job_ids)])

    def _send_message(self, executor_id: str, agent: str, data: str) -> None:
        assert self.driver is not None and self.scheduler is not None
        if (executor_id, agent) not in self.scheduler.executors.jobs_by_executor():
            asyncio.get_running_loop().call_soon(self._forget, executor_id)
        else:
            self.driver.sendFrameworkMessage({"value": executor_id}, {"value": agent}, data)

    def _forget(self, executor_id: str) -> None:
        if self._announcer is not None:
            self._announcer.forget(executor_id)

    def _on_message(self, executor_id: str, data: str) -> None:
        if self._announcer is not None:
            self._announcer.heard(executor_id, data)

    def _before(self, status: Mapping[str, Any]) -> Awaitable[Any] | None:
        """Have what says more than the bare end of a worker here before that end is told: its traceback, also one that
        was made when nobody listened, and, where a master only answers our question, the update that its agent
        repeats meanwhile, with exit code and message.
        """
        if (
            status.get("reason") == "REASON_RECONCILIATION"
            and TaskState.from_mesos(status["state"]) in _TOLD_BY_AGENTS
        ):
            return asyncio.sleep(UPDATE_PATIENCE)
        if TaskState.from_mesos(status["state"]) is not TaskState.FAILED or self.scheduler is None:
            return None
        found = self.scheduler.find(status["task_id"]["value"])
        if found is None or found[0].view.workers[found[1]].result or found[0].view.kill_reason:
            return None
        has_run = found[0].view.workers[found[1]].started is not None
        if not has_run and not status.get("data") and status.get("reason", "") in _OF_EXECUTORS:
            return self._explain_start(status, *found)
        return self._results.try_fetch(*found, patience=TRACEBACK_PATIENCE)

    async def _explain_start(
        self, status: Mapping[str, Any], job: JobRecord, worker_id: int
    ) -> Mapping[str, Any]:
        """Return the update of a worker that never ran with the reason that its executor's own output gives."""
        place = self.scheduler.sandbox(job, worker_id) if self.scheduler is not None else None
        if place is None or unknown_user(status.get("message", "")):
            return status
        try:
            async with asyncio.timeout(TRACEBACK_PATIENCE):
                size = await place[0].size("stderr")
                text = await place[0].read("stderr", max(0, size - PAGE), PAGE)
        except Exception as error:  # whatever it is: Mesos's own words have to do
            log.info("no stderr of the executor of worker %s of %s: %s", worker_id, job.job_id, error)
            return status
        if not (line := start_failure(text.decode("utf-8", "replace"))):
            return status
        where = job.view.workers[worker_id].host or "the agent"
        message = f"the executor cannot start on {where}: {line}\n{status.get('message', '')}"
        return {**status, "message": message, "data": encode_status_data(None, Cause.START)}

    def _on_stall(self, why: str) -> None:
        self._stalled = why
        for job in self.jobs.active:
            note = f"{why}; nothing is lost, the session goes on when it can" if why else ""
            event = Event(EventKind.PENDING, job.job_id, self.jobs.clock(), source="SESSION", message=note)
            self.jobs.record(event)
        if not why and self.scheduler is not None:
            recovery.settle(self.scheduler)
            self.scheduler.want_offers()

    def _on_error(self, message: str) -> None:
        if FAILED_OVER in message:
            self._soon(self.on_taken_over())
        else:
            self._soon(self.on_removed(message))

    async def lose_master(self, message: str) -> None:
        """End it with the master that it was subscribed to, which is gone for good."""
        if self.driver is not None and not self.over:
            await self.driver.stop()
            await self.on_removed(message)

    async def on_removed(self, message: str) -> None:
        """Write down the end of a framework that the master ended; what finished before has its results yet."""
        assert self.scheduler is not None and self._patient is not None
        scheduler, patient = self.scheduler, self._patient
        if self._is_concluding or self.over:
            return
        self._is_concluding = True
        if self.is_adopted:
            if REMOVED in message:
                message = self._explain_removal()
            await self._results.collect(message)
        self.over = message
        patient.do(lambda: scheduler.error(message))
        patient.do(lambda: self.journal.set_meta(over=message))
        self._on_over(self)

    def _explain_removal(self) -> str:
        timeout = float(json.loads(self.facts["framework"]).get("failover_timeout", 0.0))
        since = float(self.facts.get("last_seen") or self.facts.get("renewed") or 0.0)
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since + timeout))
        return (
            f"nobody took it up within failover_timeout ({timeout:g} s) of its session's end: Mesos removed its "
            f"framework about {until}"
        )

    async def on_taken_over(self) -> None:
        """Leave it for good to who has it now: nothing more is written, killed or torn down."""
        if self.over:
            return
        successor = "another client of the master, which is no session of yours"
        try:
            lease = Lease.decode(self.journal.meta().get("owner", ""))
            if lease is not None and lease != self.journal.lease:
                successor = lease.name
        except Exception:
            log.exception("who took the framework over cannot be told")
        self.taken_by = successor
        self.over = f"{successor} has taken its framework over"
        log.warning("%s; this session steps back", self.over)
        self._stop_talking()
        if self._patient is not None:
            self._patient.close()
        self._results.close()
        if self.driver is not None:
            await self.driver.stop()
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

    def link_packages(self, target: Path) -> None:
        """Let the packages of its unfinished jobs be served from another journal's folder."""
        for job in self.jobs.active:
            name = f"{job.spec.package}.t2"
            source = self.journal.packages / name
            if source.exists() and not (target / name).exists():
                try:
                    (target / name).hardlink_to(source)
                except OSError:
                    import shutil

                    shutil.copyfile(source, target / name)
