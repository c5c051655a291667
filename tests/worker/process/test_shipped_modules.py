"""Content of a job package that becomes files, modules and lines of tracebacks."""

from __future__ import annotations

import importlib
import importlib.resources
import io
import json
import linecache
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.protocol.archive import Archive, ArchiveError, write
from t2notebook.worker.process import shipped_modules
from t2notebook.worker.process.remote_traceback import format_traceback

SHIPPED = {
    "modules/t2x_helper.py": "# -*- coding: latin-1 -*-\ndef fail():\n    raise ValueError('\xe9')\n".encode(
        "latin-1"
    ),
    "modules/t2x_pkg/__init__.py": b"from .sub import VALUE\n",
    "modules/t2x_pkg/sub.py": b"VALUE = 7\n",
    "modules/t2x_pkg/inner/__init__.py": b"",
    "modules/t2x_pkg/inner/leaf.py": b"from .. import VALUE\n",
    "modules/t2x_space/only.py": b"HERE = True\n",
    "modules/colorsys.py": b"SHIPPED = True\n",
    "modules/t2x_where.py": b"WHERE = __file__\n",
    "modules/t2x_pkg/data/a.txt": b"data",
    "modules/t2x_wrong.py": b"def f(:\n",
    "files/table.csv": b"a,b\n",
    "files/deep/er/run.sh": b"#!/bin/sh\necho ran\n",
    "files/empty": b"",
    "sources.json": json.dumps({"<cell t2x>": "a = 1\nb = 2\n"}).encode(),
}


def archive(members: dict[str, bytes], **facts: Any) -> Archive:
    target = io.BytesIO()
    write(target, list(members.items()), facts)
    return Archive(target.getvalue())


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a worker to which everything above has travelled."""
    import colorsys

    for name in ("path", "meta_path"):
        monkeypatch.setattr(sys, name, list(getattr(sys, name)))
    monkeypatch.setattr(shipped_modules, "_root", "")
    monkeypatch.setenv("PYTHONPATH", "/another")
    known = set(sys.modules)
    shipped_modules.install(archive(SHIPPED, executable=["files/deep/er/run.sh"]), str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]
    sys.modules["colorsys"] = colorsys


def test_modules_and_packages(shipped: Path) -> None:
    package = importlib.import_module("t2x_pkg")
    assert package.VALUE == 7
    assert importlib.import_module("t2x_pkg.inner.leaf").VALUE == 7
    assert importlib.import_module("t2x_space.only").HERE
    assert importlib.resources.files("t2x_pkg").joinpath("data/a.txt").read_text() == "data"


def test_shipped_modules_are_files(shipped: Path) -> None:
    path = Path(importlib.import_module("t2x_where").WHERE)
    assert path == shipped / ".modules" / "t2x_where.py" and path.is_file()
    assert shipped_modules.shown(str(path)) == "t2x_where.py"
    assert shipped_modules.shown("/elsewhere.py") == "/elsewhere.py"


def test_shipped_modules_come_first(shipped: Path) -> None:
    assert importlib.import_module("colorsys").SHIPPED


def test_a_second_archive_changes_only_what_is_other_in_it(shipped: Path) -> None:
    package, where = importlib.import_module("t2x_pkg"), importlib.import_module("t2x_where")
    shipped_modules.install(archive(SHIPPED), str(shipped))
    assert importlib.import_module("t2x_pkg") is package
    later = {**SHIPPED, "modules/t2x_pkg/sub.py": b"VALUE = 8  # newer\n", "modules/t2x_new.py": b"NEW = 1\n"}
    shipped_modules.install(archive(later), str(shipped))
    assert importlib.import_module("t2x_pkg").VALUE == 8
    assert importlib.import_module("t2x_new").NEW == 1
    assert importlib.import_module("t2x_where") is where
    assert sys.path.count(str(shipped / ".modules")) == 1


def test_others_are_left_to_others(shipped: Path) -> None:
    assert importlib.import_module("json") is json
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("t2x_pkg.absent")


def test_started_processes_find_them(shipped: Path) -> None:
    command = [sys.executable, "-c", "import t2x_pkg, os; print(t2x_pkg.VALUE, os.environ['PYTHONPATH'])"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", f"{shipped}/.modules{os.pathsep}/another"]


def test_files_lie_in_the_workers_directory(shipped: Path) -> None:
    assert (shipped / "table.csv").read_bytes() == b"a,b\n"
    assert (shipped / "empty").read_bytes() == b""
    assert subprocess.check_output([shipped / "deep/er/run.sh"]) == b"ran\n"
    assert not stat.S_IMODE((shipped / "table.csv").stat().st_mode) & 0o111


def test_tracebacks_show_lines(shipped: Path) -> None:
    helper = importlib.import_module("t2x_helper")
    with pytest.raises(ValueError) as info:
        helper.fail()
    text = format_traceback(info.value)
    assert 'File "t2x_helper.py", line 3, in fail\n    raise ValueError(' in text
    with pytest.raises(SyntaxError) as wrong:
        importlib.import_module("t2x_wrong")
    assert 'File "t2x_wrong.py", line 1\n    def f(:\n' in format_traceback(wrong.value)
    linecache.checkcache()
    assert linecache.getline("<cell t2x>", 2) == "b = 2\n"


@pytest.mark.parametrize("member", ["files/../out", "files/", "modules/a/../../../out.py", "files//../out"])
def test_nothing_is_written_outside(member: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(ArchiveError, match="no path below a directory"):
        shipped_modules.install(archive({member: b"x"}), str(inner))
    assert list(tmp_path.iterdir()) == [inner]


def test_an_absolute_member_stays_inside(tmp_path: Path) -> None:
    shipped_modules.install(archive({"files//etc/x": b"x"}), str(tmp_path))
    assert (tmp_path / "etc" / "x").read_bytes() == b"x"


def test_a_disk_that_takes_no_file_is_no_fault_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where a folder is needed")
    with pytest.raises(
        shipped_modules.NoPlace, match=r"^deep/er/run.sh of the job cannot be written to the sandbox on \S+: "
    ):
        shipped_modules.install(archive({"files/deep/er/run.sh": b"x"}), str(tmp_path))
