"""What a scheduler wants: offers while anything waits, to hold some of them for gangs, and to say why workers wait."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from ..journal.job_store import JobRecord, Jobs
from ..mesos.driver import Driver
from ..mesos.transport import Connection
from ..model.errors import JournalError
from ..model.events import Event, EventKind
from . import resource_holders
from .cluster_query import ASK_AFTER, Capacity
from .executor_pool import Executors
from .pending_queue import NO_OFFER_AFTER, PendingQueue
from .placement.cluster_inventory import Cluster
from .placement.feasibility import find_infeasible, scarcities
from .placement.gang_matcher import Matcher
from .placement.offers import Offer
from .placement.vetoes import Veto
from .silent_launches import Silence
from .timers import Timers

log = logging.getLogger(__name__)

#: A long refusal: what frees up is offered all the same, since a filter matches only what it was declined
#: for.
REFUSE_SECONDS = 3600.0
#: At most one REVIVE in so many seconds while work waits and our own tasks end.
REVIVE_PAUSE = 0.2


class Wants:
    """What every part of a scheduler knows, and how it asks for offers and explains itself."""

    def __init__(self, jobs: Jobs, gpus: bool) -> None:
        self.jobs = jobs
        self.driver: Driver | None = None
        self.executors = Executors()
        self.waiting = PendingQueue(gpus, on_drop=self._let_go)
        self.matcher = Matcher(self.executors.new_id)
        self.trouble = "not connected to a master yet"
        self._gpus = gpus
        self._capacity = Capacity(
            self._connect, lambda: self.driver.framework["roles"] if self.driver else ()
        )
        self._timers = Timers()
        #: Seconds that no adjustment of the clock moves; what is shown and kept has `Jobs.clock`.
        self._now = self._timers.now
        self._later = self._timers.later
        self.silence = Silence()
        self._told_silent: set[str] = set()
        self._suppressed = False
        self._offered = False

    # When offers are wanted.

    def submit(self, job: JobRecord) -> None:
        """Look for resources for all workers of a new job."""
        self.waiting.add(job.job_id, job.spec, self._now())
        self._await_offers()
        if self.driver is not None and self.driver.connected:
            self._revive()

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

    def _revive_soon(self) -> None:
        """Something of ours is free again, perhaps for those who wait."""
        if self.waiting:
            self._later("revive", REVIVE_PAUSE, self._revive)

    def _await_offers(self) -> None:
        self._offered = False
        self._later("no offer", NO_OFFER_AFTER, self._say_why)

    def _suppress_if_idle(self) -> None:
        if self.driver is not None and self.driver.connected and not self.waiting and not self._suppressed:
            self._suppressed = True
            self.driver.suppressOffers()

    def suppressed_roles(self) -> list[str]:
        """Return the roles that SUBSCRIBE is to suppress: all while nothing waits."""
        assert self.driver is not None
        self._suppressed = not self.waiting
        return [] if self.waiting else list(self.driver.framework["roles"])

    # What is held, and until when.

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
        raise NotImplementedError

    def _decline(self, offers: Collection[Offer]) -> None:
        if offers and self.driver is not None:
            self.driver.declineOffer(
                [{"value": offer.id} for offer in offers], {"refuse_seconds": REFUSE_SECONDS}
            )

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

    # Why workers wait.

    def why(self, job: JobRecord) -> list[dict[str, Any]]:
        """Return why workers of a job wait, as rows of ``job.why``."""
        rows = self.waiting.why(job.job_id)
        now = self.jobs.clock()
        held = self._held(job.job_id, self.waiting.lacked(job.job_id)) if job.job_id in self.waiting else []
        silent = self.silence.vetoes(job.job_id, self._now())
        return rows + [veto.row(now) for veto in (*held, *silent)]

    def _held(self, job_id: str, lacked: Collection[str]) -> list[Veto]:
        """Return which jobs of ours hold what a job lacks."""
        waiting = self.jobs[job_id]
        found = resource_holders.holdings(self.jobs.active, waiting, lacked) if lacked else []
        return resource_holders.vetoes(found, waiting, self.jobs.clock())

    def _say_why(self) -> None:
        now, shown = self._now(), self.jobs.clock()
        sentences = dict(self.waiting.sentences(self.trouble, self._offered, now, self._held))
        silent = {} if self.trouble else dict(self.silence.sentences(now))
        for job_id, sentence in silent.items():
            sentences[job_id] = f"{sentences[job_id]}; {sentence}" if job_id in sentences else sentence
        for job_id in self._told_silent - sentences.keys():
            if job_id not in self.waiting and not self.jobs[job_id].view.state.is_final:
                sentences[job_id] = ""  # they are heard of now
        self._told_silent = set(silent)
        for job_id, sentence in sentences.items():
            if sentence != self.jobs[job_id].view.waiting_for:
                self.jobs.record(Event(EventKind.PENDING, job_id, shown, source="SESSION", message=sentence))
        if (more_at := self.silence.next_due(now)) is not None:
            self._later("silence", more_at - now, self._say_why, sooner=True)
        due = self.waiting.next_judgement(ASK_AFTER, self._capacity.stale_at)
        if due is not None and not self.trouble:
            self._later("judgement", max(0.0, due - self._now()), self._judge, sooner=True)

    def _judge(self) -> None:
        """Find out for whom this cluster, as it is, can never do."""
        if self.waiting and self.driver is not None and self.driver.connected:
            self._capacity.ask(self._now(), self._judged)

    def _judged(self, cluster: Cluster | None) -> None:
        infeasible, scarce = {}, {}
        if cluster is not None:
            requests = self.waiting.requests(self._now())
            infeasible = find_infeasible(cluster, requests, self._gpus)
            others = [request for request in requests if request.job_id not in infeasible]
            scarce = scarcities(cluster, others, self._gpus)
        self.waiting.mark_infeasible(infeasible, self.jobs.clock(), scarce)
        self._match_held()  # for a gang, perhaps, that can never be whole
        self._say_why()

    async def _connect(self) -> Connection:
        assert self.driver is not None
        return await self.driver.connect()
