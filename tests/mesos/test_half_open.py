"""A network that swallows packets: nobody closes anything, and the driver finds out by itself.

The master is in a network namespace of its own; its end of the cable is pulled.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2notebook.mesos import call_queue, transport
from t2notebook.mesos import driver as driver_module
from tests.mesos.fakes import Recorder, a_driver, until

ROOT = Path(__file__).resolve().parents[2]
NAME = f"t2h{os.getpid() % 100000}"
#: 198.18.0.0/15 is for tests of networks (RFC 2544).
OURS, THEIRS = "198.18.77.1", "198.18.77.2"

MASTER = f"""
    import asyncio, json
    from tests.mesos.fakes import HEARTBEAT, SUBSCRIBED, FakeMaster, record

    async def beat(handler):
        subscribed = {{**SUBSCRIBED["subscribed"], "heartbeat_interval_seconds": 0.2}}
        handler.write(record({{"type": "SUBSCRIBED", "subscribed": subscribed}}))
        while True:
            await handler.flush()
            await asyncio.sleep(0.2)
            handler.write(record(HEARTBEAT))

    async def main():
        master = FakeMaster({THEIRS!r})
        master.script = [beat]
        print(master.port, flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def obstacle() -> str:
    if shutil.which("ip") is None:
        return "no ip (Debian's iproute2) here"
    try:
        ip("netns", "add", f"{NAME}p")
        ip("-n", f"{NAME}p", "link", "show")  # it enters the namespace, which a chroot may refuse
        ip("link", "add", f"{NAME}p", "type", "veth", "peer", "name", f"{NAME}q")
    except subprocess.CalledProcessError as error:
        return f"no network namespaces for us here: {error.stderr.decode().strip()}"
    finally:
        for kind in ("link", "netns"):
            subprocess.run(["ip", kind, "del", f"{NAME}p"], capture_output=True)
    return ""


@pytest.fixture
def cable() -> Iterator[str]:
    """A namespace at the other end of a cable."""
    if reason := obstacle():
        pytest.skip(reason)
    try:
        ip("netns", "add", NAME)
        ip("link", "add", NAME, "type", "veth", "peer", "name", "eth0", "netns", NAME)
        ip("address", "add", f"{OURS}/30", "dev", NAME)
        ip("link", "set", NAME, "up")
        ip("-n", NAME, "address", "add", f"{THEIRS}/30", "dev", "eth0")
        ip("-n", NAME, "link", "set", "eth0", "up")
        yield NAME
    finally:
        subprocess.run(["ip", "netns", "del", NAME], capture_output=True)
        subprocess.run(["ip", "link", "del", NAME], capture_output=True)


def test_a_pulled_cable(cable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.05)
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(call_queue, "CALL_TIMEOUT", 0.3)
    command = ["ip", "netns", "exec", cable, sys.executable, "-c", textwrap.dedent(MASTER)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        try:
            assert process.stdout is not None
            asyncio.run(scenario(cable, int(process.stdout.readline())))
        finally:
            process.kill()


async def scenario(cable: str, port: int) -> None:
    recorder = Recorder()
    driver = a_driver(recorder, f"{THEIRS}:{port}")
    driver.start()
    await until(lambda: driver.connected)
    assert recorder.told[0][3] == OURS
    driver.reviveOffers()
    await asyncio.sleep(0.5)
    assert driver.connected and recorder.names() == ["subscribed"], "heartbeats keep it"

    ip("-n", cable, "link", "set", "eth0", "down")
    pulled = time.monotonic()
    assert driver._subscription is not None and not driver._subscription.closed
    driver.kill("t")
    await until(lambda: "call_failed" in recorder.names())
    assert recorder.told[1][2] == "no answer in time"
    await until(lambda: "disconnected" in recorder.names())
    assert time.monotonic() - pulled >= 0.75, "five intervals of silence, not a closed connection, end it"
    why = next(told[1] for told in recorder.told if told[0] == "disconnected")
    assert why == f"{THEIRS}:{port}: nothing was heard of it for 1 s"
    await until(lambda: recorder.names().count("disconnected") >= 2)
    assert recorder.told[-1] == ("disconnected", f"{THEIRS}:{port}: no answer in time")

    ip("-n", cable, "link", "set", "eth0", "up")
    await until(lambda: driver.connected)
    assert [told[1] for told in recorder.told if told[0] == "subscribed"] == ["F", "F"]
    await driver.stop()
