"""Rounds of matching, with the offers that are held for gangs between them. Pure; the clock is the caller's.

Nothing is held without use: an offer is held only while a gang gathers that would use it, until the gang's
deadline, counted from its first held offer. Then all that it holds goes, and it holds nothing for a pause
that doubles each time, from 5 s to 5 min; so gangs that cannot be whole do not keep others' resources. Two
gangs cannot starve each other: in every round each may use, to be whole, what the others hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...model.placement import Attributes
from .host_health import Excluded
from .matcher import Plan, match
from .offers import Offer
from .requests import ResourceRequest, RunningExecutor, WorkerLocation

#: How long a gang that let its offers go holds none, seconds; doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0


@dataclass
class _Gang:
    """A gang that gathers or pauses; times in seconds."""

    timeout: float
    deadline: float | None = None
    paused_until: float | None = None
    pauses: int = 0
    offers: dict[str, Offer] = field(default_factory=dict)


@dataclass(frozen=True)
class Expired:
    """The consequence of deadlines that passed: offers to decline, and whether to ask for offers anew."""

    declined: list[Offer]
    revive: bool


class Matcher:
    """Matches round by round.

    Parameters
    ----------
    new_executor_id : callable, optional
        Names a new executor.
    """

    def __init__(self, new_executor_id: Callable[[], str] | None = None) -> None:
        self._new_executor_id = new_executor_id
        self._gangs: dict[str, _Gang] = {}
        self._known: dict[str, tuple[str, Attributes]] = {}
        self._retry_at: float | None = None

    @property
    def held(self) -> dict[str, Offer]:
        """The offers that are held, by id."""
        return {offer_id: offer for gang in self._gangs.values() for offer_id, offer in gang.offers.items()}

    @property
    def next_deadline(self) -> float | None:
        """The next time at which `expire` is to be called; None if there is none."""
        times = [self._retry_at]
        for gang in self._gangs.values():
            times += [gang.deadline, gang.paused_until]
        return min((time for time in times if time is not None), default=None)

    def round(
        self,
        offers: Iterable[Offer],
        requests: Sequence[ResourceRequest],
        executors: Iterable[RunningExecutor] = (),
        *,
        locations: Mapping[str, Iterable[WorkerLocation]] | None = None,
        excluded: Mapping[str, Excluded] | None = None,
        infeasible: Collection[str] = (),
        gpus: bool = True,
        now: float,
    ) -> Plan:
        """Match new offers and those that are held.

        Every new offer, and every offer that was held, is in the plan: accepted, gathered or declined.

        Parameters
        ----------
        offers, requests, executors, locations, excluded, gpus, now
            As of `match`.
        infeasible : collection of str
            Gangs that fit on no cluster like this one, so that nothing is held for them.
        """
        freed = self._release_expired(now)
        self._end_pauses(now)
        wanted = {request.job_id: request for request in requests if request.gang}
        held = self.held
        pool = {offer.id: offer for offer in (*freed, *held.values(), *offers)}
        for offer in pool.values():
            self._known[offer.agent] = (offer.host, offer.attributes)
        for job_id in [job_id for job_id in self._gangs if job_id not in wanted]:
            del self._gangs[job_id]
        gangs = {job_id: self._gangs.get(job_id) for job_id in wanted}
        plan = match(
            pool.values(),
            requests,
            executors,
            self._new_executor_id,
            locations=locations,
            excluded=excluded,
            held={offer_id: job_id for job_id, gang in self._gangs.items() for offer_id in gang.offers},
            may_hold={
                job_id
                for job_id, gang in gangs.items()
                if job_id not in infeasible and (gang is None or gang.paused_until is None)
            },
            known=self._known,
            gpus=gpus,
            now=now,
        )
        for gang in self._gangs.values():
            gang.offers = {}
        for job_id, gathered in plan.gathered.items():
            timeout = wanted[job_id].placement.gang_timeout
            gang = self._gangs.setdefault(job_id, _Gang(timeout))
            gang.offers = {offer.id: offer for offer in gathered}
            if gang.deadline is None:
                gang.deadline = now + gang.timeout
        waiting = {diagnosis.job_id for diagnosis in plan.diagnoses}
        for job_id in [job_id for job_id in self._gangs if job_id not in waiting]:
            del self._gangs[job_id]
        self._retry_at = plan.retry_at
        return plan

    def rescinded(self, offer_id: str) -> None:
        """Forget an offer that is void; a gang's deadline stays as it was."""
        for gang in self._gangs.values():
            gang.offers.pop(offer_id, None)

    def expire(self, now: float) -> Expired:
        """Release offers that have been held for long enough; say whether offers are worth asking for again."""
        declined = self._release_expired(now)
        revive = self._end_pauses(now)
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = None
            revive = True
        return Expired(declined, revive)

    def drop(self, job_id: str) -> list[Offer]:
        """Forget a job that waits no more; return the offers to decline that were held for it."""
        gang = self._gangs.pop(job_id, None)
        return list(gang.offers.values()) if gang is not None else []

    def lost_agent(self, agent: str) -> str:
        """Forget an agent that is gone; return its host if no other known agent is there, else an empty string."""
        host, _ = self._known.pop(agent, ("", {}))
        return "" if any(other == host for other, _ in self._known.values()) else host

    def clear(self) -> None:
        """Forget all offers, since the event stream is gone; each gang begins anew."""
        for gang in self._gangs.values():
            gang.offers, gang.deadline = {}, None

    def _end_pauses(self, now: float) -> bool:
        ended = [
            gang
            for gang in self._gangs.values()
            if gang.paused_until is not None and gang.paused_until <= now
        ]
        for gang in ended:
            gang.paused_until = None
        return bool(ended)

    def _release_expired(self, now: float) -> list[Offer]:
        """Have gangs whose deadline has passed pause; return what they held."""
        freed: list[Offer] = []
        for gang in self._gangs.values():
            if gang.deadline is None or gang.deadline > now:
                continue
            freed += gang.offers.values()
            gang.offers, gang.deadline = {}, None
            gang.paused_until = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**gang.pauses)
            gang.pauses = min(gang.pauses + 1, 20)
        return freed
