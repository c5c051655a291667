from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import t2notebook as t2
from t2notebook import config
from t2notebook.config import directories, sources


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_configured", {})
    monkeypatch.setenv("T2_CONFIG", str(tmp_path / "t2notebook.toml"))
    for name in ("MASTER", "SECRET", "PRINCIPAL", "SECRET_FILE"):
        monkeypatch.delenv(f"T2_{name}", raising=False)


def test_the_help_of_configure_names_every_setting() -> None:
    parameters = inspect.signature(t2.configure).parameters
    assert list(parameters) == [field.name for field in fields(config.Config)]
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert str(parameters["port"]) == "port: int = 0"
    text = inspect.getdoc(t2.configure) or ""
    assert [name for name in parameters if name not in text] == []
    assert text.index("Parameters") < text.index("failover_timeout : float") < text.index("Returns")


def test_what_is_nearer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.get_config().master == "local"
    (tmp_path / "t2notebook.toml").write_text('master = "file:1"\nexecutor_linger = 5\n')
    assert config.get_config().master == "file:1"
    monkeypatch.setenv("T2_MASTER", "environment:1")
    assert config.get_config().master == "environment:1"
    t2.configure(master="call:1")
    assert config.get_config().master == "call:1"
    assert config.get_config().executor_linger == 5.0
    sources = config.sources_of_settings()
    assert sources["master"] == "t2.configure" and sources["role"] == ""
    assert sources["executor_linger"] == str(tmp_path / "t2notebook.toml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mastr": "h:1"},
            "configure(mastr=...): there is no setting 'mastr'; there are advertise_host, bind, ",
        ),
        ({"local_cpus": "many"}, "configure(local_cpus=...) is 'many'; give a number"),
        ({"local_cpus": -1}, "local_cpus is -1; give more than 0"),
        ({"session_linger": -1}, "session_linger is -1; give a number of seconds from 0"),
        ({"on_exit": "stay"}, "on_exit is 'stay'; give 'kill' or 'detach'"),
        ({"port": 70000}, "port is 70000; give 0 (any) to 65535"),
        ({"master": "zk://h"}, "master: 'zk://h' is not a ZooKeeper; give zk://h1:2181,h2:2181/path"),
        ({"master": "ftp://h"}, "master: 'ftp://h' is not a Mesos master; give host:port, http"),
        (
            {"master": "http://ada:pw@h:1"},
            "master: 'http://h:1' was given with a password; a master's address",
        ),
        (
            {"master": "zk://ada:pw@h/m"},
            "configure(master=...) holds a password, which does not belong into a",
        ),
        (
            {"secret": "hush"},
            "configure(secret=...): a secret does not belong into a notebook or its settings",
        ),
        ({"secret_file": "/absent"}, "secret_file is '/absent', which is no file that can be read"),
        ({"tls_key": __file__}, "tls_key is given without tls_cert"),
        ({"principal": "a:b"}, "principal is 'a:b'; HTTP authentication takes none with a colon"),
        ({"role": "a,b"}, "role is 'a,b'; give one role"),
        ({"role": ""}, "role is ''; Mesos takes no such role"),
        ({"role": "a b"}, "role is 'a b'; Mesos takes no role with a space in it"),
        ({"role": "../a"}, "role is '../a'; Mesos takes no such role"),
    ],
)
def test_settings_that_cannot_be_change_nothing(settings: dict[str, Any], message: str) -> None:
    before = config.get_config()
    with pytest.raises(t2.Twister2Error, match=f"^{re.escape(message)}") as caught:
        t2.configure(**settings)
    assert not re.search("pw|hush", str(caught.value))
    assert config.get_config() == before


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "t2notebook.toml").write_text("master = ")
    with pytest.raises(t2.Twister2Error, match=r"t2notebook\.toml: Invalid value"):
        config.get_config()


def test_a_long_path_gets_another_place_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    path = config.runtime_dir()
    assert len(str(path / "session-0123456789abcdef.sock")) <= 107
    assert path.stat().st_mode & 0o077 == 0
    path.rmdir()


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", "/dev/null/data")
    with pytest.raises(
        t2.Twister2Error, match="needs the folder /dev/null/data/t2notebook, which cannot be made"
    ):
        config.data_dir()


def test_sessions_are_told_apart_by_what_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    local = config.get_config()
    assert local.session_key == config.get_config().session_key
    keys = {local.session_key, t2.configure(master="h:1").session_key, t2.configure(master="h:2").session_key}
    assert len(keys) == 3


def test_a_session_is_told_apart_by_how_it_gets_to_its_master(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x y")
    file = str(path)
    ways: list[dict[str, str]] = [
        {"master": "https://h:1"},
        {"principal": "x"},
        {"secret_file": file},
        {"tls_ca": file},
        {"tls_cert": file},
        {"tls_key": file},
        {"role": "eng"},
    ]
    keys = {t2.configure(master="http://h:1").session_key}
    keys |= {t2.configure(**way).session_key for way in ways}
    assert len(keys) == len(ways) + 1


@pytest.mark.parametrize(
    ("text", "principal", "found"),
    [
        ("s3:cret\n", "alice", ("alice", "s3:cret")),
        ("alice s3:cret\n", "", ("alice", "s3:cret")),
        ("alice s3:cret\n", "alice", ("alice", "s3:cret")),
        ("bob b0b\nalice s3:cret\n", "alice", ("alice", "s3:cret")),
        ('{"principal": "alice", "secret": "s3:cret"}', "", ("alice", "s3:cret")),
        ('{"credentials": [{"principal": "alice", "secret": "s3:cret"}]}', "", ("alice", "s3:cret")),
    ],
)
def test_secret_files(tmp_path: Path, text: str, principal: str, found: tuple[str, str]) -> None:
    (tmp_path / "secret").write_text(text)
    settings = t2.configure(master="h:1", principal=principal, secret_file=str(tmp_path / "secret"))
    secrets = config.secrets_of(settings)
    assert (secrets.principal, secrets.secret) == found
    assert "s3:cret" not in repr(secrets) + repr(settings) + str(settings.to_dict()) + settings.session_key


@pytest.mark.parametrize(
    ("text", "principal", "message"),
    [
        ("", "alice", "holds no secret: write the secret alone"),
        ("a hush c", "alice", "holds no secret: write the secret alone"),
        ("{hush", "alice", "holds no secret: write the secret alone"),
        ('{"credentials": [1, "hush"]}', "alice", "holds no secret: write the secret alone"),
        ("bob hush", "alice", "holds no secret of 'alice'"),
        ("bob hush\neve hush", "", "holds several; say whose with principal"),
        ("hush", "", "there is a secret and no principal whose it is; set T2_PRINCIPAL"),
    ],
)
def test_secret_files_that_hold_none(tmp_path: Path, text: str, principal: str, message: str) -> None:
    (tmp_path / "secret").write_text(text)
    settings = t2.configure(master="h:1", principal=principal, secret_file=str(tmp_path / "secret"))
    with pytest.raises(t2.Twister2Error, match=re.escape(message)) as caught:
        config.secrets_of(settings)
    assert "hush" not in str(caught.value)


def test_which_secret_is_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of the site").write_text("site")
    (tmp_path / "of the notebook").write_text("notebook")
    (tmp_path / "t2notebook.toml").write_text('master="h:1"\nprincipal="p"\nsecret_file = "of the site"\n')
    assert config.secrets_of(config.get_config()).secret == "site"
    monkeypatch.setenv("T2_SECRET", "environment")
    assert config.secrets_of(config.get_config()).secret == "environment"
    t2.configure(secret_file=str(tmp_path / "of the notebook"))
    assert config.secrets_of(config.get_config()).secret == "notebook"
    assert config.secrets_of(t2.configure(master="local")) == config.Secrets()


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_zookeepers_password_stays_out_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    text = "zk://ada:pw@h1:2181,h2/mesos"
    if place == "file":
        (tmp_path / "t2notebook.toml").write_text(f'master = "{text}"')
    else:
        monkeypatch.setenv("T2_MASTER", text)
    settings = config.get_config()
    assert settings.master == "zk://h1:2181,h2/mesos"
    secrets = config.secrets_of(settings)
    assert secrets.zookeeper == "ada:pw"
    assert "pw" not in repr(settings) + repr(secrets) + str(settings.to_dict())
    assert config.secrets_of(t2.configure(master="zk://elsewhere/mesos")).zookeeper == ""


@pytest.mark.parametrize(
    ("text", "gpus"), [("1", True), ("true", True), ("0", False), ("False", False), ("", False)]
)
def test_a_yes_or_no_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, gpus: bool) -> None:
    """As a Python value, every text but the empty one would be a yes."""
    monkeypatch.setenv("T2_GPUS", text)
    found = config.get_config()
    assert found.gpus is gpus
    assert (found.session_key == config.Config().session_key) is not gpus, "a framework has GPUs or has none"
    monkeypatch.setenv("T2_GPUS", "some")
    with pytest.raises(t2.Twister2Error, match="T2_GPUS is 'some'; give True or False"):
        config.get_config()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("bind", "http://here", "the port is a setting of its own"),
        ("bind", "10.0.0.1:80", "the port is a setting of its own"),
        ("advertise_host", "a b", "give a name or an address, as"),
        ("advertise_host", "[::1]", "give a name or an address, as"),
        ("user", "ada lovelace", "a user whom the agents have"),
        ("user", "ada:staff", "a user whom the agents have"),
        ("port", 4040.5, "give a whole number"),
        ("port", True, "give a whole number"),
        ("local_agents", 2.5, "give a whole number"),
        ("local_agents", float("inf"), "give a whole number"),
        ("start_timeout", float("inf"), "give a number"),
        ("failover_timeout", float("nan"), "give a number"),
        ("master", None, "give a text"),
        ("role", ["a"], "give a text"),
    ],
)
def test_each_bad_value_is_named_with_its_setting(name: str, value: object, why: str) -> None:
    with pytest.raises(t2.Twister2Error) as caught:
        t2.configure(**{name: value})
    text = str(caught.value)
    assert name in text and why in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("host", ["", "10.0.0.7", "fd00::7", "::1", "node.example.org"])
def test_hosts_that_can_be(host: str) -> None:
    assert t2.configure(advertise_host=host).advertise_host == host


def test_relative_folders_are_where_ipython_began(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The notebook may have changed its directory before it first used a name of ours."""
    monkeypatch.setattr(sys.modules["__main__"], "_dh", [str(tmp_path), "/elsewhere"], raising=False)
    assert directories._here() == tmp_path
    monkeypatch.delattr(sys.modules["__main__"], "_dh")
    assert directories._here() == Path.cwd()
