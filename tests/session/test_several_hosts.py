"""Workers on several hosts: network namespaces with addresses of their own, joined by a router in one more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localmesos.zookeeper import absent

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
#: The router, on which master, session and notebook are; and two hosts with agents.
HOSTS = ("t2r", "t2a", "t2b")
ADDRESSES = {"t2a": "10.177.1", "t2b": "10.177.2"}
SECRET = "a secret of more than sixteen letters"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def name(host: str) -> str:
    return f"{host}{os.getpid()}"


def inside(host: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", name(host), *command]


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    if shutil.which("ip") is None:
        pytest.skip("no ip (Debian's iproute2) here")
    try:
        for host in HOSTS:
            ip("netns", "add", name(host))
            ip("-n", name(host), "link", "set", "lo", "up")
        for host, net in ADDRESSES.items():
            ip("-n", name("t2r"), "link", "add", host, "type", "veth", "peer", "eth0", "netns", name(host))
            for where, device, last in (("t2r", host, 1), (host, "eth0", 2)):
                ip("-n", name(where), "address", "add", f"{net}.{last}/24", "dev", device)
                ip("-n", name(where), "link", "set", device, "up")
            ip("-n", name(host), "route", "add", "default", "via", f"{net}.1")
        subprocess.run(
            inside("t2r", "sysctl", "-qw", "net.ipv4.ip_forward=1"), check=True, capture_output=True
        )
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        remove()
        why = getattr(error, "stderr", b"").decode().strip() or error
        pytest.skip(f"no network namespaces for us here: {why}")
    try:
        yield
    finally:
        remove()


def remove() -> None:
    for host in HOSTS:
        subprocess.run(["ip", "netns", "del", name(host)], capture_output=True)


@pytest.fixture(scope="module")
def master(network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master on the router, and an agent on each of the hosts, which know each other by their own addresses."""
    folder = tmp_path_factory.mktemp("hosts")
    secret = folder / "secret"
    secret.write_text(SECRET)
    address = f"{ADDRESSES['t2a']}.1:5050"
    common = ["--secret-file", str(secret), "--work-dir"]
    commands = {"t2r": ["mesos-master", "--ip", address.partition(":")[0], *common, str(folder / "m")]}
    for number, (host, net) in enumerate(ADDRESSES.items()):
        commands[host] = [
            "mesos-agent",
            "--master",
            address,
            "--ip",
            f"{net}.2",
            "--hostname",
            f"node{number}",
        ]
        commands[host] += ["--attributes", f"rack:r{number};datacenter:d{number}", "--resources"]
        commands[host] += ["cpus:2;mem:1024;disk:1000;ports:[31000-31099]", *common, str(folder / host)]
    processes = []
    try:
        for host, command in commands.items():
            with (folder / f"{host}.log").open("wb") as log:
                run = inside(host, sys.executable, "-m", "t2notebook", *command)
                processes.append(subprocess.Popen(run, stdout=log, stderr=log, cwd=ROOT))
            time.sleep(0.5)
        yield address
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


SCRIPT = """
    import contextlib, json, sys, tempfile
    from pathlib import Path

    import t2notebook as t2

    def work(env):
        import socket

        controller = env.worker_controller
        mine = controller.get_worker_info()
        servers = [socket.create_server((mine.ip, port)) for port in env.additional_ports]
        workers = controller.get_all_workers(timeout=120)
        controller.wait_on_barrier(120)
        heard = []
        for other in workers:
            for port in other.additional_ports:
                with socket.create_connection((other.ip, port), timeout=20) as out:
                    out.sendall(b"%d" % env.worker_id)
        for server in servers:
            for _ in workers:
                with server.accept()[0] as come:
                    heard.append(int(come.recv(9)))
        env.send((env.worker_id + 1) % len(workers), "hello")
        assert next(env.messages(timeout=60)) == "hello"
        controller.wait_on_barrier(120)
        return [[one.ip, one.port, one.node, one.rack, one.data_center] for one in workers], sorted(heard)

    how = json.loads(sys.argv[1])
    with contextlib.ExitStack() as stack:
        if how.get("discovery"):
            from tests.localmesos.zookeeper import zookeeper

            where = stack.enter_context(zookeeper(Path(tempfile.mkdtemp()), host=how.pop("zookeeper")))
            how["discovery"] = f"zk://{where}/t2"
        job = t2.submit(work, workers=2, cpu=0.5, ram=64, ports=2, where="unique:hostname", **how)
        try:
            print(json.dumps(job.results(120)))
        finally:
            t2.shutdown()
"""


@pytest.mark.parametrize("how", ["session", "cluster", "zookeeper"])
def test_they_reach_each_other_by_the_addresses_that_they_are_given(
    master: str, how: str, tmp_path: Path
) -> None:
    if how == "zookeeper" and (reason := absent()):
        pytest.skip(reason)
    options = {"session": {}, "cluster": {"job_master": "cluster"}}.get(how) or {}
    if how == "zookeeper":
        options = {"discovery": how, "zookeeper": f"{ADDRESSES['t2a']}.1"}
    names = {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_DATA_DIR": "data", "JUPYTER_CONFIG_DIR": "config"}
    environment = {
        **os.environ,
        **{variable: str(tmp_path / folder) for variable, folder in names.items()},
        "T2_MASTER": master,
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        inside("t2r", sys.executable, "-c", textwrap.dedent(SCRIPT), json.dumps(options)),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    (first, heard), (second, also) = json.loads(run.stdout.splitlines()[-1])
    assert first == second and heard == also == [0, 0, 1, 1], "each of two ports of each hears both"
    assert sorted(one[0] for one in first) == [f"{net}.2" for net in ADDRESSES.values()]
    assert sorted(one[2:] for one in first) == [["node0", "r0", "d0"], ["node1", "r1", "d1"]]
    assert all(31000 <= one[1] < 31100 for one in first)
