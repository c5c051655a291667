"""Jobs whose workers run in images; the engine is a program of the test's own (`tests/containers` has podman)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.localmesos.agent.containerizer import fake_engine
from tests.localmesos.agent.containerizer.fake_engine import IMAGE


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Path]:
    folder = home / "engine"
    fake_engine.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=":")
        yield folder


def surroundings(env: Any) -> tuple[str, str]:
    import os

    return os.environ.get("T2_FAKE_IMAGE", ""), os.path.basename(os.getcwd())


def test_workers_run_in_the_image_and_share_executors_with_nobody_else(engine: Path, t2: Any) -> None:
    job = t2.submit(surroundings, workers=2, cpu=0.5, ram_mega_bytes=64, image=IMAGE)
    assert [image for image, _ in job.results(timeout=60)] == [IMAGE, IMAGE]
    runs = len(fake_engine.calls(engine, "run"))
    # Warm, by the same executor.
    again = t2.submit(surroundings, cpu=0.5, ram_mega_bytes=64, image=IMAGE)
    assert again.results(timeout=60)[0][0] == IMAGE
    assert len(fake_engine.calls(engine, "run")) == runs
    plain = t2.submit(surroundings, cpu=0.5, ram_mega_bytes=64)
    assert plain.results(timeout=60)[0][0] == ""


def test_one_job_may_have_workers_of_several_images(engine: Path, t2: Any) -> None:
    resources = [
        t2.ComputeResource(cpu=0.5, ram_mega_bytes=64, image=IMAGE),
        t2.ComputeResource(cpu=0.5, ram_mega_bytes=64),
    ]
    job = t2.submit(t2.Twister2Job(name="mixed", worker=surroundings, resources=resources))
    assert [image for image, _ in job.results(timeout=60)] == [IMAGE, ""]


def test_a_missing_image_fails_with_one_clear_line(engine: Path, t2: Any) -> None:
    job = t2.submit(surroundings, cpu=0.5, ram_mega_bytes=64, image="nosuch:7")
    with pytest.raises(t2.JobFailed) as failed:
        job.results(timeout=60)
    line = (
        "127.0.0.1 has no image nosuch:7, and no registry gave it (Error: reading manifest: manifest unknown); "
        "build or pull it there, or name another"
    )
    assert line in str(failed.value)
    # Another agent was tried; not more.
    assert len(job.events[job.events.state == "FAILED"]) == 2


def test_the_kernels_own_python_is_not_looked_for_in_an_image(engine: Path, t2: Any) -> None:
    t2.submit(surroundings, cpu=0.5, ram_mega_bytes=64, image=IMAGE).results(timeout=60)
    assert not any(sys.executable in line for line in fake_engine.calls(engine, "run"))
