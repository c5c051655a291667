"""Memory on the embedded Mesos: who takes too much is named and ended, whatever ran before, and nobody else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.states import JobState
from tests.session.conftest import eventually


def hold(mib: int, seconds: float = 30.0) -> Any:
    def work(env: Any) -> int:
        import time

        kept = bytearray(mib << 20)
        time.sleep(seconds)
        return len(kept)

    return work


def test_of_four_workers_the_one_that_took_too_much_is_named(t2: Any, tmp_path: Path) -> None:
    name = str(tmp_path / "go")

    def patient(env: Any) -> int:
        import os
        import time

        while not os.path.exists(name):
            time.sleep(0.05)
        return int(env.worker_id)

    def greedy(env: Any) -> None:
        import time

        time.sleep(1)
        if env.worker_id == 2:
            kept = bytearray(480 << 20)  # noqa: F841
        time.sleep(30)

    neighbours = t2.submit(patient, workers=2, cpu=0.2, ram_mega_bytes=256)
    eventually(lambda: neighbours.state is JobState.STARTED)
    job = t2.submit(greedy, workers=4, cpu=0.2, ram_mega_bytes=64)
    assert job.wait(60) is JobState.FAILED
    with pytest.raises(t2.JobFailed) as failure:
        job.results()
    text = str(failure.value)
    assert "worker 2 used " in text and "MiB of its 64 MiB" in text and "--ram" in text
    assert job.tasks.reason[2] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert job.tasks.restarts.tolist() == [0] * 4, "it would need as much again"
    assert job.tasks.state.tolist() == ["KILLED", "KILLED", "FAILED", "KILLED"]
    assert neighbours.state is JobState.STARTED
    (tmp_path / "go").touch()
    assert neighbours.results(30) == [0, 1]
    assert neighbours.tasks.restarts.tolist() == [0, 0]


def test_the_limit_does_not_depend_on_what_ran_before(t2: Any) -> None:
    def fails() -> None:
        job = t2.submit(hold(500), cpu=0.2, ram_mega_bytes=64)
        assert job.wait(60) is JobState.FAILED
        assert job.tasks.reason[0] == "REASON_CONTAINER_LIMITATION_MEMORY"
        assert job.tasks.restarts[0] == 0

    fails()
    large = t2.submit(hold(300, 0.5), cpu=0.2, ram_mega_bytes=700, workers=2)
    assert large.results(60) == [300 << 20] * 2
    fails()
    time.sleep(1.5)
    fails()


def test_what_fits_goes_on(t2: Any) -> None:
    job = t2.submit(hold(48, 2.0), workers=4, cpu=0.2, ram_mega_bytes=64)
    assert job.results(60) == [48 << 20] * 4
