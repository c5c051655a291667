"""pymesos as others use it, with its own event streams: all its drivers, its examples and its tests.

http-parser, which it imports, compiles on no Python of today; `clients/stand_in` has its interface on h11. All this
happens in interpreters of its own: nothing of pymesos, as published, comes near the tests' process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from t2notebook import _vendor
from t2notebook.localmesos import LocalMesos
from tests.localmesos import oracle
from tests.localmesos.agent.test_recovery import wait_for
from tests.localmesos.client import Framework, agent_address, request

CLIENTS = Path(__file__).with_name("clients")
UPSTREAM = os.environ.get("PYMESOS_GIT", "https://github.com/douban/pymesos")
"""Where git finds pymesos's repository: its sdist has neither its examples nor its tests."""
TAG = "0.3.15"
LIFE = ["TASK_RUNNING", "TASK_FINISHED"]
Make = Callable[..., Framework]


def interpreter(folder: Path, *pymesos: Path) -> Path:
    """Make a Python that finds pymesos and its stand-in besides what the tests' own has.

    A `.pth` file, not PYTHONPATH: an agent gives executors an environment of its own.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    found = [CLIENTS / "stand_in", *pymesos, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    (site / "pymesos.pth").write_text("\n".join(str(one) for one in dict.fromkeys(found)))
    return python


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (vendored,) = _vendor.__path__
    if not (Path(vendored) / "pymesos" / "process.py").is_file():
        pytest.skip("t2notebook was not installed here, so its copy of pymesos is missing")
    return interpreter(tmp_path_factory.mktemp("pymesos") / "venv", Path(vendored))


def said(text: str, *subjects: str) -> dict[str, list[str]]:
    """Give what a script printed, by the first word of a line."""
    lines = [line.split(" ", 1) for line in text.splitlines()]
    return {name: [rest for first, rest in lines if first == name] for name in subjects}


def test_scheduler_and_executor(cluster: LocalMesos, python: Path, tmp_path: Path) -> None:
    """Launch, messages both ways, reconciliation, a kill: and TEARDOWN at the end."""
    command = [python, CLIENTS / "pymesos_scheduler.py", cluster.master]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    heard = said(done.stdout, "registered", "ends", "killed", "message")
    assert heard.pop("registered") == ["1.12.0"]
    assert sorted(heard.pop("message")) == ["for ends", "for killed"]
    # RUNNING comes twice: the second answers reconciliation.
    assert heard == {"ends": LIFE, "killed": ["TASK_RUNNING", "TASK_RUNNING", "TASK_KILLED"]}
    state = request(cluster.master, "GET", "/state").json()
    assert [one["name"] for one in state["completed_frameworks"] if one["name"] == "pymesos"]


@pytest.fixture
def operator(cluster: LocalMesos, framework: Make, python: Path) -> Iterator[tuple[Any, Framework]]:
    one = framework(name="watched", roles=("watched",))
    offer = one.run("echo here; sleep 1000")
    one.until("TASK_RUNNING")
    sandbox = f"/frameworks/{one.id}/executors/task/runs/latest"
    command = [python, CLIENTS / "pymesos_operator.py", cluster.master, agent_address(offer), sandbox]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process, one
    process.kill()
    process.communicate()


def test_operator_drivers(operator: tuple[Any, Framework]) -> None:
    """Every question has an answer of the recorded shape; events come as the example's class wants them."""
    process, one = operator
    answers: list[list[Any]] = []
    while not answers or answers[-1] != ["watching"]:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        answers.append(json.loads(line))
    assert len(answers) == 29
    for name, answer in answers[:-1]:
        kind = {"Files": "LIST_FILES", "File": "READ_FILE"}.get(name, f"GET_{snake(name)}")
        assert answer["type"] == kind, answer
        if name not in ("Flags", "Metrics"):
            oracle.check(answer, kind)
    wait_for(lambda: watchers(one.master))
    one.run("true", "short")
    one.until("TASK_FINISHED", "short")
    one.call("TEARDOWN")
    lines = [json.loads(line)[1:] for line in process.communicate(timeout=20)[0].splitlines()]
    assert lines == [
        ["taskAdded", "short"],
        ["taskUpdated", "TASK_STARTING"],
        ["taskUpdated", "TASK_RUNNING"],
        ["taskUpdated", "TASK_FINISHED"],
        ["frameworkRemoved", "watched"],
    ]
    assert process.returncode == 0


def snake(name: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in name).lstrip("_").upper()


def watchers(master: str) -> float:
    return float(
        request(master, "GET", "/metrics/snapshot").json()["master/operator_event_stream_subscribers"]
    )


# Upstream's own


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream") / "pymesos"
    command = ["git", "clone", "-q", "--depth", "1", "--branch", TAG, UPSTREAM, str(folder)]
    try:
        got = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"git cannot get {UPSTREAM}: {error}")
    if got.returncode:
        pytest.skip(f"git cannot get {UPSTREAM}: {got.stderr.strip()[-200:]}")
    return folder


@pytest.mark.slow
def test_upstreams_tests(upstream: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytest_mock")
    python = interpreter(tmp_path / "venv", upstream)
    command = [python, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", upstream, upstream / "tests"]
    done = subprocess.run(command, cwd=upstream, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    assert "87 passed" in done.stdout


@pytest.mark.slow
def test_upstreams_examples(upstream: Path, tmp_path: Path) -> None:
    """The scheduler fills the cluster with tasks until it is interrupted; the operator example sees them."""
    python = interpreter(tmp_path / "venv", upstream)
    examples = upstream / "examples"
    # The example is Python 2's: bytes are text there.
    edit(examples / "scheduler.py", "'Hello from task {}!'.format(task_id)", "b'Hello'")
    edit(examples / "executor.py", "time.sleep(30)", "time.sleep(1)")
    log, events = tmp_path / "scheduler.log", tmp_path / "operator.log"
    with (
        ExitStack() as stack,
        LocalMesos(agents=1, cpus=0.4, mem=256) as cluster,
        started(events, python, examples / "operator_v1.py", cluster.master),
    ):
        wait_for(lambda: watchers(cluster.master))
        running = stack.enter_context(started(log, python, examples / "scheduler.py", cluster.master))
        wait_for(lambda: log.read_text().count("TASK_FINISHED") > 1, 60)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        wait_for(lambda: "Framework removed" in events.read_text(), 20)
        for text in ("Framework added", "Task added", "Task updated"):
            assert text in events.read_text()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@contextmanager
def started(log: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_stand_in(python: Path) -> None:
    """What it parses in pieces, and what it does not parse."""
    script = """if True:
        from http_parser.http import HttpParser
        parser = HttpParser()
        wire = b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nabc\\r\\n0\\r\\n\\r\\n"
        got = b""
        for index in range(len(wire)):
            assert parser.execute(wire[index:index + 1], 1) == 1
            if parser.is_partial_body():
                got += parser.recv_body()
        assert (got, parser.get_status_code(), parser.is_chunked()) == (b"abc", 200, True)
        assert parser.is_message_complete() and not parser.get_errno()
        parser = HttpParser()
        assert parser.execute(b"nonsense\\r\\n\\r\\n", 12) != 12 and parser.get_errno()
    """
    subprocess.run([python, "-c", script], check=True, timeout=30)
