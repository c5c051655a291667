"""Other servers than the one that the tests are locked to: each JupyterLab that we promise, and one behind
jupyter-server-proxy, both installed as a user installs them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.helpers import t2lab
from tests.packaging.conftest import copy_checkout, output_of
from tests.server.test_lab import (
    BUSY,
    CELLS,
    SUBMIT,
    await_kernel,
    environment_of,
    is_busy,
    kill,
    look_at_the_job,
    states,
    texts,
)
from tests.server.test_lab import pytestmark as needs_a_browser

pytestmark = [*needs_a_browser, pytest.mark.slow, pytest.mark.timeout(900)]

#: JupyterLab, and the Notebook 7 that is built on it: the lowest of the ranges, one of each between, and the newest.
VERSIONS = {"4.2.0": "7.2.0", "4.3": "7.3", "4.4": "7.4", "4.5": "7.5", "newest": ""}
NOTEBOOK = (CELLS[0], SUBMIT, BUSY.format(25))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    checkout = copy_checkout(folder / "checkout")
    output_of(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "out", checkout)
    [found] = (folder / "out").glob("*.whl")
    return found


def venv(folder: Path, *requirements: str | Path) -> str:
    """Make an environment with `requirements`; return its Python."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    environment = {**os.environ, **({"UV_DEFAULT_INDEX": index} if index else {})}
    uv = (sys.executable, "-m", "uv")
    output_of(*uv, "venv", "-q", "--no-config", "--python", sys.executable, folder, env=environment)
    python = folder / "bin" / "python"
    command = (*uv, "pip", "install", "-q", "--no-config", "--python", python, *requirements)
    output_of(*command, env=environment)
    return str(python)


@pytest.fixture(scope="module", params=VERSIONS)
def installed(request: Any, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the version of a JupyterLab, and the Python that has it and the wheel."""
    folder = tmp_path_factory.mktemp("venv")
    notebook = VERSIONS[request.param]
    wanted = [f"jupyterlab~={request.param}.0", f"notebook~={notebook}.0"]
    if request.param.count(".") == 2:
        wanted = [f"jupyterlab=={request.param}", f"notebook=={notebook}"]
    python = venv(folder / "venv", wheel, *(wanted if notebook else ["jupyterlab", "notebook"]))
    yield request.param, python
    shutil.rmtree(folder, ignore_errors=True)


def watch_and_kill(driver: Any) -> None:
    """Submit, let the kernel compute, look at the side bar, and kill from there."""
    await_kernel(driver)
    for cell in range(3):
        t2lab.run_cell(driver, cell)
    t2lab.command(driver, "t2notebook:show-jobs")
    t2lab.wait_for(lambda: states(driver) == ["STARTED"], 60, "the job is not shown")
    t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["STARTED"], 20, "the cell has no live view")
    look_at_the_job(driver)
    kill(driver)
    t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")
    assert is_busy(driver)
    severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [message for message in severe if "t2" in message]


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_every_jupyterlab_and_notebook_7(installed: tuple[str, str], app: str, tmp_path: Path) -> None:
    version, python = installed
    said = output_of(python, "-m", "jupyterlab", "--version").strip()
    assert version == "newest" or said.startswith(version)
    t2lab.write_notebook(tmp_path / "a.ipynb", *NOTEBOOK)
    with (
        t2lab.jupyterlab(tmp_path, app=app, python=python, **environment_of(tmp_path)) as address,
        t2lab.browser(tmp_path) as driver,
    ):
        driver.get(f"{address}/{'lab/tree' if app == 'lab' else 'notebooks'}/a.ipynb")
        watch_and_kill(driver)
        if app == "lab":
            assert not "".join(texts(driver, ".t2-Status"))  # nothing goes on any more
            buttons = "return document.querySelectorAll('.jp-Cell .t2-CellButton').length"
            assert driver.execute_script(buttons) >= 1


def test_behind_jupyter_server_proxy(tmp_path: Path) -> None:
    pytest.importorskip("jupyter_server_proxy")
    port, back = t2lab.free_port(), t2lab.free_port()
    base = f"/proxy/absolute/{back}/"
    t2lab.write_notebook(tmp_path / "a.ipynb", *NOTEBOOK)
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}"]
    command += ["--IdentityProvider.token=0123456789abcdef", "--ServerApp.port_retries=0"]
    alone = {
        **os.environ,
        "JUPYTER_DATA_DIR": str(tmp_path / "a"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "b"),
    }
    address = f"http://127.0.0.1:{port}"
    # Both are one host to a browser: each has a cookie of its own.
    own = ("--IdentityProvider.cookie_name=behind",)
    with (
        (tmp_path / "front.log").open("wb") as log,
        t2lab.jupyterlab(tmp_path, port=back, base=base, arguments=own, **environment_of(tmp_path)),
        subprocess.Popen(command, cwd=tmp_path, env=alone, stdout=log, stderr=log) as process,
        t2lab.browser(tmp_path) as driver,
    ):
        try:
            t2lab.wait_for(lambda: _answers(f"{address}/login"), 40, "the server in front does not start")
            driver.get(f"{address}{base}lab/tree/a.ipynb?token=0123456789abcdef")
            watch_and_kill(driver)
            # who has not logged in at the server in front is let to nothing behind it
            with urllib.request.urlopen(f"{address}{base}t2notebook/api/jobs", timeout=20) as page:
                assert page.geturl().startswith(f"{address}/login")
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False
