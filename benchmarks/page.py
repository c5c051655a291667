"""The view of a job in a page: what an update of 1,000 rows costs it, and of 50,000 workers summed by agent."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "notebook" / "helpers"

UPDATES, A_SECOND = 40, 5
#: Workers, agents, and workers that wait; of the second a page gets the sums.
CASES = ((1000, 40, 20), (50_000, 2500, 500))
TABS = {"workers": 0, "timeline": 1, "agents": 2}

#: Feeds the contents at their times. Script: until `feed` has returned and what it put off is done; layout: what the
#: page has to do then before it can be seen, forced. A long task is one of more than 50 ms, by the browser's own count.
FEED = """
const [contents, pause, done] = arguments;
const parsed = contents.map(text => JSON.parse(text));
const script = [], layout = [], tasks = [];
const observer = new PerformanceObserver(list => tasks.push(...list.getEntries().map(entry => entry.duration)));
let at = 0;
const next = async () => {
  if (at === parsed.length) {
    await new Promise(end => setTimeout(end, 200));
    observer.disconnect();
    done({script, layout, tasks});
    return;
  }
  const begun = performance.now();
  window.feed(parsed[at++]);
  await null; await null;
  const drawn = performance.now();
  document.body.getBoundingClientRect();
  const placed = performance.now();
  script.push(drawn - begun);
  layout.push(placed - drawn);
  setTimeout(next, Math.max(0, pause - (performance.now() - begun)));
};
// What stands above is a long task itself.
setTimeout(() => {
  observer.observe({type: "longtask"});
  next();
}, 500);
"""


def contents(workers: int, agents: int, waits: int, updates: int) -> list[dict[str, Any]]:
    """Return what a view of a job is given at each of several moments; every row has changed at each."""
    import t2page

    found = []
    for step in range(updates):
        job = t2page.made_job(workers, agents=agents, step=step, fails=3, waits=waits)
        found.append(t2page.content_of(job, t2page.START + 20 + step / A_SECOND, lines=100))
    return found


def measure(driver: Any, made: list[dict[str, Any]]) -> dict[str, Any]:
    """Feed a page that shows the first of them with the others."""
    texts = [json.dumps(content) for content in made[1:]]
    return dict(driver.execute_async_script(FEED, texts, 1000 / A_SECOND))


def main(updates: int = UPDATES) -> int:
    """Print the figures."""
    sys.path[:0] = [str(HELPERS)]
    import t2lab
    import t2page

    print(f"load: {os.getloadavg()[0]:.1f}; {A_SECOND} updates a second, milliseconds")
    print("aims: 1,000 rows all changed: under 5 ms of layout, no long task")
    with (
        tempfile.TemporaryDirectory(prefix="t2-bench-") as name,
        t2page.served(Path(name)) as address,
        t2lab.browser(Path(name)) as driver,
    ):
        driver.set_script_timeout(120)
        for workers, agents, waits in CASES:
            made = contents(workers, agents, waits, updates if workers <= 2000 else 4)
            size = len(json.dumps(made[0]["table"])) + len(json.dumps(made[0]["grid"]))
            for tab, place in TABS.items():
                t2page.show(driver, address, made[0])
                with contextlib.suppress(IndexError):
                    driver.find_elements("css selector", ".t2-tab")[place].click()
                found = measure(driver, made)
                script, layout = found["script"], found["layout"]
                print(
                    f"{workers:,} workers ({size / 1000:.0f} kB), {tab}: "
                    f"script median {statistics.median(script):.1f}, most {max(script):.1f}; "
                    f"layout median {statistics.median(layout):.1f}, most {max(layout):.1f}; "
                    f"long tasks {len(found['tasks'])}"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
