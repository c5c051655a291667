"""binder/mesos/Dockerfile and binder/compose.yaml, for real: in containers, with what goes wrong in them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.conftest import BASE, Engine

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "binder" / "compose.yaml"
PROJECT = "t2test"
MASTERS = {"master1": "172.30.77.11", "master2": "172.30.77.12"}
AGENTS = ("agent1", "agent2", "agent3")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

#: The public image of ZooKeeper cannot be pulled everywhere: the same server from Debian's jars.
LOCAL_ZOOKEEPER = f"""
services:
  zookeeper:
    image: {BASE}
    command:
      - sh
      - -c
      - >-
        mkdir -p /tmp/zk && printf 'tickTime=200\\ndataDir=/tmp/zk\\nclientPort=2181\\nadmin.enableServer=false\\n'
        > /tmp/zoo.cfg && exec java -Xmx128m -cp "$$(ls /usr/share/java/*.jar |
        grep -E '/(zookeeper|zookeeper-jute|slf4j-api|slf4j-nop|netty-all|metrics-core|snappy-java)\\.jar' |
        tr '\\n' ':')" org.apache.zookeeper.server.ZooKeeperServerMain /tmp/zoo.cfg
"""

SIX_WORKERS = """
import t2notebook as t2, time

def work(env):
    import time
    for second in range(30):
        env.progress(second + 1, 30)
        time.sleep(1)
    return env.worker_id, env.restart_count

job = t2.submit(work, workers=6, cpu=1, ram_mega_bytes=128)
while job.state != t2.JobState.STARTED:
    time.sleep(0.1)
print("STARTED", flush=True)
import json
import socket
print(json.dumps(job.results(timeout=300)), flush=True)
"""

FIRST_JOB = """
import time, t2notebook as t2
began = time.monotonic()
assert t2.submit(lambda env: env.worker_id, workers=6, cpu=1, ram_mega_bytes=128).results(timeout=120) == list(range(6))
print(time.monotonic() - began)
"""


class Cluster:
    """The compose file's containers."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        override = folder / "zookeeper.yaml"
        override.write_text(LOCAL_ZOOKEEPER)
        self._compose = [sys.executable, "-m", "podman_compose", "-p", PROJECT, "-f", COMPOSE, "-f", override]

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = str(free.getsockname()[1])

    def up(self) -> None:
        self.engine.run(*self._compose, "up", "-d", "--no-build", T2_PORT=self._port, timeout=180)

    def down(self) -> None:
        command = ("down", "--volumes", "--timeout", "5")
        self.engine.run(*self._compose, *command, T2_PORT=self._port, check=False)

    def podman(self, verb: str, service: str, *more: str) -> str:
        return self.engine.run("podman", verb, *more, f"{PROJECT}_{service}_1")

    def notebook(self, *command: str, timeout: float = 120) -> str:
        return self.engine.run("podman", "exec", f"{PROJECT}_notebook_1", *command, timeout=timeout)

    def leader(self) -> str:
        """Return the service that leads; each master redirects to it."""
        code = (
            "import urllib.request as u; print(u.urlopen('http://{}:5050/state', timeout=5).read().decode())"
        )
        state = json.loads(self.notebook("python3", "-c", code.format(MASTERS["master2"])))
        (name,) = (name for name, ip in MASTERS.items() if ip == state["leader_info"]["hostname"])
        return name


@pytest.fixture(scope="module")
def cluster(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(engine, tmp_path_factory.mktemp("compose"))
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
    assert engine.run("podman", "ps", "--all", "--quiet").strip() == ""
    assert engine.run("podman", "volume", "ls", "--quiet").strip() == ""


def eventually(what, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_first_job_does_not_wait_for_the_cluster(cluster: Cluster) -> None:
    assert float(cluster.notebook("python3", "-c", FIRST_JOB)) < 20


def test_every_part_is_healthy(cluster: Cluster) -> None:
    for service in (*MASTERS, *AGENTS):
        cluster.engine.run("podman", "healthcheck", "run", f"{PROJECT}_{service}_1")


def test_the_quickstart_runs_in_the_notebooks_container(cluster: Cluster) -> None:
    assert cluster.notebook("id", "-un").strip() == "jovyan"
    said = cluster.notebook("python3", "examples/run_demo.py", timeout=300)
    assert "worker 3: 70! = 1.198e+100" in said
    assert "172.30.77.2" in said  # on the agents' hosts


def test_a_job_outlives_an_agent_and_the_leading_master(cluster: Cluster, tmp_path: Path) -> None:
    command = ["podman", "exec", f"{PROJECT}_notebook_1", "python3", "-c", SIX_WORKERS]
    said = tmp_path / "said"
    with said.open("w") as out:
        job = subprocess.Popen(command, env=cluster.engine.environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: "STARTED" in said.read_text() or job.poll() is not None, 60)
        leader = cluster.leader()
        cluster.podman("stop", "agent2")
        cluster.podman("rm", leader, "--force", "--time", "0")
        time.sleep(6)
        cluster.podman("start", "agent2")
        job.wait(300)
    finally:
        job.kill()
        job.wait()
    results = json.loads(said.read_text().splitlines()[-1])
    assert [worker for worker, _ in results] == list(range(6))
    # Those of the agent that was stopped began anew, and nobody else.
    assert sorted(restarts for _, restarts in results) == [0, 0, 0, 0, 1, 1]


def test_one_container_is_enough_for_the_quickstart(engine: Engine, image: str) -> None:
    command = ["podman", "run", "--rm", image]
    assert engine.run(*command, "sh", "-c", "id -u; t2notebook --version").startswith("1000\nt2notebook ")
    said = engine.run(*command, "python3", "examples/run_demo.py", timeout=300)
    assert "worker 3: 70! = 1.198e+100" in said


def test_the_image_keeps_nothing_of_the_packages_index(engine: Engine, image: str) -> None:
    code = "ls -A /run/secrets 2>/dev/null; find / -xdev -name 'pip.conf' -o -xdev -name 'pip.pem' | head"
    assert engine.run("podman", "run", "--rm", "--user", "0", image, "sh", "-c", code).strip() == ""
    history = engine.run("podman", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "index-url" not in history
