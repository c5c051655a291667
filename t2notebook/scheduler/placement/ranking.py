"""Ranking of bins, and exclusion of those that may take nothing. Pure.

Bins are tried in this order: those with an executor of this job that may take more workers; those with a warm
executor that waits; then the others, the fullest first, so that large holes stay whole for large workers. How
full a bin is, is told by its dominant share: by whichever of cpus and memory is scarcer, against the most that
any agent of the round offers (an offer does not tell its agent's totals). Agents with GPUs come after those
without. An agent with a maintenance window comes last, and takes nothing from ten minutes before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .bins import Bin
from .host_health import Excluded
from .offers import NAMES, Offer
from .vetoes import lasting

#: Seconds before a maintenance window from which on an agent takes no worker.
MAINTENANCE_NEAR = 600.0


def rank(offers: Iterable[Offer], held: Mapping[str, str]) -> list[Bin]:
    """Return the agents with their offers, in the order in which they are tried; `held`: by offer id, the gang."""
    found: dict[tuple[str, str], Bin] = {}
    for offer in offers:
        bin_ = found.get((offer.agent, offer.role))
        if bin_ is None:
            found[offer.agent, offer.role] = bin_ = Bin(
                offer.agent, offer.host, [], [0] * len(NAMES), offer.attributes
            )
        bin_.offers.append(offer)
        for position, name in enumerate(NAMES):
            bin_.free[position] += offer.free.get(name, 0)
        bin_.holder = bin_.holder or held.get(offer.id, "")
    bins = list(found.values())
    largest = [max((bin_.free[position] for bin_ in bins), default=0) or 1 for position in range(len(NAMES))]

    def preference(bin_: Bin) -> tuple[bool, bool, float, float, str]:
        shares = [free / most for free, most in zip(bin_.free, largest, strict=True)]
        cpus, mem, _, gpus, _ = shares
        window = any(offer.maintenance for offer in bin_.offers)
        return window, gpus > 0, min(cpus, mem), sum(shares), bin_.agent

    bins.sort(key=preference)
    for number, bin_ in enumerate(bins):
        bin_.order = number
    return bins


def exclude(bin_: Bin, excluded: Mapping[str, Excluded], now: float) -> float | None:
    """Exclude a bin that may take nothing; return when its host, if it is excluded for failures, is free again.

    Parameters
    ----------
    bin_ : Bin
    excluded : mapping
        By host: until when, and why, it gets no workers.
    now : float
        Seconds, by the clock of all times here.
    """
    free_at = None
    if (bad := excluded.get(bin_.host)) is not None and bad.until > now:
        bin_.excluded_as = "avoided"
        bin_.excluded = (
            f"avoided for {lasting(bad.until - now)}, since workers failed there {bad.failures} times"
            f"{bad.why and f', the last time: {bad.why}'}"
        )
        free_at = bad.until
    for offer in bin_.offers:
        if offer.maintenance is not None and now < offer.maintenance[1]:
            start = offer.maintenance[0]
            if start - now < MAINTENANCE_NEAR:
                when = "is" if start <= now else f"in {lasting(start - now)} will be"
                bin_.excluded, bin_.excluded_as = f"{when} down for maintenance", "maintenance"
    return free_at
