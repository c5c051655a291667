"""A container engine of a test's own: podman with its storage, networks and settings under a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.conftest import copy_checkout
from tests.packaging.debian import debian

PROGRAMS = ("podman", "runc")
PACKAGES = "podman runc netavark aardvark-dns iptables debootstrap"

#: A Debian of one's own stands in for public images.
BASE, IMAGE = "localhost/t2-base:latest", "localhost/t2notebook:latest"

#: A folder whose images are kept between runs, those of an older checkout, too; none are without it.
KEPT = os.environ.get("T2_TEST_CONTAINERS")

SETTINGS = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""


class Engine:
    """Podman; whatever it makes lies under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "networks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(SETTINGS.format(folder=folder))
        # So that podman-compose, too, finds this one.
        wrapper = folder / "bin" / "podman"
        real = shutil.which("podman")
        wrapper.write_text(f'#!/bin/sh\nexec {real} --root {folder}/root --runroot {folder}/run "$@"\n')
        wrapper.chmod(0o755)
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "T2_IMAGE": IMAGE,
        }

    def run(self, *command: str | Path, timeout: float = 120, check: bool = True, **more: object) -> str:
        """Run a command among whose programs `podman` is this engine; return what it printed."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**self.environment, **{name: str(value) for name, value in more.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}"
        return done.stdout

    def close(self) -> None:
        """End all containers, and remove everything but images that are kept."""
        self.run("podman", "rm", "--force", "--all", "--time", "0", check=False)
        if KEPT is None:
            subprocess.run(["umount", "--quiet", self.folder / "root" / "overlay"], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)

    def has(self, image: str) -> bool:
        """Tell whether there is such an image."""
        return image in self.run("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").split()


def pip_secrets(folder: Path) -> list[str]:
    """Return the build's options that hand pip's index and authority on, if any are set up here."""
    options = []
    lines = []
    for name in ("index-url", "trusted-host", "timeout"):
        command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}") or found.stdout.strip()
        lines += [f"{name} = {value}"] if value else []
    if lines:
        (folder / "pip.conf").write_text("[global]\n" + "\n".join(lines) + "\n")
        options += ["--secret", f"id=pip.conf,src={folder / 'pip.conf'}"]
    authority = next(
        filter(None, map(os.environ.get, ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"))), ""
    )
    if authority and Path(authority).is_file():
        options += ["--secret", f"id=pip.pem,src={authority}"]
    return options


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Return an engine; skip, saying why, where no container can run."""
    if os.getuid() != 0:
        pytest.skip("containers with networks of their own need root here")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} not on PATH (apt install {PACKAGES})")
    archive = debian("bookworm", "default-jre-headless", "zookeeper")
    engine = Engine(
        Path(KEPT or tempfile.mkdtemp(prefix="t2c-", dir="/var/tmp"))
    )  # overlays want a real disk
    try:
        if not engine.has(BASE):
            engine.run("podman", "import", archive, BASE, timeout=600)
        tried = engine.run("podman", "run", "--rm", BASE, "true", check=False)
        if tried.strip():
            pytest.skip(f"no container can run here: {tried.strip()[-300:]}")
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the image of binder/mesos/Dockerfile, made on the local base."""
    if engine.has(IMAGE):
        return IMAGE
    folder = tmp_path_factory.mktemp("image")
    context = copy_checkout(folder / "checkout")
    command = ["podman", "build", "--network=host", "--build-arg", f"BASE={BASE}", *pip_secrets(folder)]
    engine.run(*command, "-t", IMAGE, "-f", context / "binder/mesos/Dockerfile", context, timeout=900)
    return IMAGE
