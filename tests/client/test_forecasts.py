"""Advice from what earlier jobs of a name have used, whichever session they were of."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.client.forecasts import measured_advice
from t2notebook.config import data_dir
from t2notebook.model.use import Use
from tests.server import made_journals


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = data_dir() / "sessions"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def test_what_the_last_job_of_a_name_has_used(sessions: Path) -> None:
    use = Use(seconds=60.0, cpu=6.0, cpu_peak=0.2, mem=50.0, mem_peak=60.0)
    made_journals.make(sessions, 1, 3, use=use)
    assert measured_advice("analysis-0") == (
        "used at most 0.2 of 1 cpu and 60 of 512 MiB a worker: --cpus 0.5 --ram 96 would do"
    )
    # one that failed at once, and one that there never was, tell nothing
    assert measured_advice("analysis-2") == "" and measured_advice("other") == ""
