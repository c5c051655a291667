from __future__ import annotations

import json

import pytest

from t2notebook.worker.executor.settings import Settings, duration

#: As a Mesos 1.12 agent sets it, shortened.
ENVIRONMENT = json.loads("""{
 "LIBPROCESS_PORT": "0", "MESOS_AGENT_ENDPOINT": "127.0.0.1:5052", "MESOS_CHECKPOINT": "1",
 "MESOS_DIRECTORY": "/var/lib/mesos/run", "MESOS_EXECUTOR_ID": "ex1",
 "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "2secs", "MESOS_FRAMEWORK_ID": "b166f155-0025",
 "MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SANDBOX": "/mnt/mesos/sandbox",
 "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs"
}""")


def test_a_real_environment() -> None:
    settings = Settings.read(ENVIRONMENT)
    assert (settings.host, settings.port) == ("127.0.0.1", 5052)
    assert settings.sandbox == "/mnt/mesos/sandbox"
    assert settings.checkpoint
    assert settings.recovery_timeout == 900
    assert settings.shutdown_grace_period == 2
    assert settings.idle_timeout == 120


@pytest.mark.parametrize("text", ["0", "", None])
def test_no_checkpointing(text: str | None) -> None:
    """pymesos: bool("0")."""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "MESOS_CHECKPOINT"}
    assert not Settings.read(
        environment if text is None else {**environment, "MESOS_CHECKPOINT": text}
    ).checkpoint


@pytest.mark.parametrize("arguments", [["--idle-timeout", "7.5"], ["--idle-timeout=7.5"]])
def test_the_idle_timeout(arguments: list[str]) -> None:
    assert Settings.read(ENVIRONMENT, arguments).idle_timeout == 7.5


@pytest.mark.parametrize("arguments", [["--idle-timeout"], ["--idle-timeout", "soon"], ["--what"]])
def test_wrong_arguments_are_told_in_one_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="the t2notebook executor"):
        Settings.read(ENVIRONMENT, arguments)


def test_by_hand_it_says_what_it_is() -> None:
    with pytest.raises(SystemExit, match="started by a Mesos agent, not by hand"):
        Settings.read({})


def test_ipv6() -> None:
    settings = Settings.read({**ENVIRONMENT, "MESOS_AGENT_ENDPOINT": "[::1]:5051"})
    assert (settings.host, settings.port) == ("::1", 5051)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2secs", 2), ("15mins", 900), ("1hrs", 3600), ("500ms", 0.5), ("1.5secs", 1.5), ("1weeks", 604800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text, 7) == seconds


@pytest.mark.parametrize("text", [None, "", "2", "secs", "2 lightyears"])
def test_what_is_no_duration_gives_the_default(text: str | None) -> None:
    assert duration(text, 7) == 7
