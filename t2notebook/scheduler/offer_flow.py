"""Offers of a framework: asked for while anything waits, held for gangs, and given back. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from .actions import Decline, Revive, Suppress
from .pending_queue import NO_OFFER_AFTER, PendingQueue
from .placement.gang_matcher import Matcher
from .placement.offers import Offer
from .turn import Timers, Turn

#: A long refusal: what frees up is offered all the same, since a filter matches only what it was declined
#: for.
REFUSE_SECONDS = 3600.0
#: At most one REVIVE in so many seconds while work waits and our own tasks end; and so many after the first of them, as
#: others end with it.
REVIVE_PAUSE, REVIVE_SOON = 0.2, 0.005


class OfferFlow:
    """Requests for offers, and the fate of those that nobody takes.

    Parameters
    ----------
    turn : Turn
    timers : Timers
    waiting : PendingQueue
    matcher : Matcher
        Holds offers for gangs.

    Attributes
    ----------
    match_held : callable
        Matches what is held with all that waits.
    say_why : callable
        Says why workers wait.
    suppressed : bool
        Whether the master makes no offers, by our wish.
    offered : bool
        Whether anything has been offered since the last job came.
    """

    def __init__(self, turn: Turn, timers: Timers, waiting: PendingQueue, matcher: Matcher) -> None:
        self._turn, self._timers, self._waiting, self._matcher = turn, timers, waiting, matcher
        self.match_held: Callable[[], None] = lambda: None
        self.say_why: Callable[[], None] = lambda: None
        self.suppressed = False
        self.offered = False
        self._revived = -math.inf

    def want(self) -> None:
        """Ask for offers for what waits, now and when the next restart is due."""
        self.revive()
        self.revive_when_due()

    def revive_when_due(self) -> None:
        """Ask for offers when the next restart is due."""
        now = self._turn.now
        if (due := self._waiting.next_due(now)) is not None:
            self._timers.later("restart", due - now, self.want, sooner=True)

    def revive(self) -> None:
        """Ask for offers if anything waits."""
        if self._turn.connected and self._waiting:
            self.suppressed = False
            self._turn.do(Revive())
            self.match_held_soon()

    def revive_soon(self) -> None:
        """Note that something of ours is free again, perhaps for those who wait."""
        if self._waiting:
            pause = max(REVIVE_SOON, self._revived + REVIVE_PAUSE - self._turn.now)
            self._timers.later("revive", pause, self._revive_again)

    def _revive_again(self) -> None:
        self._revived = self._turn.now
        self.revive()

    def expect(self) -> None:
        """Say so if no offer comes."""
        self.offered = False
        self._timers.later("no offer", NO_OFFER_AFTER, self.say_why)

    def suppress_if_idle(self) -> None:
        """Ask for no offers while nothing waits."""
        if self._turn.connected and not self._waiting and not self.suppressed:
            self.suppressed = True
            self._turn.do(Suppress())

    def match_held_soon(self) -> None:
        """Match what is held with who came since: it may be all that is free, so that no offer would come."""
        if self._matcher.held:
            self._timers.later("match", 0.0, self.match_held)

    def decline(self, offers: Collection[Offer], refuse_seconds: float = REFUSE_SECONDS) -> None:
        """Give offers back."""
        if offers:
            self._turn.do(Decline(tuple(offer.id for offer in offers), refuse_seconds))

    def drop_held(self, job_id: str) -> None:
        """Hold nothing for a job that waits no more."""
        self.decline(self._matcher.drop(job_id))

    def await_expiry(self) -> None:
        """Give back what is held when its time is over."""
        if (due := self._matcher.next_deadline) is not None:
            self._timers.later("expiry", max(0.0, due - self._turn.now), self._expire, sooner=True)

    def _expire(self) -> None:
        expired = self._matcher.expire(self._turn.now)
        self.decline(expired.declined)
        if expired.revive:
            self.revive()
        self.await_expiry()
