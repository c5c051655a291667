"""Several masters and a real ZooKeeper: who leads, who redirects, and what a new leader knows."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.common.zookeeper import parse
from tests.localmesos.agent.test_recovery import custom, launch, wait_for
from tests.localmesos.client import Framework, Json, request
from tests.localmesos.traces import TRACES
from tests.localmesos.zookeeper import absent, zookeeper

pytestmark = pytest.mark.skipif(absent() is not None, reason=absent() or "")


@pytest.fixture(scope="module")
def quorum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as address:
        yield address


@pytest.fixture
def masters(quorum: str, request: pytest.FixtureRequest) -> Iterator[LocalMesos]:
    path = re.sub(r"\W", "_", request.node.name)
    with LocalMesos(
        agents=1, restart=0, masters=2, zk=f"zk://{quorum}/{path}", zk_session_timeout=1.0
    ) as cluster:
        wait_for(lambda: leader_of(cluster.masters[0]) and leader_of(cluster.masters[1]))
        yield cluster


def leader_of(master: str) -> str | None:
    """The leader that a master names; None while it knows none."""
    try:
        location = request(master, "GET", "/redirect").header("Location")
    except (OSError, AssertionError):
        return None
    return None if location is None else location.removeprefix("//")


def roles(cluster: LocalMesos) -> tuple[str, str]:
    """The leader and the other."""
    leader = leader_of(cluster.masters[0])
    assert leader in cluster.masters
    return leader, next(one for one in cluster.masters if one != leader)


def pid_of(cluster: LocalMesos, master: str) -> int:
    return cluster.pids["master" if master == cluster.masters[0] else "master2"]


def test_znodes_are_as_recorded(masters: LocalMesos, quorum: str, request: pytest.FixtureRequest) -> None:
    from kazoo.client import KazooClient

    client = KazooClient(quorum)
    client.start()
    try:
        path = "/test_znodes_are_as_recorded"
        nodes = sorted(client.get_children(path))
        found = {node: client.get(f"{path}/{node}") for node in nodes}
    finally:
        client.stop()
        client.close()
    assert all(re.fullmatch(r"json\.info_\d{10}", node) for node in nodes)
    assert len(nodes) == 2
    assert all(stat.ephemeralOwner for _, stat in found.values())
    leader, _ = roles(masters)
    lowest = json.loads(found[nodes[0]][0])
    assert f"{lowest['hostname']}:{lowest['port']}" == leader
    recorded = json.loads((TRACES / "zk/znodes-three-masters.json").read_text())
    theirs = recorded["json.info_0000000001"]["data_latin1"]
    plain = re.compile(r'"[0-9a-f-]{36}"|:\d{4,5}')
    assert plain.sub("_", found[nodes[0]][0].decode()) == plain.sub("_", theirs)


def test_pymesos_finds_the_leader(masters: LocalMesos, quorum: str) -> None:
    from t2notebook.mesos._pymesos import load

    found: queue.Queue[Any] = queue.Queue()

    class Listener:
        def onNewMasterDetectedMessage(self, data: Any) -> None:
            found.put(json.loads(data))

        def onNoMasterDetectedMessage(self) -> None:
            found.put(None)

    detector = load().MasterDetector(f"{quorum}/test_pymesos_finds_the_leader", Listener())
    detector.start()
    try:
        leader, other = roles(masters)
        first = found.get(timeout=10)
        assert f"{first['address']['ip']}:{first['address']['port']}" == leader
        os.kill(pid_of(masters, leader), signal.SIGKILL)
        second = found.get(timeout=10)
        assert f"{second['address']['ip']}:{second['address']['port']}" == other
    finally:
        detector.stop()
        detector.zk.close()


def test_failover(masters: LocalMesos) -> None:
    """The agent and the framework go to the new leader; tasks go on, executors stay, nothing else is remembered."""
    leader, other = roles(masters)
    one = Framework(leader, checkpoint=True, failover_timeout=60).subscribed()
    offer, pids = launch(one, ("custom", custom()), ("command", "sleep 1000"))
    os.kill(pid_of(masters, leader), signal.SIGKILL)
    one.stream.end()
    one.close()
    # Until its session is over, the dead one is still named, as recorded.
    assert leader_of(other) in (leader, other)
    wait_for(lambda: leader_of(other) == other)
    two = Framework(other, checkpoint=True, failover_timeout=60, framework_id=one.id).subscribed()
    assert two.id == one.id
    back = two.offers()[0]
    assert back["agent_id"] == offer["agent_id"]
    assert back["executor_ids"] == [{"value": "ex"}]
    two.call("RECONCILE", {"tasks": []})
    for _ in pids:
        status = two.update()
        assert status["state"] == "TASK_RUNNING"
        assert status["container_status"]["executor_pid"] == pids[status["task_id"]["value"]]
    # The dead one is started again, and follows.
    wait_for(lambda: leader_of(leader) == other)
    two.call("KILL", {"task_id": {"value": "command"}})
    two.until("TASK_KILLED", "command")
    two.call("TEARDOWN")
    two.close()


def test_leader_that_stands_still_too_long_steps_down(masters: LocalMesos) -> None:
    leader, other = roles(masters)
    pid = pid_of(masters, leader)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: leader_of(other) == other)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: leader_of(leader) == other)
    one = Framework(other).subscribed()
    one.offers()
    one.close()


def recorded() -> list[Json]:
    path = TRACES / "zk/index.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [one for one in found if "follower" in one.get("file", "") and one.get("status")]


@pytest.fixture(scope="module")
def pair(quorum: str) -> Iterator[tuple[str, str]]:
    with LocalMesos(agents=1, masters=2, zk=f"zk://{quorum}/pair", zk_session_timeout=2.0) as cluster:
        wait_for(lambda: leader_of(cluster.masters[0]) and leader_of(cluster.masters[1]))
        yield roles(cluster)


@pytest.mark.parametrize("exchange", recorded(), ids=lambda one: one["file"])
def test_followers_answers(pair: tuple[str, str], exchange: Json) -> None:
    """Everything that was asked of a master that does not lead, is asked of ours."""
    leader, follower = pair
    asked = exchange["request"]
    body = asked["body"].encode() if asked.get("body") else None
    answer = request(follower, asked["method"], asked["path"], body, dict(asked["headers"]))
    assert answer.status == exchange["status"]
    headers = dict(exchange["headers"])
    assert [name for name, _ in answer.headers] == list(headers)
    if "Location" in headers:
        assert answer.header("Location") == headers["Location"].replace("127.0.0.1:5170", leader)


def test_leaders_own_redirect(pair: tuple[str, str]) -> None:
    leader, _ = pair
    answer = request(leader, "GET", "/master/redirect")
    assert (answer.status, answer.header("Location")) == (307, f"//{leader}")


def test_metrics_tell_who_leads(pair: tuple[str, str]) -> None:
    leader, follower = pair
    elected = [
        request(one, "GET", "/metrics/snapshot").json()["master/elected"] for one in (leader, follower)
    ]
    assert elected == [1.0, 0.0]
    state = request(leader, "GET", "/state").json()
    assert state["start_time"] < state["elected_time"] < time.time()


@pytest.mark.parametrize("wrong", ["zk://", "zk://h:1", "http://h:1/x", "zk:///x"])
def test_wrong_uris(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not zk://"):
        parse(wrong)


def test_uris() -> None:
    assert parse("zk://a:1,b:2/mesos") == ("a:1,b:2", "/mesos")
    assert parse("zk://u:p@a:1/mesos/x/") == ("a:1", "/mesos/x")
