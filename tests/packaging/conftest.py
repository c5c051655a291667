"""Fixtures of the packaging tests: a clean copy of the repository, and the CPythons of this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MINORS = (11, 12, 13, 14)


@functools.cache
def find_python(minor: int) -> str | None:
    """Return a CPython 3.`minor` that can make a venv, from PATH, pyenv or uv; None when there is none."""
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [sys.executable, shutil.which(name)]
    candidates += sorted(map(str, pyenv.glob(f"versions/3.{minor}.*/bin/{name}")), reverse=True)
    if uv := shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"):
        command = [uv, "python", "find", "--no-python-downloads", "--system", f"3.{minor}"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        candidates.append(found.stdout.strip())
    probe = f"import sys, venv, ensurepip; assert sys.version_info[:2] == (3, {minor})"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", probe], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def copy_checkout(target: Path) -> Path:
    """Copy what a clone of the repository would have (tracked and new files, nothing ignored) to `target`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        source, copy = REPOSITORY / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    return target


def output_of(*command: str | Path, **options: object) -> str:
    """Run `command` and return what it printed; a failure shows its output in the assertion."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}"
    return str(done.stdout)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a clean copy of the repository, without pymesos."""
    return copy_checkout(tmp_path / "checkout")
