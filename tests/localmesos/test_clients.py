"""Clients that others wrote, from PyPI and npm, against the embedded Mesos: they cannot tell it from the real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos.client import Framework, encoded, resources, task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
CLIENTS = Path(__file__).with_name("clients")
PYTHON_PINS = ["mesoshttp==0.4.2"]
NODE_PINS = ["mesos-framework@0.5.3"]
Make = Callable[..., Framework]
LIFE = ["SUBSCRIBED", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def run(command: list[str | Path], cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own with the clients from PyPI."""
    folder = tmp_path_factory.mktemp("clients-python")
    made = run([sys.executable, "-m", "venv", "venv"], folder)
    if made.returncode:
        pytest.skip(f"no venv can be made: {made.stderr.strip()[-200:]}")
    program = folder / "venv" / "bin" / "python"
    got = run([program, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PYTHON_PINS], folder)
    if got.returncode:
        pytest.skip(f"PyPI cannot be reached for {', '.join(PYTHON_PINS)}: {got.stderr.strip()[-200:]}")
    return program


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients from npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js is not there (node and npm)")
    folder = tmp_path_factory.mktemp("clients-node")
    got = run(["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts", *NODE_PINS], folder)
    if got.returncode:
        pytest.skip(f"npm cannot be reached for {', '.join(NODE_PINS)}: {got.stderr.strip()[-200:]}")
    for script in CLIENTS.glob("*.js"):
        shutil.copy(script, folder)
    return folder


def test_mesoshttp_scheduler(cluster: LocalMesos, python: Path, tmp_path: Path) -> None:
    done = run([python, CLIENTS / "mesoshttp_scheduler.py", f"http://{cluster.master}"], tmp_path, 60)
    assert done.stdout.split() == LIFE, done.stderr


def test_mesos_framework_scheduler(cluster: LocalMesos, node: Path) -> None:
    host, port = cluster.master.split(":")
    done = run(["node", "framework_scheduler.js", host, port], node, 60)
    said = [line for line in done.stdout.split() if line.startswith(("SUBSCRIBED", "TASK_"))]
    assert said == LIFE, done.stdout + done.stderr


def test_mesos_framework_executor(framework: Make, node: Path) -> None:
    one = framework()
    offer = one.offers()[0]
    executor = {
        "type": "CUSTOM",
        "executor_id": {"value": "node"},
        "command": {"value": f"cd {node} && exec node framework_executor.js"},
        "resources": resources(cpus=0.1, mem=256),
    }
    one.accept(offer, [task("t", offer, executor=executor)])
    one.until("TASK_RUNNING", timeout=20)
    ids = {"agent_id": offer["agent_id"], "executor_id": {"value": "node"}}
    one.call("MESSAGE", {**ids, "data": encoded("ping")})
    assert one.stream.next("MESSAGE")["message"]["data"] == encoded("ping")
    one.call("KILL", {"task_id": {"value": "t"}})
    one.until("TASK_KILLED")
    one.call("SHUTDOWN", ids)
    assert one.stream.next("FAILURE")["failure"]["executor_id"] == {"value": "node"}


# Mesos's own


@pytest.fixture
def mesos_execute(cluster: LocalMesos) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real mesos-execute, where there is one (MESOS_EXECUTE, or on the PATH)."""
    program = shutil.which(os.environ.get("MESOS_EXECUTE", "mesos-execute"))
    if program is None:
        pytest.skip("mesos-execute is not there")

    def execute(*options: str) -> subprocess.CompletedProcess[str]:
        command = [program, f"--master={cluster.master}", *options]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "LIBPROCESS_IP": "127.0.0.1"},
        )

    return execute


SMALL = "--resources=cpus:0.1;mem:32"
EXECUTED = [
    (("--command=exit 0", SMALL), [["STARTING", "RUNNING", "FINISHED"]]),
    (("--command=exit 3", SMALL, "--checkpoint", "--role=dev"), [["STARTING", "RUNNING", "FAILED"]]),
    (("--command=sleep 1000", SMALL, "--kill_after=1secs"), [["STARTING", "RUNNING", "KILLING", "KILLED"]]),
    (("--command=test $A = b", SMALL, '--env={"A": "b"}'), [["STARTING", "RUNNING", "FINISHED"]]),
    (("sleep 0.2", "exit 0"), [["STARTING", "RUNNING", "FINISHED"]] * 2),
    (
        ("sleep 1000", "exit 4"),
        [["STARTING", "RUNNING", "KILLING", "KILLED"], ["STARTING", "RUNNING", "FAILED"]],
    ),
]


@pytest.mark.parametrize(("options", "wanted"), EXECUTED)
def test_mesos_execute(
    mesos_execute: Callable[..., Any], options: tuple[str, ...], wanted: list[list[str]]
) -> None:
    """What the same client says of a real master, run beside this one."""
    if not options[0].startswith("--"):
        own = {"agent_id": {"value": ""}, "resources": resources(cpus=0.1, mem=32, disk=32)}
        tasks = [
            {"name": f"t{i}", "task_id": {"value": f"t{i}"}, "command": {"value": command}, **own}
            for i, command in enumerate(options)
        ]
        options = (f"--task_group={json.dumps({'tasks': tasks})}",)
    else:
        options = ("--name=t0", *options)
    done = mesos_execute("--content_type=json", *options)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"Received status update TASK_(\w+) for task 't(\d)'", done.stdout)
    assert [[state for state, task in said if int(task) == i] for i in range(len(wanted))] == wanted


def test_mesos_execute_in_protobuf(mesos_execute: Callable[..., Any]) -> None:
    done = mesos_execute("--name=t0", "--command=true")
    assert done.returncode != 0
    assert "415 Unsupported Media Type" in done.stderr
