"""The page at /: one file, nothing from elsewhere, and in a real browser it shows tasks and their logs."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from t2notebook.localmesos.master import webui
from tests.localmesos.client import Framework, request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_page_is_whole() -> None:
    text = webui.page().body.decode()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "<html lang=" in text and "<title>" in text


def test_the_page_is_served(master: str) -> None:
    answer = request(master, "GET", "/")
    assert (answer.status, answer.header("Content-Type")) == (200, "text/html")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_browser_shows_tasks_and_a_live_log(
    framework: Callable[..., Framework], master: str, tmp_path: Path
) -> None:
    one = framework(name="browsed")
    one.run("echo hello <b>page</b>; sleep 1000".replace("<", "'<'").replace(">", "'>'"), task_id="shown")
    one.until("TASK_RUNNING", "shown")
    time.sleep(0.1)
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    flags += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=4000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, f"http://{master}/#task=shown"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.search(r'<pre id="log"[^>]*>hello &lt;b&gt;page&lt;/b&gt;', done.stdout), done.stderr[-500:]
    assert ">browsed<" in done.stdout and "RUNNING" in done.stdout
