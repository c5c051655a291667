"""The committed lab extension is what its sources give, in whatever folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import REPOSITORY, copy_checkout

LABEXTENSION = REPOSITORY / "labextension"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no Node.js here")
@pytest.mark.skipif(not (LABEXTENSION / "node_modules").is_dir(), reason="make labextension was not run")
@pytest.mark.parametrize("name", ["a", "a-folder-with-a-longer-name"])
def test_the_committed_build_is_what_the_sources_give_in_any_folder(tmp_path: Path, name: str) -> None:
    checkout = copy_checkout(tmp_path / name)
    shutil.rmtree(checkout / "labextension" / "dist")
    (checkout / "labextension" / "node_modules").symlink_to(LABEXTENSION / "node_modules")
    (checkout / ".venv").symlink_to(REPOSITORY / ".venv")
    done = subprocess.run([checkout / "tools/labextension", "build"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(checkout / "labextension" / "dist") == contents(LABEXTENSION / "dist")


def test_without_node_one_line_says_so(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    (tmp_path / "bin").mkdir()
    for command in ("bash", "dirname", "printf", "env"):
        if found := shutil.which(command):
            (tmp_path / "bin" / command).symlink_to(found)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    for more, code in (({}, 0), ({"CI": "true"}, 1)):
        done = subprocess.run(
            [checkout / "tools/labextension", "test"],
            env=environment | {"PATH": str(tmp_path / "bin")} | more,
            capture_output=True,
            text=True,
        )
        [line] = done.stderr.splitlines()
        assert done.returncode == code and line.startswith("t2notebook: there is no Node.js here")
