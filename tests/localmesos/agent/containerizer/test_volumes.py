"""Containers without images: volumes, secrets, limits; what works, and in which words the rest is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.agent.containerizer.limits import Limits
from t2notebook.localmesos.agent.containerizer.sandbox import User, values_of
from t2notebook.localmesos.agent.containerizer.volumes import VolumeError, prepare, source_of
from t2notebook.localmesos.agent.state.model import ExecutorRun, TaskRun
from t2notebook.localmesos.master import container_validation
from t2notebook.localmesos.v1 import schema
from tests.localmesos.agent.executors.test_check_runner import group
from tests.localmesos.client import Framework, Json, agent_address, encoded, request, resources, task
from tests.localmesos.conftest import executor_info

Make = Callable[..., Framework]
FAILED = ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
HERE = User("me")


def sandbox_volume(kind: str, path: str, at: str) -> Json:
    source = {"type": "SANDBOX_PATH", "sandbox_path": {"type": kind, "path": path}}
    return {"container_path": at, "mode": "RW", "source": source}


def host_volume(path: object, at: str, mode: str = "RW") -> Json:
    source = {"type": "HOST_PATH", "host_path": {"path": str(path)}}
    return {"container_path": at, "mode": mode, "source": source}


def mesos(*volumes: Json) -> Json:
    return {"type": "MESOS", "volumes": list(volumes)} if volumes else {"type": "MESOS"}


def outcome(one: Framework, task_id: str) -> Json:
    while (status := one.update())["state"] in ("TASK_STARTING", "TASK_RUNNING"):
        pass
    assert status["task_id"]["value"] == task_id
    return status


def test_where_sandboxes_are(framework: Make, cluster: LocalMesos) -> None:
    """As `docs/sandbox.md` of Mesos draws it; nobody but the user (and his group) looks in."""
    one = framework()
    offer = one.run("sleep 1000", "lone")
    container = one.until("TASK_RUNNING", "lone")["container_status"]["container_id"]["value"]
    (slaves,) = [
        found.parent for found in Path(cluster.work_dir).glob(f"*/slaves/{offer['agent_id']['value']}")
    ]
    assert (slaves / "latest").resolve().name == offer["agent_id"]["value"]
    runs = slaves / "latest/frameworks" / one.id / "executors/lone/runs"
    assert {path.name for path in runs.iterdir()} == {container, "latest"}
    assert (runs / "latest").resolve() == (runs / container).resolve()
    assert {path.name for path in (runs / "latest").iterdir()} == {"stdout", "stderr"}
    assert (runs / container).stat().st_mode & 0o777 == 0o750
    offer = one.offers()[0]
    group(one, offer, {"in": "sleep 1000"})
    inner = one.until("TASK_RUNNING", "in")["container_status"]["container_id"]
    box = next(Path(cluster.work_dir).glob(f"*/slaves/*/frameworks/{one.id}/executors/group/runs/latest"))
    assert box.resolve().name == inner["parent"]["value"]
    assert (box / "tasks/in").resolve() == (box / "containers" / inner["value"]).resolve()


# Volumes


@pytest.mark.parametrize("old", [False, True])
def test_a_host_path_is_found_in_the_sandbox(framework: Make, tmp_path: Path, old: bool) -> None:
    (tmp_path / "in").write_text("from the host")
    volume = host_volume(tmp_path, "data/here")
    if old:
        volume = {"container_path": "data/here", "mode": "RW", "host_path": str(tmp_path)}
    one = framework()
    one.run("cat data/here/in > data/here/out", container=mesos(volume))
    assert outcome(one, "task")["state"] == "TASK_FINISHED"
    assert (tmp_path / "out").read_text() == "from the host"


def test_a_custom_executor_has_volumes_too(framework: Make, tmp_path: Path) -> None:
    one = framework()
    offer = one.offers()[0]
    info = executor_info("vol", container=mesos(host_volume(tmp_path, "vol")))
    one.accept(offer, [task("t", offer, executor=info, data=encoded("run"))])
    one.until("TASK_RUNNING")
    base = f"/frameworks/{one.id}/executors/vol/runs/latest"
    (tmp_path / "seen").touch()
    answer = request(agent_address(offer), "GET", f"/files/browse?path={base}")
    assert any(item["path"].endswith("/vol") for item in answer.json())


def test_tasks_of_a_group_share_a_directory_of_their_parent(framework: Make) -> None:
    one = framework()
    shared = mesos(sandbox_volume("PARENT", "shared", "common"))
    commands = {
        "a": "echo hello > common/x",
        "b": "while ! test -s common/x; do sleep 0.02; done; grep hello common/x",
    }
    group(one, one.offers()[0], commands, container=shared)
    states = {}
    while len(states) < 2:
        status = one.update()
        if status["state"] not in ("TASK_STARTING", "TASK_RUNNING"):
            states[status["task_id"]["value"]] = status["state"]
    assert states == {"a": "TASK_FINISHED", "b": "TASK_FINISHED"}


def test_volumes_that_cannot_be_had_end_the_task_with_the_reason(framework: Make) -> None:
    one = framework()
    absent = "Path '/no/such/path' in HOST_PATH volume does not exist"
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, "true", container=mesos(host_volume("/no/such/path", "x")))])
    status = outcome(one, "t")
    assert (status["state"], status["reason"]) == FAILED
    assert status["message"] == f"Failed to launch container: {absent}"
    group(one, one.offers()[0], {"g": "true"}, container=mesos(host_volume("/no/such/path", "x")))
    status = outcome(one, "g")
    assert (status["state"], status["reason"]) == FAILED
    assert status["message"] == f"Failed to launch container: {absent}"
    assert one.stream.next("FAILURE")


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        (host_volume("rel", "x"), "Path 'rel' in HOST_PATH volume is not absolute"),
        (sandbox_volume("SELF", "/abs", "/x"), "Path '/abs' in SANDBOX_PATH volume is absolute"),
        (
            sandbox_volume("SELF", "a", "x"),
            "'container_path' is relative for SANDBOX_PATH volume SELF type",
        ),
        (
            sandbox_volume("PARENT", "a", "x"),
            "SANDBOX_PATH volume PARENT type only works for nested container",
        ),
        (sandbox_volume("SELF", "../../etc", "/x"), "leads out of the sandbox"),
        (host_volume("/etc", "../../x"), "leads out of the sandbox"),
        (
            host_volume("/etc", "/opt/absolute"),
            "The 'linux' launcher and 'filesystem/linux' isolator must be enabled",
        ),
        (
            {"container_path": "x", "mode": "RO", "source": {"type": "SECRET", "secret": {}}},
            "Volumes of type SECRET are not supported by the embedded Mesos",
        ),
        (
            {"container_path": "x", "mode": "RO", "image": {"type": "DOCKER"}},
            "Unsupported container image: DOCKER",
        ),
    ],
)
def test_why_a_volume_is_refused(tmp_path: Path, volume: Json, text: str) -> None:
    fault = prepare(mesos(volume), [], str(tmp_path / "box"), None, HERE)
    assert fault is not None and fault.startswith("Failed to launch container: ") and text in fault


def test_a_path_that_is_there_already_needs_no_mount(tmp_path: Path) -> None:
    """The container shares the host's file system, so /data at /data is had."""
    assert prepare(mesos(host_volume(tmp_path, str(tmp_path))), [], str(tmp_path / "box"), None, HERE) is None


def test_a_parents_directory_is_found(tmp_path: Path) -> None:
    volume = sandbox_volume("PARENT", "a/b", "x")
    kind, path = source_of(volume, "/box/containers/c", str(tmp_path))
    assert (kind, path) == ("SANDBOX_PATH", str(tmp_path / "a/b"))
    with pytest.raises(VolumeError):
        source_of(sandbox_volume("PARENT", "../x", "x"), "/box", str(tmp_path))


# What a master refuses


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (mesos({"container_path": "x"}), "Invalid volume: Only one of them should be set"),
        (
            mesos({"container_path": "x", "host_path": "/a", "image": {}}),
            "Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'",
        ),
        (
            mesos({"container_path": "x", "source": {"type": "HOST_PATH"}}),
            "Invalid volume: 'source.host_path' is not set for HOST_PATH volume",
        ),
        (mesos({"container_path": "x", "source": {}}), "Invalid volume: 'source.type' is unknown"),
        ({"type": "DOCKER"}, "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo"),
    ],
)
def test_faults_of_a_container(info: Json, text: str) -> None:
    fault = container_validation.container(info)
    assert fault is not None and fault.startswith(text)


def variable(**more: Any) -> Json:
    return {"environment": {"variables": [{"name": "V", **more}]}}


SECRET = {"type": "VALUE", "value": {"data": encoded("s3cret")}}


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (variable(type="VALUE"), "of type 'VALUE' must have a value set"),
        (variable(value="x", secret=SECRET), "of type 'VALUE' must not have a secret set"),
        (variable(type="SECRET"), "of type 'SECRET' must have a secret set"),
        (variable(type="SECRET", secret=SECRET, value=""), "of type 'SECRET' must not have a value set"),
        (
            variable(type="SECRET", secret={"type": "VALUE"}),
            "specifies an invalid secret: Secret of type VALUE must have the 'value' field set",
        ),
        (
            variable(type="SECRET", secret={"type": "REFERENCE"}),
            "specifies an invalid secret: Secret of type REFERENCE must have the 'reference' field set",
        ),
        (
            variable(type="SECRET", secret={"type": "VALUE", "value": {"data": encoded("a\0b")}}),
            "specifies a secret containing null bytes, which is not allowed in the environment",
        ),
    ],
)
def test_faults_of_an_environment(command: Json, text: str) -> None:
    assert container_validation.environment(command) == f"Environment variable 'V' {text}"


@pytest.mark.parametrize(
    ("limits", "held", "text"),
    [
        ({"disk": {"value": 1}}, {"cpus": 1}, "Only cpus and mem may be included"),
        (
            {"cpus": {"value": 0.5}},
            {"cpus": 1},
            "The cpu limit must be greater than or equal to the cpu request",
        ),
        ({"mem": {"value": 1}}, {"mem": 2}, "The memory limit must be greater than or equal to"),
        ({"mem": {"value": 1}}, {"cpus": 2}, "When a memory limit is specified, a memory request must also"),
        ({"cpus": {"value": "Infinity"}, "mem": {"value": 3}}, {"cpus": 1, "mem": 2}, None),
    ],
)
def test_faults_of_limits(limits: Json, held: dict[str, float], text: str | None) -> None:
    parsed = schema.parse(
        "TaskInfo",
        {"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "a"}, "limits": limits},
    )
    json.dumps(parsed, allow_nan=False)  # executors get it as JSON
    fault = container_validation.limits({**parsed, "resources": resources(**held)}, group=False)
    assert (fault is None) == (text is None) and (fault or "").startswith(text or "")


def test_faults_end_a_task_with_task_error(framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    bad = {"shell": True, "value": "true", **variable(type="SECRET")}
    one.accept(offer, [task("t", offer, bad)])
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_ERROR", "REASON_TASK_INVALID")
    assert status["message"].startswith("Task's `CommandInfo` is invalid: Environment variable 'V' of type")
    offer = one.offers()[0]
    group(one, offer, {"g": "true"}, limits={"mem": {"value": 1000}})
    status = one.update()
    assert status["state"] == "TASK_ERROR"
    assert "Resource limits may only be set for tasks within a task group when" in status["message"]


# Secrets


def test_a_secret_is_the_variables_value(framework: Make) -> None:
    """As the isolator `environment_secret`, which a real agent always has, gives it."""
    one = framework()
    command = {"shell": True, "value": 'test "$V" = s3cret', **variable(type="SECRET", secret=SECRET)}
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, command)])
    assert outcome(one, "t")["state"] == "TASK_FINISHED"
    group(one, one.offers()[0], {"g": command})
    assert outcome(one, "g")["state"] == "TASK_FINISHED"


def test_a_secret_by_reference_is_known_to_nobody(framework: Make) -> None:
    one = framework()
    secret = {"type": "REFERENCE", "reference": {"name": "n"}}
    offer = one.offers()[0]
    command = {"shell": True, "value": "true", **variable(type="SECRET", secret=secret)}
    one.accept(offer, [task("t", offer, command)])
    status = outcome(one, "t")
    assert (status["state"], status["reason"]) == FAILED
    text = "Failed to launch container: Default secret resolver cannot resolve references"
    assert status["message"] == text


def test_bytes_of_a_secret_reach_the_environment_unchanged() -> None:
    data = {"type": "SECRET", "name": "V", "secret": {"value": {"data": encoded(b"\xff\xfe")}}}
    assert values_of([data])["V"].encode("utf-8", "surrogateescape") == b"\xff\xfe"


# Limits


def test_a_containers_limits_are_the_sum_of_its_tasks() -> None:
    own = {"executor_id": {"value": "e"}, "resources": resources(cpus=0.1, mem=32)}
    run = ExecutorRun("f", "e", own, own, "*", "c", "/box", command=False)

    def held(task_id: str, **limits: Any) -> TaskRun:
        info = {"task_id": {"value": task_id}, "resources": resources(cpus=1, mem=64)}
        given = {name: {"value": value} for name, value in limits.items()}
        return TaskRun({**info, "limits": given} if limits else info)

    run.queued["a"] = held("a")
    assert run.limits == Limits(1.1, 96)
    run.tasks["b"] = held("b", mem=100.0)
    assert run.limits == Limits(2.1, 160, None, 32 + 64 + 100)
    run.tasks["c"] = held("c", cpus="Infinity", mem=64.0)
    assert run.limits == Limits(3.1, 224, float("inf"), 32 + 64 + 100 + 64)
