"""One measurement a process: ``python -m benchmarks.cases NAME`` prints seconds as JSON.

Each case imports its package first, then takes the time from the call until the results of four workers are there:
``cold`` with nothing running, ``warm`` for the same again (the median of several).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

WORKERS = 4
WARM_RUNS = 10


def square(number: int) -> int:
    return number * number


EXPECTED = [square(number) for number in range(WORKERS)]


def t2notebook() -> tuple[Callable[[], Any], Callable[[], None]]:
    import t2notebook as t2

    t2.submit  # noqa: B018  (the kernel's side is imported, as by %load_ext)

    def run() -> list[int]:
        job = t2.submit(
            lambda env: square(env.worker_id), workers=WORKERS, cpu=1, ram_mega_bytes=128, name="square"
        )
        return job.results(timeout=60)

    return run, t2.shutdown


def dask() -> tuple[Callable[[], Any], Callable[[], None]]:
    from distributed import Client, LocalCluster

    clients: list[Any] = []

    def run() -> list[int]:
        if not clients:
            cluster = LocalCluster(
                n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
            )
            clients.append(Client(cluster))
            clients[0].wait_for_workers(WORKERS)
        return clients[0].gather(clients[0].map(square, range(WORKERS), pure=False))

    def close() -> None:
        cluster = clients[0].cluster
        clients[0].close()
        cluster.close()

    return run, close


def ipyparallel() -> tuple[Callable[[], Any], Callable[[], None]]:
    import ipyparallel

    clusters: list[Any] = []

    def run() -> list[int]:
        if not clusters:
            clusters.append(ipyparallel.Cluster(n=WORKERS, log_level=40))
            clusters.append(clusters[0].start_and_connect_sync(activate=False))
        return clusters[1][:].map_sync(square, range(WORKERS))

    def close() -> None:
        clusters[0].stop_cluster_sync()

    return run, close


def spawn() -> tuple[Callable[[], Any], Callable[[], None]]:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    pools: list[Any] = []

    def run() -> list[int]:
        if not pools:
            pools.append(context.Pool(WORKERS))
        return pools[0].map(square, range(WORKERS), chunksize=1)

    def close() -> None:
        pools[0].terminate()

    return run, close


CASES = {"t2notebook": t2notebook, "dask": dask, "ipyparallel": ipyparallel, "spawn": spawn}


def main(name: str) -> None:
    run, close = CASES[name]()
    times = []
    for _ in range(1 + WARM_RUNS):
        began = time.perf_counter()
        results = run()
        times.append(time.perf_counter() - began)
        assert list(results) == EXPECTED, results
    close()
    print(json.dumps({"cold": times[0], "warm": statistics.median(times[1:])}))


if __name__ == "__main__":
    main(sys.argv[1])
