"""Checks and health checks of a task: when to probe, what a result means. Pure; `check_runner` does the probing.

The rules are those of Mesos's `checks/checker.cpp` and `checks/health_checker.cpp`: a check tells of results that
differ from the one before; a health check tells of the first success, of every failure after its grace period,
and of the failure that is one too many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_FIELD = {"COMMAND": "exit_code", "HTTP": "status_code", "TCP": "succeeded"}
HEALTHY_HTTP = range(200, 400)


@dataclass(frozen=True)
class News:
    """The message that a result makes the executor send.

    Attributes
    ----------
    healthy
        Of a health check.
    check_status
        Of a check: the v1 CheckStatusInfo.
    kill
        The task failed too often.
    """

    reason: str
    healthy: bool | None = None
    check_status: Json | None = None
    kill: bool = False


def empty_status(check: Json) -> Json:
    """Give the CheckStatusInfo of a check without a result."""
    return {"type": check["type"], check["type"].lower(): {}}


class Checker:
    """One check of one task.

    Parameters
    ----------
    info
        The v1 CheckInfo, or HealthCheck if `health`.
    now
        When the task started (seconds of any steady clock).
    healthy, check_status
        What it said last, if an earlier agent asked before.
    """

    def __init__(
        self,
        info: Json,
        *,
        health: bool,
        now: float,
        healthy: bool | None = None,
        check_status: Json | None = None,
    ) -> None:
        self.info = info
        self.health = health
        self.kind: str = info["type"]
        self.delay: float = info["delay_seconds"]
        self.interval: float = info["interval_seconds"]
        self.timeout: float = info["timeout_seconds"]
        self._started = now
        self._initializing = True
        self._failures = 0
        self._last: int | bool | None = None
        if health and healthy is not None:
            # How often it had failed in a row is not known any more: at least once.
            self._initializing, self._failures = False, 0 if healthy else 1
        elif not health and check_status is not None:
            self._last = check_status.get(self.kind.lower(), {}).get(_FIELD[self.kind])
            self._initializing = self._last is None

    @property
    def command(self) -> Json:
        """Give the CommandInfo of a COMMAND check."""
        command: Json = self.info["command"] if self.health else self.info["command"]["command"]
        return command

    def result(self, outcome: int | bool | None, now: float) -> News | None:
        """Take a probe's outcome: exit code, status code, connected or not; None if it gave none in time."""
        return self._health(outcome, now) if self.health else self._check(outcome)

    def _check(self, outcome: int | bool | None) -> News | None:
        if outcome is None or (outcome == self._last and not self._initializing):
            return None
        self._last, self._initializing = outcome, False
        status = {"type": self.kind, self.kind.lower(): {_FIELD[self.kind]: outcome}}
        return News("REASON_TASK_CHECK_STATUS_UPDATED", check_status=status)

    def _health(self, outcome: int | bool | None, now: float) -> News | None:
        reason = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
        if self._passed(outcome):
            news = None if self._failures == 0 and not self._initializing else News(reason, healthy=True)
            self._failures, self._initializing = 0, False
            return news
        if self._initializing and now - self._started <= self.info["grace_period_seconds"]:
            return None
        self._failures += 1
        return News(reason, healthy=False, kill=self._failures >= self.info["consecutive_failures"])

    def _passed(self, outcome: int | bool | None) -> bool:
        if outcome is None:
            return False
        if self.kind == "COMMAND":
            return outcome == 0
        return outcome in HEALTHY_HTTP if self.kind == "HTTP" else bool(outcome)


def fault(info: Json, *, health: bool) -> str | None:
    """Check a CheckInfo or a HealthCheck; give what is wrong with it in Mesos's words."""
    name, what = ("HealthCheck", "health check") if health else ("CheckInfo", "check")
    kind = info.get("type")
    if kind is None:
        return f"{name} must specify 'type'"
    field = kind.lower()
    if field not in info:
        return f"Expecting '{field}' to be set for {kind} {what}"
    if kind == "COMMAND":
        command = info["command"] if health else info["command"]["command"]
        if "value" not in command:
            needed = "'shell command'" if command.get("shell", True) else "'executable path'"
            return f"Command {what} must contain {needed}"
    if kind == "HTTP":
        if info["http"].get("scheme", "http") not in ("http", "https"):
            return f"Unsupported HTTP {what} scheme: '{info['http']['scheme']}'"
        path = info["http"].get("path", "/")
        if not path.startswith("/"):
            return f"The path '{path}' of HTTP {what} must start with '/'"
    names = ["delay_seconds", "interval_seconds", "timeout_seconds"]
    if health:
        names += ["consecutive_failures", "grace_period_seconds"]
    for name in names:
        if info[name] < 0:
            return f"Expecting '{name}' to be non-negative"
    return None
