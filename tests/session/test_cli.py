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
    output = ""
    for piece in pieces:
        output += piece
        if not piece or output.endswith("\n"):  # a print of two values is several writes, each there at once
            break
    assert output == "hello from 1\n", (job, job.tasks.to_string())
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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_output_cannot_show_is_escaped(t2: Any, encoding: str) -> None:
    """One job whose error holds an arrow ended `t2notebook list` in a traceback."""

    def work(env: Any) -> None:
        print("caf\u00e9 \u2192 \U0001f40d")
        raise ValueError("a \u2192 b")

    job = t2.submit(work, name="caf\u00e9 \u2192", ram_mega_bytes=64, max_worker_restarts=0)
    assert str(job.wait(timeout=60)) == "FAILED"
    # Where Python takes the command line's bytes for ASCII, names are found all the same.
    posix = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} if encoding == "ascii" else {}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "t2notebook.cli", *arguments],
            capture_output=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": encoding, **posix},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode(encoding)

    shown = "a \u2192 b".encode(encoding, "backslashreplace").decode(encoding)
    assert shown in run("list")
    assert shown in run("status", job.job_id)
    assert shown in run("status", "caf\u00e9 \u2192")
    text = "caf\u00e9 \u2192 \U0001f40d\n"
    assert run("logs", job.job_id, "0") == text.encode(encoding, "backslashreplace").decode(encoding)


def test_a_reader_that_has_seen_enough_is_no_error(t2: Any) -> None:
    t2.submit(lambda env: 1, ram_mega_bytes=64).wait(timeout=60)
    with subprocess.Popen(
        [sys.executable, "-m", "t2notebook.cli", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
