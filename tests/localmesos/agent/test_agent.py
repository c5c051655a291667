"""Tasks on a real cluster: commands, executors, updates, killing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.cluster.local_mesos import cluster_arguments
from t2notebook.localmesos.cluster.spawn import Spawned, end
from t2notebook.localmesos.common import processes
from tests.busy import longer
from tests.localmesos.client import Framework, agent_address, encoded, request, resources, task
from tests.localmesos.conftest import executor_info

Make = Callable[..., Framework]


@pytest.mark.parametrize(
    ("command", "state", "message"),
    [
        ("exit 0", "TASK_FINISHED", "Command exited with status 0"),
        ("exit 3", "TASK_FAILED", "Command exited with status 3"),
        ("kill -SEGV $$", "TASK_FAILED", "Command terminated with signal Segmentation fault"),
        (
            {"shell": False, "value": "/no/such/prog", "arguments": ["x"]},
            "TASK_FAILED",
            "Command exited with status 1",
        ),
        ({"shell": False, "value": "/bin/echo", "arguments": ["echo", "a b"]}, "TASK_FINISHED", None),
    ],
)
def test_command_task_ends_as_its_command_does(
    framework: Make, command: object, state: str, message: str
) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, command)])  # type: ignore[arg-type]
    assert one.update()["state"] == "TASK_STARTING"
    assert one.update()["state"] == "TASK_RUNNING"
    status = one.update()
    assert status["state"] == state
    assert message is None or status["message"].startswith(message)
    assert status["source"] == "SOURCE_EXECUTOR"


def test_warm_executor_is_used_again(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    info = executor_info()
    one.accept(offer, [task("first", offer, executor=info, data=encoded("finish"))])
    one.until("TASK_FINISHED", "first")
    offers = one.offers()
    while True:
        again = [found for found in offers if found.get("executor_ids") == [{"value": "ex"}]]
        if again:
            break
        offers += one.offers()
    begun = time.monotonic()
    one.accept(again[-1], [task("second", again[-1], executor=info, data=encoded("run"))])
    status = one.until("TASK_RUNNING", "second")
    assert time.monotonic() - begun < longer(1.0)
    assert status["container_status"]["executor_pid"] > 0
    one.call("KILL", {"task_id": {"value": "second"}})
    one.until("TASK_KILLED", "second")
    one.call("SHUTDOWN", {"executor_id": {"value": "ex"}, "agent_id": offer["agent_id"]})
    failure = one.stream.next("FAILURE")["failure"]
    assert failure == {"agent_id": offer["agent_id"], "executor_id": {"value": "ex"}, "status": 0}


def test_kill_escalates_after_the_grace_period(framework: Make) -> None:
    one = framework(capabilities=("MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE"))
    offer = one.run("trap '' TERM; touch ready; while true; do sleep 0.1; done")
    one.until("TASK_RUNNING")
    path = f"/frameworks/{one.id}/executors/task/runs/latest/ready"
    while request(agent_address(offer), "GET", f"/files/read?path={path}").status == 404:
        time.sleep(0.01)
    begun = time.monotonic()
    policy = {"grace_period": {"nanoseconds": 300_000_000}}
    one.call("KILL", {"task_id": {"value": "task"}, "kill_policy": policy})
    assert one.update()["state"] == "TASK_KILLING"
    status = one.update()
    assert status["state"] == "TASK_KILLED"
    assert status["message"] == "Command terminated with signal Killed"
    assert 0.29 < time.monotonic() - begun < 2


def test_kill_of_a_well_behaved_task(framework: Make) -> None:
    one = framework()
    one.run("sleep 1000")
    one.until("TASK_RUNNING")
    one.call("KILL", {"task_id": {"value": "task"}})
    status = one.update()
    assert (status["state"], status["message"]) == (
        "TASK_KILLED",
        "Command terminated with signal Terminated",
    )


def test_max_completion_time(framework: Make) -> None:
    one = framework()
    one.run("sleep 1000", max_completion_time={"nanoseconds": 200_000_000})
    one.until("TASK_RUNNING")
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED")


def test_kill_before_the_executor_registers(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, executor=executor_info("ex", "mute"))])
    one.call("KILL", {"task_id": {"value": "t"}})
    status = one.update()
    assert status["state"] == "TASK_KILLED"
    assert status["message"] == "Killed before delivery to the executor"
    assert status["reason"] == "REASON_TASK_KILLED_DURING_LAUNCH"
    assert one.stream.next("FAILURE")["failure"]["status"] == 9


def test_executor_that_dies_takes_its_tasks_along(framework: Make) -> None:
    """FAILURE with the raw wait status, and then the tasks' updates, as recorded."""
    one = framework()
    offer = one.offers()[0]
    info = executor_info()
    tasks = [task("runs", offer, executor=info, data=encoded("run"))]
    one.accept(offer, tasks)
    one.until("TASK_RUNNING", "runs")
    again = next(found for found in one.offers() if found["agent_id"] == offer["agent_id"])
    one.accept(again, [task("crash", again, executor=info, data=encoded("crash"))])
    one.until("TASK_RUNNING", "crash")
    assert one.stream.next("FAILURE")["failure"]["status"] == 7 << 8
    ended = [one.update(), one.update()]
    assert {status["task_id"]["value"] for status in ended} == {"runs", "crash"}
    for status in ended:
        assert status["state"] == "TASK_FAILED"
        assert status["message"] == "Executor terminated"
        assert (status["source"], status["reason"]) == ("SOURCE_AGENT", "REASON_EXECUTOR_TERMINATED")


def test_shutdown_of_a_stubborn_executor(framework: Make, cluster: LocalMesos) -> None:
    """Everything goes at the grace period: a worker in a group of its own that ignores SIGTERM as well."""
    one = framework()
    offer = one.offers()[0]
    info = executor_info("stub", "stubborn")
    one.accept(offer, [task("t", offer, executor=info, data=encoded("child"))])
    leader = one.until("TASK_RUNNING", "t")["container_status"]["executor_pid"]
    pattern = f"agent*/slaves/*/frameworks/{one.id}/executors/stub/runs/latest/child.pid"
    deadline = time.monotonic() + 5
    while not (found := list(Path(cluster.work_dir).glob(pattern))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = int(found[0].read_text())
    begun = time.monotonic()
    ids = {"executor_id": {"value": "stub"}, "agent_id": offer["agent_id"]}
    one.call("SHUTDOWN", ids)
    # A launch that meets a terminating executor never starts.
    again = next(o for o in one.offers() if o["agent_id"] == offer["agent_id"])
    one.accept(again, [task("late", again, executor=info, data=encoded("run"))])
    late = one.update()
    if late["task_id"]["value"] == "late":
        assert (late["state"], late["message"]) == ("TASK_DROPPED", "Executor terminating")
        late = one.update()
    assert (late["state"], late["reason"]) == ("TASK_FAILED", "REASON_EXECUTOR_TERMINATED")
    assert one.stream.next("FAILURE")["failure"]["status"] == 9
    assert 0.4 < time.monotonic() - begun < 5
    assert not processes.alive(leader)
    assert not processes.alive(child)


def test_launch_that_meets_a_terminating_executor(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    info = executor_info("stub", "stubborn", shutdown_grace_period={"nanoseconds": 3_000_000_000})
    one.accept(offer, [task("t", offer, executor=info, data=encoded("run"))])
    one.until("TASK_RUNNING", "t")
    again = next(o for o in one.offers() if o["agent_id"] == offer["agent_id"])
    one.call("SHUTDOWN", {"executor_id": {"value": "stub"}, "agent_id": offer["agent_id"]})
    one.accept(again, [task("late", again, executor=info, data=encoded("run"))])
    status = one.update()
    assert (status["state"], status["message"]) == ("TASK_DROPPED", "Executor terminating")
    assert (status["source"], status["reason"]) == ("SOURCE_AGENT", "REASON_EXECUTOR_TERMINATED")


def test_memory_limit(framework: Make) -> None:
    one = framework()
    code = "x = bytearray(200 << 20); import time; time.sleep(60)"
    offer = one.offers()[0]
    import sys

    command = {"shell": False, "value": sys.executable, "arguments": ["python", "-S", "-c", code]}
    one.accept(offer, [task("hog", offer, command, resources=resources(cpus=0.1, mem=64))])
    one.until("TASK_RUNNING")
    status = one.update()
    assert status["state"] == "TASK_FAILED"
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert status["message"].startswith("Memory limit exceeded: Requested: 96MB Maximum Used: ")


def test_a_second_executor_info_of_one_id_is_refused(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, executor=executor_info(), data=encoded("run"))])
    one.until("TASK_RUNNING", "t")
    again = next(o for o in one.offers() if o["agent_id"] == offer["agent_id"])
    one.accept(again, [task("other", again, executor=executor_info(source="else"))])
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_ERROR", "REASON_TASK_INVALID")
    assert status["message"].startswith("ExecutorInfo is not compatible with existing ExecutorInfo")
    assert 'source: "else"' in status["message"]


def test_messages_both_ways(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, executor=executor_info(), data=encoded("echo"))])
    ids = {"agent_id": offer["agent_id"], "executor_id": {"value": "ex"}}
    assert one.stream.next("MESSAGE")["message"] == {**ids, "data": encoded("echo")}
    one.call("MESSAGE", {**ids, "data": encoded("ping")})
    assert one.stream.next("MESSAGE")["message"]["data"] == encoded("ping")


def test_task_id_is_busy_until_its_command_executor_is_gone(framework: Make) -> None:
    one = framework(capabilities=())
    offer = one.run("true", "dup")
    one.until("TASK_FINISHED")
    again = next(o for o in one.offers() if o["agent_id"] == offer["agent_id"])
    one.accept(again, [task("dup", again, "true")])
    status = one.update()
    if status["state"] == "TASK_LOST":  # else the offer came after the second that the executor lingers
        assert status["message"] == "Cannot reuse an already existing executor for a command task"
    else:
        assert status["state"] == "TASK_STARTING"


def test_secrets_show_nowhere(framework: Make, cluster: LocalMesos) -> None:
    """`TaskInfo.data` is in no endpoint and in no file, while the task waits, runs and after."""
    secret = encoded("s3cret-7f3a-not-to-be-seen")
    plain = b"s3cret-7f3a-not-to-be-seen"
    one = framework()
    offer = one.offers()[0]
    one.accept(
        offer,
        [
            task("custom", offer, executor=executor_info(), data=secret),
            task("waits", offer, executor=executor_info("mute", "mute"), data=secret),
            task("command", offer, "sleep 100", data=secret),
        ],
    )
    states = set()
    while len(states) < 3:
        status = one.update()
        states.add((status["task_id"]["value"], status["state"]) if "RUNNING" in status["state"] else None)
    shown = []
    for path in ("/state", "/tasks", "/frameworks", "/slaves", "/metrics/snapshot", "/"):
        shown.append(request(cluster.master, "GET", path).body)
    agent = agent_address(offer)
    for path in ("/state", "/monitor/statistics", "/containers", "/files/debug"):
        shown.append(request(agent, "GET", path).body)
    for kind in ("GET_STATE", "GET_TASKS", "GET_EXECUTORS", "GET_FRAMEWORKS", "GET_AGENTS"):
        shown.append(request(cluster.master, "POST", "/api/v1", {"type": kind}).body)
    for body in shown:
        assert secret.encode() not in body
        assert plain not in body
    one.call("TEARDOWN")
    assert secret.encode() not in request(cluster.master, "GET", "/state").body
    for word in (secret, plain.decode()):
        found = subprocess.run(
            ["grep", "-rl", word, cluster.work_dir], capture_output=True, check=False, text=True
        )
        assert found.stdout == ""


def test_a_thousand_tasks_in_one_accept(framework: Make) -> None:
    one = framework()
    offer = one.offers(2)[0]
    info = executor_info("many")
    tasks = [
        task(f"t{n}", offer, executor=info, resources=resources(cpus=0.001, mem=1), data=encoded("finish"))
        for n in range(1000)
    ]
    begun = time.monotonic()
    one.accept(offer, tasks)
    accepted = time.monotonic() - begun
    finished = set()
    while len(finished) < 1000:
        status = one.update(30)
        if status["state"] == "TASK_FINISHED":
            finished.add(status["task_id"]["value"])
        else:
            assert status["state"] == "TASK_RUNNING", json.dumps(status)
    assert accepted < 2


def test_warm_launch_takes_milliseconds(framework: Make) -> None:
    """Nagle's algorithm on any of the hops would make it 40 ms (it was on the accepted sockets once)."""
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("cold", offer, executor=executor_info(), data=encoded("finish"))])
    one.until("TASK_FINISHED", "cold")
    taken = []
    for number in range(7):
        one.call("REVIVE")
        offer = next(o for o in one.offers() if o["agent_id"] == offer["agent_id"])
        begun = time.monotonic()
        one.accept(offer, [task(f"w{number}", offer, executor=executor_info(), data=encoded("finish"))])
        one.until("TASK_RUNNING")
        taken.append(time.monotonic() - begun)
        one.until("TASK_FINISHED")
    assert sorted(taken)[3] < longer(0.025)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as others")


@needs_root
def test_task_of_another_user(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    command = {"value": "touch who", "user": "nobody"}
    one.accept(offer, [task("t", offer, command)])
    one.until("TASK_FINISHED")
    path = f"/frameworks/{one.id}/executors/t/runs/latest"
    listed = request(agent_address(offer), "GET", f"/files/browse?path={path}").json()
    assert {os.path.basename(item["path"]): item["uid"] for item in listed} == {
        "stderr": "nobody",
        "stdout": "nobody",
        "who": "nobody",
    }


@needs_root
def test_user_who_does_not_exist(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, {"value": "true", "user": "nosuchuser"})])
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_DROPPED", "REASON_EXECUTOR_TERMINATED")
    assert status["message"].startswith("Failed to create executor directory '")
    assert status["message"].endswith("Failed to chown directory to 'nosuchuser': No such user 'nosuchuser'")


def test_executor_that_never_registers() -> None:
    spawned = Spawned([*cluster_arguments(agents=1, cpus=1, mem=256), "--executor-registration-timeout", "1"])
    try:
        one = Framework(spawned.wait()["master"]).subscribed()
        offer = one.offers()[0]
        one.accept(offer, [task("t", offer, executor=executor_info("ex", "mute"))])
        status = one.update()
        assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_EXECUTOR_REGISTRATION_TIMEOUT")
        assert status["message"] == "Executor did not register within 1secs"
        one.close()
    finally:
        end(spawned.process)


def test_sandboxes_are_read_by_v1_and_nothing_else_is(framework: Make) -> None:
    one = framework()
    offer = one.run(
        "ln -s /etc/hostname out; ln -s stdout in; mkfifo pipe; printf '\\141\\377' > binary", "t"
    )
    one.until("TASK_FINISHED")
    agent, base = agent_address(offer), f"/frameworks/{one.id}/executors/t/runs/latest"
    call = {"type": "READ_FILE", "read_file": {"path": f"{base}/binary", "offset": 0}}
    assert request(agent, "POST", "/api/v1", call).json()["read_file"] == {"size": 2, "data": "Yf8="}
    assert (
        request(agent, "GET", f"/files/read?path={base}/binary&offset=0").body
        == b'{"data":"a\xff","offset":0}'
    )
    assert request(agent, "GET", f"/files/read?path={base}/in&offset=0").status == 200
    for kind in ("read", "download"):
        answer = request(agent, "GET", f"/files/{kind}?path={base}/out")
        assert (answer.status, answer.text.endswith("/out' is inaccessible.\n")) == (400, True)
    assert request(agent, "GET", f"/files/read?path={base}/pipe&offset=0").status == 400
    for path in ("/etc/passwd", f"{base}/../../../../../..", "/", ""):
        assert request(agent, "GET", f"/files/read?path={path}&offset=0").status in (400, 404)
