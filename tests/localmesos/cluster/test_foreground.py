"""`t2notebook local`: the summary, and a clean end at Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from t2notebook.localmesos.cluster import flags
from t2notebook.localmesos.cluster.foreground import summary
from t2notebook.localmesos.common import processes
from tests.localmesos.client import request


def test_one_screen_and_a_clean_end(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "t2notebook.cli",
        "local",
        "--agents",
        "1",
        "--work-dir",
        str(tmp_path / "w"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("  stop"):
                break
        text = "\n".join(lines)
        found = re.search(r't2\.configure\(master="([\d.:]+)"\)', text)
        assert found is not None
        assert request(found[1], "GET", "/health").status == 200
        assert "1 with 4 cpus, 4096 MiB memory" in text
        assert str(tmp_path / "w") in text
        assert len(lines) <= 24 and max(map(len, lines)) <= 110
        family = processes.descendants(process.pid)
        assert len(family) == 3
        # As a terminal does: to the whole foreground group; the children have groups of their own.
        os.kill(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
        assert rest.strip() == "stopped; nothing is left running"
        assert errors == "" and process.returncode == 0
        assert not any(processes.alive(pid) for pid in family)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_what_the_summary_says() -> None:
    arguments = ["--simulate", "10000", "--simulate-duration", "exp:5", "--allocator", "priority"]
    options = flags.parse([*arguments, "--weights", "prod=10", "--fault", "5:drop:agent3:10"])
    assert options.agents == 0
    line = {"master": "127.0.0.1:5050", "work_dir": "/tmp/x", "pid": 7, "pids": {}}
    text = summary(options, line)
    for part in (
        "10,000 agents",
        "exp:5",
        "priority with weights prod=10",
        "after 5 s: drop agent3 10.0",
        "(removed",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agents", "0"], "--agents must be at least 1"),
        (["--simulate", "5", "--simulate-duration", "often"], "is none of fixed:SECONDS"),
        (["--weights", "a=0"], "is not ROLE=NUMBER"),
        (["--weights", "a"], "is not ROLE=NUMBER"),
        (["--allocator", "random"], "invalid choice"),
        (["--fault", "5:explode"], "is none of: after so many seconds"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags.parse(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]
