"""A ZooKeeper of one's own, from Debian's packages."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

JARS = Path("/usr/share/java")
NEEDED = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "netty-all", "metrics-core", "snappy-java")


def absent() -> str | None:
    """Say what is missing, if something is."""
    if shutil.which("java") is None:
        return "no java here (tools/setup-debian installs it)"
    if not (JARS / "zookeeper.jar").exists():
        return "no ZooKeeper here (tools/setup-debian installs it)"
    return None


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as client:
        client.sendall(b"ruok")
        return client.recv(4) == b"imok"
    return False


@contextlib.contextmanager
def zookeeper(directory: Path, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Run one, on a port of one's own or a free one; gives "host:port". Sessions may be as short as 0.4 s."""
    if not port:
        with socket.socket() as free:
            free.bind((host, 0))
            port = free.getsockname()[1]
    settings = f"tickTime=200\ndataDir={directory}/data\nclientPort={port}\nclientPortAddress={host}\n"
    settings += "admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\nfsync.warningthresholdms=10000\n"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "zoo.cfg").write_text(settings)
    path = ":".join(str(JARS / f"{name}.jar") for name in NEEDED)
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dzookeeper.forceSync=no"]
    command += ["-cp", path, "org.apache.zookeeper.server.ZooKeeperServerMain", str(directory / "zoo.cfg")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not _answers(host, port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"ZooKeeper did not start: {(directory / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield f"{host}:{port}"
    finally:
        process.kill()
        process.wait()
