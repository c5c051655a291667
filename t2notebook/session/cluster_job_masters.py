"""Job masters that run as tasks on Mesos: each is the only worker of a job of its own, which belongs to the job that it
serves: it begins before it, is started anew as any worker is, and ends with it.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..jobmaster.actions import Scale
from ..jobmaster.hosted import SECRET, place_of, run
from ..jobmaster.signed_log import FILE
from ..journal.job_store import AllJobs, JobRecord
from ..mesos.agent_files import Sandbox, SandboxError
from ..model.events import Event, EventKind
from ..model.job import FaultTolerance, JobSpec, Placement
from ..model.states import TaskState
from ..package.job_package import build
from .cluster_job_master import ClusterJobMaster, Letters, Location, LogLost
from .held_workers import note_held

log = logging.getLogger(__name__)


def spec_of(job: JobRecord, packages: Path) -> JobSpec:
    """Return the description of a job's job master; its package is made.

    Parameters
    ----------
    job : JobRecord
    packages : Path
        Where packages lie.

    Raises
    ------
    PackageError
        When it cannot be written.
    """
    spec = job.spec
    assert spec.job_master is not None
    config = {
        "job_id": job.job_id,
        "resources": [asdict(resource) for resource in spec.resources],
        "submitted": job.events[0].to_dict(),
    }
    package = build(run, config, directory=packages, local_dirs=[], name=f"{spec.name}-jobmaster")
    volume = f"{spec.persistent_volume.rstrip('/')}/{job.job_id}/job-master"
    return JobSpec(
        name=f"{spec.name}-jobmaster",
        user=spec.user,
        resources=(replace(spec.job_master, instances=1, ports=1, workers_per_executor=1),),
        package=package.digest,
        package_size=package.size,
        python=package.python,
        on_exit=spec.on_exit,
        placement=Placement(nodes=spec.placement.nodes),
        faults=FaultTolerance(
            max_worker_restarts=spec.faults.max_worker_restarts,
            launch_timeout=spec.faults.launch_timeout,
            unreachable_timeout=spec.faults.unreachable_timeout,
        ),
        path=spec.path,
        environment=spec.environment,
        credentials=(SECRET,),
        persistent_volume=volume if spec.persistent_volume and "://" not in spec.persistent_volume else "",
        serves=job.job_id,
    )


class ClusterJobMasters:
    """The job masters on the cluster of all jobs of a session that have one.

    Parameters
    ----------
    jobs : AllJobs
    claims : callable
        Returns how often the journal of a job has been taken over.
    submit : callable
        ``submit(job)`` submits the job master of a job, unless it has one.
    kill : callable
        ``kill(job, reason, message)`` ends a job.
    announce : callable
        ``announce(job, location)`` tells the executors of a job's workers where its job master is.
    sandbox : callable
        Returns a worker's sandbox as of an earlier launch, and its folder there, or None.
    take : callable
        ``take(job, letters)`` keeps messages to the driver.
    taken : callable
        Returns the number of the last message to the driver of a job that is kept.
    scale : callable
        ``scale(job, wish)`` carries out a worker's wish for more workers, or fewer.
    """

    def __init__(
        self,
        jobs: AllJobs,
        *,
        claims: Callable[[JobRecord], int],
        submit: Callable[[JobRecord], Awaitable[None]],
        kill: Callable[[JobRecord, str, str], None],
        announce: Callable[[JobRecord, Location], None],
        sandbox: Callable[[JobRecord, Event], tuple[Sandbox, str] | None],
        take: Callable[[JobRecord, Letters], Awaitable[None]],
        taken: Callable[[JobRecord], int],
        scale: Callable[[JobRecord, Scale], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._jobs = jobs
        self._claims, self._submit, self._kill, self._announce = claims, submit, kill, announce
        self._sandbox, self._take, self._taken, self._scale = sandbox, take, taken, scale
        self._links: dict[str, ClusterJobMaster] = {}
        self._masters: dict[str, JobRecord] = {}  # by the job that is served
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._announced: dict[str, Location] = {}
        self._adding: set[asyncio.Task[None]] = set()
        jobs.listen(self._on_event)

    def take_up_all(self, jobs: Iterable[JobRecord]) -> None:
        """Go on with those of these jobs; one that an earlier session did not come to submit is submitted."""
        for job in list(jobs):
            if job.spec.serves:
                self.take_up(job)
            elif job.spec.job_master is not None:
                adding = asyncio.get_running_loop().create_task(self._add(job))
                self._adding.add(adding)
                adding.add_done_callback(self._adding.discard)

    async def _add(self, job: JobRecord) -> None:
        try:
            await self._submit(job)
        except Exception:
            log.exception("job %s has no job master", job.job_id)

    def take_up(self, master: JobRecord) -> None:
        """Go on with a job master that an earlier session has started, or with a new one."""
        job = self._jobs.get(master.spec.serves)
        if job is None or master.view.state.is_final:
            return
        master.credentials = {SECRET: job.secret}
        self._masters[job.job_id] = master
        if job.job_id not in self._links:
            self._links[job.job_id] = ClusterJobMaster(
                job,
                self._claims(job),
                earlier_log=lambda: self._earlier_log(master),
                take=lambda letters: self._take(job, letters),
                taken=lambda: self._taken(job),
                on_progress=lambda record: self._progress(job, record),
                scale=lambda wish: self._scale(job, wish),
                on_held=lambda record: note_held(
                    self._jobs, job.job_id, int(record["worker_id"]), str(record["why"])
                ),
                on_lost=lambda why: self._lost(job, why),
            )
        self._locate(job, master)
        if job.view.state.is_final:
            self._end(job)

    async def send(self, job: JobRecord, send_id: str, receivers: list[int] | None, payload: bytes) -> Any:
        """Have a message of the driver's taken by the job master; return its record of that.

        Parameters
        ----------
        job : JobRecord
        send_id : str
            The same for each repetition.
        receivers : list of int or None
        payload : bytes
        """
        link = self._links.get(job.job_id)
        if link is None:
            return {"error": f"the message was not sent: job {job.job_id} has no job master any more"}
        return (await link.ask({"kind": "driver_send", "to": receivers}, payload, send_id)).record

    async def debug(self, job: JobRecord, worker_id: int, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have the job master take a word of a driver's that debugs a worker, and return its answer.

        Parameters
        ----------
        job : JobRecord
        worker_id : int
        record : mapping
            As of `jobmaster.debugger`.
        """
        link = self._links.get(job.job_id)
        if link is None:
            return {"ended": True}
        answer = await link.ask({"kind": "debug", "worker_id": worker_id, "record": dict(record)})
        return {name: value for name, value in answer.record.items() if name != "request"}

    def is_draining(self, job: JobRecord) -> bool:
        """Whether a job has ended, and what its workers have sent to the driver is still on its way."""
        return job.job_id in self._links and job.view.state.is_final

    async def drained(self, job: JobRecord) -> None:
        """Wait until all is here that an ended job's workers have sent to the driver, as far as it can be had."""
        if self.is_draining(job):
            self._end(job)
            await asyncio.wait([self._ending[job.job_id]])

    async def close(self) -> None:
        """Leave all of them alone."""
        for task in self._ending.values():
            task.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    # Inside.

    def _on_event(self, event: Event, job: JobRecord) -> None:
        if job.spec.serves:
            if event.kind is EventKind.SUBMITTED:
                self.take_up(job)
            self._on_master(event, job)
        elif (link := self._links.get(job.job_id)) is not None:
            link.tell(event)
            if job.view.state.is_final:
                self._end(job)

    def _on_master(self, event: Event, master: JobRecord) -> None:
        job = self._jobs.get(master.spec.serves)
        if job is None:
            return
        if event.kind is EventKind.PENDING and event.message and not job.view.state.is_final:
            message = f"its job master waits: {event.message}"
            self._jobs.record(Event(EventKind.PENDING, job.job_id, event.time, message=message))
        if event.kind in (EventKind.LAUNCHED, EventKind.STATUS, EventKind.PROGRESS):
            self._locate(job, master)
        if master.view.state.is_final and not job.view.state.is_final:
            self._lost(job, f"its job master ended: {master.view.message or master.view.state.value}")

    def _locate(self, job: JobRecord, master: JobRecord) -> None:
        link = self._links.get(job.job_id)
        if link is None:
            return
        worker = master.view.workers[0]
        launches = [event for event in master.events if event.kind is EventKind.LAUNCHED]
        if not worker.is_on_mesos or not launches or launches[-1].task_id != worker.task_id:
            link.move(None)
            return
        host = urlsplit(str(launches[-1].data.get("agent_url", ""))).hostname or worker.host
        number, port = place_of(worker)
        location = Location(number, host, port)
        link.move(location)
        if worker.state is not TaskState.STAGING and self._announced.get(job.job_id) != location:
            self._announced[job.job_id] = location
            self._announce(job, location)

    async def _earlier_log(self, master: JobRecord) -> bytes:
        """Return the log of the last incarnation that has left one; empty, if none of them came so far.

        Raises
        ------
        LogLost
            When it cannot be had.
        """
        current = master.view.workers[0].task_id
        ran = {
            event.task_id
            for event in master.events
            if event.kind is EventKind.STATUS and event.state == TaskState.RUNNING
        }
        for event in reversed(master.events):
            if event.kind is not EventKind.LAUNCHED or event.task_id not in ran - {current}:
                continue
            if (place := self._sandbox(master, event)) is None:
                raise _lost("its agent is not known any more")
            sandbox, folder = place
            file = io.BytesIO()
            try:
                await sandbox.download(f"{folder}/{FILE}", file)
                return file.getvalue()
            except SandboxError as error:
                why = error
            try:
                await sandbox.size(f"{folder}/stderr")
            except SandboxError:
                raise _lost(str(why)) from None
            # Its folder is there, and no log: it ended before it served anybody.
        return b""

    def _progress(self, job: JobRecord, record: Mapping[str, Any]) -> None:
        worker_id = record["worker_id"]
        if not 0 <= worker_id < len(job.view.workers):
            return
        worker = job.view.workers[worker_id]
        if worker.restarts == record["incarnation"] and not job.view.state.is_final:
            data = {"progress": record["progress"], "text": record["text"]}
            now = self._jobs.clock()
            self._jobs.record(
                Event(
                    EventKind.PROGRESS, job.job_id, now, worker_id, worker.task_id, source="WORKER", data=data
                )
            )

    def _lost(self, job: JobRecord, why: str) -> None:
        if not job.view.state.is_final:
            self._kill(job, "JOB_MASTER", why)

    def _end(self, job: JobRecord) -> None:
        """End a job master with its job, when the driver has what was sent to it."""
        if job.job_id not in self._ending:
            self._ending[job.job_id] = asyncio.get_running_loop().create_task(self._end_now(job))

    async def _end_now(self, job: JobRecord) -> None:
        link, master = self._links[job.job_id], self._masters[job.job_id]
        if not master.view.state.is_final:
            await link.end()
            self._kill(master, "JOB_OVER", f"job {job.job_id}, which it served, has ended")
        await link.close()
        self._links.pop(job.job_id, None)


def _lost(why: str) -> LogLost:
    return LogLost(
        f"its job master was started anew, and what the last one kept (messages, barriers) cannot be had: {why}; "
        "with a persistent_volume it outlives its agent"
    )
