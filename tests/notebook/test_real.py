"""The magics on the real client, a real session and the embedded Mesos."""

import os
import subprocess
import sys
import time

import nbformat
import pytest

from tests.busy import longer


@pytest.fixture
def real(kernel_with, tmp_path):
    with kernel_with(
        JUPYTER_DATA_DIR=str(tmp_path / "data"),
        JUPYTER_RUNTIME_DIR=str(tmp_path / "run"),
        JUPYTER_CONFIG_DIR=str(tmp_path / "config"),
    ) as kernel:
        assert kernel.run("import time\nimport t2notebook as t2\n%load_ext t2notebook").error == ""
        try:
            yield kernel
        finally:
            kernel.run("t2.shutdown()")
            kernel.run("%twister2 cluster stop")


def test_a_cell_becomes_a_job_and_the_view_is_its_frame(real):
    real.run("base = 10")
    ran = real.run(
        "%%twister2 submit --name sq --workers 4 --cpus 1 --ram 256 -o job --wait\n"
        "print('hello', env.worker_id)\nbase + env.worker_id ** 2",
        timeout=60,
    )
    assert ran.error == ""
    assert real.run("print(job.results())").text == "[10, 11, 14, 19]\n"
    assert real.run("%twister2 logs job 1").text == "hello 1\n"
    final, live = (update["data"] for update in ran.updates[-2:])
    assert not live and "hello 1" in final["text/html"]  # what it wrote is kept with the view
    final = final["text/html"]
    real.run(f"html = {final!r}")
    check = (
        "import io, pandas as pd\nfrom html.parser import HTMLParser\n"
        "from t2notebook.views.snapshot import snapshot\n"
        "from t2notebook.notebook.rendering.html import job_html\n"
        "now = job_html(snapshot(job.view()))\n"
        "print(html.startswith(now.removesuffix('</div>')), list(job.tasks['state']),"
        " all(host in html for host in job.tasks['host']))"
    )
    assert real.run(check).text == "True ['FINISHED', 'FINISHED', 'FINISHED', 'FINISHED'] True\n"


def test_a_failing_worker_an_interrupt_and_a_job_that_does_not_fit(real):
    ran = real.run("%%twister2 submit --name bad --workers 2 --wait\nx = 0\n1 / x", timeout=60)
    assert ran.error.startswith("JobFailed: job ")
    assert '  File "<cell bad>", line 2' in ran.error and "1 / x" in ran.error
    assert "t2notebook/" not in ran.error

    cell = real.start("%%twister2 submit --name slow --workers 2 --wait -o slow\nimport time; time.sleep(60)")
    real.wait(lambda message: message["msg_type"] == "display_data", cell)
    time.sleep(1)
    real.interrupt()
    ran = real.finish(cell)
    assert ran.error.startswith("Interrupted: you stopped the cell, so job ")
    assert ran.error.endswith(" was killed")
    assert real.run("print(slow.state)").text == "KILLED\n"

    real.run("%%twister2 submit --name huge --cpus 400 -o huge\n1")
    time.sleep(1)
    status = real.run("%twister2 status huge").displays[0]["data"]["text/plain"]
    assert status.startswith("huge: PENDING, 1 pending")
    assert "waiting: " in status and "400" in status
    assert real.run("huge.kill(); print(huge.wait(10))").text == "KILLED\n"


def test_nothing_is_submitted_when_a_variable_cannot_travel(real):
    real.run("import threading\nlock = threading.Lock()")
    ran = real.run("%%twister2 submit -o job\nwith lock:\n    pass")
    assert ran.error.startswith("PackageError: ") and "'lock'" in ran.error and "\n" not in ran.error
    assert real.run("print('job' in globals(), len(t2.jobs()))").text == "False 0\n"


def test_a_cell_that_runs_again_has_its_number_its_earlier_job_and_can_replace_it(real):
    cell = "%%twister2 submit --ram 64{} -o {}\nimport time; time.sleep(60)"
    ran = real.run(cell.format("", "first"), timeout=60)
    (shown,) = [m["content"] for m in ran.messages if m["msg_type"] == "execute_input"]
    number = shown["execution_count"]
    assert real.run("print(first.name)").text == f"cell-{number}\n"
    real.run("import time")
    cell_again = real.start("job = t2.submit(lambda: time.sleep(60), ram='64MB')\njob.wait()")
    time.sleep(1)
    began = time.monotonic()
    real.interrupt()
    ran = real.finish(cell_again)
    assert time.monotonic() - began < 5
    job_id = real.run("print(job.job_id)").text.strip()
    assert ran.error == f"WaitInterrupted: you stopped waiting; job {job_id} goes on, and kill() ends it"
    waiting = real.start("job.wait(on_interrupt='kill')")
    time.sleep(1)
    began = time.monotonic()
    real.interrupt()
    ran = real.finish(waiting)
    assert time.monotonic() - began < longer(0.3)
    assert ran.error == f"WaitInterrupted: you stopped waiting, so job {job_id} is being killed"
    assert real.run("print(job.wait(20))").text == "KILLED\n"
    assert "earlier" not in real.run(cell.format(" --replace --name b", "b"), timeout=60).text
    ran = real.run(cell.format(" --replace --name b", "c"), timeout=60)
    assert ran.error == ""
    assert real.run("print(b.state, c.state.is_final)").text == "KILLED False\n"
    assert real.run("%twister2 kill b").text.startswith("Job ")


def test_a_workers_exception_is_caught_by_its_own_type(real, tmp_path):
    (tmp_path / "beside.py").write_text(
        "class Refused(Exception):\n    def __init__(self, code):\n        super().__init__(f'code {code}')\n"
        "        self.code = code\ndef refuse():\n    raise Refused(7)\n"
    )
    assert real.run(f"%cd -q {tmp_path}\nimport beside\nclass Mine(ValueError): pass").error == ""
    catch = "try:\n    t2.submit({}, ram=64).results()\nexcept {} as error:\n    print(error.args, {})"
    ran = real.run(catch.format("lambda: 1 / 0", "ZeroDivisionError", "isinstance(error, t2.JobFailed)"))
    assert ran.text == "('division by zero',) True\n"
    ran = real.run("def fail():\n    raise Mine('x')\n" + catch.format("fail", "Mine", "error.worker_id"))
    assert ran.text == "('x',) 0\n"
    ran = real.run(catch.format("beside.refuse", "beside.Refused", "error.code"))
    assert ran.text == "('code 7',) 7\n"


def test_a_notebook_that_ends_before_its_job_says_so_on_stderr(tmp_path):
    """papermill and nbconvert end a kernel cleanly after its last cell, which kills its jobs."""
    new = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        new("import time\n%load_ext t2notebook"),
        new("%%twister2 submit --name last --ram 64\ntime.sleep(60)"),
    ]
    nbformat.write(notebook, tmp_path / "a.ipynb")
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("DATA", "RUNTIME", "CONFIG")}
    (tmp_path / "RUNTIME").mkdir()
    program = (
        "import nbformat, nbclient; notebook = nbformat.read('a.ipynb', 4);"
        "nbclient.NotebookClient(notebook, timeout=60).execute()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **folders, "IPYTHONDIR": str(tmp_path), "T2_SESSION_LINGER": "1"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("t2notebook: ")]
    assert line.startswith("t2notebook: killed job ") and "-last-" in line
    assert "--wait waits for the end" in line and 'on_exit="detach" lets jobs go on' in line


def form_state(real, model_id, condition):
    """Return the first state of a form that fits."""
    found = {}

    def fits(message):
        if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != model_id:
            return False
        state = message["content"]["data"].get("state", {}).get("state")
        if state and condition(state):
            found.update(state)
        return bool(found)

    real.wait(fits, timeout=40)
    return found


def send_to_form(real, model_id, **content):
    data = {"method": "custom", "content": content}
    real.client.shell_channel.send(real.client.session.msg("comm_msg", {"comm_id": model_id, "data": data}))


def test_the_form_follows_the_cluster_and_its_button_submits_the_last_cell(real):
    assert real.run("%twister2 resources --text").text.startswith("2 agents of ")
    assert "run a %%twister2 submit cell first" in real.run("t2.ResourceForm().submit()").error
    ran = real.run(
        "%%twister2 submit --form --name train --workers 2 --cpus 1 --ram 64 -o job\nenv.number_of_workers"
    )
    assert ran.error == "" and real.run("job").error.strip().endswith("name 'job' is not defined")
    form, kept = ran.displays
    (model_id,) = (data["model_id"] for kind, data in form["data"].items() if "widget-view" in kind)
    assert "2 workers, each with 1 cpu and 64 MiB" in kept["data"]["text/html"]
    state = form_state(real, model_id, lambda state: state["forecast"])
    now = state["forecast"]["now"]["workers"]
    assert state["cell"] == "train" and state["tone"] == "good"
    assert state["fits"] == f"Fits now: {now} workers of this size on 2 agents."

    values = {**state["values"], "workers": now}
    send_to_form(real, model_id, kind="change", sequence=1, values={**values, "cpus": 0})
    assert "cpu is 0" in form_state(real, model_id, lambda state: state["sequence"] == 1)["problem"]
    send_to_form(real, model_id, kind="change", sequence=2, values=values)
    state = form_state(real, model_id, lambda state: state["sequence"] == 2)
    assert not state["problem"] and state["line"] == (
        f"%%twister2 submit --workers {now} --cpus 1 --ram 64 --name train -o job"
    )
    assert sum(agent["planned"] for agent in state["forecast"]["agents"]) == now

    # what the click brings stands in the form's own output
    send_to_form(real, model_id, kind="submit")
    told = real.wait(lambda m: m["msg_type"] == "stream" and "Submitted as" in m["content"]["text"], ran.id)
    assert state["line"] in told["content"]["text"]
    real.wait(lambda m: m["msg_type"] == "display_data" and "train" in str(m["content"]["data"]), ran.id)
    assert real.run("print(set(job.results(timeout=40)), len(job.results()))").text == f"{{{now}}} {now}\n"


def test_the_cluster_in_the_notebook_is_the_masters_page_and_stays_true(real):
    # a kernel without a session starts none to look
    assert real.run("%twister2 cluster").text.startswith("No embedded Mesos runs")
    assert real.run("job = t2.submit(lambda env: time.sleep(100), workers=2, ram_mega_bytes=64)").error == ""
    real.run("while job.state != 'STARTED': time.sleep(0.1)", timeout=40)
    ran = real.run("%twister2 cluster")
    view, kept = ran.displays
    (model_id,) = (data["model_id"] for kind, data in view["data"].items() if "widget-view" in kind)
    text = kept["data"]["text/plain"]
    assert "agents: 2 active" in text and "tasks: 2 running" in text and "active tasks:" in text
    real.run("job.kill()")
    form_state(real, model_id, lambda state: state["page"]["tasks"]["killed"] == 2 and not state["trouble"])
    assert real.run("%twister2 cluster stop").text == "The embedded Mesos is stopped.\n"
    form_state(real, model_id, lambda state: state["trouble"])


def answered(kernel, cell, answer):
    """Type something into the input box that a cell shows; None interrupts instead. Return the prompt."""
    request = kernel.client.get_stdin_msg(timeout=30)
    if answer is None:
        kernel.interrupt()
    else:
        kernel.client.input(answer)
    assert request["parent_header"]["msg_id"] == cell
    return request["content"]["prompt"]


def test_a_breakpoint_opens_pdb_in_the_cell(real):
    cell = real.start("%%twister2 submit --ram 64 --wait -o job\nx = 5\nbreakpoint()\ny = x\ny")
    assert answered(real, cell, "p x + 1") == "(Pdb) "
    answered(real, cell, None)
    ran = real.finish(cell, 60)
    assert "-> y = x\n6\n" in ran.text and "Detached; worker 0 waits in the debugger" in ran.text
    assert ran.error.startswith("Interrupted: you left the debugger; job ")
    cell = real.start("%twister2 debug job 0")
    answered(real, cell, "c")
    assert "<cell " in real.finish(cell, 60).text, "where it is"
    assert real.run("print(job.results(30))").text == "[5]\n"
    # nbclient and its like have no input box
    ran = real.run(
        "%%twister2 submit --ram 64 --debug-timeout 2 --wait -o job\nbreakpoint()\n7", 60, stdin=False
    )
    assert "nothing can be typed here" in ran.text and ran.error == ""
    assert real.run("print(job.results(30))").text == "[7]\n", "it went on by itself"
