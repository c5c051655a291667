"""The master's page at / (a file of its own), and the small endpoints that say something of the machine."""

from __future__ import annotations

import json
import os
from functools import cache

from t2notebook.localmesos import http1
from t2notebook.localmesos.resources import Resources


@cache
def page() -> http1.Response:
    """Give the page: it asks /state for all that it shows."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html"), "rb") as file:
        return http1.Response(200, file.read(), late_headers=[("Content-Type", "text/html")])


def role_amounts(held: Resources) -> dict[str, float]:
    """Give resources as /roles does: scalars, and of ranges how many, by name."""
    amounts = {name: value / 1000.0 for name, value in held.scalars.items()}
    for name, spans in held.ranges.items():
        amounts[name] = float(sum(end - begin + 1 for begin, end in spans))
    return dict(sorted(amounts.items()))


def small_answer(request: http1.Request, path: str) -> http1.Response:
    """Answer /logging/toggle (it shows the level, and changes nothing here) and /system/stats.json."""
    if path == "/logging/toggle":
        return http1.text(200, "0\n")
    if path != "/system/stats.json":
        return http1.not_found()
    load = os.getloadavg()
    pages = {name: os.sysconf(f"SC_{name}") for name in ("PAGE_SIZE", "PHYS_PAGES", "AVPHYS_PAGES")}
    stats = {
        "avg_load_15min": load[2],
        "avg_load_1min": load[0],
        "avg_load_5min": load[1],
        "cpus_total": os.cpu_count(),
        "mem_free_bytes": pages["AVPHYS_PAGES"] * pages["PAGE_SIZE"],
        "mem_total_bytes": pages["PHYS_PAGES"] * pages["PAGE_SIZE"],
    }
    body = json.dumps(stats, separators=(",", ":")).encode()
    return http1.Response(200, body, late_headers=[("Content-Type", http1.JSON)])
