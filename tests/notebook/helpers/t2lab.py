"""JupyterLab in headless Chromium: start a server, open a notebook, run its cells, look."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"


@contextmanager
def jupyterlab(
    folder: Path,
    app: str = "lab",
    *,
    python: str = sys.executable,
    base: str = "/",
    port: int = 0,
    arguments: tuple[str, ...] = (),
    **environment: str,
):
    """A server of Lab, or of Notebook 7 (``"notebook"``), whose kernels are `python`; gives its address."""
    port = port or free_port()
    news = folder / ".settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    settings = {"IdentityProvider.token": "", "ServerApp.password": "", "LabApp.news_url": ""}
    module, name = {"lab": ("jupyterlab", "LabApp"), "notebook": ("notebook", "JupyterNotebookApp")}[app]
    command = [python, "-m", module, "--allow-root", "--no-browser", f"--port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={base}",
        f"--{name}.expose_app_in_browser=True",
        f"--notebook-dir={folder}",
    ]
    command += [*(f"--{name}={value}" for name, value in settings.items()), *arguments]
    variables = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
        "IPYTHONDIR": str(folder / ".ipython"),
        **environment,
    }
    with (
        open(folder / "lab.log", "wb") as log,
        subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log) as server,
    ):
        address = f"http://127.0.0.1:{port}{base}".rstrip("/")
        try:
            _wait_for_server(address, server)
            yield address
        finally:
            _end_kernels(address)
            server.terminate()
            server.wait(20)


@contextmanager
def browser(folder: Path, *, scale: float = 1.0, width: int = 1280, height: int = 900):
    """A headless Chromium that talks to nobody but the pages it is given."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--no-first-run",
        f"--user-data-dir={folder / '.chromium'}",
        f"--window-size={width},{height}",
        f"--force-device-scale-factor={scale}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER, log_output=subprocess.DEVNULL))
    try:
        yield driver
    finally:
        driver.quit()


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    import nbformat

    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)


#: Pages of a notebook alone.
PAGES = {"lab": "doc/tree/{}?reset", "notebook": "notebooks/{}"}


def open_notebook(driver, address: str, name: str, *, timeout: float = 40, app: str = "lab") -> None:
    """Open `name` alone and wait until its kernel is ready."""
    driver.get(f"{address}/{PAGES[app].format(name)}")
    wait_for(lambda: is_ready(driver), timeout, "the kernel is not ready")


def is_ready(driver) -> bool:
    """Whether the page is connected to a kernel that has nothing to do."""
    ready = """
        const app = window.jupyterapp;
        const session = app?.shell?.currentWidget?.sessionContext?.session;
        const kernel = session?.kernel;
        return kernel?.connectionStatus === "connected" && kernel?.status === "idle";
    """
    return bool(driver.execute_script(ready))


def run_cell(driver, index: int) -> None:
    """Select a cell and run it; returns at once."""
    script = """
        const panel = window.jupyterapp.shell.currentWidget;
        panel.content.activeCellIndex = arguments[0];
        window.jupyterapp.commands.execute("notebook:run-cell");
    """
    driver.execute_script(script, index)


def command(driver, name: str, **arguments) -> None:
    """Run a command of the application, and wait for it."""
    script = "return window.jupyterapp.commands.execute(arguments[0], arguments[1]).then(() => true)"
    driver.execute_script(script, name, arguments)


def idle(driver) -> bool:
    """Whether the kernel has nothing to do."""
    script = "return window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
    return driver.execute_script(script) == "idle"


def wait_for(condition, timeout: float, message: str):
    """Return the first true value of `condition`, asked ten times a second."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(message)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for_server(address: str, server: subprocess.Popen) -> None:
    def up() -> bool:
        assert server.poll() is None, "JupyterLab has ended, see lab.log"
        try:
            with urllib.request.urlopen(f"{address}/api/status", timeout=2):
                return True
        except OSError:
            return False

    wait_for(up, 90, "JupyterLab did not start")


def _end_kernels(address: str) -> None:
    try:
        with urllib.request.urlopen(f"{address}/api/sessions", timeout=5) as answer:
            sessions = json.load(answer)
        for session in sessions:
            # without a token there is nothing that an XSRF check could protect; the server asks all the same
            request = urllib.request.Request(f"{address}/api/sessions/{session['id']}", method="DELETE")
            urllib.request.urlopen(request, timeout=10).close()
    except OSError:
        pass
