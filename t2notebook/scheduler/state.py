"""The scheduler: takes offers for the jobs that wait, launches their workers, and writes down how each one
ends. What it does is in its bases; here is what it is told: by the session, and by the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..jobmaster.contacts import Contacts
from ..journal.job_store import JobRecord, Jobs
from ..mesos.agent_files import Sandbox, agent_url
from ..model.events import Event, EventKind
from ..model.states import TaskState
from ..protocol.launch import KILL_GRACE, decode_status_data
from .call_retries import Repeats
from .launcher import Launches
from .messages import ExecutorTemplate
from .placement.offers import Offer
from .task_tracker import ANSWER_TIME


class Scheduler(Launches):
    """The scheduler of a session; a `Listener` of its driver. Runs on the session's event loop.

    Parameters
    ----------
    jobs : Jobs
        Every event is recorded there: the journal has it before Mesos hears of it.
    template : ExecutorTemplate
    worker_url : str
        Where workers reach this session.
    executor_linger : float
        Seconds that an idle executor is kept for the next job.
    on_subscribed : callable
        Called with the framework id.
    on_error : callable
        Called with the message when the master has ended the framework.
    gpus : bool
        Whether the framework has the capability GPU_RESOURCES.
    contacts : Contacts
        Who has reached the server for workers; None if that is not known.
    """

    def __init__(
        self,
        jobs: Jobs,
        template: ExecutorTemplate,
        worker_url: str,
        executor_linger: float,
        on_subscribed: Callable[[str], None] = lambda framework_id: None,
        on_error: Callable[[str], None] = lambda message: None,
        gpus: bool = False,
        contacts: Contacts | None = None,
    ) -> None:
        super().__init__(jobs, gpus, executor_linger, template, worker_url, contacts)
        self._on_subscribed, self._on_error = on_subscribed, on_error
        self._was_subscribed = False
        self._repeats = Repeats(self._timers, self._call_again, self._is_wanted)

    def sandbox(self, job: JobRecord, worker_id: int) -> tuple[Sandbox, str] | None:
        """Return a worker's sandbox and its folder there, or None before it was launched."""
        worker = job.view.workers[worker_id]
        if self.driver is None or worker.agent not in self.agents or not self.driver.framework_id:
            return None
        agent, driver = self.agents[worker.agent], self.driver
        return Sandbox(agent, driver.framework_id, worker.executor_id, driver.access), worker.task_id

    def close(self) -> None:
        """Stop the timers."""
        self._timers.close()
        self._capacity.close()

    # What the driver tells.

    def subscribed(self, framework_id: str, master: Mapping[str, Any], local_host: str) -> None:
        """Resume: ask what became of the tasks, and repeat what may have been lost."""
        self.trouble = ""
        self._on_subscribed(framework_id)
        if self._tasks or self._was_subscribed:
            self._begin_reconciliation()
        else:
            self.reconciliation.rest(self._now())
        self._was_subscribed = True
        self._reconcile()
        # What could not be heard of while there was no master must not count as silence.
        self.deadlines.postpone(self._now() + ANSWER_TIME)
        for job in self.jobs.active:
            self._kill_tasks(job)
        if self.waiting and self._suppressed:
            self._revive()

    def disconnected(self, why: str) -> None:
        """Offers are void; tasks go on."""
        self.trouble = why
        self.matcher.clear()
        self._capacity.forget()
        self.reconciliation.stop()
        self._repeats.forget()
        self._say_why()

    def offers(self, offers: list[Mapping[str, Any]]) -> None:
        """Place what waits on what is offered; decline the rest at once."""
        assert self.driver is not None
        self._offered = True
        for offer in offers:
            if offer.get("url", {}).get("address"):
                agent = offer["agent_id"]["value"]
                self.agents[agent] = agent_url(offer["url"])
                self.silence.agent_at(agent, offer["url"]["address"].get("ip", ""))
        # Mesos's times are those of the calendar; ours are never adjusted.
        ahead = self.jobs.clock() - self._now()
        self._match([Offer.from_mesos(offer, ahead) for offer in offers])

    def rescinded(self, offer_id: str) -> None:
        """Hold it no more; an ACCEPT that crosses it comes back as DROPPED."""
        self.matcher.rescinded(offer_id)

    def update(self, status: Mapping[str, Any]) -> None:
        """Write an update down, then acknowledge it."""
        assert self.driver is not None
        task_id = status["task_id"]["value"]
        state = TaskState.from_mesos(status["state"])
        executor_id = status.get("executor_id", {}).get("value", "")
        known = self._tasks.get(task_id)
        if known is None:
            self._acknowledge(status)
            # Of these two the master can kill nothing: it would answer with the same state, again and again.
            if not state.is_terminal and state not in (TaskState.UNREACHABLE, TaskState.UNKNOWN):
                self.driver.kill(task_id, status.get("agent_id", {}).get("value", ""), KILL_GRACE)
            return
        job, worker_id = self.jobs[known[0]], known[1]
        worker = job.view.workers[worker_id]
        if worker.task_id == task_id and worker.is_on_mesos and state is not worker.state:
            self._take(
                job,
                worker,
                state,
                status.get("source", ""),
                status.get("reason", ""),
                status.get("message", ""),
                decode_status_data(status.get("data")),
            )
        self._acknowledge(status)
        if state in (TaskState.UNKNOWN, TaskState.UNREACHABLE):
            self.reconciliation.doubtful(task_id, worker.agent, self._now())
            self._reconcile()
        else:
            self.reconciliation.answered(task_id)
        if state is TaskState.RUNNING:
            self.executors.ran(executor_id or worker.executor_id)
        if state.is_terminal:
            self._task_ended(job, executor_id or worker.executor_id, task_id)

    def _acknowledge(self, status: Mapping[str, Any]) -> None:
        assert self.driver is not None
        if "uuid" in status:
            self.driver.acknowledgeStatusUpdate(status)

    def message(self, agent_id: str, executor_id: str, data: str) -> None:
        """Executors have nothing to say yet."""

    def executor_lost(self, agent_id: str, executor_id: str, status: int | None) -> None:
        """Its tasks' ends come as updates of their own; what it held is free for those who wait."""
        self.executors.lost(executor_id)
        self._revive_soon()

    def agent_lost(self, agent_id: str) -> None:
        """Its tasks' fates come as updates of their own."""
        self.executors.lost_agent(agent_id)
        if host := self.matcher.lost_agent(agent_id):
            self.hosts.gone(host)

    def error(self, message: str) -> None:
        """The framework is over, and so is all that it ran."""
        self.trouble = message
        for job in self.jobs.active:
            self.waiting.drop(job.job_id)
            lost = self._ends(job, TaskState.LOST, "SOURCE_MASTER", "REASON_FRAMEWORK_REMOVED", message)
            kill = Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason="MASTER", message=message)
            self.jobs.record(*lost, kill)
        self.executors.clear()
        self._tasks.clear()
        self._on_error(message)

    def call_failed(self, call: Mapping[str, Any], why: str, certain: bool = True) -> None:
        """A refused ACCEPT launched nothing; of one that may have arrived, the master is asked. What somebody waits for
        is called again.
        """
        if call["type"] != "ACCEPT":
            self._call_refused(call, why)
            return
        now = self._now()
        offer_ids = list(call["accept"].get("offer_ids", ()))
        if certain and offer_ids and self.driver is not None and self.driver.connected:
            # The master still counts these offers as ours.
            self.driver.declineOffer(offer_ids, {"refuse_seconds": 0.0})
        for operation in call["accept"]["operations"]:
            for task in operation["launch"]["task_infos"]:
                task_id = task["task_id"]["value"]
                if not certain:
                    self.reconciliation.doubtful(task_id, task["agent_id"]["value"], now)
                elif (known := self._tasks.get(task_id)) is not None:
                    job = self.jobs[known[0]]
                    worker = job.view.workers[known[1]]
                    message = f"the launch did not reach the master: {why}"
                    self._take(job, worker, TaskState.DROPPED, "SESSION", "REASON_CALL_FAILED", message, {})
                    self._task_ended(job, task["executor"]["executor_id"]["value"], task_id)
        if not certain:
            self._reconcile()

    def _call_refused(self, call: Mapping[str, Any], why: str) -> None:
        if self.driver is None or not self.driver.connected:
            return  # the next subscription begins with what is to be done
        pause = self._repeats.refused(call)
        if pause is None:
            return
        task_id = call.get("kill", {}).get("task_id", {}).get("value", "")
        jobs = [self.jobs[self._tasks[task_id][0]]] if task_id in self._tasks else []
        if call["type"] == "REVIVE":
            jobs = [job for job in self.jobs.active if any(not one.task_id for one in job.view.workers)]
        for job in jobs:
            message = f"the master refuses {call['type']} ({why}); asked again in {pause:g} s"
            now = self.jobs.clock()
            self.jobs.record(Event(EventKind.PENDING, job.job_id, now, source="SESSION", message=message))

    def _call_again(self, call: Mapping[str, Any]) -> None:
        if self.driver is not None and self.driver.connected:
            self.driver.again(call)

    def _is_wanted(self, call: Mapping[str, Any]) -> bool:
        if call["type"] == "KILL":
            return call["kill"]["task_id"]["value"] in self._tasks
        if call["type"] == "REVIVE":
            return bool(self.waiting)
        return call["type"] != "SUPPRESS" or self._suppressed

    # What the master is asked.

    def _begin_reconciliation(self) -> None:
        tasks = [
            (worker.task_id, worker.agent)
            for job in self.jobs.active
            for worker in job.view.workers
            if worker.is_on_mesos
        ]
        self.reconciliation.begin(tasks, self._now())

    def _reconcile(self) -> None:
        if self.driver is None or not self.driver.connected:
            return
        now = self._now()
        if self.reconciliation.is_over(now):
            self._begin_reconciliation()
        while (tasks := self.reconciliation.ask(now)) is not None:
            self.driver.reconcile(tasks)
        if self.reconciliation.due is not None:
            self._later("reconcile", max(0.0, self.reconciliation.due - now), self._reconcile, sooner=True)
