"""Calls of a warm pool, beside `distributed` and ipyparallel's load-balanced view: ``python -m benchmarks pool``.

One call, 2,000 calls of a millisecond, 100 results of a megabyte, and calls of uneven cost, on four workers; in turns,
so that a slow moment of the machine hits all alike. A second pool of ours is sent one call at a time ("depth 1").
"""

from __future__ import annotations

import functools
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

WORKERS = 4
ROUNDS = 3
CALLS = 2000
MEGABYTE = 1 << 20
#: Seconds of calls of which one costs as much as twenty.
UNEVEN = [0.05] * 39 + [1.0]


def nothing(number: int) -> int:
    """Return a number."""
    return number


def millisecond(number: int) -> int:
    """Take a millisecond."""
    import time  # ipyparallel brings no module along

    time.sleep(0.001)
    return number


def megabyte(number: int) -> Any:
    """Return a megabyte."""
    import numpy

    return numpy.full(MEGABYTE // 8, float(number))


def sleep(seconds: float) -> float:
    """Take so many seconds."""
    import time

    time.sleep(seconds)
    return seconds


Gather = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


@contextmanager
def one_at_a_time() -> Iterator[Gather]:
    """Yield the same of a pool whose workers are sent one call at a time."""
    from t2notebook.client.pool import pool
    from t2notebook.client.pool.dispatcher import Dispatcher

    with mock.patch.object(pool, "Dispatcher", functools.partial(Dispatcher, 0)), ours(255) as gather:
        yield gather


@contextmanager
def ours(ram: float = 256) -> Iterator[Gather]:
    """Yield what calls a function with items on our workers."""
    import t2notebook as t2

    with t2.Executor(WORKERS, cpu=0.5, ram_mega_bytes=ram) as executor:

        def gather(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
            return [future.result() for future in t2.map(fn, items, executor=executor)]

        _warm(gather)
        yield gather


def _warm(gather: Gather) -> None:
    """Wait until all workers are there."""
    while len(set(gather(_worker, list(range(8 * WORKERS))))) < WORKERS:
        time.sleep(0.05)


def _worker(_: int) -> int:
    time.sleep(0.01)
    return os.getpid()


@contextmanager
def dask() -> Iterator[Gather]:
    """Yield the same of `distributed`."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(WORKERS)

        def gather(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
            return list(client.gather(client.map(fn, items, pure=False)))

        yield gather


@contextmanager
def ipyparallel() -> Iterator[Gather]:
    """Yield the same of ipyparallel's load-balanced view."""
    import ipyparallel

    cluster = ipyparallel.Cluster(n=WORKERS, log_level=40)
    view = cluster.start_and_connect_sync(activate=False).load_balanced_view()

    def gather(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        return list(view.map_sync(fn, items, chunksize=1))

    try:
        yield gather
    finally:
        view.client.close()
        cluster.stop_cluster_sync()


def _timed(gather: Gather, fn: Callable[[Any], Any], items: list[Any]) -> float:
    begun = time.perf_counter()
    found = gather(fn, items)
    took = time.perf_counter() - begun
    assert len(found) == len(items)
    return took


def measure(gather: Gather, quick: bool = False) -> dict[str, float]:
    """Return the seconds of each case, and of one call the median of several."""
    calls = CALLS // 10 if quick else CALLS
    one = statistics.median(_timed(gather, nothing, [index]) for index in range(50))
    figures = {
        "one call": one,
        "four calls": statistics.median(_timed(gather, nothing, list(range(4))) for _ in range(20)),
        f"{calls} calls of 1 ms": _timed(gather, millisecond, list(range(calls))),
        f"{calls} calls of nothing": _timed(gather, nothing, list(range(calls))),
        "100 results of 1 MB": _timed(gather, megabyte, list(range(100))),
    }
    if not quick:
        figures["40 calls of 50 ms, one of them 1 s"] = _timed(gather, sleep, UNEVEN)
    return figures


PEERS: dict[str, Callable[[], Any]] = {
    "t2notebook": ours,
    "depth 1": one_at_a_time,
    "distributed": dask,
    "ipyparallel": ipyparallel,
}


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; ``--peers t2notebook,distributed`` measures only some."""
    given = list(arguments or ())
    names = given[given.index("--peers") + 1].split(",") if "--peers" in given else list(PEERS)
    rounds = int(given[given.index("--rounds") + 1]) if "--rounds" in given else ROUNDS
    taken: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home, _home(Path(home)):
        for _ in range(rounds):
            for name in names:
                with PEERS[name]() as gather:
                    measure(gather, quick=True)  # imports, and what is warm afterwards
                    for case, seconds in measure(gather).items():
                        taken.setdefault(case, {}).setdefault(name, []).append(seconds)
        if {"t2notebook", "depth 1"} & set(names):
            import t2notebook as t2

            t2.shutdown()
            time.sleep(1.0)
    load = os.getloadavg()[0]
    print(f"{WORKERS} workers, {os.cpu_count()} cores, load {load:.1f}; medians of {rounds} rounds, ms\n")
    print(f"{'':40} " + " ".join(f"{name:>12}" for name in names))
    for case, by_name in taken.items():
        cells = [f"{statistics.median(by_name[name]) * 1000:12.2f}" for name in names]
        print(f"{case:40} " + " ".join(cells))
    ideal = CALLS * 0.001 / WORKERS
    even = (sum(UNEVEN) - 1.0) / WORKERS
    print(
        f"\nideal: {CALLS} calls of 1 ms {ideal * 1000:.0f} ms; uneven {max(1.0, math.ceil(even)) * 1000:.0f} ms"
    )
    return 0


@contextmanager
def _home(home: Path) -> Iterator[None]:
    places = {
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "IPYTHONDIR": str(home / "ipython"),
        "T2_SESSION_LINGER": "0.2",
    }
    before = {name: os.environ.get(name) for name in places}
    os.environ.update(places)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
