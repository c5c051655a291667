"""Folders with a Debian of one's own, made by debootstrap once and kept where they harm nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "t2notebook-tests"
NICE = ("nice", "-n", "10")


def debian(suite: str, *more: str) -> Path:
    """Return an archive (tar) of a Debian with Python and its venv, and `more` packages; skip where none can be made.

    Parameters
    ----------
    suite
        A release's name, or "testing".
    """
    archive = CACHE / f"{suite}.tar"
    if archive.exists():
        return archive
    if os.getuid() != 0:
        pytest.skip("debootstrap needs root")
    if shutil.which("debootstrap") is None:
        pytest.skip("no Debian can be made here (apt install debootstrap)")
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / suite
    packages = "--include=python3,python3-venv,ca-certificates,procps"
    command = [*NICE, "debootstrap", "--variant=minbase", packages, suite, str(folder)]
    if subprocess.run(command, check=False).returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"debootstrap cannot make a Debian {suite} here; its log stands above")
    if more:
        # Java's installation looks into /proc; the mount ends with the shell's name space.
        chroot = f"chroot {folder} apt-get install -y --no-install-recommends {' '.join(more)}"
        install = f"mount -t proc proc {folder}/proc && DEBIAN_FRONTEND=noninteractive {chroot}"
        subprocess.run([*NICE, "unshare", "--mount", "sh", "-c", install], check=True)
    shutil.rmtree(folder / "var/cache/apt", ignore_errors=True)
    subprocess.run([*NICE, "tar", "-C", folder, "-cf", f"{archive}.part", "."], check=True)
    os.replace(f"{archive}.part", archive)
    shutil.rmtree(folder)
    return archive
