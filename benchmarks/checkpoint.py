"""A checkpoint of 100 MB against `np.save` with fsync, in turns, on the disk that temporary files are on."""

from __future__ import annotations

import os
import statistics
import tempfile
import time

import numpy as np

from t2notebook.worker.process.checkpoint_files import LocalFiles
from t2notebook.worker.process.snapshots import Snapshots

MEGABYTES = 100
ROUNDS = 7


def measure(megabytes: int = MEGABYTES, rounds: int = ROUNDS) -> dict[str, float]:
    """Return medians in seconds, and their ratio."""
    array = np.random.default_rng(0).random(megabytes * 1_000_000 // 8)
    taken: dict[str, list[float]] = {"np.save and fsync": [], "checkpoint": []}
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        snapshots = Snapshots(LocalFiles(home), "worker-0")
        for index in range(rounds + 1):
            begun = time.perf_counter()
            path = os.path.join(home, "peer.npy")
            with open(path, "wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
            saved = time.perf_counter()
            snapshots.save(index + 1, {"array": array})
            committed = time.perf_counter()
            snapshots.remove(index + 1)
            os.unlink(path)
            if index:  # the first fills caches
                taken["np.save and fsync"].append(saved - begun)
                taken["checkpoint"].append(committed - saved)
    figures = {name: statistics.median(seconds) for name, seconds in taken.items()}
    figures["checkpoint / np.save"] = figures["checkpoint"] / figures["np.save and fsync"]
    return figures


def main() -> int:
    """Print the figures."""
    for name, value in measure().items():
        print(f"{name}: {value:.2f} x" if "/" in name else f"{name}: {value * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
