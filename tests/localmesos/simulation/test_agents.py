"""Simulated agents: to the master and to frameworks they are agents like others."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.common.link import Link
from t2notebook.localmesos.common.resources import Resources
from t2notebook.localmesos.master.allocator.sorter import Sorter
from t2notebook.localmesos.master.main import MasterOptions, MasterProcess
from t2notebook.localmesos.simulation import durations
from t2notebook.localmesos.simulation.agents import SimulatedAgents
from tests.localmesos.client import Framework, request, resources, task

Json = dict[str, Any]
FRAMEWORK: Json = {"user": "nobody", "name": "f", "capabilities": [{"type": "TASK_KILLING_STATE"}]}


# Distributions


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [("fixed:2", 2.0, 0.0), ("normal:30,10", 30.0, 10.0), ("exp:5", 5.0, 5.0), ("uniform:1,3", 2.0, 0.577)],
)
def test_durations(text: str, mean: float, deviation: float) -> None:
    draw, source = durations.parse(text), random.Random(1)
    drawn = [draw(source) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.03)
    assert statistics.pstdev(drawn) == pytest.approx(deviation, rel=0.05, abs=1e-9)
    assert min(drawn) >= 0


@pytest.mark.parametrize(
    "text", ["", "fixed", "fixed:", "fixed:-1", "normal:1", "exp:nan", "weibull:1,2", "fixed:1,2"]
)
def test_odd_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fixed:SECONDS, normal:MEAN,DEVIATION"):
        durations.parse(text)


# The crowd, without I/O


def crowd(count: int = 1, duration: str = "fixed:10") -> SimulatedAgents:
    one = SimulatedAgents(count, Resources.of(cpus=4, mem=1024), durations.parse(duration), seed=1)
    for index in range(count):
        one.message(0.0, index, {"op": "registered", "agent_id": f"S{index}"})
    return one


def test_a_crowd_that_registers_is_ranked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each agent changes all shares: with an allocation an agent, all frameworks were ranked for each of them."""
    ranked = 0
    rank = Sorter._rank

    def counting(self: Sorter, node: Any) -> None:
        nonlocal ranked
        ranked += 1
        rank(self, node)

    async def run() -> int:
        process = MasterProcess(MasterOptions("127.0.0.1", 5050, "secret", str(tmp_path)))
        process._lead()
        for index in range(5):
            info = {"user": "u", "name": "n", "role": "*"}
            process.master.subscribe(0.0, {"subscribe": {"framework_info": info}}, f"stream{index}")
        monkeypatch.setattr(Sorter, "_rank", counting)
        peer = Link(process._agent_message, process._agent_lost)
        process._agent_message(peer, {"op": "many", "messages": list(crowd(300).registrations())})
        return len(process.state.offers)

    assert asyncio.run(run()) == 300
    assert ranked <= 10  # the root, a role, its own frameworks, and each of them


def run_task(task_id: str, **task: Any) -> Json:
    info = {"name": "t", "task_id": {"value": task_id}, "resources": [], **task}
    return {
        "op": "run_task",
        "framework_id": "f",
        "framework": FRAMEWORK,
        "task": info,
        "role": "*",
        "new_executor": True,
    }


def drain(one: SimulatedAgents) -> list[Json]:
    found, one.out = [message for _, message in one.out], []
    return found


def states(one: SimulatedAgents, now: float) -> list[str]:
    """Acknowledge all there is, and give the states that came."""
    seen: list[str] = []
    while found := [message for message in drain(one) if message["op"] == "update"]:
        for message in found:
            status = message["status"]
            seen.append(status["state"])
            ack = {
                "op": "ack",
                "framework_id": "f",
                "task_id": status["task_id"]["value"],
                "uuid": status["uuid"],
            }
            one.message(now, 0, ack)
    return seen


def test_a_task_passes_its_time() -> None:
    one = crowd()
    one.message(0.0, 0, run_task("t", command={"value": "anything"}))
    assert states(one, 0.0) == ["TASK_STARTING", "TASK_RUNNING"]
    assert one.next_time() == 10.0
    one.tick(9.99)
    assert states(one, 9.99) == []
    one.tick(10.0)
    assert states(one, 10.0) == ["TASK_FINISHED"]
    assert one._tasks == {} and one._updates.in_flight() == []


def test_sleep_takes_its_seconds() -> None:
    one = crowd()
    one.message(0.0, 0, run_task("t", command={"value": "sleep 2.5"}))
    assert one.next_time() == 2.5


def test_a_kill_ends_it_early() -> None:
    one = crowd()
    one.message(0.0, 0, run_task("t", command={"value": "x"}))
    states(one, 0.0)
    one.message(1.0, 0, {"op": "kill_task", "framework_id": "f", "task_id": "t"})
    assert states(one, 1.0) == ["TASK_KILLING", "TASK_KILLED"]
    one.tick(20.0)
    assert drain(one) == []


def test_unacknowledged_updates_are_repeated_and_reported() -> None:
    one = crowd()
    one.message(0.0, 0, run_task("t", command={"value": "x"}))
    (first,) = drain(one)
    one.retry(9.0)
    assert drain(one) == []
    one.retry(10.0)
    assert drain(one) == [first | {"latest_state": "TASK_RUNNING"}]
    ((_, message),) = one.registrations()
    assert [(item["task_id"], item["state"]) for item in message["tasks"]] == [("t", "TASK_RUNNING")]
    one.message(11.0, 0, {"op": "registered", "agent_id": "S0"})
    assert drain(one)[0]["status"] == first["status"]


def test_a_custom_executor_lives_as_long_as_its_tasks() -> None:
    one, executor = crowd(), {"executor_id": {"value": "ex"}}
    one.message(0.0, 0, run_task("a", executor=executor))
    one.message(5.0, 0, run_task("b", executor=executor))
    states(one, 5.0)
    one.tick(10.0)
    assert [message["op"] for _, message in one.out] == ["update"]
    states(one, 10.0)
    one.tick(15.0)
    assert [message["op"] for message in drain(one)] == ["update", "executor_exited"]


def test_a_framework_that_leaves_is_forgotten() -> None:
    one = crowd()
    one.message(0.0, 0, run_task("t", command={"value": "x"}))
    drain(one)
    one.message(1.0, 0, {"op": "shutdown_framework", "framework_id": "f"})
    one.tick(100.0)
    one.retry(100.0)
    assert drain(one) == [] and one._tasks == {}


# A cluster of them


@pytest.fixture(scope="module")
def simulated() -> Iterator[LocalMesos]:
    with LocalMesos(agents=0, simulate=300, simulate_duration="fixed:0.5") as cluster:
        yield cluster


def test_every_agent_runs_a_task(simulated: LocalMesos) -> None:
    framework = Framework(simulated.master).subscribed()
    try:
        deadline, ended = time.monotonic() + 20, Counter[str]()
        launched: dict[str, str] = {}
        while ended["TASK_FINISHED"] < 300:
            assert time.monotonic() < deadline, (len(launched), ended)
            framework.stream.poll(1.0)
            while framework.stream.events:
                event = framework.stream.events.popleft()
                if event["type"] == "OFFERS":
                    for offer in event["offers"]["offers"]:
                        assert offer["hostname"].startswith("sim")
                        assert offer["url"]["path"].startswith("/slave(")
                        whole = resources(cpus=4, mem=4096)
                        framework.accept(offer, [task(f"t{len(launched)}", offer, "true", resources=whole)])
                        launched[f"t{len(launched)}"] = offer["agent_id"]["value"]
                elif event["type"] == "UPDATE":
                    status = event["update"]["status"]
                    ended[status["state"]] += 1
                    framework.acknowledge(status)
        assert ended["TASK_STARTING"] >= 300 and ended["TASK_RUNNING"] >= 300
        assert len(set(launched.values())) == 300
    finally:
        framework.call("TEARDOWN")
        framework.close()


def test_they_show_like_others(simulated: LocalMesos) -> None:
    agents = request(simulated.master, "GET", "/slaves").json()["slaves"]
    assert len(agents) == 300
    assert len({agent["hostname"] for agent in agents}) == 300
    assert len({agent["pid"] for agent in agents}) == 300
    assert all(agent["active"] and agent["attributes"] == {"simulated": "true"} for agent in agents)


def test_an_explicit_mixture(framework: Any) -> None:
    with LocalMesos(agents=1, simulate=2, cpus=1, mem=64) as cluster:
        one = framework(master=cluster.master)
        hosts = Counter(offer["hostname"].rstrip("0123456789") for offer in one.offers(3))
        assert hosts == {"sim": 2, "127.0.0.": 1}
