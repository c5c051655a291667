"""Clusters for tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos import client
from tests.localmesos.client import Framework, Json, resources

EXECUTOR = Path(__file__).with_name("executor.py")


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """Close what a module's tests opened: a socket that a failed one leaves is found in the middle of another."""
    yield
    while client.opened:
        client.opened.pop().close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalMesos]:
    """One cluster for all tests that do not hurt it."""
    with LocalMesos(agents=2, cpus=4, mem=4096, attributes=["rack:r1;zone:a", "rack:r2;zone:a"]) as one:
        yield one


@pytest.fixture
def master(cluster: LocalMesos) -> str:
    return cluster.master


@pytest.fixture
def framework(master: str) -> Iterator[Callable[..., Framework]]:
    """Make frameworks; they are torn down at the end."""
    made: list[Framework] = []

    def make(**options: Any) -> Framework:
        one = Framework(options.pop("master", master), **options).subscribed()
        made.append(one)
        return one

    yield make
    for one in made:
        try:
            one.call("TEARDOWN", expect=None)
        except (OSError, AssertionError):
            pass
        one.close()


def executor_info(executor_id: str = "ex", *flags: str, uris: list[Json] | None = None, **more: Any) -> Json:
    """A custom executor that runs `executor.py`."""
    command: Json = {
        "shell": False,
        "value": sys.executable,
        "arguments": ["python", "-S", str(EXECUTOR), *flags],
    }
    if uris is not None:
        command["uris"] = uris
    info: Json = {
        "type": "CUSTOM",
        "executor_id": {"value": executor_id},
        "command": command,
        "resources": resources(cpus=0.1, mem=64),
        "shutdown_grace_period": {"nanoseconds": 500_000_000},
    }
    return {**info, **more}


@pytest.fixture
def work_dir(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "work"
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
