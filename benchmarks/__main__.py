"""Runs the benchmarks and prints medians and ratios: ``make bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .cases import CASES, WARM_RUNS

PEERS = {
    "dask": "dask.distributed LocalCluster, 4 processes",
    "ipyparallel": "ipyparallel Cluster(n=4)",
    "spawn": "multiprocessing spawn pool of 4",
}


def measure(name: str, home: Path) -> dict[str, float] | None:
    """Run one case in a process of its own, with directories of its own, so that nothing of it runs yet."""
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "IPYTHONDIR": str(home / "ipython"),
        "T2_SESSION_LINGER": "0.2",
    }
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.cases", name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if answer.returncode:
        print(f"{name}: {answer.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def main() -> int:
    """Run what is asked for: `notebook` (against peers), `session` (what a kernel notices of 1,000 workers),
    `channel` (workers that join, barriers, messages), `checkpoint` (against `np.save`), `results` (large ones),
    `workers` (looks at them), `scheduler` (matching), `mesos` (the embedded Mesos's scale), `lab` (the side bar),
    `views` (a job's live view), `page` (that view in a browser), `dask` (Dask on Mesos), `pool` (calls of a warm
    pool, against peers), or all.
    """
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison with peers")
    parts = [
        "notebook",
        "session",
        "channel",
        "checkpoint",
        "results",
        "workers",
        "scheduler",
        "mesos",
        "lab",
        "views",
        "page",
        "dask",
        "pool",
    ]
    parser.add_argument("which", nargs="?", choices=[*parts, "all"], default="all")
    options, rest = parser.parse_known_args()
    if rest and options.which in ("notebook", "all"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    code = 0
    if options.which in ("notebook", "all"):
        code = notebook(options.rounds)
    if options.which in ("session", "all"):
        from . import session

        if options.which == "all":
            print()
        code = session.main(rest) or code
    if options.which in ("channel", "all"):
        from . import channel

        if options.which == "all":
            print()
        code = channel.main() or code
    if options.which in ("checkpoint", "all"):
        from . import checkpoint

        if options.which == "all":
            print()
        code = checkpoint.main() or code
    if options.which in ("results", "all"):
        from . import results

        if options.which == "all":
            print()
        code = results.main() or code
    if options.which in ("workers", "all"):
        from . import workers

        if options.which == "all":
            print()
        code = workers.main() or code
    if options.which in ("scheduler", "all"):
        from . import scheduler

        if options.which == "all":
            print()
        code = scheduler.main(rest) or code
    if options.which in ("mesos", "all"):
        from . import mesos

        if options.which == "all":
            print()
        code = mesos.main(rest) or code
    if options.which in ("views", "all"):
        from . import views

        if options.which == "all":
            print()
        code = views.main(rest if options.which == "views" else []) or code
    if options.which in ("page", "all"):
        from . import page

        if options.which == "all":
            print()
        code = page.main() or code
    if options.which in ("lab", "all"):
        from . import lab

        if options.which == "all":
            print()
        code = lab.main() or code
    if options.which in ("dask", "all"):
        from . import dask

        if options.which == "all":
            print()
        code = dask.main(rest) or code
    if options.which in ("pool", "all"):
        from . import pool

        if options.which == "all":
            print()
        code = pool.main(rest) or code
    return code


def notebook(rounds: int) -> int:
    """Measure all cases in turn, several times, so that a slow moment of the machine hits all alike."""
    taken: dict[str, dict[str, list[float]]] = {name: {"cold": [], "warm": []} for name in CASES}
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        for index in range(rounds + 1):
            for name in CASES:
                figures = measure(name, Path(home))
                time.sleep(6.0 if name == "t2notebook" else 0.5)  # until the embedded Mesos has gone
                if figures and index:  # the first round fills caches, for all alike
                    for kind, seconds in figures.items():
                        taken[name][kind].append(seconds)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds, medians (min to max), seconds"
    )
    print(
        f"cold: nothing runs; warm: the same again (median of {WARM_RUNS}); until the results of 4 workers are there\n"
    )
    print(f"{'':45} {'cold':>22} {'warm':>24}")
    ours = {kind: statistics.median(taken["t2notebook"][kind]) for kind in ("cold", "warm")}
    for name in CASES:
        if not taken[name]["cold"]:
            print(f"{PEERS.get(name, name):45} did not run")
            continue
        cells = [
            f"{statistics.median(values):8.3f} ({min(values):.3f} to {max(values):.3f})"
            for values in (taken[name]["cold"], taken[name]["warm"])
        ]
        print(f"{PEERS.get(name, 't2notebook, embedded Mesos'):45} {cells[0]:>22} {cells[1]:>24}")
    print()
    for name, title in PEERS.items():
        if taken[name]["cold"]:
            ratios = [ours[kind] / statistics.median(taken[name][kind]) for kind in ("cold", "warm")]
            print(f"t2notebook / {title}: cold {ratios[0]:.2f} x, warm {ratios[1]:.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
