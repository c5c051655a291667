"""Workers in images, for real: podman below the embedded Mesos, and what goes wrong in it."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from tests.containers.conftest import BASE, Engine
from tests.localmesos.client import Framework, task
from tests.packaging.debian import debian
from tests.session.conftest import eventually, home, processes, t2, unconfigured  # noqa: F401 - fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DOCKER = {"type": "DOCKER", "docker": {"image": BASE}}


class _Registry(http.server.BaseHTTPRequestHandler):
    """A registry that has no image."""

    def do_GET(self) -> None:
        is_root = self.path == "/v2/"
        body = (
            b"{}" if is_root else b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
        )
        self.send_response(200 if is_root else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """Serve a registry that has no image; its host and port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", autouse=True)
def podman(engine: Engine, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Have agents find this engine; nothing of a container is left when all tests are over."""
    settings = tmp_path_factory.mktemp("registries") / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PATH", "CONTAINERS_CONF"):
            patch.setenv(name, engine.environment[name])
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))
        yield engine


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(podman: Engine, home: Path) -> Iterator[None]:  # noqa: F811
    """Of a container, when the module's sessions and clusters have ended."""
    yield
    eventually(lambda: not processes(home), timeout=60)
    assert left(podman) == []


def left(engine: Engine) -> list[str]:
    return engine.run("podman", "ps", "--all", "--format", "{{.Names}}").split()


@pytest.fixture
def new(engine: Engine) -> Callable[[], list[str]]:
    """Return the containers that this test has made; the session of others may have warm ones."""
    before = set(left(engine))
    return lambda: [name for name in left(engine) if name not in before]


@pytest.fixture
def mesos(tmp_path: Path) -> Iterator[LocalMesos]:
    """A cluster whose agent is started again when it dies."""
    with LocalMesos(agents=1, cpus=4, mem=4096, restart=0.2) as cluster:
        yield cluster


@pytest.fixture
def one(mesos: LocalMesos) -> Iterator[Framework]:
    one = Framework(mesos.master, checkpoint=True, failover_timeout=60.0).subscribed()
    yield one
    with contextlib.suppress(OSError, AssertionError):
        one.call("TEARDOWN", expect=None)
    one.close()


def start(one: Framework, command: str, mem: float = 64, **more: Any) -> None:
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, command, mem=mem, **{"container": DOCKER, **more})])


def test_a_worker_finds_the_images_files_its_sandbox_and_what_travels_along(
    t2: Any,  # noqa: F811
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPICE", "saffron")
    (tmp_path / "data.csv").write_text("1,2\n")
    monkeypatch.chdir(tmp_path)
    volume = tmp_path / "volume"
    volume.mkdir()

    def work(env: Any) -> None:
        import yaml_that_nobody_has  # noqa: F401

    def look(env: Any) -> dict[str, Any]:
        import os
        import pathlib
        import sys

        print("in", sys.executable)
        (pathlib.Path(env.persistent_volume) / "kept").write_text(str(env.worker_id))
        return {
            "system": pathlib.Path("/etc/debian_version").read_text().strip(),
            "python": sys.version_info[:2],
            "data": pathlib.Path("data.csv").read_text(),
            "spice": os.environ["SPICE"],
            "sandbox": os.environ["MESOS_SANDBOX"],
            "home": os.environ["HOME"].startswith("/mnt/mesos/sandbox"),
        }

    options = {"cpu": 0.5, "ram_mega_bytes": 128, "image": BASE}
    job = t2.submit(
        look, workers=2, files="data.csv", setenv="SPICE", persistent_volume=str(volume), **options
    )
    for found in job.results(timeout=120):
        assert found["system"].startswith("12.") and found["data"] == "1,2\n" and found["spice"] == "saffron"
        assert found["sandbox"] == "/mnt/mesos/sandbox" and found["home"]
    assert "in /usr/bin/python3" in job.logs(0)
    assert sorted(path.read_text() for path in volume.rglob("kept")) == ["0", "1"]
    # A library that only the notebook's machine has is none of the image's, and the traceback is the worker's own.
    with pytest.raises(t2.JobFailed, match="No module named 'yaml_that_nobody_has'"):
        t2.submit(work, **options).results(timeout=60)


def test_a_killed_job_leaves_no_container(t2: Any, engine: Engine) -> None:  # noqa: F811
    def sleep(env: Any) -> None:
        import time

        time.sleep(1000)

    job = t2.submit(sleep, workers=2, workers_per_executor=1, cpu=0.5, ram_mega_bytes=64, image=BASE)
    eventually(lambda: job.state == t2.JobState.STARTED, timeout=60)
    assert len(left(engine)) >= 2
    job.kill()
    assert job.wait(30) == t2.JobState.KILLED
    t2.configure(executor_linger=1.0)


def test_a_worker_that_takes_too_much_memory_is_told_so(t2: Any) -> None:  # noqa: F811
    def hog(env: Any) -> int:
        return len(bytearray(1 << 29))

    with pytest.raises(t2.JobFailed, match="memory"):
        t2.submit(hog, cpu=0.5, ram_mega_bytes=64, image=BASE).results(timeout=60)


def test_the_kernel_ends_a_container_that_takes_too_much_and_mesos_says_so(one: Framework) -> None:
    start(one, "exec python3 -c 'bytearray(1 << 29)'", mem=64)
    status = one.until("TASK_FAILED")
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert status["message"].startswith("Memory limit exceeded: Requested: 96MB")


def test_a_container_outlives_its_agent_and_is_killed_by_the_next(
    one: Framework, mesos: LocalMesos, new: Callable[[], list[str]]
) -> None:
    start(one, "trap 'exit 7' TERM; while true; do sleep 0.1; done")
    one.until("TASK_RUNNING")
    eventually(new)
    assert mesos.faults is not None
    mesos.faults.restart("agent1")
    time.sleep(1.0)
    assert len(new()) == 1
    one.call("KILL", {"task_id": {"value": "t"}})
    assert one.until("TASK_KILLED")["message"] == "Command exited with status 7"
    eventually(lambda: not new(), timeout=30)


def test_a_client_that_was_killed_takes_its_container_along(
    one: Framework, new: Callable[[], list[str]]
) -> None:
    start(one, "sleep 1000")
    status = one.until("TASK_RUNNING")
    eventually(new)
    os.kill(status["container_status"]["executor_pid"], signal.SIGKILL)
    assert "Killed" in one.until("TASK_FAILED")["message"]
    eventually(lambda: not new(), timeout=30)


def test_containers_of_a_cluster_that_was_killed_whole_are_swept_by_the_next(
    engine: Engine, new: Callable[[], list[str]]
) -> None:
    with LocalMesos(agents=1) as killed:
        one = Framework(killed.master, checkpoint=True, failover_timeout=60.0).subscribed()
        start(one, "sleep 1000")
        one.until("TASK_RUNNING")
        eventually(new)
        eventually(
            lambda: engine.run("podman", "inspect", "-f", "{{.State.Running}}", *new()).strip() == "true"
        )
        for pid in killed.pids.values():
            os.kill(pid, signal.SIGKILL)
        one.close()
    shutil.rmtree(killed.work_dir, ignore_errors=True)
    (orphan,) = new()
    with LocalMesos(agents=1) as cluster:
        one = Framework(cluster.master, checkpoint=True, failover_timeout=60.0).subscribed()
        start(one, "true")
        one.until("TASK_FINISHED")
        assert orphan not in new()
        one.close()


# What cannot be had, in one line each


def fails(t2: Any, image: str) -> str:  # noqa: F811
    job = t2.submit(lambda env: 1, cpu=0.5, ram_mega_bytes=64, image=image, max_worker_restarts=0)
    with pytest.raises(t2.JobFailed) as failed:
        job.results(timeout=120)
    return str(failed.value)


def test_an_image_that_its_registry_does_not_have(t2: Any, registry: str) -> None:  # noqa: F811
    image = f"{registry}/team/image:1"
    text = fails(t2, image)
    assert f"127.0.0.1 has no image {image}, and no registry gave it (Error" in text
    assert "manifest unknown); build or pull it there, or name another" in text


def test_a_registry_that_cannot_be_reached(t2: Any) -> None:  # noqa: F811
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        image = f"127.0.0.1:{closed.getsockname()[1]}/team/image:1"
    text = fails(t2, image)
    assert f"127.0.0.1 cannot reach the registry of the image {image} (" in text
    assert "connection refused); pull it there by hand, or name an image that the agent has" in text


def test_an_image_without_python_and_one_with_another(t2: Any, engine: Engine) -> None:  # noqa: F811
    bare, other = "localhost/t2-bare:1", "localhost/t2-testing:1"
    if not engine.has(bare):
        engine.run("podman", "run", "--name", "t2-bare", BASE, "sh", "-c", "rm /usr/bin/python3*")
        engine.run("podman", "commit", "--quiet", "t2-bare", bare)
        engine.run("podman", "rm", "t2-bare")
    text = fails(t2, bare)
    assert (
        f"cannot start on 127.0.0.1 in the image {bare}: t2notebook: the image {bare} has no Python" in text
    )
    if not engine.has(other):
        engine.run("podman", "import", debian("testing"), other, timeout=600)
    text = fails(t2, other)
    assert "this job was submitted by Python 3." in text and "but this image starts Python 3." in text


def test_mesoss_own_containerizer_runs_images_on_a_real_mesos() -> None:
    """On agents with --image_providers=docker; the embedded Mesos has nothing that unpacks images."""
    if missing := [name for name in ("mesos-master", "mesos-agent") if shutil.which(name) is None]:
        pytest.skip(f"no {' and no '.join(missing)} on PATH: only a real Mesos has this containerizer")
    if not os.path.exists("/proc/sysrq-trigger"):
        pytest.skip(
            "this kernel has no /proc/sysrq-trigger, which Mesos mounts in each container with an image"
        )
    import t2notebook

    flags = {"image_providers": "docker", "isolation": "filesystem/linux,docker/runtime", "launcher": "linux"}
    with LocalMesos(agents=1, binaries=True, agent_flags=flags) as mesos:
        t2notebook.configure(master=mesos.master, containerizer="mesos")
        image = f"python:{'.'.join(map(str, __import__('sys').version_info[:2]))}-slim"
        job = t2notebook.submit(lambda env: env.worker_id, image=image)
        assert job.results(timeout=300) == [0]
        t2notebook.shutdown()
