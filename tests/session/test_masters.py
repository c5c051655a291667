"""Sessions at guarded masters: by TLS with a secret, and by ZooKeeper; and where the secret does not show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme

from t2notebook.client import locator
from t2notebook.client.offline import read_output
from t2notebook.journal import read_events
from t2notebook.localmesos import LocalMesos
from t2notebook.notebook.magics.cluster import table
from tests.localmesos.client import request as ask
from tests.localmesos.master.test_authentication import basic
from tests.localmesos.zookeeper import absent, zookeeper
from tests.session.conftest import eventually, processes

#: Not a text in this file, which travels with the jobs.
SECRET = f"sesame-{os.urandom(8).hex()}"


#: Speaks TLS before a master that does not, and wants a certificate: server.pem, ca.pem, port.
FRONT = """
import asyncio, ssl, sys

server_pem, ca_pem, port = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(server_pem)
context.load_verify_locations(ca_pem)
context.verify_mode = ssl.CERT_REQUIRED

async def pump(source, sink):
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()

async def serve(reader, writer):
    source, sink = await asyncio.open_connection("127.0.0.1", int(port))
    await asyncio.gather(pump(reader, sink), pump(source, writer), return_exceptions=True)

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesos]:
    path = tmp_path_factory.mktemp("credentials") / "credentials.json"
    path.write_text(json.dumps({"credentials": [{"principal": "alice", "secret": SECRET}]}))
    with LocalMesos(agents=1, credentials=path) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def front(guarded: LocalMesos, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings for the way through the front."""
    folder, ca = tmp_path_factory.mktemp("pem"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    ca.issue_cert("ada@example.org").private_key_and_cert_chain_pem.write_to_path(folder / "ada.pem")
    files = [str(folder / "server.pem"), str(folder / "ca.pem")]
    command = [sys.executable, "-c", FRONT, *files, guarded.master.rpartition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield {
            "T2_MASTER": f"https://localhost:{process.stdout.readline().strip()}",
            "T2_TLS_CA": str(folder / "ca.pem"),
            "T2_TLS_CERT": str(folder / "ada.pem"),
        }
        process.kill()


#: Speaks TLS before an agent that does not, and wants credentials: server.pem, port, the header's value.
GUARDED_AGENT = """
import asyncio, ssl, sys

server_pem, port, wanted = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(server_pem)

async def serve(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    if f"authorization: {wanted}".lower().encode() in head.lower():
        source, sink = await asyncio.open_connection("127.0.0.1", int(port))
        sink.write(head.replace(b"\\r\\n", b"\\r\\nConnection: close\\r\\n", 1))
        writer.write(await source.read(-1))
        sink.close()
    else:
        writer.write(b"HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def set_all(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def where_it_shows(home: Path, secret: str) -> list[str]:
    """Return the files, command lines and environments that hold a secret."""
    found = [str(path) for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    for pid, command in processes(home).items():
        if secret in command:
            found.append(f"command line of {pid}: {command}")
        # A cluster that a test starts is a child of ours, and has our environment.
        if "localmesos" not in command and secret.encode() in Path(f"/proc/{pid}/environ").read_bytes():
            found.append(f"environment of {pid}: {command}")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if secret.encode() in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue
    return found


def test_a_job_by_tls_with_a_secret(
    t2: Any, home: Path, guarded: LocalMesos, front: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of ours, an authority of our own, a principal that the master knows."""
    set_all(monkeypatch, {**front, "T2_PRINCIPAL": "alice", "T2_SECRET": SECRET, "T2_LOG": "DEBUG"})

    def work(env: Any) -> int:
        print("from", env.worker_id)
        return int(env.worker_id)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    assert job.results(timeout=60) == [0, 1]
    assert job.logs(1) == "from 1\n"
    headers = {"Authorization": basic("alice", SECRET), "Content-Type": "application/json"}
    answer = ask(guarded.master, "POST", "/api/v1", b'{"type": "GET_FRAMEWORKS"}', headers)
    (framework,) = json.loads(answer.text)["get_frameworks"]["frameworks"]
    assert framework["framework_info"]["principal"] == "alice"
    assert SECRET not in answer.text + ask(guarded.master, "GET", "/state", None, headers).text
    assert where_it_shows(home, SECRET) == []
    shown = table(t2.configure()) + repr(t2.configure()) + t2.jobs().to_string() + repr(t2.jobs().to_dict())
    assert SECRET not in shown and "alice" in shown
    assert list(home.rglob("session-*.log")), "the log is where it was looked for"


def test_a_secret_in_a_file_is_read_by_the_session_only(
    t2: Any, home: Path, guarded: LocalMesos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text(f"alice {SECRET}\n")
    set_all(monkeypatch, {"T2_MASTER": guarded.master, "T2_SECRET_FILE": str(path)})
    assert t2.submit(lambda env: 5, workers=1, ram_mega_bytes=64).results(timeout=60) == [5]
    assert where_it_shows(home, SECRET) == []


def test_old_logs_of_agents_that_want_credentials_and_tls(
    t2: Any, guarded: LocalMesos, front: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session has ended, so the kernel reads sandboxes itself: as the session did, with its credentials."""
    secret = tmp_path / "secret"
    secret.write_text(f"alice {SECRET}\n")
    set_all(monkeypatch, {**front, "T2_SECRET_FILE": str(secret)})

    def work(env: Any) -> None:
        print("first\nfrom", env.worker_id)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    job.results(timeout=60)
    directory = locator.find(job.job_id)[1]
    t2.shutdown()
    assert job.logs(1) == "first\nfrom 1\n", "an agent that asks for nothing"

    server = str(Path(front["T2_TLS_CA"]).with_name("server.pem"))
    events = read_events(directory, job.job_id)
    (port,) = {event.data["agent_url"].rpartition(":")[2] for event in events if "agent_url" in event.data}
    command = [sys.executable, "-c", GUARDED_AGENT, server, port, basic("alice", SECRET)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            for scheme in ("https", "http"):  # a master may say http of agents that speak TLS only
                for event in events:
                    if "agent_url" in event.data:
                        event.data["agent_url"] = f"{scheme}://localhost:{port}"
                assert read_output(directory, events, 1, "stdout", 0) == (b"first\nfrom 1\n", 13)
                assert read_output(directory, events, 1, "stdout", -3) == (b" 1\n", 13)
            secret.write_text("alice wr0ng\n")
            with pytest.raises(t2.Twister2Error, match="the agent refuses principal 'alice'") as caught:
                read_output(directory, events, 0, "stderr", 0)
            assert "wr0ng" not in str(caught.value)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"T2_PRINCIPAL": "alice", "T2_SECRET": "wr0ng"},
            "refuses principal 'alice': it does not know it, or the secret",
        ),
        ({}, "wants to know who we are; set principal and secret_file, or T2_PRINCIPAL and T2_SECRET"),
    ],
)
def test_a_master_that_does_not_let_us_in(
    t2: Any, guarded: LocalMesos, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    set_all(monkeypatch, {"T2_MASTER": guarded.master, **settings})
    job = t2.submit(lambda env: 5, workers=1, ram_mega_bytes=64)
    assert job.wait(30).name == "KILLED"
    with pytest.raises(t2.JobFailed, match=f"the master {guarded.master} {message}") as caught:
        job.results(5)
    assert "wr0ng" not in str(caught.value)


def test_an_authority_that_we_do_not_trust(
    t2: Any, front: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, {"T2_MASTER": front["T2_MASTER"]})
    job = t2.submit(lambda env: 5, workers=1, ram_mega_bytes=64)
    with pytest.raises(
        t2.JobFailed, match=r"https://localhost:\d+: its certificate is signed by nobody we trust"
    ):
        job.results(30)


@pytest.mark.skipif(absent() is not None, reason=absent() or "")
def test_a_job_by_zookeeper(t2: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it waits for until there is a master; the password of ZooKeeper shows nowhere."""
    with zookeeper(tmp_path / "zookeeper") as quorum:
        set_all(monkeypatch, {"T2_MASTER": f"zk://ada:{SECRET}@{quorum}/mesos"})
        job = t2.submit(lambda env: env.worker_id, workers=2, ram_mega_bytes=64)
        told = f"no master (no Mesos master has been at /mesos of ZooKeeper at {quorum} yet)"
        eventually(lambda: job.view().waiting_for == told)
        with LocalMesos(agents=1, masters=2, zk=f"zk://{quorum}/mesos", zk_session_timeout=1.0) as cluster:
            assert job.results(timeout=60) == [0, 1]
            assert where_it_shows(home, SECRET) == []
            assert t2.configure().master == f"zk://{quorum}/mesos"
            from t2notebook.client.session_process import ensure_session

            assert ensure_session(t2.configure()).get("/v1/info")["master"] in cluster.masters


@pytest.mark.skipif(absent() is not None, reason=absent() or "")
def test_a_job_goes_on_when_the_leader_changes(
    t2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    path = str(go)

    def stay(env: Any) -> int:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.05)
        restarts: int = env.restart_count
        return restarts

    with zookeeper(tmp_path / "zookeeper") as quorum:
        uri = f"zk://{quorum}/mesos"
        set_all(monkeypatch, {"T2_MASTER": uri})
        with LocalMesos(agents=1, masters=2, zk=uri, zk_session_timeout=1.0) as cluster:
            job = t2.submit(stay, workers=2, cpu=0.5, ram_mega_bytes=64)
            eventually(lambda: list(job.tasks.state) == ["RUNNING", "RUNNING"], timeout=30)
            before = job._connection.link.connection.get("/v1/info")
            leader = next(
                name
                for name, pid in cluster.pids.items()
                if name.startswith("master")
                and int(before["master"].rpartition(":")[2])
                in {connection.laddr.port for connection in psutil.Process(pid).net_connections()}
            )
            os.kill(cluster.pids[leader], signal.SIGKILL)
            session = job._connection.link
            eventually(lambda: session.connection.get("/v1/info")["master"] != before["master"], timeout=30)
            go.touch()
            assert job.results(timeout=60) == [0, 0]
            assert job._connection.link.connection.get("/v1/info")["framework_id"] == before["framework_id"]
            t2.shutdown()
