"""Files, setup and modules through the whole system, without a notebook."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from t2notebook import ComputeResource, SubmitError, Twister2Job
from t2notebook.client import setups


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a data file."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "data.csv").write_text("a\n1\n")
    (folder / "say.sh").write_text("#!/bin/sh\necho said\n")
    (folder / "say.sh").chmod(0o755)
    monkeypatch.chdir(folder)
    yield folder
    setups.keep(None)


def test_workers_of_one_executor_have_copies_of_their_own(t2: Any, beside: Path) -> None:
    def work(env: Any) -> tuple[str, str]:
        with open("data.csv", "a") as file:
            file.write(str(env.worker_id))
        return Path("data.csv").read_text(), subprocess.check_output(["./say.sh"], text=True)

    job = t2.submit(work, workers=3, ram=64, files=["data.csv", "*.sh"], workers_per_executor=3)
    assert job.results(timeout=60) == [(f"a\n1\n{worker}", "said\n") for worker in range(3)]
    assert (beside / "data.csv").read_text() == "a\n1\n"


def test_a_whole_job_takes_files_along(t2: Any, beside: Path) -> None:
    whole = Twister2Job("whole", lambda: os.path.getsize("data.csv"), [ComputeResource(1, 64)])
    assert t2.submit(whole, files="data.csv").results(timeout=60) == [4]
    with pytest.raises(SubmitError, match=r"^cannot take along nope: there is no such file in "):
        t2.submit(whole, files=["nope"])
    with open(beside / "big", "wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(SubmitError, match=r"more than the 64.0 MiB of memory of a worker"):
        t2.submit(whole, files=["big"])


def test_the_setup_of_every_later_job(t2: Any, beside: Path) -> None:
    def first(env: Any) -> None:
        os.environ["T2_SET"] = f"{env.worker_id} of {env.config['step']}"

    def read() -> str | None:
        return os.environ.get("T2_SET")

    t2.setup(first)
    assert t2.submit(read, workers=2, ram=64, config={"step": 3}).results(timeout=60) == ["0 of 3", "1 of 3"]
    t2.setup(None)
    assert t2.submit(read, ram=64).results(timeout=60) == [None]


@pytest.fixture
def edited(beside: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(beside))
    (beside / "t2v_helper.py").write_text("K = 1\n")
    yield importlib.import_module("t2v_helper")
    del sys.modules["t2v_helper"]


def test_a_value_that_stays_at_home_is_a_warning_where_it_was_submitted(t2: Any, edited: ModuleType) -> None:
    edited.K = 2  # type: ignore[attr-defined]
    with pytest.warns(t2.Twister2Warning, match=r"^t2v_helper.K is 2 here and 1 in the file: ") as caught:
        job = t2.submit(lambda: importlib.import_module("t2v_helper").K, ram=64)
    assert caught[0].filename == __file__
    assert job.results(timeout=60) == [1]
    before = len(t2.jobs())
    with warnings.catch_warnings(), pytest.raises(t2.Twister2Warning):
        warnings.simplefilter("error")
        t2.submit(lambda: importlib.import_module("t2v_helper").K, ram=64)
    assert len(t2.jobs()) == before, "where a warning is an error, nothing runs that nobody has a handle on"
    edited.K = 1  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t2.submit(lambda: importlib.import_module("t2v_helper").K, ram=64).results(timeout=60)
