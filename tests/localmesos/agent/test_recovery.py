"""Agents and masters that are killed and come back: what lives goes on, what is gone is told."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.common import processes
from t2notebook.localmesos.common.record_log import Checkpoint
from tests.localmesos.agent.executors.test_check_runner import group
from tests.localmesos.client import PARTITION_AWARE, Framework, Json, agent_address, encoded, request, task
from tests.localmesos.conftest import executor_info


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)
    return found


@pytest.fixture
def phoenix() -> Iterator[LocalMesos]:
    """A cluster of one agent whose processes come back."""
    with LocalMesos(agents=1, cpus=4, mem=1024, restart=0) as one:
        yield one


def checkpointing(cluster: LocalMesos, **options: Any) -> Framework:
    return Framework(cluster.master, checkpoint=True, failover_timeout=60, **options).subscribed()


def launch(one: Framework, *tasks: tuple[str, Any]) -> tuple[Json, dict[str, int]]:
    """Launch tasks on the first offer, wait until they run; the offer and the executors' pids."""
    offer = one.offers()[0]
    infos = []
    for task_id, what in tasks:
        if isinstance(what, str):
            infos.append(task(task_id, offer, what))
        else:
            infos.append(task(task_id, offer, **what))
    one.accept(offer, infos)
    pids: dict[str, int] = {}
    while len(pids) < len(tasks):
        status = one.update()
        if status["state"] == "TASK_RUNNING":
            pids[status["task_id"]["value"]] = status["container_status"]["executor_pid"]
    return offer, pids


def kill_agent(cluster: LocalMesos, offer: Json) -> None:
    """Kill the agent's process, and wait until another answers in its place."""
    before = request(agent_address(offer), "GET", "/state").json()
    os.kill(cluster.pids["agent1"], signal.SIGKILL)

    def back() -> bool:
        try:
            answer = request(agent_address(offer), "GET", "/state")
        except (OSError, AssertionError):
            return False
        return answer.status == 200 and answer.json()["start_time"] != before["start_time"]

    wait_for(back)


def browse(agent: str, path: str) -> list[Json]:
    try:
        answer = request(agent, "GET", f"/files/browse?path={path}")
    except (OSError, AssertionError):
        return []
    found: list[Json] = answer.json() if answer.status == 200 else []
    return found


def up(cluster: LocalMesos) -> bool:
    try:
        return request(cluster.master, "GET", "/health").status == 200
    except (OSError, AssertionError):
        return False


def custom(data: str = "run", executor_id: str = "ex", *flags: str) -> Json:
    return {"executor": executor_info(executor_id, "checkpoint", *flags), "data": encoded(data)}


def test_executors_survive_their_agent(phoenix: LocalMesos) -> None:
    """A custom executor and a command task go on under the same pid, and end as if nothing had been."""
    one = checkpointing(phoenix)
    done = Path(phoenix.work_dir) / "done"
    offer, pids = launch(
        one, ("custom", custom()), ("command", f"while ! test -e {done}; do sleep 0.02; done")
    )
    kill_agent(phoenix, offer)
    one.stream.none("UPDATE", 0.3)
    for task_id in pids:
        one.call("RECONCILE", {"tasks": [{"task_id": {"value": task_id}}]})
        status = one.update()
        assert (status["state"], status["message"]) == ("TASK_RUNNING", "Reconciliation: Latest task state")
        assert status["container_status"]["executor_pid"] == pids[task_id]
        assert processes.alive(pids[task_id])
    assert one.offers()[0]["agent_id"] == offer["agent_id"]
    done.touch()
    assert one.until("TASK_FINISHED", "command")["message"] == "Command exited with status 0"
    one.call("KILL", {"task_id": {"value": "custom"}})
    assert one.until("TASK_KILLED", "custom")["source"] == "SOURCE_EXECUTOR"
    sandbox = f"/frameworks/{one.id}/executors/command/runs/latest"
    assert phoenix.faults is not None
    phoenix.faults.restart("agent1")
    names = [
        entry["path"].rsplit("/", 1)[1] for entry in wait_for(lambda: browse(agent_address(offer), sandbox))
    ]
    assert names == ["stderr", "stdout"]
    one.close()


def test_updates_of_a_dead_agents_time_arrive(phoenix: LocalMesos) -> None:
    """What an executor says while nobody hears it, and what was not acknowledged, comes from the next agent."""
    one = checkpointing(phoenix)
    launch(one, ("custom", custom("later")), ("command", "sleep 0.5; exit 3"))
    os.kill(phoenix.pids["agent1"], signal.SIGSTOP)
    time.sleep(0.8)
    os.kill(phoenix.pids["agent1"], signal.SIGKILL)
    states = {}
    while len(states) < 2:
        status = one.update()
        if status["state"] not in ("TASK_RUNNING", "TASK_STARTING"):
            states[status["task_id"]["value"]] = (status["state"], status.get("message"))
    assert states == {
        "custom": ("TASK_FINISHED", None),
        "command": ("TASK_FAILED", "Command exited with status 3"),
    }
    one.close()


def test_unacknowledged_update_comes_again_from_the_next_agent(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix)
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, "sleep 100")])
    first = one.update(acknowledge=False)
    kill_agent(phoenix, offer)
    again = one.update(acknowledge=False)
    assert again["uuid"] == first["uuid"]
    one.acknowledge(again)
    assert one.update()["state"] == "TASK_RUNNING"
    one.close()


def test_without_checkpointing_all_dies_with_the_agent(phoenix: LocalMesos) -> None:
    """The master gives the tasks up as soon as the link breaks, as Mesos does for such frameworks."""
    one = Framework(phoenix.master, failover_timeout=60).subscribed()
    offer, pids = launch(one, ("custom", custom()), ("command", "sleep 1000"))
    os.kill(phoenix.pids["agent1"], signal.SIGKILL)
    for _ in pids:
        status = one.update()
        assert (status["state"], status["reason"]) == ("TASK_LOST", "REASON_AGENT_DISCONNECTED")
        assert status["message"] == "Agent 127.0.0.1 disconnected"
    wait_for(lambda: not any(processes.alive(pid) for pid in pids.values()))
    whole = one.offers()[0]
    while whole["resources"] != offer["resources"]:  # what was free beside the tasks, on a slow machine
        whole = one.offers()[0]
    assert whole["agent_id"] == offer["agent_id"]
    one.close()


def test_executor_that_died_meanwhile(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix)
    _, pids = launch(one, ("custom", custom()))
    os.kill(phoenix.pids["agent1"], signal.SIGSTOP)
    os.kill(pids["custom"], signal.SIGKILL)
    wait_for(lambda: not processes.alive(pids["custom"]))
    os.kill(phoenix.pids["agent1"], signal.SIGKILL)
    status = one.until("TASK_FAILED", "custom")
    assert (status["reason"], status["message"]) == ("REASON_EXECUTOR_TERMINATED", "Executor terminated")
    assert one.stream.next("FAILURE")["failure"]["executor_id"] == {"value": "ex"}
    one.close()


def test_closing_ends_what_would_survive() -> None:
    with LocalMesos(agents=1, restart=0) as cluster:
        one = checkpointing(cluster)
        offer, pids = launch(one, ("custom", custom("child")), ("command", "setsid sleep 1000 & sleep 1000"))
        kill_agent(cluster, offer)
        tree = [pid for leader in pids.values() for pid in (leader, *processes.descendants(leader))]
        assert len(tree) >= 4
    assert not [pid for pid in tree if processes.alive(pid)]
    one.close()


@pytest.mark.parametrize("victim", ["supervisor", "launcher1"])
def test_a_dead_launcher_or_supervisor_takes_them_along(victim: str) -> None:
    with LocalMesos(agents=1, restart=0) as cluster:
        one = checkpointing(cluster)
        _, pids = launch(one, ("custom", custom()), ("command", "sleep 1000"))
        os.kill(cluster.pids[victim], signal.SIGKILL)
        wait_for(lambda: not any(processes.alive(pid) for pid in pids.values()))
        if victim == "launcher1":
            # A new agent with a new launcher says so, and takes new tasks.
            states = {}
            while len(states) < 2:
                status = one.update()
                states[status["task_id"]["value"]] = status["state"]
            assert set(states.values()) == {"TASK_FAILED"}
            _, pids = launch(one, ("next", "sleep 1000"))
        one.close()


def test_master_comes_back_with_its_registry(phoenix: LocalMesos) -> None:
    """Frameworks re-subscribe with their ids; RECONCILE stays unanswered until the agent is back (ha/ 024 to 032)."""
    one = checkpointing(phoenix)
    offer, _ = launch(one, ("custom", custom()), ("command", "sleep 1000"))
    os.kill(phoenix.pids["agent1"], signal.SIGSTOP)
    os.kill(phoenix.pids["master"], signal.SIGKILL)
    one.stream.end()
    one.close()
    wait_for(lambda: up(phoenix))
    two = checkpointing(phoenix, framework_id=one.id)
    assert two.id == one.id
    known = {"task_id": {"value": "command"}, "agent_id": offer["agent_id"]}
    for wanted in ([known], [{"task_id": {"value": "command"}}], []):
        two.call("RECONCILE", {"tasks": wanted})
    two.stream.none("UPDATE", 0.3)
    state = request(phoenix.master, "GET", "/state").json()
    assert [agent["id"] for agent in state["recovered_slaves"]] == [offer["agent_id"]["value"]]
    assert state["slaves"] == []
    os.kill(phoenix.pids["agent1"], signal.SIGCONT)
    back = two.offers()[0]
    assert back["agent_id"] == offer["agent_id"]
    assert back["executor_ids"] == [{"value": "ex"}]
    two.call("RECONCILE", {"tasks": []})
    assert {two.update()["state"] for _ in range(2)} == {"TASK_RUNNING"}
    state = request(phoenix.master, "GET", "/state").json()
    assert (state["recovered_slaves"], len(state["slaves"])) == ([], 1)
    two.call("KILL", {"task_id": {"value": "custom"}})
    two.until("TASK_KILLED", "custom")
    two.call("KILL", {"task_id": {"value": "command"}})
    two.until("TASK_KILLED", "command")
    two.close()


def test_master_comes_back_with_nothing(phoenix: LocalMesos) -> None:
    """A master that lost its work directory knows nobody, says so, and takes everybody in again as they come."""
    one = checkpointing(phoenix)
    offer, pids = launch(one, ("custom", custom()), ("command", "sleep 1000"))
    before = request(phoenix.master, "GET", "/state").json()
    assert phoenix.faults is not None
    os.kill(phoenix.pids["agent1"], signal.SIGSTOP)
    phoenix.faults.kill("master")
    one.stream.end()
    one.close()
    registry = Path(phoenix.work_dir) / "registry.jsonl"
    assert offer["agent_id"]["value"] in registry.read_text()
    registry.unlink()
    phoenix.faults.start("master")
    wait_for(lambda: up(phoenix))
    two = checkpointing(phoenix, framework_id=one.id)
    assert two.id == one.id
    state = request(phoenix.master, "GET", "/state").json()
    assert state["id"] != before["id"]
    assert (state["slaves"], state["recovered_slaves"]) == ([], [])
    # It has no agents to wait for, so what it does not know is unknown: not even with the agent's id it waits.
    for wanted in (
        {"task_id": {"value": "command"}, "agent_id": offer["agent_id"]},
        {"task_id": {"value": "command"}},
    ):
        two.call("RECONCILE", {"tasks": [wanted]})
        status = two.update()
        assert (status["state"], status["message"]) == ("TASK_UNKNOWN", "Reconciliation: Task is unknown")
    two.call("RECONCILE", {"tasks": []})
    two.stream.none("UPDATE", 0.3)
    os.kill(phoenix.pids["agent1"], signal.SIGCONT)
    back = two.offers()[0]
    assert back["agent_id"] == offer["agent_id"]
    assert back["executor_ids"] == [{"value": "ex"}]
    two.call("RECONCILE", {"tasks": []})
    for _ in pids:
        status = two.update()
        assert (status["state"], status["message"]) == ("TASK_RUNNING", "Reconciliation: Latest task state")
        assert status["container_status"]["executor_pid"] == pids[status["task_id"]["value"]]
    assert offer["agent_id"]["value"] in registry.read_text()
    (shown,) = request(phoenix.master, "GET", "/state").json()["frameworks"]
    assert (shown["id"], shown["active"], shown["recovered"]) == (one.id, True, False)
    # New ids do not meet the old ones.
    three = Framework(phoenix.master).subscribed()
    assert three.id != one.id
    three.close()
    for task_id in pids:
        two.call("KILL", {"task_id": {"value": task_id}})
        two.until("TASK_KILLED", task_id)
    two.close()


def test_frameworks_that_do_not_return_are_shown_as_recovered(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix)
    launch(one, ("command", "sleep 1000"))
    os.kill(phoenix.pids["master"], signal.SIGKILL)
    one.stream.end()
    one.close()
    wait_for(lambda: up(phoenix))
    (shown,) = wait_for(lambda: request(phoenix.master, "GET", "/state").json()["frameworks"])
    assert (shown["id"], shown["recovered"], shown["active"]) == (one.id, True, False)
    assert [one["id"] for one in shown["tasks"]] == ["command"]
    two = checkpointing(phoenix, framework_id=one.id)
    two.call("TEARDOWN")
    two.close()


def test_unregistered_agent(phoenix: LocalMesos) -> None:
    """SIGUSR1, as recorded: TASK_LOST even for PARTITION_AWARE, FAILURE, and the agent is unknown afterwards."""
    one = checkpointing(phoenix, capabilities=PARTITION_AWARE)
    offer, _ = launch(one, ("command", "sleep 1000"))
    os.kill(phoenix.pids["agent1"], signal.SIGUSR1)
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_LOST", "REASON_AGENT_REMOVED")
    assert status["message"] == "Agent 127.0.0.1 removed: the agent unregistered"
    assert one.stream.next("FAILURE")["failure"] == {"agent_id": offer["agent_id"]}
    one.call("RECONCILE", {"tasks": [{"task_id": {"value": "command"}, "agent_id": offer["agent_id"]}]})
    assert one.update()["state"] == "TASK_UNKNOWN"
    one.close()


def test_work_dir_survives_the_whole_cluster(work_dir: Path) -> None:
    """A cluster that was closed and started again has the same agents; what ran in between is told to be gone."""
    with LocalMesos(agents=2, work_dir=work_dir) as cluster:
        one = checkpointing(cluster)
        launch(one, ("command", "sleep 1000"), ("custom", custom()))
        before = {agent["id"] for agent in request(cluster.master, "GET", "/slaves").json()["slaves"]}
        one.close()
    with LocalMesos(agents=2, work_dir=work_dir) as cluster:
        two = checkpointing(cluster, framework_id=one.id)
        assert two.id == one.id
        ended = {}
        while len(ended) < 2:
            status = two.update()
            ended[status["task_id"]["value"]] = status["state"]
        assert set(ended.values()) == {"TASK_FAILED"}
        wait_for(lambda: len(request(cluster.master, "GET", "/slaves").json()["slaves"]) == 2)
        after = {agent["id"] for agent in request(cluster.master, "GET", "/slaves").json()["slaves"]}
        assert after == before
        launch(two, ("again", "sleep 1000"))
        two.close()


def test_checkpoint_holds_no_task_data(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix)
    launch(one, ("custom", custom("run")))
    found = list(Path(phoenix.work_dir).glob("agent1/meta/*"))
    assert found
    for path in found:
        assert encoded("run") not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0
    one.close()


def test_checkpoint_file(tmp_path: Path) -> None:
    path = tmp_path / "meta" / "x.jsonl"
    store = Checkpoint(str(path))
    store.put(("a", "1"), {"x": 1})
    store.put(("a", "2"), [2])
    store.put(("b",), "three")
    store.put(("a", "1"), None)
    store.put(("a", "1"), None)
    with path.open("a") as file:
        file.write('["b", "half')
    again = Checkpoint(str(path))
    assert list(again.under("a")) == [(("2",), [2])]
    assert again.get("b") == "three"
    for number in range(5000):
        again.put(("n",), number)
    assert len(path.read_text().splitlines()) < 1100
    assert Checkpoint(str(path)).get("n") == 4999
    again.clear()
    assert Checkpoint(str(path)).get("n") is None
    assert [json.loads(line) for line in path.read_text().splitlines()] == []


# Task groups


def launch_group(one: Framework, commands: dict[str, str], **more: Any) -> tuple[Json, dict[str, Json]]:
    """Launch a group, wait until it runs; the offer, and the tasks' containers."""
    offer = one.offers()[0]
    group(one, offer, commands, **more)
    running: dict[str, Json] = {}
    while len(running) < len(commands):
        status = one.update()
        if status["state"] == "TASK_RUNNING":
            running[status["task_id"]["value"]] = status["container_status"]
    return offer, running


def test_task_groups_survive_their_agent(phoenix: LocalMesos) -> None:
    """All of it: processes, containers, sandboxes, limits of time, and that a failed task takes its group along."""
    one = checkpointing(phoenix)
    done = Path(phoenix.work_dir) / "done"
    wait = f"while ! test -e {done}; do sleep 0.02; done"
    offer, before = launch_group(one, {"a": f"{wait}; exit 3", "b": "sleep 1000"})
    kill_agent(phoenix, offer)
    one.stream.none("UPDATE", 0.3)
    for task_id, container in before.items():
        one.call("RECONCILE", {"tasks": [{"task_id": {"value": task_id}}]})
        status = one.update()
        assert status["state"] == "TASK_RUNNING"
        assert status["container_status"] == container
        assert processes.alive(container["executor_pid"])
    agent = request(agent_address(offer), "GET", "/state").json()
    (executor,) = agent["frameworks"][0]["executors"]
    assert (executor["type"], sorted(each["id"] for each in executor["tasks"])) == ("DEFAULT", ["a", "b"])
    back = one.offers()[0]
    assert back["executor_ids"] == [{"value": "group"}]
    # A second group comes into the executor that was recovered.
    group(one, back, {"c": "sleep 1000"})
    one.until("TASK_RUNNING", "c")
    done.touch()
    ended = {}
    while len(ended) < 2:
        status = one.update()
        if status["state"] != "TASK_KILLING":
            ended[status["task_id"]["value"]] = (status["state"], status.get("message"))
    assert ended["a"] == ("TASK_FAILED", "Command exited with status 3")
    assert ended["b"][0] == "TASK_KILLED"
    one.call("KILL", {"task_id": {"value": "c"}})
    one.until("TASK_KILLED", "c")
    assert one.stream.next("FAILURE")["failure"]["executor_id"] == {"value": "group"}
    one.close()


def test_a_groups_ends_of_a_dead_agents_time_arrive(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix)
    launch_group(one, {"a": "sleep 0.5", "b": "sleep 0.6; exit 4", "c": "sleep 1000"})
    os.kill(phoenix.pids["agent1"], signal.SIGSTOP)
    time.sleep(0.9)
    os.kill(phoenix.pids["agent1"], signal.SIGKILL)
    ended = {}
    while len(ended) < 3:
        status = one.update()
        if status["state"] not in ("TASK_RUNNING", "TASK_KILLING"):
            ended[status["task_id"]["value"]] = (status["state"], status.get("message"))
    assert ended["a"] == ("TASK_FINISHED", "Command exited with status 0")
    assert ended["b"] == ("TASK_FAILED", "Command exited with status 4")
    assert ended["c"][0] == "TASK_KILLED", "it goes with its group"
    one.close()


def test_unacknowledged_updates_of_a_group_come_again(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix)
    offer = one.offers()[0]
    group(one, offer, {"a": "sleep 1000"})
    first = one.update(acknowledge=False)
    kill_agent(phoenix, offer)
    again = one.update(acknowledge=False)
    assert again["uuid"] == first["uuid"]
    one.acknowledge(again)
    one.until("TASK_RUNNING", "a")
    one.close()


def test_groups_of_others_die_with_their_agent(phoenix: LocalMesos) -> None:
    one = Framework(phoenix.master, failover_timeout=60).subscribed()
    _, before = launch_group(one, {"a": "sleep 1000"})
    os.kill(phoenix.pids["agent1"], signal.SIGKILL)
    assert one.update()["reason"] == "REASON_AGENT_DISCONNECTED"
    wait_for(lambda: not processes.alive(before["a"]["executor_pid"]))
    one.close()


def test_a_group_that_was_being_killed_is_dead_afterwards(phoenix: LocalMesos) -> None:
    one = checkpointing(phoenix, capabilities=(*PARTITION_AWARE, "TASK_KILLING_STATE"))
    stubborn = {"grace_period": {"nanoseconds": 3600 * 10**9}}
    offer, before = launch_group(
        one, {"a": "trap '' TERM; while :; do sleep 0.1; done"}, kill_policy=stubborn
    )
    one.call("KILL", {"task_id": {"value": "a"}})
    one.until("TASK_KILLING", "a")
    kill_agent(phoenix, offer)
    one.until("TASK_KILLED", "a")
    assert not processes.alive(before["a"]["executor_pid"])
    one.close()


# Checks


CHECK = {"delay_seconds": 0, "interval_seconds": 0.05, "timeout_seconds": 5, "consecutive_failures": 2}


@pytest.mark.parametrize("grouped", [False, True])
def test_checks_go_on_after_the_agents_death(phoenix: LocalMesos, tmp_path: Path, grouped: bool) -> None:
    """What was told is not told again, what changes is; and an unhealthy task is killed by the next agent."""
    one = checkpointing(phoenix)
    ill = tmp_path / "ill"
    probe = {"shell": True, "value": f"test ! -e {ill}"}
    more = {
        "health_check": {**CHECK, "grace_period_seconds": 0, "type": "COMMAND", "command": probe},
        "check": {**CHECK, "type": "COMMAND", "command": {"command": probe}},
    }
    offer = one.offers()[0]
    if grouped:
        group(one, offer, {"t": "sleep 1000"}, **more)
    else:
        one.accept(offer, [task("t", offer, "sleep 1000", **more)])
    known: Json = {}
    while not (known.get("healthy") and known.get("check_status", {}).get("command") == {"exit_code": 0}):
        known = one.update()
    kill_agent(phoenix, offer)
    one.stream.none("UPDATE", 0.5)
    ill.touch()
    reasons = set()
    while (status := one.update())["state"] == "TASK_RUNNING":
        reasons.add(status["reason"])
    assert reasons == {"REASON_TASK_HEALTH_CHECK_STATUS_UPDATED", "REASON_TASK_CHECK_STATUS_UPDATED"}
    assert (status["state"], status["healthy"]) == ("TASK_KILLED", False)
    one.close()


def test_the_longest_time_counts_from_the_start(phoenix: LocalMesos) -> None:
    """Not from the agent's restart, nor from the last status."""
    one = checkpointing(phoenix)
    limit = {"max_completion_time": {"nanoseconds": 1_500_000_000}}
    offer, _ = launch(one, ("t", {"command": {"shell": True, "value": "sleep 1000"}, **limit}))
    begun = time.monotonic()
    kill_agent(phoenix, offer)
    status = one.until("TASK_FAILED", "t")
    assert status["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED"
    assert time.monotonic() - begun >= 1.0
    one.close()
