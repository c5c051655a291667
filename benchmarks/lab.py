"""The side bar: how soon a page shows what happens in a session, against asking once a second; how soon it opens."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.notebook.helpers import t2lab
from tests.server import made_journals

ROOT = Path(__file__).resolve().parents[1]
JOBS = 60

#: Submits jobs one after the other, at times that keep no step with any clock.
KERNEL = """
import random, time
import t2notebook as t2
t2.submit(lambda: 0, ram_mega_bytes=64).wait(60)
for number in range({jobs}):
    t2.submit(lambda: 0, ram_mega_bytes=64, name="b%d" % number).wait(60)
    time.sleep(random.uniform(0.1, 0.4))
time.sleep(1.5)
"""

#: Notes when a job's item comes and when it shows the end; and the same by asking once a second.
WATCH = """
window.seen = {}; window.polled = {};
const note = (book, id, what) => { (book[id] ??= {})[what] ??= Date.now() / 1000; };
const look = () => {
  for (const item of document.querySelectorAll(".t2-Item")) {
    note(window.seen, item.dataset.jobId, "submitted");
    if (item.querySelector(".t2-Chip").textContent === "COMPLETED") note(window.seen, item.dataset.jobId, "finished");
  }
};
new MutationObserver(look).observe(document.querySelector(".t2-Items"),
  { childList: true, subtree: true, characterData: true });
setInterval(async () => {
  const answer = await (await fetch("/t2notebook/api/jobs")).json();
  for (const row of answer.jobs) {
    note(window.polled, row.job_id, "submitted");
    if (row.state === "COMPLETED") note(window.polled, row.job_id, "finished");
  }
}, 1000);
"""

#: Activates all plugins once more, with an application that keeps nothing of it.
ACTIVATE = """
const done = arguments[arguments.length - 1];
const activate = async () => {
  const plugins = (await window._JUPYTERLAB.t2notebook.get("./extension"))().default;
  const app = window.jupyterapp;
  const nothing = { add() {}, addCommand() {}, addItem() {}, addFactory() {}, registerStatusItem() {},
                    load: () => new Promise(() => {}) };
  const twin = { commands: nothing, shell: nothing, restored: new Promise(() => {}), name: app.name,
                 serviceManager: app.serviceManager };
  const times = [];
  for (let round = 0; round < 20; round++) {
    const begun = performance.now();
    const jobs = plugins[0].activate(twin, null);
    for (const { activate, requires = [], optional = [] } of plugins.slice(1)) {
      activate(twin, ...[...requires, ...optional].map(({ name }) => (name === "t2notebook:IJobs" ? jobs : nothing)));
    }
    times.push(performance.now() - begun);
  }
  return times;
};
activate().then(done, (error) => done(String(error)));
"""

#: Opens the side bar; milliseconds until what fits is painted, and until all jobs are there.
OPEN = """
const done = arguments[arguments.length - 1];
const begun = performance.now();
let first = 0;
const look = () => {
  const summary = document.querySelector(".t2-Summary")?.textContent ?? "";
  const items = document.querySelectorAll(".t2-Item").length;
  if (!first && items >= 10) first = performance.now() - begun;
  if (summary.startsWith(`${arguments[0]} jobs`) && items >= Math.min(300, arguments[0])) {
    requestAnimationFrame(() => done([first, performance.now() - begun]));
  } else requestAnimationFrame(look);
};
window.jupyterapp.commands.execute("t2notebook:show-jobs");
look();
"""


@contextlib.contextmanager
def lab(base: Path) -> Iterator[Any]:
    environment = {name: str(base / name) for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    environment |= {"PYTHONPATH": str(ROOT), "T2_SESSION_LINGER": "0.5", "T2_LOCAL_LINGER": "0.5"}
    with t2lab.jupyterlab(base, **environment) as address, t2lab.browser(base) as driver:
        driver.set_script_timeout(30)
        driver.get(f"{address}/lab?reset")
        ready = "return Boolean(window.jupyterapp?.commands?.hasCommand('t2notebook:show-jobs'))"
        t2lab.wait_for(lambda: driver.execute_script(ready), 60, "the extension is not there")
        time.sleep(2)
        yield driver, address, {**os.environ, **environment}


def main(rounds: int = 5) -> int:
    """Print the figures."""
    print(f"load: {os.getloadavg()[0]:.1f}")
    size = sum(path.stat().st_size for path in (ROOT / "labextension/dist/static").glob("*.js"))
    print(f"scripts: {size / 1000:.1f} kB (aim: under 60)")
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as name, lab(Path(name)) as (driver, _, environment):
        times = driver.execute_async_script(ACTIVATE)
        assert isinstance(times, list), times
        print(
            f"activation of all plugins: {times[0]:.1f} ms the first time, median {statistics.median(times):.1f} ms"
        )
        t2lab.command(driver, "t2notebook:show-jobs")
        driver.execute_script(WATCH)
        subprocess.run(
            [sys.executable, "-c", KERNEL.format(jobs=JOBS)], env=environment, check=True, timeout=300
        )
        truth = driver.execute_async_script(
            "const done = arguments[0]; fetch('/t2notebook/api/jobs').then(a => a.json()).then(r => done(r.jobs))"
        )
        for book, label in (("seen", "pushed, to the DOM"), ("polled", "asked once a second")):
            noted = driver.execute_script(f"return window.{book}")
            for what in ("submitted", "finished"):
                delays = sorted(
                    1000 * (noted[row["job_id"]][what] - row[what])
                    for row in truth
                    if what in noted.get(row["job_id"], {}) and row["name"].startswith("b")
                )
                p95 = delays[int(0.95 * len(delays))]
                print(
                    f"{label}, {what}: median {statistics.median(delays):.0f} ms, p95 {p95:.0f} ms ({len(delays)})"
                )
    for journals, each in ((10, 30), (300, 1)):
        firsts, alls = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="t2-bench-") as name:
                sessions = Path(name) / "JUPYTER_DATA_DIR" / "t2notebook" / "sessions"
                sessions.mkdir(parents=True, mode=0o700)
                made_journals.make(sessions, journals, each)
                with lab(Path(name)) as (driver, _, _):
                    first, whole = driver.execute_async_script(OPEN, journals * each)
                    t2lab.command(driver, "filebrowser:activate")
                    time.sleep(0.5)
                    again, _ = driver.execute_async_script(OPEN, journals * each)
                    firsts.append((first, again))
                    alls.append(whole)
        first, again = (statistics.median(column) for column in zip(*firsts, strict=True))
        print(
            f"300 jobs in {journals} journals: first rows after {first:.0f} ms, "
            f"all after {statistics.median(alls):.0f} ms; opened again {again:.0f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
