"""`t2notebook dash`: jobs of scripts on a page of its own, and nothing else behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from t2notebook.cli import main
from tests.notebook.helpers import t2lab
from tests.server.conftest import TOKEN
from tests.server.test_lab import ROOT, environment_of, texts, violations
from tests.server.test_lab import pytestmark as needs_a_browser

SCRIPT = """
import time, t2notebook as t2
def train(env):
    for step in range(600):
        print("epoch", step, flush=True)
        env.progress(step, 600)
        time.sleep(0.1)
job = t2.submit(train, workers=3, ram_mega_bytes=64, name="train")
try:
    job.wait(90)
finally:
    t2.shutdown()
"""


@contextmanager
def dash(folder: Path) -> Iterator[str]:
    """Run it; give its address."""
    port = t2lab.free_port()
    command = [sys.executable, "-m", "t2notebook", "dash", "--no-browser", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    variables = {**os.environ, **environment_of(folder), "PYTHONPATH": str(ROOT)}
    variables["JUPYTER_CONFIG_DIR"] = str(folder / "config")
    with (
        (folder / "dash.log").open("wb") as log,
        subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log) as process,
    ):
        address = f"http://127.0.0.1:{port}"

        def is_up() -> bool:
            assert process.poll() is None, (folder / "dash.log").read_text()
            try:
                return code(f"{address}/t2notebook/api/summary?token={TOKEN}") == 200
            except OSError:
                return False

        try:
            t2lab.wait_for(is_up, 60, "it does not start")
            yield address
        finally:
            process.terminate()
            process.wait(20)


def code(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_page_is_for_who_has_the_token_and_nothing_else_is_there(tmp_path: Path) -> None:
    with dash(tmp_path) as address:
        with urllib.request.urlopen(f"{address}/?token={TOKEN}", timeout=20) as page:
            assert "<title>Twister2 jobs</title>" in page.read().decode()
        with urllib.request.urlopen(f"{address}/t2notebook/dash", timeout=20) as page:
            assert "/login" in page.geturl()
        assert code(f"{address}/t2notebook/api/jobs") == 403
        for other in ("kernels", "contents", "sessions", "terminals"):
            assert code(f"{address}/api/{other}?token={TOKEN}") == 404
        request = urllib.request.Request(f"{address}/t2notebook/api/clear", b"{}", {"Cookie": "a=b"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        refused.value.close()
        assert refused.value.code == 403


def test_without_a_jupyter_server_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["dash"]) == 1
    assert (
        capsys.readouterr().err == "t2notebook: dash needs the Jupyter server: pip install jupyter_server\n"
    )


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


@pytest.mark.slow
@pytest.mark.browser
@needs_a_browser[1]
@needs_a_browser[2]
@needs_a_browser[3]
def test_a_scripts_job_is_watched_and_killed(tmp_path: Path) -> None:
    variables = {**os.environ, **environment_of(tmp_path), "PYTHONPATH": str(ROOT)}
    with (
        dash(tmp_path) as address,
        subprocess.Popen([sys.executable, "-c", SCRIPT], env=variables, cwd=tmp_path) as script,
        t2lab.browser(tmp_path) as driver,
    ):
        driver.get(f"{address}/?token={TOKEN}")
        t2lab.wait_for(lambda: texts(driver, "#jobs .chip") == ["STARTED"], 40, "the job is not shown")
        assert texts(driver, "#jobs .link") == ["train"]
        assert violations(driver, "body") == []
        click(driver, "#jobs .link")
        t2lab.wait_for(lambda: len(texts(driver, "#details .t2-row")) == 3, 20, "no workers")
        click(driver, "#details .t2-row .t2-open")
        t2lab.wait_for(lambda: "epoch 3" in "".join(texts(driver, "#details .t2-what")), 20, "no output")
        assert violations(driver, "body") == []
        kill = "#jobs td:last-child button"
        click(driver, kill)
        assert texts(driver, kill) == ["Kill?"]
        click(driver, kill)
        t2lab.wait_for(lambda: texts(driver, "#jobs .chip") == ["KILLED"], 20, "the job is not killed")
        script.wait(30)
        t2lab.wait_for(lambda: texts(driver, "#summary")[0] == "1 job, 0 running", 10, "no summary")
        click(driver, "#clear")
        t2lab.wait_for(lambda: texts(driver, "#jobs tr") == [], 10, "it is not cleared")
        severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert severe == []
