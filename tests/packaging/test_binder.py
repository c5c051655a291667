"""binder/: its scripts work for a user who is not root, in a copy of the repository, with an empty home."""

from __future__ import annotations

import importlib.metadata
import ipaddress
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from t2notebook.localmesos.cluster import standalone
from tests.localmesos.traces import TRACES
from tests.packaging.conftest import MINORS, REPOSITORY, copy_checkout, find_python

BINDER = REPOSITORY / "binder"

#: A user id that nobody has; used when the tests run as root.
THROW_AWAY_UID = 54321


def pinned(path: Path) -> set[str]:
    return set(re.findall(r"^([\w.\-]+==[\w.]+)", path.read_text(), re.MULTILINE))


def test_the_requirements_are_what_is_locked_for_the_demo_and_for_dask() -> None:
    locks = [pinned(REPOSITORY / "locks" / f"{extra}.txt") for extra in ("demo", "dataflow")]
    assert pinned(BINDER / "requirements.txt") == set.union(*locks)


def imported(path: Path) -> set[str]:
    """Return the packages that a notebook's cells import, those for workers included."""
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found = re.findall(r"^\s*(?:import|from) ([\w., ]+?)(?: import .*| as .*)?$", text, re.MULTILINE)
    return {name.strip().split(".")[0] for names in found for name in names.split(",")}


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "examples").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_visitor_has_what_each_example_imports(path: Path) -> None:
    there = {requirement.partition("==")[0].lower() for requirement in pinned(BINDER / "requirements.txt")}
    providers = importlib.metadata.packages_distributions()
    outside = imported(path) - set(sys.stdlib_module_names) - {"t2notebook"}
    assert {name for name in outside if not {one.lower() for one in providers[name]} & there} == set()


def test_the_python_is_one_that_the_project_supports() -> None:
    name, _, version = (BINDER / "runtime.txt").read_text().strip().partition("-")
    assert name == "python"
    assert version in {f"3.{minor}" for minor in MINORS}


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_the_scripts_can_be_executed(name: str) -> None:
    assert (BINDER / name).stat().st_mode & stat.S_IXUSR
    assert (BINDER / name).read_text().startswith("#!/usr/bin/env bash\n")


def test_start_ends_in_exec_of_its_arguments(tmp_path: Path) -> None:
    assert (BINDER / "start").read_text().rstrip().splitlines()[-1] == 'exec "$@"'
    command = [
        BINDER / "start",
        sys.executable,
        "-c",
        "import os, sys; print(os.getpid(), sys.argv[1:])",
        "a b",
        "",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=30)
    assert said.strip() == f"{process.pid} ['a b', '']"  # the very process: so signals reach the server
    assert process.returncode == 0


class Visitor:
    """An unprivileged user with an empty home, a copy of the repository and a fresh venv."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.repository = home / "repository"
        self.venv = home / "venv"

    def run(self, *command: str | Path) -> str:
        """Run `command` in the repository as this user; return its output, stderr included."""
        identity = {"user": THROW_AWAY_UID, "group": THROW_AWAY_UID, "extra_groups": []}
        keep = {
            key: value
            for key, value in os.environ.items()
            if key.startswith("PIP_") or key.lower().endswith("_proxy")
        }
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.repository,
            env=keep
            | {
                "HOME": str(self.home),
                "PATH": f"{self.venv}/bin:/usr/bin:/bin",
                "REPO_DIR": str(self.repository),
                "USER": "jovyan",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **(identity if os.getuid() == 0 else {}),  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}"
        return str(done.stdout)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    # not in pytest's own temporary folder: only the user who runs the tests may enter that
    with tempfile.TemporaryDirectory(prefix="t2-binder-") as folder:
        visitor = Visitor(Path(folder))
        copy_checkout(visitor.repository)
        if os.getuid() == 0:
            for path in [visitor.home, *visitor.home.rglob("*")]:
                os.chown(path, THROW_AWAY_UID, THROW_AWAY_UID)
        yield visitor


def make_venv(visitor: Visitor) -> None:
    """Make the venv with a Python that the visitor may run; without one there is nothing to test."""
    candidates = [find_python(minor) for minor in (12, 13, 11)] + [shutil.which("python3", path="/usr/bin")]
    for candidate in filter(None, candidates):
        try:
            visitor.run(candidate, "-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 11)")
        except (AssertionError, PermissionError):
            continue
        visitor.run(candidate, "-m", "venv", visitor.venv)
        return
    pytest.skip("no CPython 3.11 or later that an unprivileged user may run")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_visitor_gets_what_the_notebooks_need(visitor: Visitor) -> None:
    make_venv(visitor)
    # what repo2docker does: requirements, then postBuild, then start in front of the server's command
    visitor.run("python", "-m", "pip", "install", "--quiet", "-r", "binder/requirements.txt")
    visitor.run("binder/postBuild")
    if os.getuid() == 0:
        assert visitor.run("python", "-c", "import os; print(os.getuid())").strip() == str(THROW_AWAY_UID)
    code = "import t2notebook.mesos._pymesos as fence; fence.load(); print(fence.__file__)"
    assert visitor.run("binder/start", "python", "-c", code).strip().startswith(str(visitor.repository))
    assert "jupyterlab" in visitor.run("binder/start", "jupyter", "--version")
    assert "No broken requirements" in visitor.run("python", "-m", "pip", "check")


COMPOSE = yaml.safe_load((BINDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_the_compose_file_has_zookeeper_two_masters_three_agents_and_a_notebook() -> None:
    assert set(SERVICES) == {"secret", "zookeeper", "notebook"} | {
        *("master1", "master2", "agent1", "agent2", "agent3")
    }
    addresses = [
        one["networks"]["mesos"]["ipv4_address"] for name, one in SERVICES.items() if name != "secret"
    ]
    network = ipaddress.ip_network(COMPOSE["networks"]["mesos"]["ipam"]["config"][0]["subnet"])
    assert len(set(addresses)) == 7
    assert all(ipaddress.ip_address(address) in network for address in addresses)
    published = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert published == ["127.0.0.1:${T2_PORT:-8888}:8888"]


@pytest.mark.parametrize("name", [name for name in SERVICES if name.startswith(("master", "agent"))])
def test_each_part_of_the_compose_file_has_a_command_that_is_understood(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef" * 4)
    service = SERVICES[name]
    program, verb, *arguments = service["command"]
    arguments = [one.replace("/run/mesos/secret", str(secret)) for one in arguments]
    parse = standalone.parse_master if verb == "mesos-master" else standalone.parse_agent
    options = parse(arguments)
    assert (program, verb.removeprefix("mesos-")) == ("t2notebook", name.rstrip("123"))
    assert options.ip == service["networks"]["mesos"]["ipv4_address"]
    zookeeper = SERVICES["zookeeper"]["networks"]["mesos"]["ipv4_address"]
    assert options.zk == SERVICES["notebook"]["environment"]["T2_MASTER"] == f"zk://{zookeeper}:2181/mesos"
    port = options.port or options.agent_port
    assert service["environment"]["HEALTH"] == f"{options.ip}:{port}/health"
    assert service["healthcheck"]["test"][0] == "CMD"


def test_the_image_is_made_from_files_that_are_there_for_a_user_without_rights() -> None:
    lines = (BINDER / "mesos" / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert copied == ["binder/requirements.txt", "."]
    assert all((REPOSITORY / name).exists() for name in copied)
    last_user = next(line for line in reversed(lines) if line.startswith("USER "))
    assert last_user == "USER jovyan"
    # A secret mounted over a file that is there would remove it from the image.
    mounts = [line for line in lines if "--mount=type=secret" in line]
    assert mounts
    assert not any("target=" in line for line in mounts)


APACHE = yaml.safe_load((BINDER / "compose.apache.yaml").read_text())["services"]
#: Flags as a real Mesos 1.12 lists them of itself.
FLAGS = {
    "mesos-master": ("operator/025-master-get-flags", "zk/017-follower-get_flags"),
    "mesos-agent": ("operator/093-agent-get-flags",),
}


def recorded_flags(program: str) -> set[str]:
    found: set[str] = set()
    for name in FLAGS[program]:
        answer = json.loads((TRACES / f"{name}.body.json").read_text())
        flags = answer.get("flags") or {one["name"]: one for one in answer["get_flags"]["flags"]}
        found |= set(flags)
    return found


@pytest.mark.parametrize("name", APACHE)
def test_each_part_of_the_apache_profile_has_flags_that_mesos_has(name: str) -> None:
    service, ours = APACHE[name], SERVICES[name]
    (program,) = service["entrypoint"]
    assert program.removeprefix("mesos-") == name.rstrip("123")
    given = dict(one.removeprefix("--").partition("=")[::2] for one in service["command"])
    known = recorded_flags(program)
    assert {flag.removeprefix("no-") if not value else flag for flag, value in given.items()} <= known
    address = ours["networks"]["mesos"]["ipv4_address"]
    assert given["ip"] == given["hostname"] == address
    port = {"mesos-master": "5050", "mesos-agent": "5051"}[program]
    assert service["healthcheck"]["test"][-1].startswith(f"exec 3<> /dev/tcp/{address}/{port}")
    zookeeper = SERVICES["notebook"]["environment"]["T2_MASTER"]
    assert given["zk" if program == "mesos-master" else "master"] == zookeeper
    if program == "mesos-agent":
        mine = dict(one.removeprefix("--").partition("=")[::2] for one in ours["command"])
        assert given["attributes"] == mine["attributes"]
        assert given["resources"].startswith(mine["resources"])


NO_LEADER = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\n\r\nNo leader elected"


@pytest.mark.parametrize(
    "recorded", ["zk/010-follower-get_redirect", "operator/030-master-get-redirect", None]
)
def test_a_master_of_the_apache_profile_is_healthy_when_it_knows_who_leads(recorded: str | None) -> None:
    """Agents wait for that: a master drops what came before, and their next attempt may be half a minute away."""
    for name in ("master1", "master2"):
        program, *options, script = APACHE[name]["healthcheck"]["test"][1:]
        with socket.create_server(("127.0.0.1", 0)) as master:
            place = f"/dev/tcp/127.0.0.1/{master.getsockname()[1]}"
            script = re.sub(r"/dev/tcp/[0-9.]+/5050", place, script.replace("$$", "$"))
            asks = subprocess.Popen([program, *options, script])
            master.settimeout(30)
            connection, _ = master.accept()
            with connection, connection.makefile("rb") as asked:
                lines = list(iter(asked.readline, b"\r\n"))
                connection.sendall(
                    (TRACES / f"{recorded}.response.http").read_bytes() if recorded else NO_LEADER
                )
                assert asks.wait(30) == (0 if recorded else 1)
            assert lines[0] == b"GET /redirect HTTP/1.1\r\n"
            assert b"Host: mesos\r\n" in lines
    healthy = {"condition": "service_healthy"}
    for name in ("agent1", "agent2", "agent3"):
        assert APACHE[name]["depends_on"] == {"master1": healthy, "master2": healthy}


def test_the_apache_profile_replaces_masters_and_agents_and_nothing_else() -> None:
    assert set(APACHE) == {name for name in SERVICES if name.startswith(("master", "agent"))}
    # Workers run under the notebook's version of Python.
    python = APACHE["agent1"]["build"]["args"]["PYTHON"]
    assert python.removeprefix("${T2_PYTHON:-").rstrip("}") in SERVICES["secret"]["build"]["args"]["BASE"]
    assert (BINDER / APACHE["agent1"]["build"]["dockerfile"]).exists()
