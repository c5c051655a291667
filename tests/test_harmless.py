"""The tests themselves: they run from the background as well, and what they write stays in folders of theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

from tests import conftest


def test_a_write_through_a_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "system"
    system.mkdir()
    (system / "id").write_text("#!/bin/sh\necho 0\n")
    (system / "sh").write_text("")
    monkeypatch.setattr(conftest, "SYSTEM", (str(system), str(tmp_path / "not there")))
    before = conftest.system_files()
    assert set(before) == {str(system / "id"), str(system / "sh")}
    assert conftest.system_files() == before
    (tmp_path / "link").symlink_to(system / "id")
    (tmp_path / "link").write_text("#!/bin/sh\necho 1000\n")
    after = conftest.system_files()
    assert {path for path in before if before[path] != after[path]} == {str(system / "id")}


def test_jupyters_folders_are_not_the_users() -> None:
    folder = Path(os.environ[conftest.FOLDER])
    for found in (jupyter_config_dir(), jupyter_data_dir(), jupyter_runtime_dir(), os.environ["IPYTHONDIR"]):
        assert Path(found).is_relative_to(folder)
    assert not [name for name in os.environ if name.startswith("T2_") and not name.startswith("T2_TEST_")]


@pytest.mark.parametrize(
    "test",
    [
        "tests/mesos/test_pymesos_fence.py::test_an_interrupt_still_reaches_the_process_itself",  # of a child
        "tests/notebook/test_magics.py::test_an_interrupt_that_cannot_kill_says_why",  # of the tests' own process
    ],
)
def test_interrupts_arrive_where_the_shell_ignores_them(test: str, tmp_path: Path) -> None:
    ignoring = "trap '' INT QUIT; exec \"$@\""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-cov",
        "--timeout",
        "40",
        test,
    ]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))
    }
    done = subprocess.run(
        ["bash", "-c", ignoring, "bash", *command],
        cwd=conftest.REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 passed" in done.stdout
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
