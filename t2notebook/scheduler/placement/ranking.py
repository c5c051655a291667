"""Which places are tried first, and which not at all. Pure.

The places are tried in this order: those in which an executor of this job has room; those with a warm
executor that waits; then the others, the fullest first, so that large holes stay whole for large workers. How
full is told by the dominant share: by whichever of cpus and memory is scarcer, against the most that any agent
of the round offers (an offer does not tell what its agent has in all). Agents with GPUs come after those
without. An agent with a maintenance window comes last, and takes nothing from ten minutes before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .bins import Place
from .host_health import Avoided
from .offers import NAMES, Offer
from .vetoes import lasting

#: Seconds before a maintenance window from which on an agent takes no worker.
MAINTENANCE_NEAR = 600.0


def arrange(offers: Iterable[Offer], held: Mapping[str, str]) -> list[Place]:
    """Return the agents with their offers, in the order in which they are tried; `held`: by offer id, for whom."""
    found: dict[tuple[str, str], Place] = {}
    for offer in offers:
        place = found.get((offer.agent, offer.role))
        if place is None:
            found[offer.agent, offer.role] = place = Place(
                offer.agent, offer.host, [], [0] * len(NAMES), offer.attributes
            )
        place.offers.append(offer)
        for position, name in enumerate(NAMES):
            place.free[position] += offer.free.get(name, 0)
        place.holder = place.holder or held.get(offer.id, "")
    places = list(found.values())
    largest = [
        max((place.free[position] for place in places), default=0) or 1 for position in range(len(NAMES))
    ]

    def preference(place: Place) -> tuple[bool, bool, float, float, str]:
        shares = [free / most for free, most in zip(place.free, largest, strict=True)]
        cpus, mem, _, gpus, _ = shares
        window = any(offer.maintenance for offer in place.offers)
        return window, gpus > 0, min(cpus, mem), sum(shares), place.agent

    places.sort(key=preference)
    for number, place in enumerate(places):
        place.order = number
    return places


def bar(place: Place, avoided: Mapping[str, Avoided], now: float) -> float | None:
    """Let a place take nothing, if it must not; return when a host that is avoided is free again.

    Parameters
    ----------
    place : Place
    avoided : mapping
        By host: until when, and why, it gets no workers.
    now : float
        Seconds, by the clock of all times here.
    """
    free_at = None
    if (bad := avoided.get(place.host)) is not None and bad.until > now:
        place.barred_as = "avoided"
        place.barred = (
            f"avoided for {lasting(bad.until - now)}, since workers failed there {bad.failures} times"
        )
        free_at = bad.until
    for offer in place.offers:
        if offer.maintenance is not None and now < offer.maintenance[1]:
            start = offer.maintenance[0]
            if start - now < MAINTENANCE_NEAR:
                when = "is" if start <= now else f"in {lasting(start - now)} will be"
                place.barred, place.barred_as = f"{when} down for maintenance", "maintenance"
    return free_at
