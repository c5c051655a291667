"""Reasons why workers wait: in words when they change, and as rows when they are asked for. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..model.events import Event, EventKind
from ..model.job_table import JobRecord
from . import resource_holders
from .actions import AskCluster
from .offer_flow import OfferFlow
from .pending_queue import PendingQueue
from .placement.cluster_inventory import Cluster
from .placement.feasibility import find_infeasible, scarcities
from .placement.vetoes import Veto
from .silent_launches import Silence
from .turn import Timers, Turn

#: A job that has waited for so long is worth a question to the master, seconds.
ASK_AFTER = 1.0
#: The answer holds for so long, seconds, at first and at last: on a large cluster it is some megabytes.
FIRST_FRESH, FRESH = 2.0, 10.0
#: Launches of which nothing is heard are looked through once in so many seconds each, at the most.
LOOK_SECONDS = 0.0002


class Explainer:
    """Says why workers wait, and what is the matter with launches of which nothing is heard.

    Parameters
    ----------
    turn : Turn
    timers : Timers
    waiting : PendingQueue
    flow : OfferFlow
    silence : Silence
    gpus : bool
        Whether Mesos offers GPUs to this framework.
    """

    def __init__(
        self,
        turn: Turn,
        timers: Timers,
        waiting: PendingQueue,
        flow: OfferFlow,
        silence: Silence,
        gpus: bool,
    ) -> None:
        self._turn, self._timers, self._waiting = turn, timers, waiting
        self._flow, self._silence, self._gpus = flow, silence, gpus
        self._told_silent: set[str] = set()
        self._sentences: dict[str, str] = {}
        self._looked_at = 0.0
        self._cluster: Cluster | None = None
        self._stale_at = 0.0
        self._fresh = FIRST_FRESH
        self._is_asking = False

    def why(self, job: JobRecord) -> list[dict[str, Any]]:
        """Return why workers of a job wait, as rows of ``job.why``."""
        rows = self._waiting.why(job.job_id)
        held = self._held(job.job_id, self._waiting.lacked(job.job_id)) if job.job_id in self._waiting else []
        silent = self._silence.vetoes(job.job_id, self._turn.now)
        return rows + [veto.row(self._turn.today) for veto in (*held, *silent)]

    def say(self) -> None:
        """Say why workers wait, of each job whose reason has changed."""
        now = self._turn.now
        if not self._waiting:
            self._fresh = FIRST_FRESH
        sentences = dict(self._waiting.sentences(self._turn.trouble, self._flow.offered, now, self._held))
        silent = {} if self._turn.trouble else self._silent(now)
        for job_id, sentence in silent.items():
            sentences[job_id] = f"{sentences[job_id]}; {sentence}" if job_id in sentences else sentence
        for job_id in self._told_silent - sentences.keys():
            if job_id not in self._waiting and not self._turn.jobs[job_id].view.state.is_final:
                sentences[job_id] = ""  # they are heard of now
        self._told_silent = set(silent)
        for job_id, sentence in sentences.items():
            if sentence != self._turn.jobs[job_id].view.waiting_for:
                self.tell(job_id, sentence)
        if (more_at := self._silence.next_due(now)) is not None:
            self._timers.later("silence", more_at - now, self.say, sooner=True)
        due = self._waiting.next_check(ASK_AFTER, self._stale_at)
        if due is not None and not self._turn.trouble:
            self._timers.later("check", max(0.0, due - now), self._check_feasibility, sooner=True)

    def _silent(self, now: float) -> dict[str, str]:
        """Return what is to be said of silent launches, by job; of many not each time anew."""
        if now >= self._looked_at + LOOK_SECONDS * len(self._silence):
            self._looked_at, self._sentences = now, dict(self._silence.sentences(now))
        jobs = self._turn.jobs
        return {one: text for one, text in self._sentences.items() if not jobs[one].view.state.is_final}

    def tell(self, job_id: str, sentence: str) -> None:
        """Say what a job waits for."""
        self._turn.record(
            Event(EventKind.PENDING, job_id, self._turn.today, source="SESSION", message=sentence)
        )

    def await_silence(self, seconds: float) -> None:
        """Say so if nothing is heard of a launch."""
        self._timers.later("silence", seconds, self.say, sooner=True)

    def silence_is_over(self, job_id: str) -> None:
        """Say that a job's launches are heard of, if they were told to be silent."""
        if job_id in self._told_silent:
            self._timers.later("silence is over", LOOK_SECONDS * len(self._silence), self.say)

    def cluster_read(self, cluster: Cluster | None) -> None:
        """Learn what the agents have; None if that cannot be had."""
        self._is_asking = False
        self._cluster = cluster
        self._say_infeasible(cluster)

    def forget_cluster(self) -> None:
        """Another master leads, or none: what the last one said is void."""
        self._stale_at = 0.0

    def _held(self, job_id: str, lacked: Collection[str]) -> list[Veto]:
        """Return which jobs of ours hold what a job lacks."""
        waiting = self._turn.jobs[job_id]
        found = resource_holders.holdings(self._turn.jobs.active, waiting, lacked) if lacked else []
        return resource_holders.vetoes(found, waiting, self._turn.today)

    def _check_feasibility(self) -> None:
        """Find out for whom this cluster, as it is, can never do."""
        if not self._waiting or not self._turn.connected or self._is_asking:
            return
        if self._turn.now < self._stale_at:
            self._say_infeasible(self._cluster)
        else:
            # What the master says may be of a moment ago; what is still so after some questions will last.
            self._stale_at = self._turn.now + self._fresh
            self._fresh = min(2 * self._fresh, FRESH)
            self._is_asking = True
            self._turn.do(AskCluster())

    def _say_infeasible(self, cluster: Cluster | None) -> None:
        infeasible, scarce = {}, {}
        if cluster is not None:
            requests = self._waiting.requests(self._turn.now)
            infeasible = find_infeasible(cluster, requests, self._gpus)
            others = [request for request in requests if request.job_id not in infeasible]
            scarce = scarcities(cluster, others, self._gpus)
        self._waiting.mark_infeasible(infeasible, self._turn.today, scarce)
        self._flow.match_held_soon()  # for a gang, perhaps, that can never be whole
        self.say()
