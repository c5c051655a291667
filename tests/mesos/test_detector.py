"""Detection of the leading master: texts of masters of themselves, and a real ZooKeeper with real (embedded) ones."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.mesos import detector as masters_module
from t2notebook.mesos import driver as driver_module
from t2notebook.mesos import transport
from t2notebook.mesos.detector import StandaloneMasterDetector, ZooKeeperMasterDetector, find, master_address
from t2notebook.mesos.driver import Driver
from t2notebook.model.address import Address
from tests.localmesos.client import request
from tests.localmesos.traces import TRACES
from tests.localmesos.zookeeper import absent, zookeeper
from tests.mesos.fakes import SUBSCRIBED, FakeMaster, Recorder, a_driver, answer, stream, until

needs_zookeeper = pytest.mark.skipif(absent() is not None, reason=absent() or "")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.05)
    monkeypatch.setattr(masters_module, "PATIENCE", 0.3)
    monkeypatch.setattr(masters_module, "ASK_AGAIN", 0.1)


# What a master writes of itself.


def test_what_a_real_master_writes() -> None:
    recorded = json.loads((TRACES / "zk/znodes-three-masters.json").read_text())
    data = recorded["json.info_0000000001"]["data_latin1"].encode("latin1")
    assert master_address(data, tls=False) == Address("127.0.0.1", 5170)


@pytest.mark.parametrize(
    ("info", "tls", "address"),
    [
        ({"address": {"ip": "10.0.0.1", "port": 5050, "hostname": "m1"}}, False, Address("10.0.0.1", 5050)),
        (
            {"address": {"ip": "10.0.0.1", "port": 5051, "hostname": "m1"}},
            True,
            Address("10.0.0.1", 5051, True, "m1"),
        ),
        ({"hostname": "m1", "ip": 16777226, "port": 5050}, False, Address("m1", 5050)),
        ({"address": {"ip": "::1", "port": 5050}}, True, Address("::1", 5050, True)),
    ],
)
def test_master_infos(info: dict[str, Any], tls: bool, address: Address) -> None:
    assert master_address(json.dumps(info).encode(), tls) == address


@pytest.mark.parametrize("data", [b"", b"\x0a\x24protobuf", b"[]", b"{}", b'{"address": 5}', b"\xff"])
def test_what_is_no_master_info(data: bytes) -> None:
    with pytest.raises(ValueError):
        master_address(data, tls=False)


def test_the_forms() -> None:
    assert str(find("h")) == "h:5050" and isinstance(find("h"), StandaloneMasterDetector)
    assert str(find("https://h")) == "https://h:5050"
    assert str(find("zk://a,b/m", "u:p")) == "zk://a:2181,b:2181/m"
    with pytest.raises(ValueError, match="is not a ZooKeeper"):
        find("zk://a")


# ZooKeeper.


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread is not threading.main_thread()}


@pytest.fixture(scope="module")
def quorum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as address:
        yield address


class Zoo:
    """A client to write what masters would."""

    def __init__(self, quorum: str, path: str, **options: Any) -> None:
        from kazoo.client import KazooClient

        self.client = KazooClient(quorum, timeout=2.0, **options)
        self.client.start()
        self.path = path

    def master(self, port: int, kind: str = "json.info_") -> str:
        info = {"address": {"ip": "127.0.0.1", "port": port, "hostname": "localhost"}}
        path = f"{self.path}/{kind}"
        return self.client.create(path, json.dumps(info).encode(), sequence=True, makepath=True)

    def close(self) -> None:
        self.client.delete(self.path, recursive=True)
        self.client.stop()
        self.client.close()


@pytest.fixture
def zoo(quorum: str, request: pytest.FixtureRequest) -> Iterator[Zoo]:
    zoo = Zoo(quorum, "/" + re.sub(r"\W", "_", request.node.name))
    yield zoo
    zoo.close()


def follow(quorum: str, path: str, scenario: Any, userinfo: str = "") -> None:
    """Run a scenario with who follows, and see that nothing of it stays."""
    before = threads()

    async def main() -> None:
        masters = find(f"zk://{quorum}{path}", userinfo)
        assert isinstance(masters, ZooKeeperMasterDetector)
        masters.listen(lambda: None)
        try:
            await scenario(masters)
        finally:
            await masters.stop()

    asyncio.run(main())
    assert threads() <= before


@needs_zookeeper
def test_the_lowest_node_of_a_master_leads(quorum: str, zoo: Zoo) -> None:
    """Stray nodes, the log's, and a number that is lower than all but no master's."""
    for name in ("log_replicas", "0", "json.info_x", "a_0000000000"):
        zoo.client.create(f"{zoo.path}/{name}", b"x", makepath=True)
    first, second = zoo.master(5001), zoo.master(5002)

    async def scenario(masters: ZooKeeperMasterDetector) -> None:
        async with asyncio.timeout(10):
            assert await masters.leader() == Address("127.0.0.1", 5001)
        assert masters.trouble == ""
        zoo.client.delete(first)
        await until(lambda: masters.current == Address("127.0.0.1", 5002))
        zoo.client.delete(second)
        await until(lambda: masters.current is None)
        assert masters.trouble == f"no Mesos master leads, says ZooKeeper at {quorum}"
        zoo.master(5003)
        await until(lambda: masters.current == Address("127.0.0.1", 5003))

    follow(quorum, zoo.path, scenario)


@needs_zookeeper
def test_a_path_that_comes_later_and_goes_and_comes(quorum: str, zoo: Zoo) -> None:
    """pymesos's detector ends where there is no path; and a number that comes again is the same master to it."""

    async def scenario(masters: ZooKeeperMasterDetector) -> None:
        await until(lambda: "yet" in masters.trouble)
        assert masters.trouble == f"no Mesos master has been at {zoo.path} of ZooKeeper at {quorum} yet"
        zoo.master(5001)
        await until(lambda: masters.current == Address("127.0.0.1", 5001))
        zoo.client.delete(zoo.path, recursive=True)
        await until(lambda: masters.current is None)
        zoo.master(5002)
        await until(lambda: masters.current == Address("127.0.0.1", 5002))

    follow(quorum, zoo.path, scenario)


@needs_zookeeper
def test_a_master_before_mesos_1(quorum: str, zoo: Zoo) -> None:
    zoo.client.create(f"{zoo.path}/info_0000000000", b"\x0a\x24protobuf", makepath=True)

    async def scenario(masters: ZooKeeperMasterDetector) -> None:
        await until(lambda: "Mesos 1.0" in masters.trouble)
        assert masters.current is None
        zoo.client.set(f"{zoo.path}/info_0000000000", b'{"hostname": "127.0.0.1", "port": 5001}')
        await until(lambda: masters.current == Address("127.0.0.1", 5001))

    follow(quorum, zoo.path, scenario)


@needs_zookeeper
def test_a_password(quorum: str, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> None:
    from kazoo.security import make_digest_acl

    caplog.set_level(logging.DEBUG)
    acl = [make_digest_acl("ada", "h:us/h@", all=True)]
    zoo = Zoo(quorum, "/guarded", default_acl=acl, auth_data=[("digest", "ada:h:us/h@")])
    zoo.master(5001)
    caplog.clear()

    async def refused(masters: ZooKeeperMasterDetector) -> None:
        await until(lambda: "does not let us" in masters.trouble)
        assert masters.trouble.startswith(
            f"ZooKeeper at {quorum} does not let us read /guarded; give user and password"
        )

    async def allowed(masters: ZooKeeperMasterDetector) -> None:
        await until(lambda: masters.current == Address("127.0.0.1", 5001))

    try:
        follow(quorum, zoo.path, refused)
        follow(quorum, zoo.path, refused, "ada:wr0ng")
        follow(quorum, zoo.path, allowed, "ada:h:us/h@")
    finally:
        zoo.close()
    assert "h:us" not in caplog.text and "wr0ng" not in caplog.text


def refusing_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_zookeeper_that_is_not_there() -> None:
    """pymesos: 15 s, then KazooTimeoutError, with the I/O thread alive."""
    port = refusing_port()

    async def scenario(masters: ZooKeeperMasterDetector) -> None:
        waiting = asyncio.create_task(masters.leader())
        await until(lambda: "does not answer" in masters.trouble)
        assert masters.trouble == f"ZooKeeper at 127.0.0.1:{port} does not answer"
        waiting.cancel()

    follow(f"127.0.0.1:{port}", "/m", scenario)


def test_a_zookeeper_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masters_module, "STOP_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def main() -> None:
            masters = find(f"zk://127.0.0.1:{silent.getsockname()[1]}/m")
            recorder = Recorder()
            driver = Driver(recorder, {"name": "x", "user": "x"}, masters)
            driver.start()
            await until(lambda: any("does not answer" in str(told) for told in recorder.told))
            assert set(recorder.names()) == {"disconnected"}
            # Whatever hangs there, hangs on a daemon thread.
            began = time.monotonic()
            await driver.stop()
            await masters.stop()
            assert time.monotonic() - began < masters_module.STOP_TIMEOUT + 5
            assert all(thread.daemon for thread in threading.enumerate() if thread.name == "t2-zookeeper")

        asyncio.run(main())


@needs_zookeeper
def test_a_zookeeper_that_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that goes: who is subscribed stays so."""
    # While it starts it may accept a connection and say nothing on it.
    monkeypatch.setattr(masters_module, "SESSION_TIMEOUT", 1.0)

    before = threads()

    async def scenario() -> None:
        master, recorder = FakeMaster(), Recorder()
        master.script = [stream(SUBSCRIBED)]
        port = refusing_port()
        driver = a_driver(recorder, f"zk://127.0.0.1:{port}/m")
        driver.start()
        await until(lambda: any("does not answer" in str(told) for told in recorder.told))
        running = zookeeper(tmp_path / "zk", port)
        await asyncio.to_thread(running.__enter__)
        zoo = await asyncio.to_thread(Zoo, f"127.0.0.1:{port}", "/m")
        await asyncio.to_thread(zoo.master, master.port)
        await until(lambda: driver.connected, timeout=20)
        assert driver.leader == master.address
        await asyncio.to_thread(zoo.client.stop)
        zoo.client.close()
        told = len(recorder.told)
        await asyncio.to_thread(running.__exit__, None, None, None)
        await asyncio.sleep(0.6)
        assert driver.connected
        assert recorder.told[told:] == []
        await driver.stop()
        await master.close()

    asyncio.run(scenario())
    assert {name for name in threads() if not name.startswith("asyncio_")} <= before


def follower_of(cluster: LocalMesos) -> str:
    """The master that sends us to the other."""
    for _ in range(500):
        for master, other in (cluster.masters, cluster.masters[::-1]):
            try:
                if request(master, "GET", "/redirect").header("Location") == f"//{other}":
                    return master
            except (OSError, AssertionError):
                pass
        time.sleep(0.02)
    raise AssertionError("nobody leads")


@needs_zookeeper
@pytest.mark.parametrize("way", ["zookeeper", "a master that does not lead"])
def test_the_driver_goes_with_the_leader(quorum: str, way: str) -> None:
    """Two masters; the leader is killed; the same framework is at the other."""

    async def scenario(cluster: LocalMesos, uri: str) -> None:
        recorder = Recorder()
        if way != "zookeeper":
            uri = await asyncio.to_thread(follower_of, cluster)
        driver = a_driver(recorder, uri)
        driver.start()
        await until(lambda: driver.connected)
        first, framework_id = driver.leader, driver.framework_id
        assert first in cluster.masters
        pid = cluster.pids["master" if first == cluster.masters[0] else "master2"]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: driver.connected and driver.leader != first, timeout=20)
        assert driver.leader in cluster.masters
        ids = [arguments[0] for name, *arguments in recorder.told if name == "subscribed"]
        assert ids == [framework_id, framework_id]
        await until(lambda: "offers" in recorder.names())
        await driver.stop(teardown=True)

    before = threads()
    uri = f"zk://{quorum}/goes{len(way)}"
    with LocalMesos(agents=1, masters=2, zk=uri, zk_session_timeout=1.0) as cluster:
        asyncio.run(scenario(cluster, uri))
    assert threads() <= before


class Told:
    """Masters of whom the test says who leads."""

    def __init__(self, port: int) -> None:
        self.callbacks: list[Any] = []
        self.trouble = ""
        self.current: Address | None = Address("127.0.0.1", port)

    async def leader(self) -> Address:
        while self.current is None:
            await asyncio.sleep(0.01)
        return self.current

    def listen(self, callback: Any) -> Any:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    async def stop(self) -> None:
        raise AssertionError("they are the giver's to stop")

    def tell(self, port: int | None, trouble: str = "") -> None:
        self.current = Address("127.0.0.1", port) if port else None
        self.trouble = trouble
        for callback in self.callbacks:
            callback()


def at_told(scenario: Any) -> None:
    async def main() -> None:
        first, second, recorder = FakeMaster(), FakeMaster(), Recorder()
        first.script = second.script = [stream(SUBSCRIBED)]
        masters = Told(first.port)
        driver = a_driver(recorder, masters)
        try:
            await scenario(masters, driver, recorder, first, second)
        finally:
            await driver.stop()
            assert masters.callbacks == []
            for master in (first, second):
                await master.close()

    asyncio.run(main())


def test_trouble_with_zookeeper_is_no_reason_to_leave_a_master() -> None:
    """Not even one that ZooKeeper has not named: it may be behind, and the master that it names sent us here."""

    async def scenario(masters: Told, driver: Driver, recorder: Recorder, first: Any, second: Any) -> None:
        first.script = [answer(307, Location=f"//{second.address}/master/api/v1/scheduler")]
        driver.start()
        await until(lambda: driver.connected)
        masters.tell(first.port)
        masters.tell(first.port, "ZooKeeper does not answer")
        masters.tell(first.port)
        masters.tell(None, "no Mesos master leads")
        await asyncio.sleep(0.1)
        assert driver.connected and recorder.names() == ["subscribed"]
        assert driver.leader == second.address

    at_told(scenario)


def test_a_leader_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 10 s to learn that a machine without power does not answer, and another leads after 2."""
    connect = transport.Connection.open

    async def scenario(masters: Told, driver: Driver, recorder: Recorder, first: Any, second: Any) -> None:
        async def open_other(address: Address, access: Any) -> Any:
            if address.port == first.port:
                await asyncio.sleep(60)
            return await connect(address, access)

        monkeypatch.setattr(transport.Connection, "open", open_other)
        driver.start()
        await asyncio.sleep(0.1)
        assert recorder.told == []
        masters.tell(second.port)
        await until(lambda: driver.connected)
        assert driver.leader == second.address

    at_told(scenario)


def test_while_nobody_leads_the_driver_says_so_and_waits() -> None:
    async def scenario(masters: Told, driver: Driver, recorder: Recorder, first: Any, second: Any) -> None:
        driver.start()
        await until(lambda: driver.connected)
        masters.tell(None, "no Mesos master leads, says ZooKeeper")
        assert driver.connected, "it may live on"
        await first.server.close_all_connections()
        await until(lambda: recorder.told[-1] == ("disconnected", "no Mesos master leads, says ZooKeeper"))
        await asyncio.sleep(0.2)
        assert len(first.subscriptions) == 1
        masters.tell(first.port)
        await until(lambda: driver.connected)

    at_told(scenario)


@needs_zookeeper
def test_a_leader_that_hangs_is_left_when_another_leads(quorum: str, zoo: Zoo) -> None:
    """Its stream is open and silent, and the watchdog would need 75 s."""

    async def scenario(uri: str) -> None:
        old, new, recorder = FakeMaster(), FakeMaster(), Recorder()
        old.script = new.script = [stream(SUBSCRIBED)]
        node = await asyncio.to_thread(zoo.master, old.port)
        await asyncio.to_thread(zoo.master, new.port)
        driver = a_driver(recorder, uri)
        driver.start()
        await until(lambda: driver.connected)
        assert driver.leader == old.address
        await asyncio.to_thread(zoo.client.delete, node)
        await until(lambda: driver.connected and driver.leader == new.address)
        assert new.subscriptions[0]["framework_id"] == {"value": "F"}
        await driver.stop()
        for master in (old, new):
            await master.close()

    asyncio.run(scenario(f"zk://{quorum}{zoo.path}"))
