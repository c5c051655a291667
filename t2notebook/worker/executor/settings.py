"""Settings of an executor, from Mesos's environment variables and the command line, as one record."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

#: stout's Duration units (Mesos, ``3rdparty/stout/include/stout/duration.hpp``), in seconds.
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}
IDLE_TIMEOUT = 120.0


@dataclass(frozen=True)
class Settings:
    """An executor's surroundings; times in seconds.

    Parameters
    ----------
    host, port : str, int
        The agent's.
    framework_id, executor_id : str
    sandbox : str
        Absolute path.
    checkpoint : bool
        Whether the framework checkpoints: then an agent may go away and come back.
    recovery_timeout, subscription_backoff_max, shutdown_grace_period : float
    idle_timeout : float
        The executor ends after so long without a worker.
    token : str
        The agent's bearer token for this executor; empty where the agent does not authenticate executors.
    tls : mapping, optional
        Libprocess's settings of TLS, by their names without ``LIBPROCESS_SSL_``; None where the agent speaks plain
        HTTP. Operators of such clusters give them to executors (Mesos, ``docs/ssl.md``).
    """

    host: str
    port: int
    framework_id: str
    executor_id: str
    sandbox: str
    checkpoint: bool = False
    recovery_timeout: float = 900.0
    subscription_backoff_max: float = 2.0
    shutdown_grace_period: float = 5.0
    idle_timeout: float = IDLE_TIMEOUT
    token: str = ""
    tls: Mapping[str, str] | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str], arguments: Sequence[str] = ()) -> Settings:
        """Return the settings in `environ` (Mesos's variables) and `arguments` (``--idle-timeout SECONDS``).

        Raises
        ------
        SystemExit
            When this is no executor's environment, or an argument is unknown; one line says so.
        """
        missing = [
            name
            for name in ("MESOS_AGENT_ENDPOINT", "MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID")
            if not environ.get(name)
        ]
        if missing:
            _refuse(f"is started by a Mesos agent, not by hand ({', '.join(missing)} is not set)")
        host, _, port = environ["MESOS_AGENT_ENDPOINT"].rpartition(":")
        if not port.isdecimal():
            _refuse(f"cannot read MESOS_AGENT_ENDPOINT={environ['MESOS_AGENT_ENDPOINT']}; it is host:port")
        sandbox = environ.get("MESOS_SANDBOX") or environ.get("MESOS_DIRECTORY") or os.getcwd()
        return cls(
            host=host.strip("[]"),
            port=int(port),
            framework_id=environ["MESOS_FRAMEWORK_ID"],
            executor_id=environ["MESOS_EXECUTOR_ID"],
            sandbox=os.path.abspath(sandbox),
            checkpoint=environ.get("MESOS_CHECKPOINT") == "1",
            recovery_timeout=duration(environ.get("MESOS_RECOVERY_TIMEOUT"), 900.0),
            subscription_backoff_max=duration(environ.get("MESOS_SUBSCRIPTION_BACKOFF_MAX"), 2.0),
            shutdown_grace_period=duration(environ.get("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"), 5.0),
            idle_timeout=_idle_timeout(arguments),
            token=environ.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", ""),
            tls=_tls(environ),
        )


def duration(text: str | None, default: float) -> float:
    """Return the seconds in one of Mesos's durations (``"2secs"``, ``"15mins"``); `default` if it is none."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]+)\s*", text or "")
    if match is None or match[2] not in _UNITS:
        return default
    return float(match[1]) * _UNITS[match[2]]


def _tls(environ: Mapping[str, str]) -> Mapping[str, str] | None:
    prefix = "LIBPROCESS_SSL_"
    found = {name.removeprefix(prefix): value for name, value in environ.items() if name.startswith(prefix)}
    return found if found.get("ENABLED", "").lower() in ("1", "true") else None


def _idle_timeout(arguments: Sequence[str]) -> float:
    # Two lines instead of argparse, which costs 6 ms of every start.
    rest = list(arguments)
    seconds = IDLE_TIMEOUT
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name != "--idle-timeout":
            _refuse(f"does not know the option {name}; it takes --idle-timeout SECONDS")
        try:
            seconds = float(value if equals else rest.pop(0))
        except (IndexError, ValueError):
            _refuse("needs a number of seconds after --idle-timeout")
    return seconds


def _refuse(why: str) -> NoReturn:
    raise SystemExit(f"the t2notebook executor {why}")
