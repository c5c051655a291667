"""`t2notebook mesos-master` and `mesos-agent`: parts that start alone make one cluster; off loopback with a secret."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2notebook.localmesos.cluster import standalone
from t2notebook.localmesos.common import processes
from tests.localmesos.client import request
from tests.localmesos.zookeeper import absent, zookeeper

SECRET = "a secret of more than sixteen letters"


class Part:
    """A master or an agent as a process."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.errors = directory / "stderr"
        command = [sys.executable, "-m", "t2notebook.cli", *arguments, "--work-dir", str(directory / "work")]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if line.startswith("  files"):
                break
        found = re.search(r"at +http://([\d.:]+)/", self.said)
        self.address = found[1] if found else ""

    def end(self, signum: int = signal.SIGTERM) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.send_signal(signum)
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    parts: list[Part] = []

    def start_one(name: str, *arguments: str) -> Part:
        parts.append(Part(tmp_path / name, *arguments))
        return parts[-1]

    yield start_one
    for part in parts:
        part.end()


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return str(path)


def agents_of(master: str) -> list[dict]:
    with contextlib.suppress(OSError, AssertionError, ValueError):
        return [one for one in json.loads(request(master, "GET", "/slaves").body)["slaves"] if one["active"]]
    return []


def eventually(what, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


RESOURCES = "cpus:3;mem:512;disk:1000;ports:[41000-41009]"


def test_parts_that_start_alone_make_a_cluster(start, secret_file: str) -> None:
    master = start("m", "mesos-master", "--port", "0", "--secret-file", secret_file)
    assert "An embedded Mesos master is running." in master.said
    assert "not encrypted" in master.said
    one = start(
        *("a1", "mesos-agent", "--master", master.address, "--secret-file", secret_file, "--port", "0"),
        *("--resources", RESOURCES, "--attributes", "rack:r1", "--hostname", "one.example"),
    )
    two = start("a2", "mesos-agent", "--master", master.address, "--secret-file", secret_file, "--port", "0")
    assert f"joins  {master.address}" in one.said
    eventually(lambda: len(agents_of(master.address)) == 2)
    (found,) = [agent for agent in agents_of(master.address) if agent["hostname"] == "one.example"]
    assert (found["resources"]["cpus"], found["resources"]["mem"]) == (3, 512)
    assert found["resources"]["ports"] == "[41000-41009]"
    assert found["attributes"] == {"rack": "r1"}
    # An agent that is started again is the same one: its work directory tells it who it was.
    family = processes.descendants(one.process.pid)
    assert one.end() == 0
    assert not any(processes.alive(pid) for pid in family)
    start(
        *("a1", "mesos-agent", "--master", master.address, "--secret-file", secret_file, "--port", "0"),
        *("--resources", RESOURCES, "--attributes", "rack:r1", "--hostname", "one.example"),
    )
    eventually(lambda: found["id"] in {agent["id"] for agent in agents_of(master.address)})
    assert two.end(signal.SIGINT) == 0
    assert master.end() == 0


def test_an_agent_with_another_secret_stays_outside_and_says_why(
    start, secret_file: str, tmp_path: Path
) -> None:
    master = start("m", "mesos-master", "--port", "0", "--secret-file", secret_file)
    (tmp_path / "wrong").write_text("another secret, as long as the first")
    for name, secret in (("other", ["--secret-file", str(tmp_path / "wrong")]), ("none", [])):
        agent = start(name, "mesos-agent", "--master", master.address, "--port", "0", *secret)
        eventually(lambda agent=agent: "its secret is another one" in agent.errors.read_text())
    assert agents_of(master.address) == []
    # It goes on asking, since the master's secret may change, but not at once for ever: 80 times a second, once.
    times = eventually(lambda: when_refused(agent)[5:])
    assert times[0] - when_refused(agent)[0] >= 0.3


def when_refused(agent: Part) -> list[float]:
    """Return seconds of the day at which an agent wrote that its secret is another one."""
    found = re.findall(r" (\d+):(\d+):(\d+),(\d+) .*its secret is another one", agent.errors.read_text())
    return [3600 * int(h) + 60 * int(m) + int(s) + int(ms) / 1000 for h, m, s, ms in found]


def test_a_part_that_dies_is_an_exit_status_or_begins_anew(start, secret_file: str) -> None:
    master = start("m", "mesos-master", "--port", "0", "--secret-file", secret_file)
    (child,) = processes.descendants(master.process.pid)
    processes.send([child], signal.SIGKILL)
    assert master.process.wait(20) == 1
    again = start("n", "mesos-master", "--port", "0", "--secret-file", secret_file, "--restart", "0")
    (child,) = processes.descendants(again.process.pid)
    processes.send([child], signal.SIGKILL)
    eventually(lambda: set(processes.descendants(again.process.pid)) - {child})
    assert eventually(
        lambda: request(again.address, "GET", "/health").status == 200 if answers(again) else False
    )


def answers(part: Part) -> bool:
    with contextlib.suppress(OSError, AssertionError, ValueError):
        return request(part.address, "GET", "/health").status == 200
    return False


@pytest.mark.skipif(absent() is not None, reason=absent() or "")
def test_agents_follow_the_master_that_zookeeper_names(start, secret_file: str, tmp_path: Path) -> None:
    with zookeeper(tmp_path / "zookeeper") as quorum:
        zk = f"zk://{quorum}/mesos"
        election = ("--zk-session-timeout", "1", "--secret-file", secret_file)
        masters = [start(name, "mesos-master", "--zk", zk, "--port", "0", *election) for name in ("m1", "m2")]
        start("a", "mesos-agent", "--master", zk, "--port", "0", *election)
        (leader,) = eventually(lambda: [one for one in masters if agents_of(one.address)])
        (other,) = (one for one in masters if one is not leader)
        leader.end(signal.SIGKILL)
        eventually(lambda: agents_of(other.address))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["mesos-master", "--ip", "192.0.2.1"],
            "192.0.2.1 is reached by other hosts, so --secret-file is needed",
        ),
        (["mesos-master", "--ip", "0.0.0.0"], "--ip 0.0.0.0 is no address that others can reach"),
        (["mesos-master", "--ip", "::"], "--ip :: is no address that others can reach"),
        (["mesos-master", "--ip", "here"], "--ip 'here' is no address"),
        (["mesos-master", "--zk", "h1:2181"], "'h1:2181' is not zk://host:port,host:port/path"),
        (["mesos-master", "--secret-file", "/nowhere/secret"], "No such file"),
        (["mesos-agent"], "--master"),
        (["mesos-agent", "--master", "192.0.2.1:5050"], "192.0.2.1 is reached by other hosts"),
        (["mesos-agent", "--master", "here"], "'here' is neither HOST:PORT nor zk://"),
        (["mesos-agent", "--master", "here:99999"], "neither HOST:PORT nor zk://"),
        (
            ["mesos-agent", "--master", "127.0.0.1:1", "--resources", "cpus"],
            "--resources: 'cpus' is not name:value",
        ),
        (
            ["mesos-agent", "--master", "127.0.0.1:1", "--resources", "cores:2"],
            "--resources: cores is none of",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = standalone.master if arguments[0] == "mesos-master" else standalone.agent
    with pytest.raises(SystemExit) as ended:
        run(arguments[1:])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert says in line


@pytest.mark.parametrize("text", ["", "short", "two lines\nof a secret that is long enough"])
def test_a_secret_has_to_be_one_long_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(SystemExit):
        standalone.master(["--ip", "192.0.2.1", "--secret-file", str(path)])
    assert "has to hold one line of 16 characters or more" in capsys.readouterr().err
