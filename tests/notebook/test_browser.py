"""JupyterLab in a real browser: a cell is run, its live view is seen, and what the saved notebook keeps."""

import importlib.util
import os
from pathlib import Path

import nbformat
import pytest
import t2lab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not os.path.exists(t2lab.CHROMIUM), reason="chromium is not installed"),
    pytest.mark.skipif(not os.path.exists(t2lab.DRIVER), reason="chromium-driver is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="jupyterlab is not installed"),
]

HELPERS = Path(t2lab.__file__).parent

FAKE = """import t2fakes, threading, time
go = threading.Event()
client = t2fakes.install()
%load_ext t2notebook
def script(job):
    job.pending("2 offers came, each lacks 1 cpu")
    go.wait()
    job.start()
    for step in range(1, 1000):
        time.sleep(0.05)
        if job.state.is_final:
            return
        for worker_id in range(job.spec.number_of_workers):
            job.progress(worker_id, min(0.99, step / 40), f"epoch {step // 10}")
client.script = script"""

SUBMIT = "%%twister2 submit --name pi --workers 3 --cpus 1 --ram 256 -o job\n1 + 1"


def texts(driver, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map(node => node.textContent)"
    return driver.execute_script(script, selector)


def click(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def saved_output(path, cell):
    (output,) = nbformat.read(path, 4).cells[cell].outputs
    return output.data


def test_the_live_view_in_jupyterlab(tmp_path):
    path = os.pathsep.join([str(HELPERS), str(HELPERS.parents[2])])
    t2lab.write_notebook(tmp_path / "a.ipynb", FAKE, SUBMIT, "go.set()\ntime.sleep(4)")
    with (
        t2lab.jupyterlab(tmp_path, PYTHONPATH=path) as address,
        t2lab.browser(tmp_path) as driver,
    ):
        t2lab.open_notebook(driver, address, "a.ipynb")
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["PENDING"], 15, "the job is not shown")
        (waiting,) = texts(driver, ".t2-callout:not([hidden])")
        assert waiting == "Waiting: 2 offers came, each lacks 1 cpu"

        # while another cell keeps the kernel's main thread, the view goes on
        t2lab.run_cell(driver, 2)
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["STARTED"], 10, "the job does not start")
        assert texts(driver, ".t2-table tbody .t2-worker_id") == ["0", "1", "2"]
        assert texts(driver, ".t2-table tbody .t2-host") == ["node-1", "node-2", "node-1"]
        assert texts(driver, ".t2-table tbody .t2-mem") == ["256 MiB"] * 3
        before = texts(driver, ".t2-table tbody .t2-progress .t2-percent")
        t2lab.wait_for(
            lambda: texts(driver, ".t2-table tbody .t2-progress .t2-percent") != before, 5, "no progress"
        )
        assert not t2lab.idle(driver)

        # two clicks kill
        t2lab.wait_for(lambda: t2lab.idle(driver), 10, "the kernel is not idle")
        click(driver, ".t2-kill")
        assert texts(driver, ".t2-kill") == ["Kill?"]
        click(driver, ".t2-kill")
        t2lab.wait_for(lambda: texts(driver, ".t2-static table"), 10, "the final view does not come")
        assert not texts(driver, ".t2-job")
        assert "KILLED" in texts(driver, ".t2-static")[0]

        t2lab.command(driver, "docmanager:save")
        data = saved_output(tmp_path / "a.ipynb", 1)
        assert set(data) == {"text/plain", "text/html"}
        assert "KILLED" in data["text/html"]

        severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert not [message for message in severe if "t2" in message or "widget" in message.lower()]


def test_a_real_job_in_jupyterlab(tmp_path):
    """The whole way: the cell, a session, the embedded Mesos, the workers, and the view in the browser."""
    cell = (
        "%%twister2 submit --name sq --workers 4 --cpus 1 --ram 256 -o job\n"
        "import time\nfor step in range(10):\n    env.progress(step + 1, 10, f'step {step + 1}')\n"
        "    time.sleep(0.2)\nenv.worker_id ** 2"
    )
    end = "print(job.results())\nt2.shutdown()\n%twister2 cluster stop"
    t2lab.write_notebook(tmp_path / "a.ipynb", "import t2notebook as t2\n%load_ext t2notebook", cell, end)
    environment = {name: str(tmp_path / name) for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    with (
        t2lab.jupyterlab(tmp_path, PYTHONPATH=str(HELPERS.parents[2]), **environment) as address,
        t2lab.browser(tmp_path) as driver,
    ):
        t2lab.open_notebook(driver, address, "a.ipynb")
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["STARTED"], 30, "the job does not start")
        assert texts(driver, ".t2-table tbody .t2-worker_id") == ["0", "1", "2", "3"]
        t2lab.wait_for(
            lambda: "step" in " ".join(texts(driver, ".t2-table tbody .t2-note-text")), 10, "no progress"
        )
        t2lab.wait_for(lambda: texts(driver, ".t2-static table"), 20, "the job does not end")
        assert "COMPLETED" in texts(driver, ".t2-static")[0]
        t2lab.run_cell(driver, 2)
        t2lab.wait_for(
            lambda: "[0, 1, 4, 9]" in " ".join(texts(driver, ".jp-OutputArea-output")), 20, "no results"
        )
        t2lab.wait_for(lambda: t2lab.idle(driver), 20, "the cluster does not stop")
