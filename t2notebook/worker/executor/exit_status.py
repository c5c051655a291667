"""Exit status of a worker: its state and a line that says why."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.states import TaskState
from ...protocol.launch import START_ANEW, Cause

MAX_MESSAGE = 1000
_MAX_TAIL = 400
_TAIL_LINES = 3


@dataclass(frozen=True)
class ExitStatus:
    """A final state, what to say about it, the exit code (a signal's number, negative), its cause, and its result if
    that is small.
    """

    state: TaskState
    message: str
    exit_code: int
    cause: Cause = Cause.NONE
    phases: Mapping[str, float] = field(default_factory=dict)
    result: Mapping[str, str] = field(default_factory=dict)


def classify(exit_code: int, report: Mapping[str, Any], stderr_tail: str = "") -> ExitStatus:
    """Return what a process's end means.

    Parameters
    ----------
    exit_code : int
        Negative for a signal.
    report : mapping
        What the worker told of itself (`run.run_worker`); empty if it did not come to that.
    stderr_tail : str
        The end of its stderr; used where the worker told nothing.
    """
    outcome, message = report.get("outcome"), str(report.get("message", ""))
    phases, result = report.get("phases", {}), report.get("result", {})
    if outcome in ("error", "lost"):
        message = message or f"exited with code {exit_code}"
        cause = Cause.EXCEPTION if outcome == "error" else Cause.NONE
        return ExitStatus(TaskState.FAILED, message, exit_code, cause, phases)
    if outcome == "anew" or (exit_code == START_ANEW and not outcome):
        message = message or "it asked to be started anew"
        return ExitStatus(TaskState.FAILED, message, exit_code, Cause.ANEW, phases)
    if outcome == "stopped":
        return ExitStatus(TaskState.KILLED, message, exit_code)
    if outcome == "result" and exit_code == 0:
        return ExitStatus(TaskState.FINISHED, message, exit_code, phases=phases, result=result)
    after = " after its function had returned" if outcome == "result" else ""
    if exit_code < 0:
        message = f"killed by signal {-exit_code} ({signal_name(-exit_code)}){after}"
        if -exit_code == signal.SIGKILL:
            message += ", possibly out of memory"
    else:
        message = f"exited with code {exit_code}{after or ' without a result'}"
    if stderr_tail:
        message = f"{message}; stderr ends: {stderr_tail}"
    return ExitStatus(TaskState.FAILED, message[:MAX_MESSAGE], exit_code, result=result)


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def stderr_tail(path: str) -> str:
    """Return what the end of a stderr file says, in one line; empty if it says nothing.

    Python's own last words (``Fatal Python error: Segmentation fault``) stand above a stack that would hide
    them.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error:")]
    told = " | ".join(fatal[-1:] or lines[-_TAIL_LINES:])
    return told if len(told) <= _MAX_TAIL else "..." + told[-_MAX_TAIL:]
