"""In a real kernel: outputs go to the cell that made them, and the saved notebook has them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import t2kernel
from t2kernel import JOB, WIDGET

from tests.busy import longer


def final_update(display_id):
    def is_it(message):
        content = message["content"]
        return (
            message["msg_type"] == "update_display_data"
            and content["transient"].get("display_id") == display_id
            and "t2-beside" not in content["data"]["text/html"]
        )

    return is_it


def test_the_view_belongs_to_its_cell_while_another_runs(kernel):
    kernel.run("client.script = lambda job: (time.sleep(0.3), job.run_well(steps=10, pause=0.15))")
    submitted = kernel.run("%%twister2 submit --name pi --workers 4 --cpus 1 --ram 256 -o job\n1 + 1")
    assert submitted.error == ""
    live, display = submitted.displays
    # no text beside the widget: what shows no widgets shows the second output
    assert set(live["data"]) == {WIDGET, JOB} and set(display["data"]) == {"text/plain", "text/html"}
    busy = kernel.start("for i in range(25):\n    print(i)\n    time.sleep(0.1)")
    display_id = display["transient"]["display_id"]
    final = kernel.wait(final_update(display_id))
    other = kernel.finish(busy)

    # the final view came while the other cell ran, and as an output of its own cell
    assert final["parent_header"]["msg_id"] == submitted.id
    assert set(final["content"]["data"]) == {"text/plain", "text/html"}
    assert "COMPLETED" in final["content"]["data"]["text/html"]
    # nothing of the other cell went astray, nor anything of ours into it but the repeated final view
    assert other.text.split() == [str(i) for i in range(25)]
    ids = [content["transient"]["display_id"] for content in other.updates]
    assert ids in ([], [display_id, live["transient"]["display_id"]])


def test_widget_writes_are_few_and_carry_their_cell(kernel):
    version = kernel.run("import ipykernel; print(ipykernel.__version__)").text
    kernel.run("client.script = lambda job: job.run_well(steps=100, pause=0.02)")
    submitted = kernel.run("%%twister2 submit --workers 4 -o job\n1")
    model_id = submitted.displays[0]["data"][WIDGET]["model_id"]
    busy = kernel.start("time.sleep(3)")
    kernel.wait(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == model_id)
    kernel.finish(busy)
    writes = [
        message
        for message in kernel.messages
        if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == model_id
    ]
    assert 4 <= len(writes) <= 15  # of 400 changes in 2 s
    states = [message["content"]["data"]["state"]["snapshot"]["state"] for message in writes]
    assert states[-1] == "COMPLETED"
    sent = [message["header"]["date"].timestamp() for message in writes]
    assert sent[-1] - sent[0] >= 0.19 * (len(sent) - 2)
    if not version.startswith("6."):  # ipykernel 6 has one parent for all threads
        assert {message["parent_header"]["msg_id"] for message in writes} == {submitted.id}


def writes_of(kernel, model_id):
    return [
        message["content"]["data"]["state"]
        for message in kernel.messages
        if message["msg_type"] == "comm_msg"
        and message["content"]["comm_id"] == model_id
        and message["content"]["data"].get("method") == "update"
    ]


def send(kernel, model_id, **content):
    data = {"method": "custom", "content": content}
    message = kernel.client.session.msg("comm_msg", {"comm_id": model_id, "data": data})
    kernel.client.shell_channel.send(message)


def test_a_view_hears_of_its_kernel_although_nothing_changes_and_a_cell_computes(kernel):
    kernel.run("client.script = lambda job: job.start()")
    submitted = kernel.run("%%twister2 submit --workers 2 -o job\n1")
    model_id = submitted.displays[0]["data"][WIDGET]["model_id"]
    kernel.run("end = time.monotonic() + 7\nwhile time.monotonic() < end: pass", timeout=30)
    beats = [state["beat"] for state in writes_of(kernel, model_id) if "beat" in state]
    assert beats == list(range(1, len(beats) + 1)) and 2 <= len(beats) <= 5
    kernel.run("job.kill()")


def test_the_view_knows_its_kernel_as_the_server_does(kernel):
    kernel.run("client.script = lambda job: job.start()")
    kernel.run("%%twister2 submit --workers 2 -o job\n1")
    found = kernel.run(
        "from ipywidgets import Widget\nfrom t2notebook.notebook.output import kernel_id\n"
        "from ipykernel.connect import get_connection_file\nprint(kernel_id() in get_connection_file())"
    )
    assert found.text == "True\n"


def test_the_workers_output_comes_with_the_view(kernel):
    kernel.run(
        "client.script = lambda job: (job.texts.update({(1, 'stdout'): 'hello\\n10%\\r20%'}), job.start())"
    )
    submitted = kernel.run("%%twister2 submit --workers 3 -o job\n1")
    model_id = submitted.displays[0]["data"][WIDGET]["model_id"]
    time.sleep(1.5)
    outputs = [state["output"] for state in writes_of(kernel, model_id) if "output" in state]
    assert outputs[-1] == {"end": 1, "lines": [[1, "stdout", "hello"]], "current": [[1, "stdout", "20%"]]}
    # a click on a row opens its log
    send(kernel, model_id, kind="open", worker_id=1)
    time.sleep(1.5)
    logs = [state["log"] for state in writes_of(kernel, model_id) if state.get("log")]
    assert logs[-1]["worker_id"] == 1 and logs[-1]["lines"][0] == ["stdout", "hello"]
    # what comes last is kept, too
    kernel.run("job.texts[2, 'stdout'] = 'bye\\n'; [job.finish(worker_id) for worker_id in range(3)]")
    is_final = final_update(submitted.displays[1]["transient"]["display_id"])
    # the cell that ended the job may already have shown its end, before the last output was read
    final = kernel.wait(
        lambda message: is_final(message) and "bye" in message["content"]["data"]["text/html"]
    )
    html = final["content"]["data"]["text/html"]
    assert "hello" in html and "20%" in html


def test_nothing_is_read_for_nobody(kernel):
    kernel.run(
        "asked = []\nimport t2fakes\ntails = t2fakes.Job.tails\n"
        "t2fakes.Job.tails = lambda job, *rest: asked.append(time.monotonic()) or tails(job, *rest)\n"
        "client.script = lambda job: job.start()"
    )
    submitted = kernel.run("%%twister2 submit --workers 2 -o job\n1")
    model_id = submitted.displays[0]["data"][WIDGET]["model_id"]
    time.sleep(1)
    assert int(kernel.run("print(len(asked))").text) >= 1
    send(kernel, model_id, kind="show", is_shown=False)
    time.sleep(1)
    before = kernel.run("print(len(asked))").text
    kernel.run("job.texts[0, 'stdout'] = 'unseen\\n'; time.sleep(9)", timeout=30)
    assert kernel.run("print(len(asked))").text == before
    send(kernel, model_id, kind="show", is_shown=True)
    time.sleep(2)
    assert kernel.run("print(len(asked))").text != before
    kernel.run("job.kill()")


def test_the_html_below_a_live_view_is_renewed_seldom(kernel):
    kernel.run("client.script = lambda job: (time.sleep(0.5), job.run_well(steps=40, pause=0.1))")
    submitted = kernel.run("%%twister2 submit --name pi --workers 2 -o job\n1")
    display_id = submitted.displays[1]["transient"]["display_id"]
    kernel.wait(final_update(display_id), timeout=30)
    updates = [m["content"] for m in kernel.messages if m["msg_type"] == "update_display_data"]
    kept = [u["data"]["text/html"] for u in updates if u["transient"]["display_id"] == display_id]
    assert 2 <= len(kept) <= 6
    for html in kept[:-1]:
        assert "%twister2 attach me-pi-" in html and "t2-beside" in html
    assert "COMPLETED" in kept[-1] and "attach" not in kept[-1]


def test_a_click_on_kill_kills(kernel):
    kernel.run("client.script = lambda job: job.start()")
    submitted = kernel.run("%%twister2 submit --workers 2 -o job\n1")
    display, static = submitted.displays
    message = kernel.client.session.msg(
        "comm_msg",
        {
            "comm_id": display["data"][WIDGET]["model_id"],
            "data": {"method": "custom", "content": {"kind": "kill"}},
        },
    )
    kernel.client.shell_channel.send(message)
    final = kernel.wait(final_update(static["transient"]["display_id"]))
    assert "KILLED" in final["content"]["data"]["text/html"]
    assert kernel.run("print(job.killed_by_client)").text == "True\n"


def test_wait_ends_with_the_final_view(kernel):
    kernel.run("client.script = lambda job: job.run_well(steps=3)")
    ran = kernel.run("%%twister2 submit --workers 2 --wait\n1")
    assert ran.error == "" and ran.reply["status"] == "ok"
    final, live = ran.updates[-2:]
    assert "COMPLETED" in final["data"]["text/html"] and live["data"] == {}
    # without a variable for the handle, the cell's value is the results
    (result,) = [message for message in ran.messages if message["msg_type"] == "execute_result"]
    assert result["content"]["data"]["text/plain"] == "[None, None]"
    ran = kernel.run("%%twister2 submit --workers 2 --wait -o job\n1")
    assert not any(message["msg_type"] == "execute_result" for message in ran.messages)


def test_the_stop_button_kills_under_wait(kernel):
    kernel.run("client.script = lambda job: job.start()")
    cell = kernel.start("%%twister2 submit --workers 2 --wait -o job\n1")
    kernel.wait(lambda message: message["msg_type"] == "display_data", cell)
    time.sleep(0.5)
    kernel.interrupt()
    ran = kernel.finish(cell)
    assert ran.error.startswith("Interrupted: you stopped the cell, so job me-cell-")
    assert "\n" not in ran.error
    assert kernel.run("print(job.state)").text == "KILLED\n"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--workers 0", "UsageError: --workers is 0; give a whole number from 1"),
        ("--nonsense", "UsageError: unknown option --nonsense (%%twister2 submit --help)"),
    ],
)
def test_a_mistake_is_one_line_and_an_error(kernel, line, error):
    ran = kernel.run(f"%%twister2 submit {line}\n1")
    assert ran.reply["status"] == "error"
    assert ran.error == error


def test_a_failed_job_reads_well_in_a_plain_cell_too(kernel):
    kernel.run("client.script = lambda job: (job.start(), job.fail())")
    kernel.run("%%twister2 submit --name pi -o job\n1")
    ran = kernel.run("job.wait()\nraise job.error()")
    assert ran.error.startswith("JobFailed: job me-pi-")
    assert '  File "<cell pi>", line 3, in <cell>' in ran.error
    assert "raise job.error()" not in ran.error


def test_a_job_shows_itself(kernel):
    kernel.run("client.script = lambda job: job.run_well(steps=2)")
    kernel.run("%%twister2 submit --name pi -o job\n1")
    kernel.run("job.wait()")
    (display,) = kernel.run("job").displays
    assert set(display["data"]) == {"text/plain", "text/html"}
    assert "COMPLETED" in display["data"]["text/html"]
    kernel.run("client.script = lambda job: job.start()")
    kernel.run("%%twister2 submit -o job\n1")
    live, display = kernel.run("job").displays
    assert WIDGET in live["data"] and "STARTED" in display["data"]["text/html"]


def test_without_widgets_the_html_is_replaced(kernel):
    kernel.run("import sys; sys.modules['anywidget'] = None")
    kernel.run("client.script = lambda job: job.run_well(steps=10, pause=0.3)")
    ran = kernel.run("%%twister2 submit --name pi -o job\n1")
    (display,) = ran.displays
    assert set(display["data"]) == {"text/plain", "text/html"}
    kernel.run("job.wait()")
    time.sleep(1.2)
    updates = [m for m in kernel.messages if m["msg_type"] == "update_display_data"]
    assert 2 <= len(updates) <= 7
    assert "COMPLETED" in updates[-1]["content"]["data"]["text/html"]


def test_completion_in_a_kernel(kernel):
    kernel.run("%%twister2 submit --name pi --workers 2 -o job\n1")
    reply = kernel.complete("%%twister2 submit --workers-")
    assert reply["matches"] == ["--workers-per-executor"]
    assert reply["cursor_start"] == len("%%twister2 submit ")
    assert kernel.complete("%twister2 kill ")["matches"][0] == "job"
    reply = kernel.complete("%%twister2 submit -o job\nfor n in range(3):\n    print(env.num")
    assert reply["matches"] == ["number_of_workers"]
    assert reply["cursor_end"] - reply["cursor_start"] == len("num")
    begin = time.monotonic()
    kernel.complete("%twister2 status ")
    assert time.monotonic() - begin < longer(0.5)


def test_a_kernel_with_a_live_view_ends_at_once(kernel):
    kernel.run("client.script = lambda job: [job.progress(0, .5) or time.sleep(.01) for _ in range(9999)]")
    kernel.run("%%twister2 submit -o job\n1")
    begin = time.monotonic()
    kernel.client.shutdown()
    while kernel.process.poll() is None and time.monotonic() - begin < 10:
        time.sleep(0.05)
    assert time.monotonic() - begin < 5


def test_an_executed_notebook_keeps_the_final_view(tmp_path):
    """nbclient takes only the messages of the cell that it runs now, and the job ends during a later one."""
    helpers = Path(t2kernel.__file__).parent
    new = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        new("import t2fakes\nclient = t2fakes.install()"),
        new("%load_ext t2notebook\nclient.script = lambda job: job.run_well(steps=4)"),
        new("%%twister2 submit --name pi --workers 2 -o job\n1"),
        new("job.wait()"),
    ]
    nbformat.write(notebook, tmp_path / "a.ipynb")
    path = os.pathsep.join([str(helpers), str(helpers.parents[2])])
    program = (
        "import nbformat, nbclient; notebook = nbformat.read('a.ipynb', 4);"
        "nbclient.NotebookClient(notebook, timeout=60).execute(); nbformat.write(notebook, 'a.ipynb')"
    )
    environment = {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=90)
    live, output = nbformat.read(tmp_path / "a.ipynb", 4).cells[2].outputs
    assert not live.data
    assert set(output.data) == {"text/plain", "text/html"}
    assert "COMPLETED" in output.data["text/html"]
