"""The view of a job on a page of its own, without a kernel; made-up jobs, by the code that makes a page's data."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from t2fakes import Job

from t2notebook.model.events import EventKind
from t2notebook.model.use import Use
from t2notebook.views.modules import text_of
from t2notebook.views.snapshot import snapshot
from t2notebook.views.table import agent_sums, worker_table

START = 1_790_000_000.0

#: A page with a source that is fed by `feed({name: value})`; what the view says is in `sent`. `trans` is its catalogue.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A job</title>
<style>%(theme)s body { margin: 12px; background: var(--jp-layout-color0); color: var(--jp-ui-font-color1); }
%(css)s</style>
<body data-jp-theme-light="%(light)s"><main id="place"></main>
<script type="module">
import view from "./%(module)s";
const values = {}, listeners = {};
window.sent = [];
window.feed = (content) => {
  Object.assign(values, content);
  for (const name of Object.keys(content)) for (const listener of listeners[`change:${name}`] ?? []) listener();
};
const model = {
  get: (name) => values[name],
  on: (event, listener) => (listeners[event] ??= []).push(listener),
  off: (event, listener) => { listeners[event] = (listeners[event] ?? []).filter((each) => each !== listener); },
  send: (content) => window.sent.push(content),
};
window.begin = (content) => {
  window.feed(content);
  window.leave = view.render({ model, el: document.getElementById("place"), trans: window.trans });
};
window.isReady = true;
</script></body></html>"""

LIGHT = """:root { --jp-ui-font-color1: rgba(0,0,0,.87); --jp-ui-font-color2: rgba(0,0,0,.54);
--jp-layout-color0: #fff; --jp-layout-color2: #eeeeee; --jp-layout-color3: #bdbdbd; --jp-border-color2: #e0e0e0;
--jp-content-link-color: #1976d2; }"""
DARK = """:root { color-scheme: dark; --jp-ui-font-color1: white;
--jp-ui-font-color2: rgba(255,255,255,.7);
--jp-layout-color0: #111111; --jp-layout-color2: #424242; --jp-layout-color3: #616161; --jp-border-color2: #616161;
--jp-content-link-color: #64b5f6; }"""


@contextmanager
def served(folder: Path, module: str = "job_view.js") -> Iterator[str]:
    """Serve the pages ``light.html`` and ``dark.html`` beside the modules; give their address."""
    from t2notebook.views.modules import STATIC

    for file in Path(str(STATIC)).iterdir():
        target = folder / file.name
        if not target.exists():
            target.symlink_to(file)
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        values = {
            "theme": theme,
            "css": text_of("job_view.css"),
            "light": str(name == "light").lower(),
            "module": module,
        }
        (folder / f"{name}.html").write_text(PAGE % values)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def show(driver, address: str, content: dict, theme: str = "light") -> None:
    """Open a page and draw a job on it."""
    driver.get(f"{address}/{theme}.html")
    for _ in range(200):
        if driver.execute_script("return window.isReady === true"):
            break
    driver.execute_script("window.begin(JSON.parse(arguments[0]))", json.dumps(content))


def made_job(
    workers: int, *, agents: int = 0, step: int = 0, fails: int = 0, ends: bool = False, waits: int = 0
) -> Job:
    """A job whose workers are further with each `step` (seconds), with some trouble."""
    job = Job("train", max(1, workers), 1.0, 1024.0, job_id="ada-train-0001")
    job.apply = partial(job.apply, time=START)
    job._view.submitted = START
    agents = agents or max(1, min(workers, 4))
    chance = random.Random(7)
    for worker_id in range(workers - waits):
        began = START + 0.2 + 3 * worker_id / workers + 0.2 * chance.random()
        job.apply.keywords["time"] = began
        job.launch(worker_id, f"node-{worker_id % agents + 1}")
        job.apply.keywords["time"] = began + 0.3 + chance.random()
        job.status(worker_id, "RUNNING", source="SOURCE_EXECUTOR")
    for worker_id in range(workers - waits):
        done = min(1.0, (0.2 + 0.8 * chance.random()) * (10 + step) / 40)
        if worker_id % 97 == 5:
            job.apply.keywords["time"] = START + 8 + worker_id / workers
            restart = {"restart_count": 1, "failures": 1, "retries": 0, "pause": 0.5}
            job.status(worker_id, "LOST", message="agent was lost", data={"restart": restart})
            job.apply.keywords["time"] = START + 9.5
            job.launch(worker_id, f"node-{(worker_id + 1) % agents + 1}")
            job.apply.keywords["time"] = START + 10.2
            job.status(worker_id, "RUNNING", source="SOURCE_EXECUTOR")
        job.progress(worker_id, done, f"epoch {int(40 * done)}")
        cpu = (6 + 4 * chance.random()) * (1 + step / 10)
        use = Use(10.0 + step, cpu, 2.0, 300 + 700 * chance.random(), 1010.0)
        job._view.workers[worker_id].note_use(use)
    for worker_id in range(2, 2 + 3 * fails, 3):
        job.apply.keywords["time"] = START + 12 + worker_id / 10
        what = {"data": {"exit_code": 1}, "reason": "REASON_COMMAND_EXECUTOR_FAILED"}
        job.status(worker_id, "FAILED", message="ValueError: negative dimensions are not allowed", **what)
    if ends:
        job.apply.keywords["time"] = START + 14
        job.apply(EventKind.KILL, reason="WORKER_FAILED", message="worker 2 failed")
        for worker in job.view().workers:
            if not worker.state.is_terminal:
                job.status(worker.worker_id, "KILLED")
    job.remote_traceback = (
        'Traceback (most recent call last):\n  File "<cell train>", line 7, in <cell>\n'
        '  File "<cell train>", line 3, in step\n    numpy.zeros(size - 9)\n'
        "ValueError: negative dimensions are not allowed"
    )
    return job


def content_of(job: Job, now: float = START + 20.0, *, lines: int = 30) -> dict:
    """What the publisher gives a view of `job`."""
    view = job.view()
    agents, grid = agent_sums(view)
    failures = job.failure_texts()
    record = snapshot(view, now=now, failures=failures, rows=False)
    count = len(view.workers)
    output = [
        [at % count, "stderr" if at % 9 == 4 else "stdout", f"epoch {at // 4} loss {1 / (at + 1):.4f}"]
        for at in range(lines)
    ]
    return {
        "snapshot": record,
        "table": worker_table(view),
        "grid": grid,
        "agents": agents,
        "output": {"lines": output, "current": [], "end": lines},
        "log": {},
    }
