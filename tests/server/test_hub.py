"""Behind a real JupyterHub: below its prefix, through its proxy, with its cookies and its XSRF tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.helpers import t2lab
from tests.server.test_lab import (
    BUSY,
    CELLS,
    ROOT,
    SUBMIT,
    await_kernel,
    is_busy,
    kill,
    look_at_the_job,
    states,
)
from tests.server.test_lab import pytestmark as needs_a_browser

pytest.importorskip("jupyterhub")

PROXY = shutil.which("configurable-http-proxy") or str(
    ROOT / "labextension" / "node_modules" / ".bin" / "configurable-http-proxy"
)

pytestmark = [
    *needs_a_browser,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not os.path.exists(PROXY), reason="configurable-http-proxy is not installed"),
]

CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--LabApp.expose_app_in_browser=True"]
c.Spawner.environment = {environment!r}
c.Spawner.start_timeout = c.Spawner.http_timeout = 180
c.Spawner.default_url = "/lab/tree/a.ipynb"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie"
"""


@contextmanager
def hub(folder: Path, **environment: str) -> Iterator[str]:
    port, hub_port, api_port = (t2lab.free_port() for _ in range(3))
    config = folder / "hub.py"
    config.write_text(
        CONFIG.format(
            home=str(folder / "{username}"),
            python=sys.executable,
            environment={"PYTHONPATH": str(ROOT), **environment},
            port=port,
            hub_port=hub_port,
            api_port=api_port,
            proxy=PROXY,
            folder=folder,
        )
    )
    command = [sys.executable, "-m", "jupyterhub", "--config", str(config)]
    with (
        (folder / "hub.log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process,
    ):
        address = f"http://127.0.0.1:{port}"

        def is_up() -> bool:
            assert process.poll() is None, (folder / "hub.log").read_text()
            try:
                with urllib.request.urlopen(f"{address}/hub/login", timeout=2):
                    return True
            except OSError:
                return False

        try:
            t2lab.wait_for(is_up, 60, "JupyterHub did not start")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def test_a_job_is_told_and_killed_behind_a_hub(tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    t2lab.write_notebook(tmp_path / "ada" / "a.ipynb", CELLS[0], SUBMIT, BUSY.format(25))
    environment: dict[str, Any] = {
        name: str(tmp_path / name) for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    environment |= {"T2_SESSION_LINGER": "1", "T2_LOCAL_LINGER": "1"}
    with hub(tmp_path, **environment) as address, t2lab.browser(tmp_path) as driver:
        driver.get(f"{address}/hub/login")
        driver.execute_script("""
            document.querySelector("input[name=username]").value = "ada";
            document.querySelector("input[name=password]").value = "x";
            document.querySelector("form").submit();
        """)
        t2lab.wait_for(lambda: "/user/ada/lab" in driver.current_url, 180, "no server was started")
        await_kernel(driver)
        for cell in range(3):
            t2lab.run_cell(driver, cell)
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["STARTED"], 40, "the job is not shown")
        look_at_the_job(driver)
        kill(driver)
        t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")
        assert is_busy(driver)
        # a page of another origin has none of the tokens
        stranger = urllib.request.Request(f"{address}/user/ada/t2notebook/api/jobs")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(stranger, timeout=20)
        refused.value.close()
        assert refused.value.code == 403
        time.sleep(1)
