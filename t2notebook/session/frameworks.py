"""The frameworks of a session: its own, and those of dead sessions that it takes over."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..journal import RENEW, Journal, Lease, is_owned, read_unfinished, session_directories
from ..journal.job_store import AllJobs, JobRecord, Jobs
from ..model.errors import JournalError
from .framework import Framework

log = logging.getLogger(__name__)


class Frameworks:
    """All frameworks of a session, its own first.

    Parameters
    ----------
    sessions : Path
        The folder of all sessions' folders.
    facts : mapping
        What a successor, or a kernel that looks for a job, needs to know of this session.
    jobs : AllJobs
        Gets the jobs of each.
    executor_linger : float
        Seconds that an idle executor is kept for the next job.
    on_adopted : callable
        Called with each that was taken over.
    on_over : callable
        Called with each that has ended by itself, or is somebody else's now.

    Attributes
    ----------
    own : Framework
        Runs what is submitted here.

    Raises
    ------
    JournalError
        When no journal can be written.
    """

    def __init__(
        self,
        sessions: Path,
        facts: Mapping[str, str],
        jobs: AllJobs,
        executor_linger: float,
        on_adopted: Callable[[Framework], None],
        on_over: Callable[[Framework], None],
    ) -> None:
        self._sessions, self._jobs = sessions, jobs
        self._home = facts["home"]
        self._whereabouts = {name: facts[name] for name in ("name", "home", "socket")}
        self._executor_linger = executor_linger
        self._on_adopted, self._on_over = on_adopted, on_over
        self._lease = Lease.mine()
        self._renewed = time.monotonic()
        self._all: list[Framework] = []
        directory = sessions / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        journal = Journal(directory, self._lease)
        journal.set_meta(**facts)
        self.own = self._add(journal)

    def __iter__(self) -> Iterator[Framework]:
        return iter(list(self._all))  # one may leave meanwhile

    def __len__(self) -> int:
        return len(self._all)

    def of(self, job: JobRecord) -> Framework:
        """Return the framework that runs a job."""
        return next(framework for framework in self._all if framework.jobs.get(job.job_id) is job)

    @property
    def adopted(self) -> list[Framework]:
        """Those that were taken over."""
        return self._all[1:]

    @property
    def connected(self) -> bool:
        """Whether any is subscribed."""
        return any(framework.connected for framework in self._all)

    def _add(self, journal: Journal) -> Framework:
        framework = Framework(journal, self._executor_linger, self._on_over)
        self._all.append(framework)
        self._jobs.add(framework.jobs)
        return framework

    # Those of dead sessions.

    def adopt_left(self) -> None:
        """Take over what earlier sessions of this master, user and environment have left."""
        for directory in session_directories(self._sessions):
            try:
                meta = read_unfinished(directory).meta
                if meta.get("home", meta.get("socket")) == self._home:
                    self.adopt(directory)
            except Exception:
                log.exception("cannot take over %s", directory)

    def adopt(self, directory: Path) -> bool:
        """Take over the framework of a dead session; return whether it is ours now.

        Raises
        ------
        JournalError
            When its journal cannot be written.
        """
        if any(framework.journal.directory == directory for framework in self._all):
            return True
        left = read_unfinished(directory)
        if is_owned(left.meta) or left.meta.get("over") or not (left.jobs or left.meta.get("framework_id")):
            return False
        journal = Journal.claim(directory, self._lease, is_owned)
        if journal is None:
            return False
        framework = self._add(journal)
        _link_packages(framework.jobs, self.own.journal.packages)
        journal.set_meta(**self._whereabouts)
        self._on_adopted(framework)
        log.warning("took over %d unfinished jobs of %s", len(framework.jobs.active), directory.name)
        return True

    def drop(self, framework: Framework) -> None:
        """Forget one that is somebody else's now."""
        self._all.remove(framework)
        self._jobs.remove(framework.jobs)
        framework.journal.close()

    # Their journals.

    def moved(self, socket: Path) -> None:
        """Write down where kernels find us now, in each journal that is ours."""
        self._whereabouts["socket"] = str(socket)
        for framework in self:
            try:
                framework.journal.set_meta(**self._whereabouts)
            except JournalError as error:
                log.warning("%s", error)

    def renew(self, now: float) -> None:
        """Say in each journal that we live, if it was not said lately; `now` is as of `time.monotonic`."""
        if now - self._renewed >= RENEW:
            self._renewed = now
            for framework in self:
                framework.renew()

    def keep(self) -> None:
        """Make journals again that somebody has removed under us."""
        for framework in self:
            framework.keep()

    # Their ends.

    async def tear_down_done(self, timeout: float) -> None:
        """Tear down those that were taken over and have nothing left to do.

        Parameters
        ----------
        timeout : float
            Seconds that each may take.
        """
        for framework in self:
            if framework.is_adopted and not framework.over and framework.connected and framework.is_at_rest:
                try:
                    async with asyncio.timeout(timeout):
                        await framework.tear_down()
                except TimeoutError:
                    log.warning("a framework with nothing left to do could not be torn down yet")

    async def lose_master(self, why: str) -> None:
        """End all with the master that they were subscribed to, which is gone for good."""
        await asyncio.gather(*(framework.lose_master(why) for framework in self.adopted))
        await self.own.lose_master(why)  # the last, since the session ends with it

    async def end(self, *, leaving: bool) -> None:
        """End all; where we are only leaving, those that run jobs are left to the next session."""
        if not leaving:
            for framework in self:  # all at once, so that they end together
                framework.commands.kill_all("the session was ended")
        await asyncio.gather(
            *(
                framework.leave()
                if leaving and framework.jobs.active
                else framework.end("the session was ended")
                for framework in self
            )
        )


def _link_packages(jobs: Jobs, target: Path) -> None:
    """Let the packages of unfinished jobs be served from another journal's folder."""
    for job in jobs.active:
        name = f"{job.spec.package}.t2"
        source = jobs.journal.packages / name
        if source.exists() and not (target / name).exists():
            try:
                (target / name).hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target / name)
