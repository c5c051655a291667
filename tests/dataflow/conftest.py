"""Real clusters of Dask on the embedded Mesos, in directories of their own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.dataflow import scheduler_main
from tests.session.conftest import clean, eventually, home, kernel, processes, t2, unconfigured

__all__ = ["clean", "eventually", "home", "kernel", "processes", "t2", "unconfigured"]

#: Small workers: four of them go on one agent of the tests.
SMALL = {"cpu": 0.5, "ram_mega_bytes": 256, "dashboard_address": None}


@pytest.fixture(scope="module")
def mesos(t2: Any) -> Iterator[Any]:
    """An embedded Mesos for a module's tests, that of the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T2_EXECUTOR_LINGER", "60")
        yield t2


@pytest.fixture
def make(mesos: Any) -> Iterator[Callable[..., Any]]:
    """Make clusters that are closed when the test ends."""
    made = []

    def make(**arguments: Any) -> Any:
        cluster = mesos.MesosCluster(**{**SMALL, **arguments})
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.close()
    eventually(lambda: not schedulers(), timeout=20)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Dask's own loggers print on this process's stderr."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def schedulers() -> list[int]:
    """Return the pids of Dask schedulers that were started by tests of this process's home."""
    return _processes(scheduler_main.NAME)


def fork_servers() -> list[int]:
    """Return the pids of the processes that those are forked from."""
    return [pid for pid in _processes("") if pid not in schedulers()]


def _processes(name: str) -> list[int]:
    marker = f"JUPYTER_RUNTIME_DIR={os.environ['JUPYTER_RUNTIME_DIR']}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (
                    b"t2notebook.dataflow." in (entry / "cmdline").read_bytes()
                    and name in (entry / "comm").read_text()
                    and marker in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
