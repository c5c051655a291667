"""The scheduler as a state machine: it is told what happens, and decides what is to be done. Pure: it knows no driver,
no clock, no disk and no event loop, and is composed of parts that share one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..jobmaster.contacts import Contacts
from ..model.address import agent_url
from ..model.job_table import JobRecord, JobTable
from ..model.states import TaskState
from ..protocol.launch import decode_status_data
from . import inputs, recovery
from .actions import Acknowledge, Action, Decline
from .call_retries import Repeats
from .executor_pool import Executors
from .explainer import Explainer
from .launcher import Launcher
from .messages import ExecutorTemplate
from .offer_flow import OfferFlow
from .pending_queue import PendingQueue
from .placement.gang_matcher import Matcher
from .placement.offers import Offer
from .reconciler import Reconciler
from .retirement import Retirement
from .silent_launches import Silence
from .task_tracker import TaskTracker
from .turn import Timers, Turn


class SchedulerState:
    """The scheduler of a framework.

    Parameters
    ----------
    jobs : JobTable
        Each event is folded in there as soon as it is decided that it is to be recorded.
    template : ExecutorTemplate
    worker_url : str
        Where workers reach this session.
    executor_linger : float
        Seconds that an idle executor is kept for the next job.
    roles : sequence of str
        The framework's.
    gpus : bool
        Whether the framework has the capability GPU_RESOURCES.
    contacts : Contacts
        Addresses from which the server for workers has been reached; None if that is not known.
    """

    def __init__(
        self,
        jobs: JobTable,
        template: ExecutorTemplate,
        worker_url: str,
        executor_linger: float,
        *,
        roles: tuple[str, ...] = (),
        gpus: bool = False,
        contacts: Contacts | None = None,
    ) -> None:
        self.jobs = jobs
        self.turn = turn = Turn(jobs)
        self.timers = timers = Timers(turn)
        self.executors = Executors()
        self.waiting = PendingQueue(gpus, on_drop=self._drop_held)
        self.matcher = Matcher(self.executors.new_id)
        self.silence = Silence(worker_url, contacts)
        self.flow = OfferFlow(turn, timers, self.waiting, self.matcher)
        self.explainer = Explainer(turn, timers, self.waiting, self.flow, self.silence, gpus)
        self.retirement = Retirement(turn, timers, self.executors, executor_linger)
        self.reconciler = Reconciler(turn, timers)
        self.tracker = TaskTracker(
            turn,
            timers,
            self.waiting,
            self.flow,
            self.explainer,
            self.silence,
            self.executors,
            self.retirement,
            self.reconciler,
        )
        self.launcher = Launcher(
            turn,
            self.waiting,
            self.matcher,
            self.flow,
            self.explainer,
            self.tracker,
            self.executors,
            self.retirement,
            template,
            worker_url,
            gpus,
        )
        self.flow.say_why = self.explainer.say
        self.flow.match_held = self._match_held
        self._repeats = Repeats(turn, timers, self._is_wanted)
        self._roles = roles
        self._was_subscribed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            inputs.Adopted: lambda told: self._adopted(),
            inputs.Subscribed: self._subscribed,
            inputs.Disconnected: self._disconnected,
            inputs.OffersCame: self._offers_came,
            inputs.Rescinded: lambda told: self.matcher.rescinded(told.offer_id),
            inputs.Updated: lambda told: self._updated(told.status),
            inputs.ExecutorLost: self._executor_lost,
            inputs.AgentLost: self._agent_lost,
            inputs.Removed: self._removed,
            inputs.CallFailed: self._call_failed,
            inputs.LaunchWithdrawn: self._launch_withdrawn,
            inputs.Submitted: self._submitted,
            inputs.KillJob: self._kill_job,
            inputs.KillWorker: self._kill_worker,
            inputs.Scale: self._scale,
            inputs.Silent: self._silent,
            inputs.TimerFired: lambda told: timers.fired(told.name),
            inputs.ClusterRead: lambda told: self.explainer.cluster_read(told.cluster),
            inputs.Settle: lambda told: recovery.settle(self.jobs, self.tracker),
            inputs.Stalled: lambda told: self._release_held(),
            inputs.OffersWanted: lambda told: self.flow.want(),
            inputs.TornDown: lambda told: self.tracker.torn_down(told.message),
        }

    def handle(self, told: inputs.Input, now: float, today: float) -> list[Action]:
        """Take in what has happened, and return what is to be done, in order.

        Parameters
        ----------
        told : Input
        now : float
            Seconds that no adjustment of the clock moves.
        today : float
            Seconds since 1970.
        """
        self.turn.begin(now, today)
        self._handlers[type(told)](told)
        return self.turn.end()

    # What may be asked.

    @property
    def trouble(self) -> str:
        """The reason why there is no master; empty if there is one."""
        return self.turn.trouble

    def why(self, job: JobRecord, now: float, today: float) -> list[dict[str, Any]]:
        """Return why workers of a job wait, as rows of ``job.why``.

        Parameters
        ----------
        job : JobRecord
        now : float
            Seconds, by the scheduler's clock.
        today : float
            Seconds since 1970.
        """
        self.turn.begin(now, today)
        return self.explainer.why(job)

    def roles_to_suppress(self) -> list[str]:
        """Return the roles that SUBSCRIBE, which follows at once, is to suppress: all while nothing waits."""
        self.flow.suppressed = not self.waiting
        return [] if self.waiting else list(self._roles)

    # What it is told.

    def _adopted(self) -> None:
        recovery.adopt(self.jobs, self.executors, self.launcher.agents, self.tracker)
        self.flow.want()

    def _submitted(self, told: inputs.Submitted) -> None:
        """Look for resources for all workers of a new job."""
        self.waiting.add(told.job_id, self.jobs[told.job_id].spec, self.turn.now)
        self.flow.expect()
        self.flow.revive()

    def _kill_job(self, told: inputs.KillJob) -> None:
        self.tracker.kill(self.jobs[told.job_id], told.reason, told.message, told.grace)

    def _kill_worker(self, told: inputs.KillWorker) -> None:
        job = self.jobs[told.job_id]
        self.tracker.kill_worker(
            job, told.worker_id, told.reason, told.message, restart=told.restart, grace=told.grace
        )

    def _scale(self, told: inputs.Scale) -> None:
        """Look for resources for those who come; have those who leave end."""
        job = self.jobs[told.job_id]
        self.tracker.scale(job, told.number_of_workers, told.request, told.source, told.leave_time)

    def _silent(self, told: inputs.Silent) -> None:
        """Have others take the places of workers that do not answer, if the master can be told."""
        if self.turn.connected:
            self.tracker.give_silent_up(self.jobs[told.job_id], told.worker_ids, told.seconds)

    def _subscribed(self, told: inputs.Subscribed) -> None:
        """Resume: ask what became of the tasks, and repeat what may have been lost."""
        self.turn.connected, self.turn.trouble = True, ""
        self.turn.framework_id = told.framework_id
        self.tracker.resume(is_first=not self._was_subscribed)
        self._was_subscribed = True
        if self.waiting and self.flow.suppressed:
            self.flow.revive()

    def _disconnected(self, told: inputs.Disconnected) -> None:
        """Offers are void; tasks go on."""
        self.turn.connected, self.turn.trouble = False, told.why
        self.matcher.clear()
        self.explainer.forget_cluster()
        self.reconciler.stop()
        self._repeats.forget()
        self.explainer.say()

    def _offers_came(self, told: inputs.OffersCame) -> None:
        """Place what waits on what is offered; decline the rest at once."""
        self.flow.offered = True
        for offer in told.offers:
            if offer.get("url", {}).get("address"):
                agent = offer["agent_id"]["value"]
                self.launcher.agents[agent] = agent_url(offer["url"])
                self.silence.agent_at(agent, offer["url"]["address"].get("ip", ""))
        # Mesos's times are those of the calendar; ours are never adjusted.
        ahead = self.turn.today - self.turn.now
        self.launcher.match([Offer.from_mesos(offer, ahead) for offer in told.offers])

    def _drop_held(self, job_id: str) -> None:
        self.flow.drop_held(job_id)

    def _release_held(self) -> None:
        held = list(self.matcher.held.values())
        self.matcher.clear()
        self.flow.decline(held)

    def _match_held(self) -> None:
        if self.matcher.held:
            self.launcher.match([])

    def _updated(self, status: Mapping[str, Any]) -> None:
        """Write an update down, then acknowledge it."""
        task_id = status["task_id"]["value"]
        state = TaskState.from_mesos(status["state"])
        executor_id = status.get("executor_id", {}).get("value", "")
        known = self.tracker.find(task_id)
        if known is None:
            self._acknowledge(status)
            # Of these two the master can kill nothing: it would answer with the same state, again and again.
            if not state.is_terminal and state not in (TaskState.UNREACHABLE, TaskState.UNKNOWN):
                self.tracker.end_task(task_id, status.get("agent_id", {}).get("value", ""))
            return
        job, worker_id = known
        worker = job.view.workers[worker_id]
        if worker.task_id == task_id and worker.is_on_mesos and state is not worker.state:
            self.tracker.take(
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
            self.reconciler.doubtful(task_id, worker.agent)
            self.reconciler.ask()
        else:
            self.reconciler.answered(task_id)
        if state is TaskState.RUNNING:
            self.executors.ran(executor_id or worker.executor_id)
        if state.is_terminal:
            self.tracker.ended(job, executor_id or worker.executor_id, task_id)

    def _acknowledge(self, status: Mapping[str, Any]) -> None:
        if "uuid" in status:
            self.turn.do(Acknowledge(status))

    def _executor_lost(self, told: inputs.ExecutorLost) -> None:
        """Its tasks' ends come as updates of their own; what it held is free for those who wait."""
        self.executors.lost(told.executor_id)
        self.flow.revive_soon()

    def _agent_lost(self, told: inputs.AgentLost) -> None:
        """Its tasks' fates come as updates of their own."""
        self.executors.lost_agent(told.agent)
        if host := self.matcher.lost_agent(told.agent):
            self.tracker.hosts.gone(host)

    def _removed(self, told: inputs.Removed) -> None:
        self.turn.connected, self.turn.trouble = False, told.message
        self.tracker.removed(told.message)

    def _call_failed(self, told: inputs.CallFailed) -> None:
        """A refused ACCEPT launched nothing; of one that may have arrived, the master is asked. What somebody waits for
        is called again.
        """
        call = told.call
        if call["type"] != "ACCEPT":
            self._call_refused(call, told.why)
            return
        offer_ids = tuple(str(one["value"]) for one in call["accept"].get("offer_ids", ()))
        if told.certain and offer_ids and self.turn.connected:
            # The master still counts these offers as ours.
            self.turn.do(Decline(offer_ids, 0.0))
        for operation in call["accept"]["operations"]:
            for task in operation["launch"]["task_infos"]:
                task_id = task["task_id"]["value"]
                if not told.certain:
                    self.reconciler.doubtful(task_id, task["agent_id"]["value"])
                elif (known := self.tracker.find(task_id)) is not None:
                    job, worker_id = known
                    message = f"the launch did not reach the master: {told.why}"
                    worker = job.view.workers[worker_id]
                    self.tracker.take(
                        job, worker, TaskState.DROPPED, "SESSION", "REASON_CALL_FAILED", message, {}
                    )
                    self.tracker.ended(job, task["executor"]["executor_id"]["value"], task_id)
        if not told.certain:
            self.reconciler.ask()

    def _launch_withdrawn(self, told: inputs.LaunchWithdrawn) -> None:
        for task_id in told.task_ids:
            if (known := self.tracker.find(task_id)) is not None:
                job, worker_id = known
                worker = job.view.workers[worker_id]
                executor_id = worker.executor_id
                # As the master would say of offers that it has taken back.
                reason = "REASON_INVALID_OFFERS"
                self.tracker.take(job, worker, TaskState.DROPPED, "SESSION", reason, told.why, {})
                self.tracker.ended(job, executor_id, task_id)

    def _call_refused(self, call: Mapping[str, Any], why: str) -> None:
        if not self.turn.connected:
            return  # the next subscription begins with what is to be done
        pause = self._repeats.refused(call)
        if pause is None:
            return
        known = self.tracker.find(call.get("kill", {}).get("task_id", {}).get("value", ""))
        jobs = [known[0]] if known is not None else []
        if call["type"] == "REVIVE":
            jobs = [job for job in self.jobs.active if any(not one.task_id for one in job.view.workers)]
        for job in jobs:
            sentence = f"the master refuses {call['type']} ({why}); asked again in {pause:g} s"
            self.explainer.tell(job.job_id, sentence)

    def _is_wanted(self, call: Mapping[str, Any]) -> bool:
        if call["type"] == "KILL":
            return call["kill"]["task_id"]["value"] in self.tracker
        if call["type"] == "REVIVE":
            return bool(self.waiting)
        return call["type"] != "SUPPRESS" or self.flow.suppressed
