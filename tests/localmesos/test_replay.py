"""Whole recorded stories, played call by call to the embedded Mesos (`replay`), every message held to the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos import oracle
from tests.localmesos.replay import Player

pytestmark = pytest.mark.skipif(
    not oracle.TRACES.is_dir(), reason="the recorded traces lie outside of the repository"
)


@pytest.fixture(scope="module")
def recorded_cluster() -> Iterator[LocalMesos]:
    """A cluster of the recorded one's shape."""
    attributes = ["rack:r1;zone:a", "rack:r2;zone:a"]
    with LocalMesos(agents=2, cpus=4, mem=4096, disk=10000, attributes=attributes) as one:
        yield one


@pytest.mark.parametrize("folder", ["scheduler-health", "scheduler-group", "scheduler-failover", "operator-scheduler-side", "files-scheduler-side"])
def test_story(recorded_cluster: LocalMesos, folder: str) -> None:
    player = Player(folder, recorded_cluster.master)
    player.run()
    assert not player.none_left()
