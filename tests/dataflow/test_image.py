"""Clusters whose workers run in an image; the engine is a program of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dataflow.conftest import eventually
from tests.localmesos.agent.containerizer import fake_engine

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Path]:
    folder = home / "engine"
    fake_engine.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=":")
        yield folder


@pytest.mark.slow
def test_workers_run_in_the_image(engine: Path, make: Any) -> None:
    """Whether they come to work there depends on what Python of this machine the engine's program finds."""
    make(workers=1, image=fake_engine.IMAGE)
    eventually(
        lambda: any(fake_engine.IMAGE in line for line in fake_engine.calls(engine, "run")), timeout=60
    )
