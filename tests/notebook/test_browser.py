"""JupyterLab in a real browser: a cell is run, its live view is seen, and what the saved notebook keeps."""

import importlib.util
import json
import os
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
import t2lab
from t2kernel import kernel_path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not os.path.exists(t2lab.CHROMIUM), reason="chromium is not installed"),
    pytest.mark.skipif(not os.path.exists(t2lab.DRIVER), reason="chromium-driver is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="jupyterlab is not installed"),
]

ENDED = ".t2-static:not(.t2-beside) table"
WIDGET = "application/vnd.jupyter.widget-view+json"
JOB = "application/vnd.t2notebook.job+json"
HELPERS = Path(t2lab.__file__).parent

FAKE = """import t2fakes, threading, time
go = threading.Event()
client = t2fakes.install()
%load_ext t2notebook
def script(job):
    job.pending("2 offers came, each lacks 1 cpu")
    go.wait()
    for worker_id in range(job.spec.number_of_workers):
        job.texts[worker_id, "stdout"] = f"epoch 0 of {worker_id}\\n"
    job.start()
    for step in range(1, 1000):
        time.sleep(0.05)
        if job.state.is_final:
            return
        for worker_id in range(job.spec.number_of_workers):
            job.progress(worker_id, min(0.99, step / 40), f"epoch {step // 10}")
client.script = script"""

AT_ONCE = FAKE.replace("go = threading.Event()", "go = threading.Event(); go.set()")
END = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
#: One call into C that lets no other thread run, as far as it goes, and a loop that lets others run.
BUSY = "end = time.monotonic() + 12\nwhile time.monotonic() < end:\n    sorted(range(3_000_000), key=lambda x: -x)"

SUBMIT = "%%twister2 submit --name pi --workers 3 --cpus 1 --ram 256 -o job\n1 + 1"


def texts(driver, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map(node => node.textContent)"
    return driver.execute_script(script, selector)


def click(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def saved_outputs(path, cell):
    return [output.data for output in nbformat.read(path, 4).cells[cell].outputs]


def seen(driver, selector):
    """Return the texts of what is really shown."""
    nodes = "[...document.querySelectorAll(arguments[0])]"
    script = f"return {nodes}.filter(node => node.checkVisibility()).map(node => node.innerText)"
    return driver.execute_script(script, selector)


def life(driver):
    return driver.execute_script("return document.querySelector('.t2-job')?.dataset.life")


def kernel_session(driver, call):
    driver.execute_script(f"window.jupyterapp.shell.currentWidget.sessionContext.{call}")


def end_kernel(driver, how):
    if how == "SIGKILL":
        t2lab.run_cell(driver, 2)
    else:
        kernel_session(driver, {"restart": "session.kernel.restart()", "shutdown": "shutdown()"}[how])


def begin(driver, address, name="a.ipynb"):
    """Open the notebook, submit, and wait for the live view."""
    t2lab.open_notebook(driver, address, name)
    t2lab.run_cell(driver, 0)
    t2lab.run_cell(driver, 1)
    t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["STARTED"], 20, "the job does not start")


def test_the_live_view_in_jupyterlab(tmp_path):
    t2lab.write_notebook(tmp_path / "a.ipynb", FAKE, SUBMIT, "go.set()\ntime.sleep(4)")
    with (
        t2lab.jupyterlab(tmp_path, PYTHONPATH=kernel_path()) as address,
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
        assert texts(driver, ".t2-row .t2-col-worker_id") == ["0", "1", "2"]
        agents = ["node-1", "node-2", "node-1"]
        t2lab.wait_for(lambda: texts(driver, ".t2-row .t2-col-agent") == agents, 10, "no agents are shown")
        assert "1 cpu and 256 MiB each" in texts(driver, ".t2-id")[0]
        before = texts(driver, ".t2-row .t2-percent")
        t2lab.wait_for(lambda: texts(driver, ".t2-row .t2-percent") != before, 5, "no progress")
        assert not t2lab.idle(driver)

        # the workers' output is below, and a click on a row opens its log
        t2lab.wait_for(lambda: "1epoch 0 of 1" in texts(driver, ".t2-out"), 10, "no output")
        click(driver, ".t2-row:nth-child(2)")
        assert texts(driver, ".t2-output-title") == ["Output of worker 1"]
        assert texts(driver, ".t2-out") == ["epoch 0 of 1"]
        click(driver, ".t2-output .t2-link")
        assert "0epoch 0 of 0" in texts(driver, ".t2-out")
        # what stands beside the live view for others is not seen
        assert not seen(driver, ".t2-static") and seen(driver, ".t2-job")

        # two clicks kill
        t2lab.wait_for(lambda: t2lab.idle(driver), 10, "the kernel is not idle")
        click(driver, ".t2-kill")
        assert texts(driver, ".t2-kill") == ["Kill?"]
        click(driver, ".t2-kill")
        t2lab.wait_for(lambda: texts(driver, ENDED), 10, "the final view does not come")
        assert not texts(driver, ".t2-job")
        assert "KILLED" in texts(driver, ".t2-static")[0]

        t2lab.command(driver, "docmanager:save")
        live, data = saved_outputs(tmp_path / "a.ipynb", 1)
        assert not live and set(data) == {"text/plain", "text/html"}
        assert "KILLED" in data["text/html"]

        severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        # The server extension knows no job of a fake session, so the kernel is asked to kill it.
        ours = [message for message in severe if "/kill - " not in message]
        assert not [message for message in ours if "t2" in message or "widget" in message.lower()]


def fakes(folder):
    return t2lab.jupyterlab(folder, PYTHONPATH=kernel_path())


@pytest.mark.slow
def test_a_view_whose_kernel_is_gone_and_its_notebook_opened_again(tmp_path):
    t2lab.write_notebook(tmp_path / "a.ipynb", AT_ONCE, SUBMIT, END)
    with fakes(tmp_path) as address, t2lab.browser(tmp_path) as driver:
        begin(driver, address)
        t2lab.command(driver, "docmanager:save")
        click(driver, ".t2-kill")
        end_kernel(driver, "restart")
        t2lab.wait_for(lambda: life(driver) == "gone", 10, "the view does not see that its kernel is gone")
        (note,) = seen(driver, ".t2-gone")
        assert "%twister2 attach me-pi-0001" in note
        assert not seen(driver, ".t2-kill")
        before = texts(driver, ".t2-elapsed, .t2-col-runtime")
        time.sleep(1.5)
        assert texts(driver, ".t2-elapsed, .t2-col-runtime") == before

        live, kept = saved_outputs(tmp_path / "a.ipynb", 1)
        assert (
            set(live) == {WIDGET, JOB} and "STARTED" in kept["text/html"] and len(kept["text/html"]) < 60_000
        )
        t2lab.open_notebook(driver, address, "a.ipynb")
        t2lab.wait_for(lambda: seen(driver, ".t2-static table"), 20, "the last state is not shown")
        time.sleep(1)
        assert "not found" not in "".join(seen(driver, ".jp-OutputArea-output"))
        assert "%twister2 attach me-pi-0001" in seen(driver, ".t2-static")[0]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "shutdown"])
def test_a_view_sees_that_its_kernel_is_gone(tmp_path, how):
    t2lab.write_notebook(tmp_path / "a.ipynb", AT_ONCE, SUBMIT, END)
    with fakes(tmp_path) as address, t2lab.browser(tmp_path) as driver:
        begin(driver, address)
        end_kernel(driver, how)
        t2lab.wait_for(lambda: life(driver) == "gone", 20, "the view does not see that its kernel is gone")
        assert "%twister2 attach" in seen(driver, ".t2-gone")[0]


@pytest.mark.slow
def test_a_busy_kernel_is_no_dead_one(tmp_path):
    t2lab.write_notebook(tmp_path / "a.ipynb", AT_ONCE, SUBMIT, BUSY)
    with fakes(tmp_path) as address, t2lab.browser(tmp_path) as driver:
        begin(driver, address)
        t2lab.run_cell(driver, 2)
        lives = set()
        for _ in range(40):
            lives.add(life(driver))
            time.sleep(0.2)
        assert lives == {"live"} and not t2lab.idle(driver)


@pytest.mark.slow
def test_a_notebook_of_somebody_else_shows_the_last_state(tmp_path):
    """It is not trusted: style sheets and scripts in its outputs are taken away."""
    t2lab.write_notebook(tmp_path / "a.ipynb", AT_ONCE, SUBMIT)
    with fakes(tmp_path) as address, t2lab.browser(tmp_path) as driver:
        begin(driver, address)
        t2lab.command(driver, "docmanager:save")
        notebook = nbformat.read(tmp_path / "a.ipynb", 4)
        notebook.cells[1].outputs[1].data["text/html"] += "<p>changed</p>"
        nbformat.write(notebook, tmp_path / "b.ipynb")
        t2lab.open_notebook(driver, address, "b.ipynb")
        t2lab.wait_for(lambda: seen(driver, ".t2-static table"), 20, "the last state is not shown")
        time.sleep(1)
        trusted = "return window.jupyterapp.shell.currentWidget.content.model.cells.get(1).trusted"
        assert driver.execute_script(trusted) is False
        assert "%twister2 attach me-pi-0001" in seen(driver, ".t2-static")[0]
        assert "not found" not in "".join(seen(driver, ".jp-OutputArea-output"))


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
        assert texts(driver, ".t2-row .t2-col-worker_id") == ["0", "1", "2", "3"]
        t2lab.wait_for(lambda: "step" in " ".join(texts(driver, ".t2-row .t2-col-note")), 10, "no progress")
        t2lab.wait_for(lambda: texts(driver, ENDED), 20, "the job does not end")
        assert "COMPLETED" in texts(driver, ".t2-static")[0]
        t2lab.run_cell(driver, 2)
        t2lab.wait_for(
            lambda: "[0, 1, 4, 9]" in " ".join(texts(driver, ".jp-OutputArea-output")), 20, "no results"
        )
        t2lab.wait_for(lambda: t2lab.idle(driver), 20, "the cluster does not stop")


REAL = "import t2notebook as t2, time\n%load_ext t2notebook"
LONG = (
    "%%twister2 submit --name long --workers 3 --cpus 1 --ram 64 --on-exit detach -o job\n"
    "import time\nfor step in range(1200):\n    env.progress(step + 1, 1200, f'step {step + 1}')\n"
    "    print('line', step, flush=True)\n    time.sleep(0.1)\n"
)
NOTES = ".t2-row .t2-col-note, .t2-row .t2-col-progress"


def real_lab(folder, app="lab"):
    environment = {name: str(folder / name) for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    return t2lab.jupyterlab(
        folder,
        app,
        PYTHONPATH=str(HELPERS.parents[2]),
        T2_SESSION_LINGER="0.5",
        T2_LOCAL_LINGER="0.5",
        **environment,
    )


def has_changed(driver, selector):
    """Whether what is seen of `selector` becomes another."""
    before = seen(driver, selector)
    t2lab.wait_for(
        lambda: (now := seen(driver, selector)) and now != before, 20, f"nothing changes in {selector}"
    )


def is_busy(address):
    """Whether the kernel runs a cell, by the server: a page does not know at first."""
    with urllib.request.urlopen(f"{address}/api/kernels", timeout=10) as answer:
        return [kernel["execution_state"] for kernel in json.load(answer)] == ["busy"]


def open_page(driver, address, name, app):
    """Open a notebook, whatever its kernel does."""
    driver.get(f"{address}/{t2lab.PAGES[app].format(name)}")
    t2lab.wait_for(lambda: texts(driver, ".jp-OutputArea-output"), 40, "the notebook is not shown")


@pytest.mark.slow
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_view_goes_on_whatever_becomes_of_page_and_kernel(tmp_path, app):
    """Where the kernel gives no widget, or none any more, the view shows what the Jupyter server knows."""
    busy = "end = time.monotonic() + 600\nwhile time.monotonic() < end:\n    time.sleep(0.5)"
    t2lab.write_notebook(tmp_path / "a.ipynb", REAL, LONG, busy)
    with real_lab(tmp_path, app) as address, t2lab.browser(tmp_path) as driver:
        t2lab.open_notebook(driver, address, "a.ipynb", app=app)
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 1)
        t2lab.wait_for(lambda: "step" in "".join(seen(driver, NOTES)), 40, "the job does not run")
        # a restarted kernel knows nothing of it
        kernel_session(driver, "session.kernel.restart()")
        t2lab.wait_for(lambda: "Jupyter server" in "".join(seen(driver, ".t2-gone")), 30, "it is not said")
        has_changed(driver, NOTES)

        # a page that is reloaded while the kernel computes
        t2lab.wait_for(lambda: t2lab.is_ready(driver), 40, "the kernel is not there again")
        t2lab.run_cell(driver, 0)
        t2lab.run_cell(driver, 2)
        t2lab.wait_for(lambda: is_busy(address), 20, "the kernel is not busy")
        t2lab.command(driver, "docmanager:save")
        open_page(driver, address, "a.ipynb", app)
        t2lab.wait_for(lambda: seen(driver, ".t2-job"), 20, "there is no view")
        has_changed(driver, NOTES)
        assert is_busy(address)
        assert len(texts(driver, ".t2-job")) == 1 and not seen(driver, ".t2-static")
        assert "not found" not in "".join(seen(driver, ".jp-OutputArea-output"))

        # the kernel ends: the job goes on, and so does the view
        kernel_session(driver, "shutdown()")
        has_changed(driver, NOTES)
        # two clicks kill the job
        click(driver, ".t2-kill")
        click(driver, ".t2-kill")
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["KILLED"], 30, "it is not killed")

        # opened again later: the end, without any kernel
        open_page(driver, address, "a.ipynb", app)
        t2lab.wait_for(lambda: texts(driver, ".t2-chip") == ["KILLED"], 20, "the end is not shown")


@pytest.mark.slow
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_cluster_and_the_form_are_live_on_a_reloaded_page(tmp_path, app):
    """Both were static without a word, until the kernel had time."""
    busy = "end = time.monotonic() + 600\nwhile time.monotonic() < end:\n    time.sleep(0.2)"
    t2lab.write_notebook(tmp_path / "a.ipynb", REAL, LONG, "%twister2 resources", "%twister2 cluster", busy)
    with real_lab(tmp_path, app) as address, t2lab.browser(tmp_path, height=1600) as driver:
        t2lab.open_notebook(driver, address, "a.ipynb", app=app)
        for index in range(4):
            t2lab.run_cell(driver, index)
        t2lab.wait_for(lambda: seen(driver, ".t2-cluster"), 40, "there is no cluster")
        t2lab.command(driver, "docmanager:save")
        t2lab.run_cell(driver, 4)
        t2lab.wait_for(lambda: is_busy(address), 30, "the kernel is not busy")
        open_page(driver, address, "a.ipynb", app)
        t2lab.wait_for(lambda: "3 running" in texts(driver, ".t2-cluster .t2-count"), 30, "it is not live")
        assert is_busy(address) and len(texts(driver, ".t2-cluster")) == 1
        assert "from the Jupyter server" in "".join(texts(driver, ".t2-cluster [role=status]"))
        assert not seen(driver, ".t2-clusterkept"), "what was saved is hidden"
        # the form asks the server, too, and keeps what is chosen for its kernel
        form = ".t2-form:not(.t2-cluster)"
        t2lab.wait_for(lambda: "Fits now" in "".join(seen(driver, f"{form} .t2-fits")), 30, "no forecast")
        choose = """
            const box = document.querySelector(arguments[0] + " .t2-number-box");
            box.value = "5";
            box.dispatchEvent(new Event("input"));
        """
        driver.execute_script(choose, form)
        t2lab.wait_for(lambda: "--workers 5" in "".join(seen(driver, f"{form} .t2-form-line")), 20, "no line")
        assert not seen(driver, ".t2-formkept") and is_busy(address)
        shown = "".join(seen(driver, ".jp-OutputArea-output"))
        assert "not found" not in shown and "Loading widget" not in shown
        # as soon as the kernel can, both are its own again
        kernel_session(driver, "session.kernel.interrupt()")
        for view in (form, ".t2-cluster"):
            t2lab.wait_for(
                lambda view=view: "Jupyter" not in "".join(seen(driver, view) or ["Jupyter"]),
                40,
                f"{view} is not the kernel's",
            )
        t2lab.wait_for(
            lambda: "--workers 5" in "".join(seen(driver, f"{form} .t2-form-line")), 20, "forgotten"
        )
        assert len(texts(driver, ".t2-cluster")) == 1 and not seen(driver, ".t2-formkept")


@pytest.mark.slow
def test_without_the_extension_a_reloaded_page_says_as_of_when_it_is(tmp_path):
    """While the kernel computes, there is no widget; the view that was saved takes its place."""
    off = tmp_path / ".config" / "labconfig" / "page_config.json"
    off.parent.mkdir(parents=True)
    off.write_text('{"disabledExtensions": {"t2notebook": true}}')
    t2lab.write_notebook(tmp_path / "a.ipynb", AT_ONCE, SUBMIT, "time.sleep(600)")
    with fakes(tmp_path) as address, t2lab.browser(tmp_path) as driver:
        begin(driver, address)
        t2lab.run_cell(driver, 2)
        t2lab.wait_for(lambda: is_busy(address), 20, "the kernel is not busy")
        t2lab.command(driver, "docmanager:save")
        open_page(driver, address, "a.ipynb", "lab")
        t2lab.wait_for(lambda: seen(driver, ".t2-static table"), 20, "the last state is not shown")
        time.sleep(3)
        assert is_busy(address) and not texts(driver, ".t2-job")
        (static,) = seen(driver, ".t2-static")
        assert "as of " in static and "%twister2 attach me-pi-0001" in static
        shown = "".join(seen(driver, ".jp-OutputArea-output"))
        assert "not found" not in shown and "Loading widget" not in shown


@pytest.mark.slow
def test_a_second_tab_shows_the_kernel_s_view(tmp_path):
    t2lab.write_notebook(tmp_path / "a.ipynb", AT_ONCE, SUBMIT)
    with fakes(tmp_path) as address, t2lab.browser(tmp_path) as driver:
        begin(driver, address)
        t2lab.command(driver, "docmanager:save")
        driver.switch_to.new_window("tab")
        open_page(driver, address, "a.ipynb", "lab")
        t2lab.wait_for(lambda: seen(driver, ".t2-job"), 40, "there is no view")
        assert life(driver) == "live" and len(texts(driver, ".t2-job")) == 1
        assert not seen(driver, ".t2-gone") and not seen(driver, ".t2-static")
        has_changed(driver, NOTES)
