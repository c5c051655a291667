"""The build hook: what it downloads, when it leaves the copy alone, and what it says when it cannot."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]

FILES = {
    "pymesos-0.3.15/setup.py": b"raise SystemExit('never run')",
    "pymesos-0.3.15/pymesos/__init__.py": b"__VERSION__ = '0.3.15'\n",
    "pymesos-0.3.15/pymesos/process.py": b"import os\n",
    "pymesos-0.3.15/pymesos/subprocess/popen.py": b"import sys\n",
    "pymesos-0.3.15/pymesos.egg-info/PKG-INFO": b"Name: pymesos\n",
}


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("t2notebook_hatch_build", REPOSITORY / "hatch_build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakeIndex:
    """An index that has one small sdist, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in FILES.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("pymesos-0.3.15/pymesos/evil.py")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        self.sdist = buffer.getvalue()
        self.sha256 = hashlib.sha256(self.sdist).hexdigest()

    def fetch(self, folder: Path) -> Path:
        self.asked += 1
        path = folder / "pymesos-0.3.15.tar.gz"
        path.write_bytes(self.sdist)
        return path


@pytest.fixture
def index(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    index = FakeIndex()
    monkeypatch.setattr(hook, "SDIST_SHA256", index.sha256)
    return index


def test_the_first_build_unpacks_the_package_and_nothing_else(
    hook: ModuleType, index: FakeIndex, tmp_path: Path
) -> None:
    assert hook.vendor(tmp_path, index.fetch) is True
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir()}
    package = {name.removeprefix("pymesos-0.3.15/") for name in FILES if "/pymesos/" in name}
    assert names == package | {"pymesos/.stamp.json", ".lock"}
    assert json.loads((tmp_path / "pymesos/.stamp.json").read_text())["sdist_sha256"] == index.sha256


def test_a_second_build_asks_nobody(hook: ModuleType, index: FakeIndex, tmp_path: Path) -> None:
    hook.vendor(tmp_path, index.fetch)
    (tmp_path / "pymesos/__pycache__").mkdir()  # running it leaves these
    (tmp_path / "pymesos/__pycache__/process.cpython-313.pyc").write_bytes(b"x")
    (tmp_path / ".lock").unlink()
    assert hook.vendor(tmp_path, index.fetch) is False
    assert index.asked == 1
    assert not (tmp_path / ".lock").exists()  # so a copy in a read-only folder will do


@pytest.mark.parametrize("spoil", ["changed", "missing", "added", "stamp", "no stamp", "other pin"])
def test_a_copy_that_is_not_the_pinned_one_is_made_again(
    spoil: str, hook: ModuleType, index: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.vendor(tmp_path, index.fetch)
    package = tmp_path / "pymesos"
    if spoil == "changed":
        (package / "process.py").write_text("import signal\n")
    elif spoil == "missing":
        (package / "process.py").unlink()
    elif spoil == "added":
        (package / "more.py").write_text("")
    elif spoil == "stamp":
        (package / ".stamp.json").write_text("{")
    elif spoil == "no stamp":
        (package / ".stamp.json").unlink()
    else:
        stamp = json.loads((package / ".stamp.json").read_text())
        (package / ".stamp.json").write_text(json.dumps(stamp | {"sdist_sha256": "0" * 64}))
    assert hook.vendor(tmp_path, index.fetch) is True
    assert (package / "process.py").read_bytes() == b"import os\n"
    assert not (package / "more.py").exists()
    assert hook.is_current(package)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".pymesos")] == []


def test_another_sdist_is_refused_and_the_old_copy_stays(
    hook: ModuleType, index: FakeIndex, tmp_path: Path
) -> None:
    hook.vendor(tmp_path, index.fetch)
    (tmp_path / "pymesos/.stamp.json").unlink()
    index.sdist += b"\0"
    with pytest.raises(hook.VendorError, match="is not the pinned one"):
        hook.vendor(tmp_path, index.fetch)
    assert (tmp_path / "pymesos/process.py").exists()


def test_concurrent_builds_download_once(hook: ModuleType, index: FakeIndex, tmp_path: Path) -> None:
    gate, done, broken = threading.Barrier(6), [], []

    def build() -> None:
        gate.wait()
        try:
            done.append(hook.vendor(tmp_path, index.fetch))
        except Exception as error:  # shown by the assertion below
            broken.append(error)

    threads = [threading.Thread(target=build) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert sorted(done) == [False] * 5 + [True]
    assert index.asked == 1


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    hook: ModuleType, index: FakeIndex, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(hook.VendorError, match=r"cannot write .*file.*: \w+"):
        hook.vendor(tmp_path / "file" / "_vendor", index.fetch)


def test_a_failed_download_is_one_clear_line(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    builder = object.__new__(hook.VendorPymesos)
    monkeypatch.setattr(hook.VendorPymesos, "root", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        builder.initialize("standard", {})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        "t2notebook: could not download pymesos 0.3.15 (ERROR: No matching distribution"
    )
    assert "PIP_INDEX_URL" in message
    assert list((tmp_path / "t2notebook/_vendor").iterdir()) == [tmp_path / "t2notebook/_vendor/.lock"]


def test_the_pip_call_is_pinned_and_hashed(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the pinned bytes may come, and no compiler or dependency with them."""
    calls = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append((command, env, Path(command[-1]).read_text()))
        (tmp_path / "pymesos-0.3.15.tar.gz").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("PIP_CONSTRAINT", "constraints.txt")
    monkeypatch.setattr(subprocess, "run", run)
    assert hook.download(tmp_path) == tmp_path / "pymesos-0.3.15.tar.gz"
    [(command, environment, pin)] = calls
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps", "--no-binary", "--no-build-isolation"} < set(command)
    assert pin == f"pymesos==0.3.15 --hash=sha256:{hook.SDIST_SHA256}\n"
    assert "PIP_CONSTRAINT" not in environment


def test_the_copy_in_use_is_the_pinned_one(hook: ModuleType) -> None:
    assert hook.is_current(REPOSITORY / "t2notebook" / "_vendor" / "pymesos")
