"""Workers in images: what a container adds to the first job, and to the next; ``python -m benchmarks.images NAME``."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable


def square(env: object) -> int:
    """Return what a worker of the benchmark computes."""
    number: int = env.worker_id  # type: ignore[attr-defined]
    return number**2


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(image: str, rounds: int) -> dict[str, list[float]]:
    """Return seconds by case, on a running cluster: of first jobs (each has executors of its own) and of second ones.

    Parameters
    ----------
    image
        One that the container engine has.
    rounds
        How often.
    """
    import t2notebook as t2

    # The executors of one round have ended when the next begins.
    t2.configure(executor_linger=0.3)
    engine = next(found for name in ("podman", "docker") if (found := shutil.which(name)))
    found: dict[str, list[float]] = {}

    def job(name: str) -> None:
        t2.submit(square, workers=4, cpu=1, ram_mega_bytes=64, image=name).results(timeout=120)

    job("")
    try:
        for _ in range(rounds):
            plain = [
                engine,
                "run",
                "--rm",
                "--network",
                "host",
                "--entrypoint",
                "/bin/sh",
                image,
                "-c",
                "true",
            ]
            cases = {
                "the engine alone, a container that does nothing": lambda plain=plain: subprocess.run(
                    plain, check=True
                ),
                "four workers, first job, no image": lambda: job(""),
                "four workers, second job, no image": lambda: job(""),
                "four workers, first job, image": lambda: job(image),
                "four workers, second job, image": lambda: job(image),
            }
            for name, case in cases.items():
                if "first" in name:
                    time.sleep(1.5)
                found.setdefault(name, []).append(seconds(case))
    finally:
        t2.shutdown()
    return found


def main() -> None:
    """Measure, and print medians with their range."""
    parser = argparse.ArgumentParser(prog="benchmarks.images")
    parser.add_argument("image", help="one that podman or docker has, with this version of Python")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        for name in ("RUNTIME", "DATA", "CONFIG"):
            os.environ[f"JUPYTER_{name}_DIR"] = f"{home}/{name.lower()}"
        for name, times in measure(options.image, options.rounds).items():
            middle = statistics.median(times)
            print(f"{name:50} {middle:.3f} s ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main()
