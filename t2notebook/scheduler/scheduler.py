"""The scheduler: takes offers for the jobs that wait, launches their workers, and writes down how each one
ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from ..jobmaster.jobs import JobRecord, Jobs
from ..model.errors import JournalError
from ..model.events import Event, EventKind
from ..model.launch import WorkerLaunch, decode_status_data
from ..model.reducer import WorkerView
from ..model.states import JobState, TaskState
from .capacity import ASK_AFTER, Capacity
from .deadlines import Deadlines
from .demands import Launch, Spot
from .driver import Driver
from .executors import Executors
from .failures import ADVICE, MAX_RETRIES, Consequence, Rule, judge, pause_before
from .gangs import Matcher
from .hosts import Hosts
from .infos import KILL_GRACE, ExecutorTemplate, launch_event, task_info
from .matching import Plan
from .offers import Offer
from .reconciliation import Reconciliation
from .sandbox import Sandbox, agent_url
from .totals import verdicts
from .transport import Connection
from .waiting import NO_OFFER_AFTER, Waiting

log = logging.getLogger(__name__)

#: A long refusal: what frees up is offered all the same, since a filter matches only what it was declined
#: for.
REFUSE_SECONDS = 3600.0
#: At most one REVIVE in so many seconds while work waits and our own tasks end.
REVIVE_PAUSE = 0.2
#: Seconds that the master has for an answer before a silent launch, or an unreachable worker, is given up.
ANSWER_TIME = 5.0


class Scheduler:
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
    ) -> None:
        self.jobs = jobs
        self.driver: Driver | None = None
        self.executors = Executors()
        self.waiting = Waiting(gpus, on_drop=self._let_go)
        self.matcher = Matcher(self.executors.new_id)
        self.hosts = Hosts()
        self._gpus = gpus
        self._capacity = Capacity(
            self._connect, lambda: self.driver.framework["roles"] if self.driver else ()
        )
        self.agents: dict[str, str] = {}
        self.reconciliation = Reconciliation()
        self.deadlines = Deadlines()
        self.trouble = "not connected to a master yet"
        self._template = template
        self._worker_url = worker_url
        self._executor_linger = executor_linger
        self._on_subscribed, self._on_error = on_subscribed, on_error
        self._tasks: dict[str, tuple[str, int]] = {}
        self._suppressed = False
        self._offered = False
        self._was_subscribed = False
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # What the session asks.

    def submit(self, job: JobRecord) -> None:
        """Look for resources for all workers of a new job."""
        self.waiting.add(job.job_id, job.spec, self._now())
        self._offered = False
        self._later("no offer", NO_OFFER_AFTER, self._say_why)
        if self.driver is not None and self.driver.connected:
            self._revive()

    def kill(self, job: JobRecord, reason: str, message: str) -> None:
        """End a job: what waits is dropped, what runs is killed."""
        if job.view.state.is_final:
            return
        self.waiting.drop(job.job_id)
        self.jobs.record(Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason=reason, message=message))
        for worker in job.view.workers:
            if not worker.state.is_terminal and worker.task_id and self.driver is not None:
                self.driver.kill(worker.task_id, worker.agent, KILL_GRACE)
        self._settle(job)

    def suppressed_roles(self) -> list[str]:
        """Return the roles that SUBSCRIBE is to suppress: all while nothing waits."""
        assert self.driver is not None
        self._suppressed = not self.waiting
        return [] if self.waiting else list(self.driver.framework["roles"])

    def sandbox(self, job: JobRecord, worker_id: int) -> tuple[Sandbox, str] | None:
        """Return a worker's sandbox and its folder there, or None before it was launched."""
        worker = job.view.workers[worker_id]
        if self.driver is None or worker.agent not in self.agents or not self.driver.framework_id:
            return None
        agent, driver = self.agents[worker.agent], self.driver
        return Sandbox(agent, driver.framework_id, worker.executor_id, driver.access), worker.task_id

    def why(self, job: JobRecord) -> list[dict[str, Any]]:
        """Return why workers of a job wait, as rows of ``job.why``."""
        return self.waiting.why(job.job_id)

    def give_up(self, message: str) -> None:
        """Write down the end of what was torn down: Mesos sends no updates for it."""
        for job in self.jobs.active:
            self.jobs.record(*self._ends(job, TaskState.KILLED, "SESSION", "REASON_TEARDOWN", message))

    def _ends(self, job: JobRecord, state: TaskState, source: str, reason: str, message: str) -> list[Event]:
        now = self.jobs.clock()
        return [
            Event(
                EventKind.STATUS,
                job.job_id,
                now,
                worker.worker_id,
                worker.task_id,
                state.value,
                source,
                reason,
                message,
            )
            for worker in job.view.workers
            if worker.task_id and not worker.state.is_terminal
        ]

    def close(self) -> None:
        """Stop the timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._capacity.close()

    # What the driver tells.

    def subscribed(self, framework_id: str, master: Mapping[str, Any], local_host: str) -> None:
        """Resume: ask what became of the tasks, and repeat what may have been lost."""
        assert self.driver is not None
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
            if job.view.kill_reason:
                for worker in job.view.workers:
                    if worker.task_id and not worker.state.is_terminal:
                        self.driver.kill(worker.task_id, worker.agent, KILL_GRACE)
        if self.waiting and self._suppressed:
            self._revive()

    def disconnected(self, why: str) -> None:
        """Offers are void; tasks go on."""
        self.trouble = why
        self.matcher.clear()
        self._capacity.forget()
        self.reconciliation.stop()
        self._say_why()

    def offers(self, offers: list[Mapping[str, Any]]) -> None:
        """Place what waits on what is offered; decline the rest at once."""
        assert self.driver is not None
        self._offered = True
        for offer in offers:
            if offer.get("url", {}).get("address"):
                self.agents[offer["agent_id"]["value"]] = agent_url(offer["url"])
        # Mesos's times are those of the calendar; ours are never adjusted.
        ahead = self.jobs.clock() - self._now()
        self._match([Offer.from_mesos(offer, ahead) for offer in offers])

    def _match_held(self) -> None:
        """Match what is held with who came since: it may be all that is free, so that no offer would come."""

        def match() -> None:
            try:
                if self.matcher.held:
                    self._match([])
            except JournalError as error:
                log.warning("%s", error)

        if self.matcher.held:
            self._later("match", 0.0, match)

    def _match(self, offers: list[Offer]) -> None:
        """Match new offers, and those that are held, with all that waits."""
        now = self._now()
        held = list(self.matcher.held.values())
        self.hosts.seen(offer.host for offer in offers)
        demands = self.waiting.demands(now, self._is_running)
        plan = self.matcher.round(
            offers,
            demands,
            self.executors.running(),
            spots={
                demand.job_id: self._spots(demand.job_id)
                for demand in demands
                if any(constraint.operator.counts_workers for constraint in demand.placement.constraints)
            },
            avoided=self.hosts.avoided(now),
            hopeless=self.waiting.hopeless,
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
        self.waiting.learn(plan, self.jobs.clock())
        self._make_room(plan)
        self._say_why()
        self._suppress_if_idle()

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
            if not state.is_terminal and state is not TaskState.UNREACHABLE:
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

    def message(self, agent_id: str, executor_id: str, data: str) -> None:
        """Executors have nothing to say yet."""

    def executor_lost(self, agent_id: str, executor_id: str, status: int | None) -> None:
        """Its tasks' ends come as updates of their own; what it held is free for those who wait."""
        self.executors.lost(executor_id)
        if self.waiting:
            self._later("revive", REVIVE_PAUSE, self._revive)

    def agent_lost(self, agent_id: str) -> None:
        """Its tasks' fates come as updates of their own."""
        self.executors.lost_agent(agent_id)
        self.matcher.lost_agent(agent_id)

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
        """A refused ACCEPT launched nothing; of one that may have arrived, the master is asked."""
        if call["type"] != "ACCEPT":
            return
        now = self._now()
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

    # Launching.

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
            )
            self._watch(job, worker)
        for acceptance in plan.acceptances:
            tasks = [self._task_info(launch) for launch in acceptance.launches]
            self.driver.acceptOffers(
                [{"value": offer.id} for offer in acceptance.offers],
                [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
                {"refuse_seconds": REFUSE_SECONDS},
            )

    def _decline(self, offers: Collection[Offer]) -> None:
        if offers and self.driver is not None:
            self.driver.declineOffer(
                [{"value": offer.id} for offer in offers], {"refuse_seconds": REFUSE_SECONDS}
            )

    def _is_running(self, job_id: str) -> bool:
        return any(worker.is_on_mesos for worker in self.jobs[job_id].view.workers)

    def _spots(self, job_id: str) -> list[Spot]:
        workers = self.jobs[job_id].view.workers
        return [Spot(worker.agent, worker.host) for worker in workers if worker.is_on_mesos]

    # What is held, and until when.

    def _let_go(self, job_id: str) -> None:
        """Hold nothing for a job that waits no more."""
        self._decline(self.matcher.drop(job_id))

    def _await_expiry(self) -> None:
        if (due := self.matcher.next_deadline) is not None:
            self._later("expiry", max(0.0, due - self._now()), self._expire, sooner=True)

    def _expire(self) -> None:
        expired = self.matcher.expire(self._now())
        self._decline(expired.declined)
        if expired.revive:
            self._revive()
        self._await_expiry()

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
        )
        carved = self.executors.resources(launch.executor_id)
        executor = self._template.info(launch.executor_id, self.driver.framework_id, carved)
        return task_info(launch, worker.task_id, details, executor)

    # How tasks end.

    def _acknowledge(self, status: Mapping[str, Any]) -> None:
        assert self.driver is not None
        if "uuid" in status:
            self.driver.acknowledgeStatusUpdate(status)

    def _take(
        self,
        job: JobRecord,
        worker: WorkerView,
        state: TaskState,
        source: str,
        reason: str,
        message: str,
        data: Mapping[str, Any],
    ) -> None:
        """Write down what has become of a worker's task together with what follows from it, and do that."""
        now = self.jobs.clock()
        asked = bool(job.view.kill_reason)
        cause = str(data.get("cause", ""))
        rule = judge(state, reason, asked=asked, ran=worker.started is not None, cause=cause)
        restart = None
        if worker.result == "ok" and rule.consequence in (Consequence.RETRY, Consequence.RESTART):
            # It had ended well, and only the news of that is lost.
            message = f"its result had come before: {message or reason or state.value}"
            state, rule = TaskState.FINISHED, judge(TaskState.FINISHED)
        elif rule.consequence in (Consequence.RETRY, Consequence.RESTART):
            restart, outlook = _restart(rule, worker, job.spec.faults.max_worker_restarts)
            message = f"{message or reason or state.value}; {outlook}"
        elif rule.consequence is Consequence.FAIL and reason in ADVICE:
            message = f"{message or reason}; {ADVICE[reason]}"
        event = Event(
            EventKind.STATUS, job.job_id, now, worker.worker_id, worker.task_id, state.value, source, reason
        )
        if rule.blames_host and worker.host:
            self.hosts.failed(worker.host, job.job_id, self._now())
        elif state is TaskState.FINISHED:
            self.hosts.succeeded(worker.host)
        more = {"restart": restart} if restart else {}
        self.jobs.record(replace(event, message=message, data={**data, **more}))
        self._watch(job, worker)
        if restart is not None:
            due = self._now() + restart["pause"]
            self.waiting.again(job.job_id, job.spec, worker.worker_id, due, self._now())
            self._offered = False
            self._later("no offer", NO_OFFER_AFTER, self._say_why)
            self._revive_when_due()
        elif state.is_terminal and rule.consequence is not Consequence.DONE:
            self.worker_failed(job, worker.worker_id)

    def _task_ended(self, job: JobRecord, executor_id: str, task_id: str) -> None:
        del self._tasks[task_id]
        self.executors.ended(executor_id, task_id, self._now())
        self._later("retire", self._executor_linger, self._retire)
        self._settle(job)
        if self.waiting:
            self._later("revive", REVIVE_PAUSE, self._revive)

    def worker_failed(self, job: JobRecord, worker_id: int) -> None:
        """Let a job end with the first of its workers that does not end well."""
        worker = job.view.workers[worker_id]
        self.kill(job, "WORKER_FAILED", f"worker {worker_id} ended as {worker.state.value}: {worker.message}")

    def adopt_task(self, job: JobRecord, worker_id: int) -> None:
        """Know a task that an earlier session of this framework has launched."""
        worker = job.view.workers[worker_id]
        self._tasks[worker.task_id] = (job.job_id, worker_id)
        proven = worker.started is not None
        self.executors.adopt(worker.executor_id, worker.agent, worker.task_id, job.job_id, proven)
        self._watch(job, worker)

    def adopt_waiting(self, job: JobRecord, worker_id: int) -> None:
        """Queue a worker that an earlier session of this framework was about to launch, or to start again."""
        pause = max(0.0, job.view.workers[worker_id].not_before - self.jobs.clock())
        self.waiting.again(job.job_id, job.spec, worker_id, self._now() + pause, self._now())

    def find(self, task_id: str) -> tuple[JobRecord, int] | None:
        """Return the job and the worker id of a task that has not ended, or None."""
        known = self._tasks.get(task_id)
        return None if known is None else (self.jobs[known[0]], known[1])

    # What does not come: updates of a launch, and of an unreachable worker.

    def _watch(self, job: JobRecord, worker: WorkerView) -> None:
        faults = job.spec.faults
        patience = {
            TaskState.STAGING: faults.launch_timeout,
            TaskState.UNREACHABLE: faults.unreachable_timeout,
            TaskState.UNKNOWN: faults.unreachable_timeout,
        }.get(worker.state)
        if patience is None:
            self.deadlines.drop(worker.task_id)
        else:
            self.deadlines.set(worker.task_id, self._now() + patience)
            self._await_deadline()

    def _await_deadline(self) -> None:
        if (due := self.deadlines.next) is not None:
            self._later("deadline", max(0.0, due - self._now()), self._past_deadlines, sooner=True)

    def _past_deadlines(self) -> None:
        now = self._now()
        if self.driver is not None and self.driver.connected:
            for task_id in self.deadlines.pop(now):
                if (known := self._tasks.get(task_id)) is not None:
                    self._give_task_up(self.jobs[known[0]], known[1], task_id)
            self._await_deadline()
        elif self.deadlines.next is not None:
            self._later("deadline", ANSWER_TIME, self._past_deadlines)

    def _give_task_up(self, job: JobRecord, worker_id: int, task_id: str) -> None:
        """Count a task as lost. Should it live all the same, it is fenced off, and killed as soon as heard of."""
        assert self.driver is not None
        worker = job.view.workers[worker_id]
        self.driver.kill(task_id, worker.agent, KILL_GRACE)
        where = f" on {worker.host}" if worker.host else ""
        if worker.state is TaskState.STAGING:
            self.hosts.failed(worker.host, job.job_id, self._now())
            seconds = job.spec.faults.launch_timeout
            reason, message = "LAUNCH_TIMEOUT", f"nothing was heard of its launch{where} for {seconds:g} s"
        else:
            seconds = job.spec.faults.unreachable_timeout
            what = "unreachable" if worker.state is TaskState.UNREACHABLE else "unknown to the master"
            reason, message = "UNREACHABLE_TIMEOUT", f"{what}{where} for {seconds:g} s"
        self._take(job, worker, TaskState.LOST, "SESSION", reason, message, {})
        self._task_ended(job, worker.executor_id, task_id)

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

    def _settle(self, job: JobRecord) -> None:
        if job.view.state.is_final:
            self.waiting.drop(job.job_id)
            self._suppress_if_idle()
            if job.view.state is JobState.FAILED:
                self.hosts.forgive(job.job_id)

    def _make_room(self, plan: Plan) -> None:
        """Let idle executors go where a worker does not fit beside them, but for the one that it could use."""
        spare: dict[str, list[str]] = {}
        for executor_id, agent, _ in self.executors.idle():
            spare.setdefault(agent, []).append(executor_id)
        several = {agent for agent, executor_ids in spare.items() if len(executor_ids) > 1}
        tight: set[str] = set()
        for unplaced in plan.unplaced:
            if several <= tight:
                break
            tight |= unplaced.tight(several)
        assert self.driver is not None
        for agent in tight:
            for executor_id in spare[agent][1:]:
                self.driver.shutdown_executor(agent, executor_id)
                self.executors.lost(executor_id)

    def _retire(self) -> None:
        """Shut executors down that have waited for their time; come again for the next."""
        now = self._now()
        for executor_id, agent, since in self.executors.idle():
            remaining = since + self._executor_linger - now
            if remaining > 0.01:
                self._later("retire", remaining, self._retire)
            elif self.driver is not None:
                self.driver.shutdown_executor(agent, executor_id)
                self.executors.lost(executor_id)

    def _now(self) -> float:
        """Return a time that no adjustment of the clock moves; what is shown and kept has `Jobs.clock`."""
        return asyncio.get_running_loop().time()

    # Offers: when they are wanted.

    def want_offers(self) -> None:
        """Ask for offers for what waits, now and when the next restart is due."""
        self._revive()
        self._revive_when_due()

    def _revive_when_due(self) -> None:
        now = self._now()
        if (due := self.waiting.next_due(now)) is not None:
            self._later("restart", due - now, self._revive_for_restarts, sooner=True)

    def _revive_for_restarts(self) -> None:
        self._revive()
        self._revive_when_due()

    def _revive(self) -> None:
        if self.driver is None or not self.driver.connected or not self.waiting:
            return
        self._suppressed = False
        self.driver.reviveOffers()
        self._match_held()

    def _suppress_if_idle(self) -> None:
        if self.driver is not None and self.driver.connected and not self.waiting and not self._suppressed:
            self._suppressed = True
            self.driver.suppressOffers()

    def _say_why(self) -> None:
        shown = self.jobs.clock()
        for job_id, sentence in self.waiting.sentences(self.trouble, self._offered, self._now()):
            if sentence != self.jobs[job_id].view.waiting_for:
                self.jobs.record(Event(EventKind.PENDING, job_id, shown, source="SESSION", message=sentence))
        due = self.waiting.next_judgement(ASK_AFTER, self._capacity.stale_at)
        if due is not None and not self.trouble:
            self._later("judgement", max(0.0, due - self._now()), self._judge, sooner=True)

    def _judge(self) -> None:
        """Find out for whom this cluster, as it is, can never do."""
        if self.waiting and self.driver is not None and self.driver.connected:
            self._capacity.ask(self._now(), self._judged)

    def _judged(self, totals: list[Offer] | None) -> None:
        hopeless = {} if totals is None else verdicts(totals, self.waiting.demands(self._now()), self._gpus)
        self.waiting.judge(hopeless, self.jobs.clock())
        self._match_held()  # for a gang, perhaps, that can never be whole
        self._say_why()

    async def _connect(self) -> Connection:
        assert self.driver is not None
        return await self.driver.connect()

    def _later(self, name: str, delay: float, callback: Callable[[], None], sooner: bool = False) -> None:
        """Call once, `delay` seconds from now; what is due already stays, unless this is to be `sooner`."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(name)
        if timer is not None and not timer.cancelled():
            if not sooner or timer.when() <= loop.time() + delay:
                return
            timer.cancel()

        def fire() -> None:
            del self._timers[name]
            callback()

        self._timers[name] = loop.call_later(delay, fire)


def _restart(rule: Rule, worker: WorkerView, limit: int) -> tuple[dict[str, Any] | None, str]:
    """Return what the journal says of a worker's next task, None if there is to be none, and that in words."""
    failures, retries = worker.failures, worker.retries
    if rule.consequence is Consequence.RETRY:
        retries += 1
        if retries > MAX_RETRIES:
            return None, f"given up after {MAX_RETRIES} launches in a row that were lost"
        times, what = retries, "started anew"
    else:
        failures += 1
        if failures > limit:
            return None, (f"all {limit} restarts are used up" if limit else "no restart is allowed")
        times, what = failures, f"restart {failures} of {limit}"
    pause = pause_before(rule.consequence, times)
    record = {
        "restart_count": worker.restarts + 1,
        "failures": failures,
        "retries": retries,
        "pause": pause,
    }
    return record, f"{what} in {pause:g} s" if pause else what
