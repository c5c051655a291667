"""The side bar in a real browser, beside real jobs: told, killed while the kernel is busy, found after its death."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.helpers import t2lab
from tests.server import made_journals

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not os.path.exists(t2lab.CHROMIUM), reason="chromium is not installed"),
    pytest.mark.skipif(not os.path.exists(t2lab.DRIVER), reason="chromium-driver is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="jupyterlab is not installed"),
]

SUBMIT = """%%twister2 submit --name train --workers 3 --cpus 1 --ram 128 -o job
import time
for step in range(600):
    env.progress(step + 1, 600)
    print("epoch", step, flush=True)
    time.sleep(0.1)"""
#: Computes in Python, then in one call into C that lets no other thread run.
BUSY = """import time
end = time.monotonic() + {}
while time.monotonic() < end:
    sorted(range(2_000_000), key=lambda x: -x)"""
#: One call into C that lets no other thread run, so that the kernel can send nothing.
HELD = 'import re\nre.match(r"(a+)+$", "a" * 28 + "b")'
#: The first cells of the workers that a job's view in the side bar shows.
WORKERS = ".t2-Details .t2-row .t2-col-worker_id"
CELLS = ("%load_ext t2notebook", SUBMIT, BUSY.format(25))


def environment_of(folder: Path) -> dict[str, str]:
    """Return what keeps a test's server, kernels, sessions and cluster to themselves."""
    names = ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    lingers = {"T2_SESSION_LINGER": "1", "T2_LOCAL_LINGER": "1"}
    return {name: str(folder / name) for name in names} | lingers


@contextmanager
def lab(folder: Path, *cells: str, app: str = "lab", **size: int) -> Iterator[tuple[Any, str]]:
    """Open a notebook with `cells` in JupyterLab or Notebook 7."""
    environment = environment_of(folder) | {"PYTHONPATH": str(ROOT)}
    # A folder of the test's own is asked before the environment's.
    environment["JUPYTER_PREFER_ENV_PATH"] = "0"
    if cells:
        t2lab.write_notebook(folder / "a.ipynb", *cells)
    with (
        t2lab.jupyterlab(folder, app=app, **environment) as address,
        t2lab.browser(folder, **size) as driver,
    ):
        if app == "lab":
            driver.get(f"{address}/lab/tree/a.ipynb?reset" if cells else f"{address}/lab?reset")
        else:
            driver.get(f"{address}/notebooks/a.ipynb")
        if cells:
            await_kernel(driver)
        else:
            t2lab.wait_for(lambda: has_command(driver), 40, "the extension is not there")
        yield driver, address


def await_kernel(driver: Any) -> None:
    script = """
        const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
        return kernel?.connectionStatus === "connected" && kernel?.status === "idle";
    """
    t2lab.wait_for(lambda: driver.execute_script(script), 60, "the kernel is not ready")


def has_command(driver: Any) -> bool:
    """Whether the extension is there and the layout is restored, which closes a side bar that was opened before."""
    script = """
        const app = window.jupyterapp;
        app?.restored?.then(() => { window.isRestored = true; });
        return Boolean(window.isRestored && app.commands.hasCommand('t2notebook:show-jobs'));
    """
    return bool(driver.execute_script(script))


def texts(driver: Any, selector: str) -> list[str]:
    """Return the texts of what is really shown."""
    nodes = "[...document.querySelectorAll(arguments[0])]"
    return list(
        driver.execute_script(
            f"return {nodes}.filter(n => n.checkVisibility()).map(n => n.innerText)", selector
        )
    )


def is_busy(driver: Any) -> bool:
    """Whether the last cell runs; the kernel's own word for it may come late."""
    return texts(driver, ".jp-InputArea-prompt")[-1].startswith("[*]")


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def states(driver: Any) -> list[str]:
    return texts(driver, ".t2-Item .t2-Chip")


def kill(driver: Any) -> None:
    """Click twice, as a person does."""
    click(driver, ".t2-Panel .t2-Kill")
    assert texts(driver, ".t2-Panel .t2-Kill")[0] == "Kill?"
    click(driver, ".t2-Panel .t2-Kill")


def look_at_the_job(driver: Any) -> None:
    """Open the job that is first in the list, whose view comes over the server's stream, and go back."""
    click(driver, ".t2-Item-name")
    t2lab.wait_for(lambda: texts(driver, WORKERS) == ["0", "1", "2"], 20, "the job's view does not come")
    click(driver, ".t2-Back")


def requests(driver: Any) -> int:
    """Return how often the page has asked the server extension."""
    script = "return performance.getEntriesByType('resource').filter(e => e.name.includes('t2notebook/api')).length"
    return int(driver.execute_script(script))


def violations(driver: Any, selector: str) -> list[str]:
    """Return what axe finds in our nodes."""
    if not AXE.exists():
        return []
    driver.execute_script(AXE.read_text())
    script = """
        const done = arguments[arguments.length - 1];
        axe.run(document.querySelector(arguments[0]), {resultTypes: ["violations"]}).then(
            found => done(found.violations.map(one => `${one.id}: ${one.nodes.map(n => n.html).join(" ")}`)),
            error => done([String(error)]));
    """
    return list(driver.execute_async_script(script, selector))


def test_a_job_is_told_and_killed_while_its_kernel_computes(tmp_path: Path) -> None:
    with lab(tmp_path, *CELLS) as (driver, _):
        # closed, the side bar asks once and holds nothing
        t2lab.wait_for(lambda: requests(driver), 20, "the side bar does not ask")
        assert requests(driver) == 1
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.wait_for(
            lambda: texts(driver, ".t2-Status-button") == ["1"], 30, "the status bar does not tell"
        )
        t2lab.run_cell(driver, 2)
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["STARTED"], 20, "the job is not shown")
        assert texts(driver, ".t2-Item-name") == ["train"]
        t2lab.wait_for(lambda: texts(driver, ".t2-Counts") == ["3 of 3 running"], 10, "not all run")
        t2lab.wait_for(lambda: "cpus" in " ".join(texts(driver, ".t2-Cluster")), 10, "no cluster")
        assert violations(driver, ".t2-Panel") == []
        # workers, output, reasons
        click(driver, ".t2-Item-name")
        t2lab.wait_for(lambda: texts(driver, WORKERS) == ["0", "1", "2"], 10, "no workers")
        click(driver, f"{WORKERS} button")
        t2lab.wait_for(lambda: "epoch 3" in "".join(texts(driver, ".t2-Details .t2-lines")), 10, "no output")
        assert violations(driver, ".t2-Panel") == []
        click(driver, ".t2-Tab[aria-controls='t2-page-output']")
        t2lab.wait_for(lambda: "epoch 3" in "".join(texts(driver, ".t2-Log")), 10, "no output")
        assert violations(driver, ".t2-Panel") == []
        click(driver, ".t2-Back")
        # and the kernel is busy
        assert is_busy(driver)
        begun = time.monotonic()
        kill(driver)
        t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")
        assert time.monotonic() - begun < 5
        assert is_busy(driver)
        t2lab.wait_for(lambda: "train was killed" in "".join(texts(driver, ".Toastify")), 5, "nobody is told")
        severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert not [message for message in severe if "t2" in message]


@pytest.mark.slow
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_views_own_button_does_not_wait_for_the_kernel(tmp_path: Path, app: str) -> None:
    if app == "notebook":
        pytest.importorskip("notebook")
    with lab(tmp_path, CELLS[0], SUBMIT, HELD, app=app) as (driver, _):
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["STARTED"], 30, "the job does not start")
        t2lab.run_cell(driver, 2)
        time.sleep(1)
        click(driver, ".t2-kill")
        click(driver, ".t2-kill")
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")
        # the view cannot hear of it yet, and says so
        t2lab.wait_for(
            lambda: "It is killed" in "".join(texts(driver, ".t2-id")), 8, "the view does not say so"
        )
        assert is_busy(driver)
        t2lab.wait_for(
            lambda: "KILLED" in "".join(texts(driver, ".t2-static")), 40, "the view does not follow"
        )


@pytest.mark.slow
def test_without_the_server_extension_the_kernel_is_asked(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "jupyter_server_config.d" / "t2notebook.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"ServerApp": {"jpserver_extensions": {"t2notebook.server": false}}}')
    with lab(tmp_path, CELLS[0], SUBMIT, "import time; time.sleep(6)") as (driver, _):
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["STARTED"], 30, "the job does not start")
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(
            lambda: "has no t2notebook" in "".join(texts(driver, ".t2-Trouble")), 20, "no cause is told"
        )
        click(driver, ".t2-kill")
        click(driver, ".t2-kill")
        t2lab.wait_for(
            lambda: "KILLED" in "".join(texts(driver, ".t2-static")), 20, "the kernel does not kill it"
        )


@pytest.mark.slow
def test_the_kernel_dies_its_job_is_found_attached_and_killed(tmp_path: Path) -> None:
    end = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    with lab(tmp_path, CELLS[0], SUBMIT, end) as (driver, address):
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["STARTED"], 30, "the job is not shown")
        t2lab.run_cell(driver, 2)
        time.sleep(3)
        driver.get(f"{address}/lab/tree/a.ipynb")
        await_kernel(driver)
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["STARTED"], 20, "the job is not found again")
        job_id = driver.execute_script("return document.querySelector('.t2-Item').dataset.jobId")
        t2lab.command(driver, "t2notebook:attach-job", jobId=job_id)
        t2lab.wait_for(
            lambda: texts(driver, ".t2-chip") == ["STARTED"], 20, "the attached view does not come"
        )
        kill(driver)
        t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")


@pytest.mark.slow
def test_two_pages_tell_of_an_end_once(tmp_path: Path) -> None:
    with lab(tmp_path, CELLS[0], SUBMIT) as (driver, address):
        first = driver.current_window_handle
        driver.switch_to.new_window("window")
        driver.get(f"{address}/lab/workspaces/other?reset")
        t2lab.wait_for(lambda: has_command(driver), 40, "the extension is not there")
        second = driver.current_window_handle
        driver.switch_to.window(first)
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["STARTED"], 30, "the job is not shown")
        kill(driver)
        t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")
        time.sleep(2)
        told = 0
        for window in (first, second):
            driver.switch_to.window(window)
            told += "".join(texts(driver, ".Toastify")).count("train was killed")
        assert told == 1


@pytest.mark.slow
def test_notebook_7(tmp_path: Path) -> None:
    pytest.importorskip("notebook")
    with lab(tmp_path, *CELLS, app="notebook") as (driver, _):
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.run_cell(driver, 2)
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: states(driver) == ["STARTED"], 30, "the job is not shown")
        look_at_the_job(driver)
        kill(driver)
        t2lab.wait_for(lambda: states(driver) == ["KILLED"], 10, "the job is not killed")
        assert is_busy(driver)


@pytest.mark.slow
def test_a_closed_side_bar_holds_no_connection_and_an_open_one_comes_back(tmp_path: Path) -> None:
    with lab(tmp_path) as (driver, _):
        watch = """
            window.sockets = [];
            const settings = window.jupyterapp.serviceManager.serverSettings;
            const Real = settings.WebSocket;
            settings.WebSocket = class extends Real {
                constructor(url) { super(url); if (url.includes("t2notebook")) window.sockets.push(this); }
            };
            window.timers = new Set();
            for (const [set, clear] of [["setInterval", "clearInterval"], ["setTimeout", "clearTimeout"]]) {
                const [begin, end] = [window[set], window[clear]];
                window[set] = (call, ...rest) => {
                    const isOurs = new Error().stack.includes("extensions/t2notebook");
                    const fire = () => { if (set === "setTimeout") window.timers.delete(id); call(); };
                    const id = begin(fire, ...rest);
                    if (isOurs) window.timers.add(id);
                    return id;
                };
                window[clear] = id => { window.timers.delete(id); end(id); };
            }
        """
        driver.execute_script(watch)
        timers = "return window.timers.size"
        open_ones = "return window.sockets.filter(socket => socket.readyState === 1).length"
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: driver.execute_script(open_ones) == 1, 10, "no stream")
        assert driver.execute_script(timers) > 0
        t2lab.command(driver, "filebrowser:activate")
        t2lab.wait_for(lambda: driver.execute_script(open_ones) == 0, 10, "the stream stays")
        t2lab.wait_for(lambda: driver.execute_script(timers) == 0, 10, "timers stay")
        before = requests(driver)
        time.sleep(6)
        assert requests(driver) == before and driver.execute_script(timers) == 0
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: driver.execute_script(open_ones) == 1, 10, "no stream")
        driver.execute_script("window.sockets.at(-1).close()")
        t2lab.wait_for(
            lambda: driver.execute_script("return window.sockets.length") == 3, 10, "no other stream"
        )
        t2lab.wait_for(lambda: driver.execute_script(open_ones) == 1, 10, "the other stream does not open")


@pytest.mark.slow
def test_300_jobs(tmp_path: Path) -> None:
    sessions = tmp_path / "JUPYTER_DATA_DIR" / "t2notebook" / "sessions"
    sessions.mkdir(parents=True, mode=0o700)
    made_journals.make(sessions, 10, 30, lost=1)
    with lab(tmp_path) as (driver, _):
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: "301 jobs" in "".join(texts(driver, ".t2-Summary")), 30, "not all are shown")
        assert states(driver)[0] == "LOST"
        # a lost job whose Python is gone cannot be ended: the page says why, until something else is done
        t2lab.command(driver, "t2notebook:show-jobs", jobId=_first(driver))
        t2lab.wait_for(lambda: texts(driver, WORKERS) == ["0", "1", "2", "3"], 10, "no workers")
        assert "session was lost" in "".join(texts(driver, ".t2-Details"))
        assert violations(driver, ".t2-Panel") == []
        click(driver, ".t2-Details .t2-kill")
        click(driver, ".t2-Details .t2-kill")
        t2lab.wait_for(lambda: "is gone" in "".join(texts(driver, ".t2-Details")), 20, "no cause is told")
        click(driver, ".t2-Back")
        kill(driver)
        t2lab.wait_for(lambda: "is gone" in "".join(texts(driver, ".t2-Trouble")), 20, "no cause is told")
        click(driver, ".t2-Item-name")
        assert texts(driver, ".t2-Trouble") == []
        click(driver, ".t2-Back")
        driver.execute_script("""
            const input = document.querySelector(".t2-Panel input[type=search]");
            input.value = "failed";
            input.dispatchEvent(new Event("input"));
        """)
        assert "70 jobs" in texts(driver, ".t2-Summary")[0]
        assert violations(driver, ".t2-Panel") == []
        t2lab.command(driver, "t2notebook:show-jobs", jobId=_first(driver))
        t2lab.wait_for(lambda: "ZeroDivisionError" in "".join(texts(driver, ".t2-Details")), 10, "no reason")
        # who looks at files for a while finds the job again, which has asked for nothing meanwhile
        t2lab.command(driver, "filebrowser:activate")
        assert texts(driver, ".t2-Details") == []
        before = requests(driver)
        time.sleep(2)
        assert requests(driver) == before
        t2lab.command(driver, "t2notebook:show-jobs")
        t2lab.wait_for(lambda: "ZeroDivisionError" in "".join(texts(driver, ".t2-Details")), 10, "no reason")
        t2lab.wait_for(lambda: texts(driver, WORKERS), 10, "no workers")


def _first(driver: Any) -> str:
    return str(driver.execute_script("return document.querySelector('.t2-Item').dataset.jobId"))
