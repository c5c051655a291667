"""Launching: what waits is matched with what is offered, written down, and sent."""

from __future__ import annotations

from typing import Any

from ..jobmaster.contacts import Contacts
from ..journal.job_store import Jobs
from ..model.errors import JournalError
from ..protocol.launch import WorkerLaunch
from .messages import ExecutorTemplate, launch_event, task_info
from .offer_flow import REFUSE_SECONDS
from .placement.matcher import Plan
from .placement.offers import Offer
from .placement.requests import Launch, WorkerLocation
from .silent_launches import Silence
from .task_tracker import Tasks


class Launches(Tasks):
    """Matching offers, and accepting them."""

    def __init__(
        self,
        jobs: Jobs,
        gpus: bool,
        executor_linger: float,
        template: ExecutorTemplate,
        worker_url: str,
        contacts: Contacts | None,
    ) -> None:
        super().__init__(jobs, gpus, executor_linger)
        self.agents: dict[str, str] = {}
        self._template = template
        self._worker_url = worker_url
        self.silence = Silence(worker_url, contacts)

    def _match(self, offers: list[Offer]) -> None:
        """Match new offers, and those that are held, with all that waits."""
        now = self._now()
        held = list(self.matcher.held.values())
        self.hosts.seen(offer.host for offer in offers)
        requests = self.waiting.requests(now, self._is_running)
        plan = self.matcher.round(
            offers,
            requests,
            self.executors.running(
                {request.job_id: self.jobs[request.job_id].spec.preload for request in requests}
            ),
            locations={
                request.job_id: self._locations(request.job_id)
                for request in requests
                if any(constraint.operator.counts_workers for constraint in request.placement.constraints)
            },
            excluded=self.hosts.excluded(now),
            infeasible=self.waiting.infeasible,
            gpus=self._gpus,
            now=now,
        )
        try:
            self._carry_out(plan)
        except (
            JournalError
        ):  # nothing may be launched; who offered hears of it, and takes the new offers back
            self.matcher.clear()
            self._decline(held)
            raise
        self._decline(plan.declined)
        self._await_expiry()
        self.waiting.apply(plan, self.jobs.clock())
        self._retirement.make_room(plan.diagnoses)
        self._say_why()
        self._suppress_if_idle()

    def _is_running(self, job_id: str) -> bool:
        return any(worker.is_on_mesos for worker in self.jobs[job_id].view.workers)

    def _locations(self, job_id: str) -> list[WorkerLocation]:
        workers = self.jobs[job_id].view.workers
        return [WorkerLocation(worker.agent, worker.host) for worker in workers if worker.is_on_mesos]

    def _carry_out(self, plan: Plan) -> None:
        assert self.driver is not None
        intents = []
        for launch in plan.launches:
            job = self.jobs[launch.job_id]
            restart_count = job.view.workers[launch.worker_id].restarts
            task_id = f"{launch.job_id}-{launch.worker_id}-{restart_count}"
            url = self.agents.get(launch.agent, "")
            intents.append(launch_event(launch, task_id, restart_count, self.jobs.clock(), url))
        if not intents:
            return
        self.jobs.record(*intents)  # if it raises, nothing has been launched, and nothing is taken to be
        for launch in plan.launches:
            job = self.jobs[launch.job_id]
            worker = job.view.workers[launch.worker_id]
            self._tasks[worker.task_id] = (launch.job_id, launch.worker_id)
            self.executors.launched(
                launch.executor_id,
                launch.agent,
                worker.task_id,
                launch.job_id,
                launch.resource.workers_per_executor,
                launch.executor_resources,
                job.spec.preload,
            )
            self._watch(job, worker)
        for acceptance in plan.acceptances:
            tasks = [self._task_info(launch) for launch in acceptance.launches]
            self.driver.acceptOffers(
                [{"value": offer.id} for offer in acceptance.offers],
                [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
                {"refuse_seconds": REFUSE_SECONDS},
            )

    def _task_info(self, launch: Launch) -> dict[str, Any]:
        assert self.driver is not None
        job = self.jobs[launch.job_id]
        worker = job.view.workers[launch.worker_id]
        details = WorkerLaunch(
            job_id=launch.job_id,
            worker_id=launch.worker_id,
            restart_count=worker.restarts,
            number_of_workers=job.spec.number_of_workers,
            secret=job.secret,
            url=self._worker_url,
            package=job.spec.package,
            package_size=job.spec.package_size,
            python=job.spec.python,
            cpus=launch.resource.cpu,
            mem=launch.resource.ram_mega_bytes,
            ports=launch.ports,
            path=job.spec.path,
            environment=job.spec.environment,
            preload=job.spec.preload,
            credentials={name: job.credentials.get(name) for name in job.spec.credentials},
        )
        carved = self.executors.resources(launch.executor_id)
        executor = self._template.info(launch.executor_id, self.driver.framework_id, carved)
        return task_info(launch, worker.task_id, details, executor)
