"""Faults on demand: every one of them, by the API and by flags, and who may ask for them."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.cluster.local_mesos import cluster_arguments
from t2notebook.localmesos.cluster.spawn import Spawned, end
from t2notebook.localmesos.common import processes
from t2notebook.localmesos.faults import faults
from t2notebook.localmesos.faults.client import FaultError, Faults
from tests.localmesos.client import PARTITION_AWARE, Framework, request, task

Json = dict[str, Any]


@pytest.fixture(scope="module")
def fragile() -> Iterator[tuple[str, Faults]]:
    """A cluster that may be hurt, with a short agent timeout."""
    arguments = cluster_arguments(agents=2, cpus=2, mem=512)
    spawned = Spawned([*arguments, "--agent-timeout", "1.2", "--parent-pid", str(os.getpid())])
    line = spawned.wait()
    yield line["master"], Faults(line["control"])
    end(spawned.process)


@pytest.fixture
def connected(fragile: tuple[str, Faults]) -> Iterator[Framework]:
    one = Framework(fragile[0], failover_timeout=60.0, checkpoint=True).subscribed()
    yield one
    try:
        one.call("TEARDOWN", expect=None)
    except (OSError, AssertionError):
        pass
    one.close()


def agents(master: str) -> list[bool]:
    return [agent["active"] for agent in request(master, "GET", "/slaves").json()["slaves"]]


def until(check: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_rescind(fragile: tuple[str, Faults], connected: Framework) -> None:
    master, make = fragile
    until(lambda: agents(master) == [True, True])
    offers = connected.offers(2)
    assert make.rescind() == 2
    rescinded = {connected.stream.next("RESCIND")["rescind"]["offer_id"]["value"] for _ in offers}
    assert rescinded == {offer["id"]["value"] for offer in offers}
    assert len(connected.offers(2)) == 2
    assert make.rescind("agent1") == 1


def test_delayed_and_repeated_updates(fragile: tuple[str, Faults], connected: Framework) -> None:
    _, make = fragile
    make.delay(0.7)
    make.repeat(2)
    try:
        began = time.monotonic()
        connected.run("sleep 30")
        first = connected.update()
        assert time.monotonic() - began >= 0.7
        assert [connected.update(acknowledge=False)["uuid"] for _ in range(2)] == [first["uuid"]] * 2
    finally:
        make.delay(0)
        make.repeat(0)
    connected.call("KILL", {"task_id": {"value": "task"}})
    connected.until("TASK_KILLED")


def test_dropped_packets_and_healing(fragile: tuple[str, Faults], connected: Framework) -> None:
    """An agent that nobody hears is unreachable; its task goes on, and comes back with it."""
    master, make = fragile
    until(lambda: agents(master) == [True, True])
    (offer, *_) = connected.offers(2)
    connected.accept(offer, [task("t", offer, "sleep 60")])
    connected.until("TASK_RUNNING")
    place = f"agent{int(offer['agent_id']['value'].rpartition('-S')[2]) + 1}"
    make.drop(place, seconds=2.5)
    status = connected.update()
    assert status["state"] == "TASK_UNREACHABLE"
    status = connected.update()
    assert (status["state"], status["reason"]) == ("TASK_RUNNING", "REASON_AGENT_REREGISTERED")
    connected.call("KILL", {"task_id": {"value": "t"}})
    connected.until("TASK_KILLED")


def test_a_killed_agent_can_be_started_again(fragile: tuple[str, Faults]) -> None:
    master, make = fragile
    make.kill("agent2")
    with pytest.raises(FaultError, match="agent2 is not there"):
        make.kill("agent2")
    until(lambda: False in agents(master))
    make.start("agent2")
    with pytest.raises(FaultError, match="agent2 lives"):
        make.start("agent2")
    until(lambda: agents(master).count(True) == 2)


def test_the_master_is_restarted(fragile: tuple[str, Faults]) -> None:
    """The port stays, the agents come back, and so may the frameworks."""
    master, make = fragile
    one = Framework(master, failover_timeout=60.0).subscribed()
    make.restart("master", pause=0.3)
    one.stream.end()
    until(lambda: agents(master).count(True) == 2)
    again = Framework(master, failover_timeout=60.0, framework_id=one.id).subscribed()
    assert again.id == one.id
    assert again.offers()
    again.call("TEARDOWN")
    again.close()
    one.close()


def test_simulated_agents_drop_and_heal() -> None:
    with LocalMesos(agents=0, simulate=3) as cluster:
        assert cluster.faults is not None
        one = Framework(cluster.master, capabilities=PARTITION_AWARE).subscribed()
        one.offers(3)
        cluster.faults.drop("agent2")
        one.stream.next("RESCIND", timeout=15)
        until(lambda: agents(cluster.master).count(True) == 2)
        cluster.faults.heal("agent2")
        until(lambda: agents(cluster.master).count(True) == 3)
        cluster.faults.restart("master")
        until(lambda: agents(cluster.master).count(True) == 3)
        one.close()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"op": "explode"}, "no fault 'explode'"),
        ({"op": "kill"}, "'kill' needs 'process'"),
        ({"op": "kill", "process": "supervisor"}, "is no agent"),
        ({"op": "start", "process": "agent99"}, "there is no process agent99"),
        ({"op": "delay", "seconds": -1}, "are no seconds"),
        ({"op": "delay", "seconds": "soon"}, "could not convert"),
        ({"op": "repeat", "times": 10**9}, "times: 0 to 1000"),
        ({"op": "drop", "agent": ["agent1"]}, "wrong type"),
        ([], "an object with 'op'"),
        (None, "an object with 'op'"),
    ],
)
def test_wrong_requests_are_refused(fragile: tuple[str, Faults], wrong: Any, text: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(fragile[1]._path)
        client.sendall(json.dumps(wrong).encode() + b"\n")
        assert text in json.loads(client.recv(65536))["error"]


def test_only_the_owner_may(fragile: tuple[str, Faults]) -> None:
    mode = os.stat(fragile[1]._path)
    assert stat.S_IMODE(mode.st_mode) == 0o600
    assert mode.st_uid == os.geteuid()


def test_rubbish_on_the_socket_hurts_nobody(fragile: tuple[str, Faults]) -> None:
    for rubbish in (b"\n", b"\xff\xfe\n", b"[" * 50_000 + b"\n", b"x" * 100_000):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(fragile[1]._path)
            try:
                client.sendall(rubbish)
                client.shutdown(socket.SHUT_WR)
                answer = client.recv(65536)
            except OSError:
                answer = b""
            assert answer == b"" or "error" in json.loads(answer)
    assert fragile[1].rescind() >= 0


def test_faults_as_flags() -> None:
    arguments = [
        *cluster_arguments(agents=2, cpus=1, mem=64),
        "--fault",
        "0.3:kill:agent2",
        "--fault",
        "0:delay:1",
    ]
    spawned = Spawned([*arguments, "--parent-pid", str(os.getpid())])
    line = spawned.wait()
    try:
        until(lambda: not processes.alive(line["pids"]["agent2"]))
        assert processes.alive(line["pids"]["agent1"])
    finally:
        end(spawned.process)


@pytest.mark.parametrize(
    "text", ["kill:agent1", "1", "1:kill", "1:kill:agent1:2", "x:rescind", "1:drop:agent0", "-1:rescind"]
)
def test_wrong_flags_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        faults.parse(text)
