"""Workers that find each other, and meet, in a real ZooKeeper."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.localmesos.zookeeper import absent, zookeeper
from tests.session.conftest import eventually, sessions_of

pytestmark = pytest.mark.skipif(absent() is not None, reason=absent() or "")


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as address:
        yield address


@pytest.fixture(scope="module")
def zk(ensemble: str) -> Iterator[Any]:
    from kazoo.client import KazooClient

    client = KazooClient(ensemble)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def where(ensemble: str, t2: Any) -> str:
    t2.configure(zookeeper=f"zk://{ensemble}/jobs")
    return "zookeeper"


def test_workers_find_each_other_and_nothing_is_left(t2: Any, where: str, zk: Any, ensemble: str) -> None:
    def work(env: Any) -> Any:
        controller = env.worker_controller
        workers = controller.get_all_workers(timeout=60)
        mine = controller.get_worker_info()
        assert workers[env.worker_id] == mine == controller.get_worker_info_for_id(env.worker_id)
        assert mine.port == env.additional_ports[0]
        for _ in range(5):
            controller.wait_on_barrier(60)
        controller.wait_on_init_barrier(60)
        controller.wait_on_barrier(60)
        if env.worker_id == 0:
            from kazoo.client import KazooClient

            client = KazooClient(env.config["zookeeper"])
            client.start()
            told = []
            for path in (f"/jobs/{env.job_id}", f"/jobs/{env.job_id}/workers/1"):
                try:
                    told.append(client.get(path))
                except Exception as error:
                    told.append(type(error).__name__)
            client.stop()
            assert told == ["NoAuthError", "NoAuthError"], "nobody else reads or writes it"
        controller.wait_on_barrier(60)
        return [(one.worker_id, one.ip, one.port, one.node, one.compute_resource.cpu) for one in workers]

    config = {"zookeeper": ensemble}
    job = t2.submit(work, workers=3, cpu=0.5, ram=64, ports=1, discovery=where, config=config)
    seen = job.results(timeout=90)
    assert seen[0] == seen[1] == seen[2]
    assert [one[0] for one in seen[0]] == [0, 1, 2]
    assert {one[1] for one in seen[0]} == {"127.0.0.1"} and {one[4] for one in seen[0]} == {0.5}
    assert job.tasks.ports.tolist() == [f"{one[3]}:{one[2]}" for one in seen[0]]
    eventually(lambda: not zk.exists("/jobs"))


@pytest.mark.slow
def test_barriers_that_are_not_passed(t2: Any, where: str, zk: Any) -> None:
    def work(env: Any) -> list[str]:
        import time

        import t2notebook as t2

        controller, told = env.worker_controller, []
        if env.worker_id == 1:
            controller.get_all_workers(60)
            time.sleep(1.5)
            return []
        controller.get_all_workers(60)
        for timeout in (0.3, 60):
            try:
                controller.wait_on_barrier(timeout=timeout)
            except t2.BarrierTimeout as error:
                told.append(str(error))
        return told

    told = t2.submit(work, workers=3, cpu=0.5, ram=64, discovery=where).results(90)
    for first, second in (told[0], told[2]):
        assert "of 3 workers came in time; missing: " in first and "worker 1" in first
        assert "worker 1 (has finished), and will never come" in second
    eventually(lambda: not zk.exists("/jobs"))


def test_a_worker_that_crashes_breaks_the_barrier_and_all_begin_anew(
    t2: Any, where: str, tmp_path: Path
) -> None:
    def work(env: Any) -> Any:
        import os
        import time

        import t2notebook as t2

        controller, told = env.worker_controller, []
        marker = env.config["marker"]
        while True:
            controller.wait_on_init_barrier(timeout=90)
            try:
                if env.worker_id == 2 and not os.path.exists(marker):
                    open(marker, "w").close()
                    time.sleep(0.3)
                    os.kill(os.getpid(), 9)
                controller.wait_on_barrier(timeout=90)
                controller.wait_on_barrier(timeout=90)
                return told, env.restart_count, [one.restart_count for one in controller.get_joined_workers()]
            except t2.JobFaulty as error:
                told.append(str(error))

    config = {"marker": str(tmp_path / "crashed")}
    results = t2.submit(work, workers=3, cpu=0.5, ram=64, discovery=where, config=config).results(90)
    assert [result[1] for result in results] == [0, 0, 1]
    assert results[2][0] == [] and results[2][2] == [0, 0, 1]
    for told, _, _ in results[:2]:
        assert told == ["the barrier was not passed: worker 2 failed and is started again"]


@pytest.mark.slow
def test_barriers_need_no_session(t2: Any, where: str, home: Path, tmp_path: Path, zk: Any) -> None:
    def work(env: Any) -> float:
        import os
        import time

        env.worker_controller.wait_on_barrier(60)
        gate = env.config["gate"]
        open(f"{gate}-{env.worker_id}", "w").close()
        while not os.path.exists(gate):
            time.sleep(0.02)
        for _ in range(10):
            env.worker_controller.wait_on_barrier(60)
        open(f"{gate}-{env.worker_id}-passed", "w").close()
        return env.worker_id

    gate = tmp_path / "gate"
    job = t2.submit(work, workers=2, cpu=0.5, ram=64, discovery=where, config={"gate": str(gate)})
    eventually(lambda: all(Path(f"{gate}-{number}").exists() for number in (0, 1)), 60)
    pids = sessions_of(home)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        gate.touch()
        eventually(lambda: all(Path(f"{gate}-{number}-passed").exists() for number in (0, 1)), 60)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert job.results(90) == [0, 1]
    eventually(lambda: not zk.exists("/jobs"), 30)


@pytest.mark.slow
def test_what_cannot_be_used_is_said_at_once(t2: Any, where: str, ensemble: str) -> None:
    from t2notebook.config import configure

    with pytest.raises(
        t2.SessionError, match=r"nothing was submitted: ZooKeeper at 127\.0\.0\.1:1 does not answer"
    ):
        t2.submit(lambda env: 1, discovery="zk://127.0.0.1:1/jobs")
    with pytest.raises(t2.SubmitError, match="holds a password"):
        t2.submit(lambda env: 1, discovery="zk://me:pw@127.0.0.1:1/jobs")
    with pytest.raises(t2.SubmitError, match="give 'zookeeper'"):
        t2.submit(lambda env: 1, discovery="etcd")
    configure(zookeeper="")
    with pytest.raises(t2.SubmitError, match=r"name one with t2\.configure"):
        t2.submit(lambda env: 1, discovery="zookeeper")


@pytest.mark.slow
def test_an_agent_without_kazoo_says_what_to_install(t2: Any, where: str, zk: Any) -> None:
    def work(env: Any) -> None:
        import sys

        sys.modules["kazoo.client"] = None  # type: ignore[assignment]
        env.worker_controller.get_all_workers()

    job = t2.submit(work, workers=1, cpu=0.5, ram=64, discovery=where)
    with pytest.raises(t2.DiscoveryError, match=r"needs kazoo, which .* does not have: install it there"):
        job.results(60)
    eventually(lambda: not zk.exists("/jobs"), 30)


@pytest.mark.slow
def test_a_zookeeper_that_stands_still_for_longer_than_its_sessions_last(
    t2: Any, where: str, ensemble: str, zk: Any, tmp_path: Path
) -> None:
    def work(env: Any) -> int:
        import os
        import time

        controller = env.worker_controller
        controller.wait_on_barrier(60)
        gate = env.config["gate"]
        open(f"{gate}-{env.worker_id}", "w").close()
        while env.worker_id == 0 and not os.path.exists(gate):
            time.sleep(0.02)
        for _ in range(20):
            controller.wait_on_barrier(60)
        return len(controller.get_joined_workers())

    gate = tmp_path / "gate"
    job = t2.submit(work, workers=3, cpu=0.5, ram=64, discovery=where, config={"gate": str(gate)})
    eventually(lambda: all(Path(f"{gate}-{number}").exists() for number in range(3)), 60)
    server = zookeeper_process(ensemble)
    os.kill(server, signal.SIGSTOP)  # two workers wait at the barrier
    try:
        gate.touch()
        time.sleep(6)  # its sessions last 4 s at the most
    finally:
        os.kill(server, signal.SIGCONT)
    assert job.results(90) == [3, 3, 3]
    assert not job.tasks.restarts.any()
    eventually(lambda: not zk.exists("/jobs"), 60)


def zookeeper_process(ensemble: str) -> int:
    port = ensemble.rpartition(":")[2]
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            is_server = b"org.apache.zookeeper.server.ZooKeeperServerMain" in command
            if is_server and f"clientPort={port}\n" in Path(os.fsdecode(command[-2])).read_text():
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError("there is no ZooKeeper")
