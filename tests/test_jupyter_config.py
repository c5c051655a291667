"""Settings in Jupyter's and IPython's configuration, and the order of all places."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from traitlets.config import Application
from traitlets.config import Config as TraitletsConfig

import t2notebook as t2
from t2notebook import config
from t2notebook.config import sources


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Jupyter's configuration folder of the user; no other is looked at."""
    monkeypatch.setattr(sources, "_configured", {})
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "")
    monkeypatch.delenv("T2_CONFIG", raising=False)
    monkeypatch.delenv("T2_MASTER", raising=False)
    yield tmp_path
    Application.clear_instance()


def application(**settings: object) -> None:
    """Have an application in this process, as IPython and kernels are, with settings from its files or command line."""
    Application.instance(config=TraitletsConfig({"T2Notebook": settings}))


def test_each_place_is_nearer_than_the_one_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.get_config().master == "local"
    (folder / "jupyter_config.py").write_text("c.T2Notebook.master = 'shared:1'\nc.T2Notebook.port = 7001\n")
    assert config.get_config().master == "shared:1"
    (folder / "jupyter_config.json").write_text(json.dumps({"T2Notebook": {"master": "json:1"}}))
    assert config.get_config().master == "json:1"
    (folder / "t2notebook_config.py").write_text("c.T2Notebook.master = 'own:1'\n")
    assert config.get_config().master == "own:1"
    application(master="process:1")
    assert config.get_config().master == "process:1"
    (folder / "t2notebook.toml").write_text('master = "toml:1"\n')
    assert config.get_config().master == "toml:1"
    monkeypatch.setenv("T2_MASTER", "environment:1")
    assert config.get_config().master == "environment:1"
    t2.configure(master="call:1")
    assert config.get_config().master == "call:1"
    assert config.get_config().port == 7001, "what nobody nearer names stays"


def test_a_file_that_changes_is_read_again(folder: Path) -> None:
    path = folder / "t2notebook_config.json"
    path.write_text(json.dumps({"T2Notebook": {"local_agents": 3}}))
    assert config.get_config().local_agents == 3
    path.write_text(json.dumps({"T2Notebook": {"local_agents": 11}}))
    assert config.get_config().local_agents == 11
    path.unlink()
    assert config.get_config().local_agents == 2


def test_texts_of_a_command_line_become_what_they_mean() -> None:
    application(local_cpus="2.5", gpus="true", port="7002")
    found = config.get_config()
    assert (found.local_cpus, found.gpus, found.port) == (2.5, True, 7002)


def test_relative_paths_begin_at_the_file_that_names_them(folder: Path) -> None:
    (folder / "ca.pem").touch()
    (folder / "t2notebook_config.py").write_text("c.T2Notebook.tls_ca = 'ca.pem'\n")
    assert config.get_config().tls_ca == str(folder / "ca.pem")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "c.T2Notebook.mastr = 'h:1'",
            r"T2Notebook\.mastr in .*t2notebook_config\.py: there is no setting 'mastr'",
        ),
        (
            "c.T2Notebook.port = 'x'",
            r"T2Notebook\.port in .*t2notebook_config\.py is 'x'; give a whole number",
        ),
        ("c.T2Notebook.secret = 'hush'", "a secret does not belong into a notebook or its settings"),
        ("import nothing_of_this_name", r"t2notebook_config\.py: ModuleNotFoundError: No module named"),
        ("raise SystemExit", r"t2notebook_config\.py: SystemExit"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_file(folder: Path, text: str, message: str) -> None:
    (folder / "t2notebook_config.py").write_text(text)
    with pytest.raises(t2.Twister2Error, match=message) as caught:
        config.get_config()
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_somebody_elses_broken_file_stops_nothing(folder: Path) -> None:
    (folder / "jupyter_config.py").write_text("1 / 0")
    (folder / "t2notebook_config.json").write_text(json.dumps({"T2Notebook": {"local_agents": 4}}))
    assert config.get_config().local_agents == 4


def test_a_zookeepers_password_may_stand_there(folder: Path) -> None:
    (folder / "t2notebook_config.py").write_text("c.T2Notebook.master = 'zk://ada:pw@h:2181/mesos'\n")
    found = config.get_config()
    assert found.master == "zk://h:2181/mesos"
    assert config.secrets_of(found).zookeeper == "ada:pw"


SHELL = """
from IPython.core.interactiveshell import InteractiveShell
ip = InteractiveShell.instance()
ip.run_line_magic("load_ext", "t2notebook")
for line in {lines!r}:
    ip.run_cell(line)
ip.run_line_magic("unload_ext", "t2notebook")
ip.run_cell("%config T2Notebook")
"""


def test_the_magic_config_shows_and_sets_what_configure_does(tmp_path: Path) -> None:
    lines = [
        "%config T2Notebook.local_cpus = 3",
        "%config T2Notebook.local_cpus",
        "import t2notebook as t2; print('holds', t2.configure().local_cpus)",
        "t2.configure(local_cpus=1.5); %config T2Notebook.local_cpus",
        "%config T2Notebook.port = 'x'",
        "%config T2Notebook.role = 'a,b'",
        "print('still', t2.configure().role, t2.configure().port)",
        "%config T2Notebook",
    ]
    lines[3:4] = ["t2.configure(local_cpus=1.5)", "%config T2Notebook.local_cpus"]
    done = subprocess.run(
        [sys.executable, "-c", SHELL.format(lines=lines)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    out = done.stdout
    assert "3.0\n" in out
    assert "holds 3.0\n" in out
    assert "1.5\n" in out
    assert "still * 0\n" in out
    assert "configure(port=...) is 'x'; give a whole number" in done.stderr
    assert "role is 'a,b'; give one role" in done.stderr
    assert "T2Notebook.executor_linger=<Float>\n    Seconds that an idle executor is kept warm" in out
    last = max(field.name for field in dataclasses.fields(config.Config))
    assert "T2Notebook" not in out.rpartition(f"T2Notebook.{last}=")[2], "taken away with the extension"
