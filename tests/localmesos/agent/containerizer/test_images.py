"""Containers with images where there is nothing that could run them: the reason says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos.agent.executors.test_check_runner import group
from tests.localmesos.client import Framework, task
from tests.localmesos.conftest import executor_info

DOCKER = {"type": "DOCKER", "docker": {"image": "alpine"}}
MESOS = {"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": "alpine"}}}}
NONE = (
    "None of the enabled containerizers (mesos) could create a container "
    "for the provided TaskInfo/ExecutorInfo message"
)
UNSUPPORTED = "Failed to launch container: Unsupported container image: DOCKER"


@pytest.fixture(scope="module")
def master() -> Iterator[str]:
    """Agents that know of no container engine, whatever this machine has."""
    with LocalMesos(agents=1, cpus=4, mem=4096, agent_flags={"docker": "none"}) as cluster:
        yield cluster.master


@pytest.mark.parametrize(("container", "text"), [(DOCKER, NONE), (MESOS, UNSUPPORTED)])
@pytest.mark.parametrize("custom", [True, False])
def test_images_are_refused(
    framework: Callable[..., Framework], container: dict[str, Any], text: str, custom: bool
) -> None:
    one = framework()
    offer = one.offers()[0]
    if custom:
        info = task("t", offer, executor=executor_info("ex", container=container))
    else:
        info = task("t", offer, "true", container=container)
    one.accept(offer, [info])
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
    assert status["message"] == text


def test_a_groups_task_with_an_image_is_refused(framework: Callable[..., Framework]) -> None:
    """In an executor that runs already, too."""
    one = framework()
    group(one, one.offers()[0], {"first": "sleep 1000"})
    one.until("TASK_RUNNING", "first")
    group(one, one.offers()[0], {"a": "true"}, container=MESOS)
    status = one.update()
    assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
    assert status["message"] == UNSUPPORTED
    group(one, one.offers()[0], {"b": "true"}, container=DOCKER)
    status = one.update()
    assert status["state"] == "TASK_ERROR"
    assert status["message"].endswith("Docker ContainerInfo is not supported on the task")


def test_container_without_image_is_a_plain_one(framework: Callable[..., Framework]) -> None:
    one = framework()
    one.run("true", container={"type": "MESOS"})
    one.until("TASK_FINISHED")
