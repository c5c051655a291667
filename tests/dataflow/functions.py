"""Functions of a module that lies beside a notebook, as far as workers are concerned."""

from __future__ import annotations

import time
from typing import Any


def square(number: int) -> int:
    return number * number


def slowly(number: int, seconds: float = 0.2) -> int:
    time.sleep(seconds)
    return number * number


def compute(path: str, seconds: float) -> None:
    """Compute for so long, and note it before and after."""
    with open(path, "a") as file:
        file.write("began\n")
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write("ended\n")


def hold_the_interpreter() -> int:
    """Let no other thread of this process run, for minutes."""
    return sum(range(10**11))


def parity(worker: Any) -> int:
    """Group of a worker, as the Dask scheduler sees it."""
    return int(worker.name) % 2


def grow(megabytes: int, path: str = "") -> int:
    """Take memory, and note that it was tried."""
    if path:
        with open(path, "a") as file:
            file.write("tried\n")
    data: list[Any] = []
    for _ in range(megabytes):
        data.append(b"x" * (1 << 20))
        time.sleep(0.002)
    return len(data)
