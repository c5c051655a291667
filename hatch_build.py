"""Build hook: brings pymesos, pinned by hash, into `t2notebook/_vendor/pymesos`, and the lab extension into wheels.

pymesos cannot be a plain dependency: its own dependency http-parser compiles on no CPython from 3.11 on.
So its sdist is downloaded by pip, checked and unpacked here, before hatchling collects the files. The folder
is git-ignored, named in `artifacts`, and carried by the sdist and by the wheel; a copy whose stamp holds is
left alone, so an sdist builds without a network.

The lab extension is committed as it was built (`labextension/dist`), so that nobody needs Node.js; a checkout without
it is refused, since hatchling itself passes over a folder that is not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, where the atomic rename alone has to do
    fcntl = None  # type: ignore[assignment]

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "pymesos"
VERSION = "0.3.15"
SDIST_SHA256 = "ee8d5ac0664467fcc70bb5a639d1520547523c80f0e83e73f689778f46a846de"
STAMP = ".stamp.json"

#: `fetch(folder)` puts the pinned sdist into `folder` and returns its path.
Fetch = Callable[[Path], Path]


class VendorError(Exception):
    """The copy could not be made; the message is one line that says what to do."""


class VendorPymesos(BuildHookInterface[Any]):
    """Runs for sdist, wheel and editable builds alike."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make sure that the copy is there before the files are collected."""
        try:
            vendor(Path(self.root) / "t2notebook" / "_vendor")
            if "shared_data" in build_data:  # only wheels have it, those of editable installs included
                build_data["shared_data"].update(shared_data(Path(self.root)))
        except VendorError as error:
            raise SystemExit(f"t2notebook: {error}") from None


def shared_data(root: Path) -> dict[str, str]:
    """Return what an environment's ``share/`` and ``etc/`` get: the lab extension, and that the server has ours, too.

    Raises
    ------
    VendorError
        When the lab extension is not there.
    """
    built = root / "labextension" / "dist"
    if not (built / "package.json").is_file():
        raise VendorError(
            f"{built} is not there; git restores it, and with Node.js make labextension builds it"
        )
    target = "share/jupyter/labextensions/t2notebook"
    return {
        str(built): target,
        str(root / "labextension" / "install.json"): f"{target}/install.json",
        str(
            root / "jupyter-config" / "t2notebook.json"
        ): "etc/jupyter/jupyter_server_config.d/t2notebook.json",
    }


def vendor(folder: Path, fetch: Fetch | None = None) -> bool:
    """Bring `folder`/pymesos about; return whether anything had to be done.

    Parameters
    ----------
    folder : Path
        The package's `_vendor` folder.
    fetch : callable, optional
        Brings the sdist; by default pip does (`download`).

    Raises
    ------
    VendorError
        When the sdist cannot be had, is not the pinned one, or the folder cannot be written.
    """
    target = folder / NAME
    if is_current(target):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            if is_current(target):  # another build made it while this one waited
                return False
            with tempfile.TemporaryDirectory(prefix=".pymesos-", dir=folder) as scratch:
                sdist = (fetch or download)(Path(scratch))
                fresh = unpack(sdist, Path(scratch) / "fresh")
                if target.exists():
                    target.rename(Path(scratch) / "stale")
                fresh.rename(target)
    except OSError as error:
        raise VendorError(f"cannot write {folder}: {error.strerror or error}") from error
    return True


def is_current(target: Path) -> bool:
    """Whether `target` holds exactly the files that the pinned sdist gave it."""
    try:
        stamp = json.loads((target / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp == {"sdist_sha256": SDIST_SHA256, "tree_sha256": tree_hash(target)})


def tree_hash(target: Path) -> str:
    """sha256 over the names and contents of the Python files under `target`."""
    digest = hashlib.sha256()
    for path in sorted(target.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(target).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def download(folder: Path) -> Path:
    """Let pip download the pinned sdist into `folder`: so pip's configuration and `PIP_*` hold here too."""
    pin = folder / "pin.txt"
    pin.write_text(f"{NAME}=={VERSION} --hash=sha256:{SDIST_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--no-binary", NAME, "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(pin)]
    # A constraint file is for the environment being installed into; without hashes it would be refused here.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    sdist = folder / f"{NAME}-{VERSION}.tar.gz"
    if done.returncode or not sdist.exists():
        lines = (done.stdout + done.stderr).splitlines()
        said = next((line for line in reversed(lines) if line.startswith("ERROR")), " ".join(lines[-1:]))
        raise VendorError(
            f"could not download {NAME} {VERSION} ({said}). A build from git needs a package index once: set "
            "PIP_INDEX_URL, PIP_PROXY or PIP_FIND_LINKS (flags of the outer pip or uv do not get here), or "
            "install from t2notebook's sdist or wheel, which carry it."
        )
    return sdist


def unpack(sdist: Path, fresh: Path) -> Path:
    """Unpack the package folder of `sdist` into `fresh`, with its stamp; the sdist must be the pinned one."""
    got = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if got != SDIST_SHA256:
        raise VendorError(f"{sdist.name} is not the pinned one: sha256 {got}, expected {SDIST_SHA256}")
    prefix = f"{NAME}-{VERSION}/{NAME}/"
    with tarfile.open(sdist) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(prefix) and member.name.endswith(".py"):
                content = archive.extractfile(member)
                assert content is not None
                path = fresh / member.name.removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    stamp = {"sdist_sha256": SDIST_SHA256, "tree_sha256": tree_hash(fresh)}
    (fresh / STAMP).write_text(json.dumps(stamp) + "\n")
    return fresh


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `path` against other builds of the same tree; the lock goes with the process."""
    with path.open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
