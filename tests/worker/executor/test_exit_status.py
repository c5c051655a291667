from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.model.states import TaskState
from t2notebook.worker.executor.exit_status import classify, stderr_tail


@pytest.mark.parametrize(
    ("exit_code", "report", "tail", "state", "message"),
    [
        (0, {"outcome": "result", "message": ""}, "", "FINISHED", ""),
        (1, {"outcome": "error", "message": "ValueError: boom"}, "", "FAILED", "ValueError: boom"),
        (0, {"outcome": "stopped", "message": "told to stop"}, "", "KILLED", "told to stop"),
        (3, {}, "", "FAILED", "exited with code 3 without a result"),
        (0, {}, "", "FAILED", "exited with code 0 without a result"),
        (3, {}, "oh no", "FAILED", "exited with code 3 without a result; stderr ends: oh no"),
        (-9, {}, "", "FAILED", "killed by signal 9 (SIGKILL), possibly out of memory"),
        (-11, {}, "", "FAILED", "killed by signal 11 (SIGSEGV)"),
        (
            -15,
            {"outcome": "result"},
            "",
            "FAILED",
            "killed by signal 15 (SIGTERM) after its function had returned",
        ),
        (3, {"outcome": "result"}, "", "FAILED", "exited with code 3 after its function had returned"),
        (-63, {}, "", "FAILED", "killed by signal 63 (signal 63)"),
    ],
)
def test_judge(exit_code: int, report: dict[str, str], tail: str, state: str, message: str) -> None:
    exit_status = classify(exit_code, report, tail)
    assert (exit_status.state, exit_status.message, exit_status.exit_code) == (
        TaskState(state),
        message,
        exit_code,
    )


def test_the_tail_is_bounded_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    assert stderr_tail(str(path)) == ""
    path.write_bytes(b"early\n" * 5000 + b"a\nb \xff\n\n   c\n")
    assert stderr_tail(str(path)) == "a | b \N{REPLACEMENT CHARACTER} | c"
    path.write_text("x" * 100_000)
    assert len(stderr_tail(str(path))) <= 410


def test_pythons_last_words_come_first(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    path.write_text(
        "Fatal Python error: Segmentation fault\n\nThread 1:\n  File a\n  File b\n  File c\n  File d\n"
    )
    assert stderr_tail(str(path)) == "Fatal Python error: Segmentation fault"
