"""Dask on Mesos beside Dask on this machine: ``make bench ARGS=dask``. Each case runs in a process of its own.

``start``: from nothing to the results of tasks on four workers; for ours ``cold`` (no executor lives, the session and
the embedded Mesos do) and ``warm`` (executors of an earlier cluster are kept, and what schedulers are forked from).
``tasks``: 2,000 small tasks through a running cluster, the median of three times; ``secured`` and ``plain`` say what
TLS costs on either side, which `MesosCluster` has by default and `LocalCluster` has not. `LocalCluster` has its
scheduler in the client's process; distributed's own `SubprocessCluster`, here without Nannies, has it in one of its
own, as `MesosCluster` has. No dashboard on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKERS, TASKS, TIMES = 4, 2000, 3


def increment(number: int) -> int:
    return number + 1


def _time(make: Any, times: int = TIMES) -> tuple[float, float]:
    """Return the seconds until each worker has answered, and for `TASKS` tasks, the median of so many times."""
    from distributed import Client

    began = time.perf_counter()
    with make() as cluster, Client(cluster) as client:
        client.wait_for_workers(WORKERS)
        assert client.gather(client.map(increment, range(WORKERS))) == list(range(1, WORKERS + 1))
        start = time.perf_counter() - began
        client.gather(client.map(increment, range(100, 400)))
        return start, statistics.median([_tasks(client, number) for number in range(1, 1 + times)] or [0.0])


def _tasks(client: Any, number: int) -> float:
    began = time.perf_counter()
    client.gather(client.map(increment, range(number * TASKS, (number + 1) * TASKS)))
    return time.perf_counter() - began


def local() -> dict[str, float]:
    from distributed import LocalCluster

    start, tasks = _time(
        lambda: LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
    )
    return {"start": start, "tasks": tasks}


def local_secured() -> dict[str, float]:
    from distributed import LocalCluster
    from distributed.security import Security

    _, tasks = _time(
        lambda: LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            dashboard_address=None,
            security=Security.temporary(),
            protocol="tls://",
        )
    )
    return {"secured tasks": tasks}


def processes() -> dict[str, float]:
    from distributed.deploy.subprocess import SubprocessCluster

    start, tasks = _time(
        lambda: SubprocessCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, worker_class="distributed.Worker"
        )
    )
    return {"start": start, "tasks": tasks}


def mesos() -> dict[str, float]:
    import t2notebook as t2

    t2.submit(lambda env: None, ram_mega_bytes=64).wait()  # the embedded Mesos and the session run
    arguments: dict[str, Any] = {
        "workers": WORKERS,
        "cpu": 1,
        "ram_mega_bytes": 512,
        "dashboard_address": None,
    }
    cold, _ = _time(lambda: t2.MesosCluster(**arguments), times=0)
    warm, tasks = _time(lambda: t2.MesosCluster(**arguments))
    _, plain = _time(lambda: t2.MesosCluster(security=False, **arguments))
    t2.shutdown()
    return {"cold": cold, "warm": warm, "tasks": tasks, "plain tasks": plain}


CASES = {"local": local, "local_secured": local_secured, "processes": processes, "mesos": mesos}


def measure(name: str, home: Path) -> dict[str, float]:
    """Run one case in a process of its own."""
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "T2_SESSION_LINGER": "0.2",
    }
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.dask", name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def main(arguments: list[str] | None = None) -> int:
    """Measure in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(prog="benchmarks dask")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        for _ in range(options.rounds):
            for name in CASES:
                for kind, seconds in measure(name, Path(home)).items():
                    taken.setdefault(f"{name} {kind}", []).append(seconds)
                    print(f"{name} {kind}: {seconds:.3f}", file=sys.stderr, flush=True)
                time.sleep(6.0 if name == "mesos" else 0.5)  # until the embedded Mesos has gone
    print(f"{options.rounds} rounds, load {os.getloadavg()[0]:.1f}, medians (min to max), seconds\n")
    middle = {name: statistics.median(values) for name, values in taken.items()}
    for name, values in taken.items():
        print(f"{name:28} {middle[name]:7.3f} ({min(values):.3f} to {max(values):.3f})")
    print()
    for kind in ("cold", "warm"):
        ratio = middle[f"mesos {kind}"] / middle["local start"]
        print(f"MesosCluster, {kind}, to the first results: {ratio:.2f} x LocalCluster")
    secured, plain = middle["local_secured secured tasks"], middle["local tasks"]
    print(f"{TASKS:,} tasks: {middle['mesos tasks'] / plain:.2f} x LocalCluster (which has no TLS)")
    print(f"{TASKS:,} tasks: {middle['mesos tasks'] / secured:.2f} x LocalCluster with TLS")
    print(f"{TASKS:,} tasks: {middle['mesos plain tasks'] / plain:.2f} x LocalCluster, neither with TLS")
    apart = middle["processes tasks"]
    print(f"{TASKS:,} tasks: {middle['mesos plain tasks'] / apart:.2f} x SubprocessCluster, neither with TLS")
    print(f"{TASKS:,} tasks: SubprocessCluster {apart / plain:.2f} x LocalCluster, neither with TLS")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] in CASES:
        import logging

        logging.getLogger("distributed").setLevel(logging.ERROR)
        print(json.dumps(CASES[sys.argv[1]]()))
    else:
        sys.exit(main())
