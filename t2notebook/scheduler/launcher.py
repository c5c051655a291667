"""Launching: what waits is matched with what is offered, written down, and sent. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from ..jobmaster.hosted import place_of
from ..model.job import JobSpec
from ..model.job_table import JobRecord, JobTable
from ..protocol.launch import UNPLACED, WorkerLaunch
from .actions import Accept
from .executor_pool import Executors
from .explainer import Explainer
from .messages import ExecutorTemplate, launch_event, task_info, topology
from .offer_flow import REFUSE_SECONDS, OfferFlow
from .pending_queue import PendingQueue
from .placement.gang_matcher import Matcher
from .placement.matcher import Plan
from .placement.offers import Offer
from .placement.requests import Launch, WorkerLocation
from .retirement import Retirement
from .task_tracker import TaskTracker
from .turn import Turn


class Launcher:
    """Matches offers with all that waits, and accepts them.

    Parameters
    ----------
    turn : Turn
    waiting : PendingQueue
    matcher : Matcher
    flow : OfferFlow
    explainer : Explainer
    tracker : TaskTracker
    executors : Executors
    retirement : Retirement
    template : ExecutorTemplate
    worker_url : str
        Where workers reach this session.
    gpus : bool
        Whether Mesos offers GPUs to this framework.

    Attributes
    ----------
    agents : dict
        Where each agent serves its files, by agent id.
    """

    def __init__(
        self,
        turn: Turn,
        waiting: PendingQueue,
        matcher: Matcher,
        flow: OfferFlow,
        explainer: Explainer,
        tracker: TaskTracker,
        executors: Executors,
        retirement: Retirement,
        template: ExecutorTemplate,
        worker_url: str,
        gpus: bool,
    ) -> None:
        self._turn, self._waiting, self._matcher, self._flow = turn, waiting, matcher, flow
        self._explainer, self._tracker = explainer, tracker
        self._executors, self._retirement = executors, retirement
        self._template, self._worker_url, self._gpus = template, worker_url, gpus
        self.agents: dict[str, str] = {}

    @property
    def _jobs(self) -> JobTable:
        return self._turn.jobs

    def match(self, offers: list[Offer]) -> None:
        """Match new offers, and those that are held, with all that waits."""
        now = self._turn.now
        self._tracker.hosts.seen(offer.host for offer in offers)
        requests = self._waiting.requests(
            now, self._is_running, lambda job_id: self._jobs[job_id].view.number_of_workers
        )
        plan = self._matcher.round(
            offers,
            requests,
            self._executors.running(
                {request.job_id: self._jobs[request.job_id].spec.preload for request in requests}
            ),
            locations={
                request.job_id: self._locations(request.job_id)
                for request in requests
                if any(constraint.operator.counts_workers for constraint in request.placement.constraints)
            },
            excluded=self._tracker.hosts.excluded(now),
            infeasible=self._waiting.infeasible,
            gpus=self._gpus,
            now=now,
        )
        self._carry_out(plan)
        self._flow.decline(plan.declined)
        self._flow.await_expiry()
        self._waiting.apply(plan, self._turn.today)
        self._retirement.make_room(plan.diagnoses)
        self._explainer.say()
        self._flow.suppress_if_idle()

    def _is_running(self, job_id: str) -> bool:
        return any(worker.is_on_mesos for worker in self._jobs[job_id].view.workers)

    def _locations(self, job_id: str) -> list[WorkerLocation]:
        workers = self._jobs[job_id].view.workers
        return [WorkerLocation(worker.agent, worker.host) for worker in workers if worker.is_on_mesos]

    def _carry_out(self, plan: Plan) -> None:
        intents = []
        for launch in plan.launches:
            job = self._jobs[launch.job_id]
            restart_count = job.view.workers[launch.worker_id].restarts
            task_id = f"{launch.job_id}-{launch.worker_id}-{restart_count}"
            url = self.agents.get(launch.agent, "")
            intents.append(launch_event(launch, task_id, restart_count, self._turn.today, url))
        if not intents:
            return
        self._turn.record(*intents)
        for launch in plan.launches:
            job = self._jobs[launch.job_id]
            worker = job.view.workers[launch.worker_id]
            self._executors.launched(
                launch.executor_id,
                launch.agent,
                worker.task_id,
                launch.job_id,
                launch.resource.workers_per_executor,
                launch.executor_resources,
                job.spec.preload,
                launch.image,
            )
            self._tracker.launched(job, worker)
        for acceptance in plan.acceptances:
            tasks = tuple(self._task_info(launch) for launch in acceptance.launches)
            self._turn.do(Accept(tuple(offer.id for offer in acceptance.offers), tasks, REFUSE_SECONDS))

    def _task_info(self, launch: Launch) -> dict[str, Any]:
        job = self._jobs[launch.job_id]
        worker = job.view.workers[launch.worker_id]
        details = WorkerLaunch(
            job_id=launch.job_id,
            worker_id=launch.worker_id,
            restart_count=worker.restarts,
            number_of_workers=job.view.number_of_workers,
            secret=job.secret,
            url=self._worker_url,
            package=job.spec.package,
            package_size=job.spec.package_size,
            package_data=job.package,
            python=job.spec.python,
            cpus=launch.resource.cpu,
            mem=launch.resource.ram_mega_bytes,
            ports=launch.ports,
            # Of the notebook's own file system, which is not the image's.
            path=() if launch.image.name else job.spec.path,
            environment={**({} if launch.image.name else job.spec.environment), **job.spec.setenv},
            preload=job.spec.preload,
            persistent_volume=job.spec.persistent_volume,
            restore_jobs=job.spec.restore_jobs,
            max_reexecutes=job.spec.faults.max_reexecutes,
            debug=job.spec.debug,
            debug_timeout=job.spec.debug_timeout,
            scalable=job.spec.scalable is not None,
            credentials={name: job.credentials.get(name) for name in job.spec.credentials},
            discovery=job.spec.discovery,
            **_whereabouts(launch, job.spec),
            **self._job_master(job),
        )
        carved = self._executors.resources(launch.executor_id)
        executor = self._template.info(
            launch.executor_id, self._turn.framework_id, carved, self._executors.image(launch.executor_id)
        )
        return task_info(launch, worker.task_id, details, executor)

    def _job_master(self, job: JobRecord) -> dict[str, Any]:
        """Return where a job's master is, if that runs on the cluster; where it is later, executors are told."""
        if job.spec.job_master is None:
            return {}
        master = self._jobs.job_master_of(job.job_id)
        worker = master.view.workers[0] if master is not None else None
        if worker is None or not worker.is_on_mesos or not worker.ports:
            return {"job_master": UNPLACED}
        host = urlsplit(self.agents.get(worker.agent, "")).hostname or worker.host
        host = f"[{host}]" if ":" in host else host
        number, port = place_of(worker)
        return {"job_master": f"http://{host}:{port}", "job_master_number": number}


def _whereabouts(launch: Launch, spec: JobSpec) -> dict[str, Any]:
    """Return what a worker tells others of itself, where it does that and not the session."""
    if not spec.discovery and spec.job_master is None:
        return {}
    return {"node": launch.host, "resource": asdict(launch.resource), **topology(launch)}
