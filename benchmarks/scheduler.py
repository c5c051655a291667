"""Matching 10,000 offers to 50,000 workers in one pass: ``python -m benchmarks scheduler``.

Times are cpu times of this process. The peer is the least that such a pass could be in Python: bare tuples, one kind of
worker, the offers sorted once and filled in turn; it knows no job, executor, constraint or resource object.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from t2notebook.model.job import MAX, ComputeResource, Placement
from t2notebook.scheduler.placement.matcher import match
from t2notebook.scheduler.placement.offers import Offer
from t2notebook.scheduler.placement.requests import ResourceRequest

OFFERS, WORKERS = 10_000, 50_000
AIM = 2.0

#: What the jobs of a case ask for beside cpus and memory.
CASES: dict[str, tuple[int, Placement]] = {
    "1 job": (1, Placement()),
    "400 jobs": (400, Placement()),
    "5,000 jobs": (5000, Placement()),
    "400 gangs": (400, Placement(gang=True)),
    "400 jobs, unique:hostname": (400, Placement(where="unique:hostname")),
    "400 jobs, spread:rack": (400, Placement(where="spread:rack")),
    "400 jobs, rack=r1|r2 (most wait)": (400, Placement(where="rack=r1|r2")),
}


def offers(count: int, randomness: random.Random) -> list[Offer]:
    """Return offers of agents of all sizes, in 20 racks."""
    return [
        Offer(
            f"O{number}",
            f"S{number}",
            f"h{number}",
            {
                "cpus": randomness.randint(4, 64) * 500,
                "mem": randomness.randint(4, 64) * 512_000,
                "disk": 10_000_000,
                "gpus": 0,
                "ports": 100_000,
            },
            attributes={"rack": (f"r{number % 20}",)},
        )
        for number in range(count)
    ]


def requests(
    workers: int, jobs: int, placement: Placement, randomness: random.Random
) -> list[ResourceRequest]:
    """Return jobs of different workers."""
    return [
        ResourceRequest(
            f"job-{number}",
            range(workers // jobs),
            ComputeResource(
                cpu=randomness.choice([0.5, 1, 1.5, 2]),
                ram_mega_bytes=randomness.choice([256, 512, 1024]),
                workers_per_executor=randomness.choice([MAX, 1, 2]),
            ),
            placement,
            placement.gang,
        )
        for number in range(jobs)
    ]


def plain(free: list[tuple[int, int]], asked: tuple[int, int], workers: int) -> list[tuple[int, int]]:
    """Place workers first-fit on sorted bare tuples; return pairs of worker and offer."""
    placed = []
    worker = 0
    for number, (cpus, mem) in enumerate(sorted(free)):
        while worker < workers and cpus >= asked[0] and mem >= asked[1]:
            cpus -= asked[0]
            mem -= asked[1]
            placed.append((worker, number))
            worker += 1
    return placed


def timed(work: Callable[[], Any], rounds: int) -> float:
    """Return the median of the cpu seconds that `work` takes."""
    taken = []
    for _ in range(rounds):
        gc.collect()
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def main(arguments: list[str]) -> int:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks scheduler")
    parser.add_argument("--offers", type=int, default=OFFERS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    print(
        f"Python {platform.python_version()}, {options.offers} offers, {options.workers} workers in one pass; "
        f"median of {options.repeat}, cpu seconds\n"
    )
    print(f"{'':34} {'half':>8} {'whole':>8} {'double':>8} {'double/half':>12} {'placed':>8}")
    worst, ours = 0.0, 0.0
    for name, (jobs, placement) in CASES.items():
        taken = []
        placed = 0
        for size in (0.5, 1.0, 2.0):
            randomness = random.Random(7)
            some = offers(int(options.offers * size), randomness)
            wanted = requests(int(options.workers * size), max(1, int(jobs * size)), placement, randomness)
            taken.append(timed(lambda some=some, wanted=wanted: match(some, wanted), options.repeat))  # type: ignore[misc]
            if size == 1.0:
                placed = sum(1 for _ in match(some, wanted).launches)
        worst = max(worst, taken[1])
        ours = ours or taken[1]
        ratio = taken[2] / taken[0]
        print(f"{name:34} {taken[0]:8.3f} {taken[1]:8.3f} {taken[2]:8.3f} {ratio:11.1f}x {placed:8}")
    free = [(one.free["cpus"], one.free["mem"]) for one in offers(options.offers, random.Random(7))]
    peer = timed(lambda: plain(free, (1000, 512_000), options.workers), options.repeat)
    print(
        f"\nplain sorted first-fit of bare tuples: {peer:.3f}; ours ({next(iter(CASES))}) / that: {ours / peer:.0f} x"
    )
    print(f"slowest case: {worst:.3f} (aim: under {AIM:g}); linear is 4.0x")
    return 0 if worst < AIM else 1
