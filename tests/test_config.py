from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import t2notebook as t2
from t2notebook import config


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.setenv("T2_CONFIG", str(tmp_path / "t2notebook.toml"))
    monkeypatch.delenv("T2_MASTER", raising=False)


def test_what_is_nearer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.get_config().master == "local"
    (tmp_path / "t2notebook.toml").write_text('master = "file:1"\nexecutor_linger = 5\n')
    assert config.get_config().master == "file:1"
    monkeypatch.setenv("T2_MASTER", "environment:1")
    assert config.get_config().master == "environment:1"
    t2.configure(master="call:1")
    assert config.get_config().master == "call:1"
    assert config.get_config().executor_linger == 5.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mastr": "h:1"},
            "configure(mastr=...): there is no setting 'mastr'; there are advertise_host, bind, ",
        ),
        ({"local_cpus": "many"}, "configure(local_cpus=...) is 'many'; give a float"),
        ({"local_cpus": -1}, "local_cpus is -1; give more than 0"),
        ({"session_linger": -1}, "session_linger is -1; give a number of seconds from 0"),
        ({"on_exit": "stay"}, "on_exit is 'stay'; give 'kill' or 'detach'"),
        ({"port": 70000}, "port is 70000; give 0 (any) to 65535"),
        ({"master": "zk://h/mesos"}, "masters by zk:// are not supported yet; give host:port"),
    ],
)
def test_settings_that_cannot_be_change_nothing(settings: dict[str, Any], message: str) -> None:
    before = config.get_config()
    with pytest.raises(t2.Twister2Error, match=f"^{re.escape(message)}"):
        t2.configure(**settings)
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
