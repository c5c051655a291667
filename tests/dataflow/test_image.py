"""Clusters whose workers run in an image; the engine is a program of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.errors import SubmitError
from tests.dataflow.conftest import SMALL
from tests.dataflow.functions import square
from tests.localmesos.agent.containerizer import fake_engine

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Path]:
    folder = home / "engine"
    fake_engine.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=":")
        yield folder


def test_workers_run_in_the_image(engine: Path, make: Any) -> None:
    cluster = make(workers=1, image=fake_engine.IMAGE)
    with distributed.Client(cluster) as client:
        assert client.submit(square, 5).result(timeout=60) == 25
        assert client.submit(os.getenv, "T2_FAKE_IMAGE").result(timeout=60) == fake_engine.IMAGE


def test_a_name_that_is_none_is_one_line(engine: Path, make: Any) -> None:
    with pytest.raises(SubmitError, match="image is 'no image'; give the name of a container image"):
        make(**{**SMALL, "image": "no image"})
