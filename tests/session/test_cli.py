"""The command line, on jobs of a living session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from t2notebook.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_verbs_in_another_process(t2: Any) -> None:
    def work(env: Any) -> None:
        import time

        print("hello from", env.worker_id)
        time.sleep(60)

    job = t2.submit(work, workers=2, name="cli", ram_mega_bytes=64)
    pieces = job.logs(1, follow=True)
    assert next(pieces) == "hello from 1\n"
    pieces.close()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "t2notebook.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={**os.environ},
        )

    assert job.job_id in run("list").stdout
    status = run("status", job.job_id)
    assert "RUNNING" in status.stdout
    assert run("logs", job.job_id, "0").stdout == "hello from 0\n"
    assert run("logs", job.job_id, "7").stderr == f"t2notebook: job {job.job_id} has workers 0 to 1, not 7\n"
    killed = run("kill", job.job_id)
    assert killed.stdout == f"{job.job_id} KILLED\n"
    missing = run("status", "nobody")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "t2notebook: no job 'nobody'; t2.jobs() lists those that are known\n"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    import t2notebook

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"t2notebook {t2notebook.__version__}\n"
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for verb in ("list", "status", "logs", "kill", "local"):
        assert verb in text


def test_no_jobs_yet(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home / "elsewhere"))
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "no jobs yet\n"
