"""A job of 1,000 workers, and how little the kernel notices; a session that answers while its kernel cannot."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Runs in a kernel, as a cell: ticks every millisecond, and returns how late the ticks were (seconds); `held` is the
#: most without what the thread itself waited for a cpu meanwhile (proc(5), schedstat), which other processes had.
TICKS = """
import time as _time

def _tick(over, most):
    late, held, begun = [], 0.0, _time.perf_counter()
    with open("/proc/thread-self/schedstat", "rb", buffering=0) as _file:
        def _waited():
            _file.seek(0)
            return int(_file.read(100).split()[1]) / 1e9

        while not over() and _time.perf_counter() - begun < most:
            waited, before = _waited(), _time.perf_counter()
            _time.sleep(0.001)
            late.append(_time.perf_counter() - before - 0.001)
            held = max(held, late[-1] - (_waited() - waited))
    late.sort()
    return {"ticks": len(late), "p99": late[int(len(late) * 0.99)], "max": late[-1], "held": held}
"""

JOB = """
import gc
import t2notebook as t2
get_ipython().run_line_magic("load_ext", "t2notebook")
t2.configure(master={master!r})
_begun = _time.perf_counter()
job = t2.submit(lambda env: None, workers={workers}, cpu=0.1, ram_mega_bytes=32, workers_per_executor=10)
display(job)
gc.collect()  # of what was imported just now

def _over():
    view = job._connection.replica.view
    return view.state.is_final or view.counts["FINISHED"] == {workers}

_found = _tick(_over, 300.0)
_found["seconds"] = _time.perf_counter() - _begun
_found["states"] = {{state.value: count for state, count in job.view().counts.items() if count}}
print(json.dumps(_found))
"""

SORT = """
import numpy as _np, pandas as _pd
_column = _pd.Series(_np.random.default_rng(1).integers(0, 1 << 62, 3_000_000).astype(str))
_begun = _time.perf_counter()
_column.sort_values()
print(json.dumps({"seconds": _time.perf_counter() - _begun}))
"""


class Kernel:
    """A real kernel, to run cells in."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self._manager, self._client = start_new_kernel(kernel_name="python3")

    def run(self, code: str, timeout: float = 300.0) -> Any:
        """Run a cell and return the JSON of its last printed line."""
        printed: list[str] = []

        def hook(message: Any) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed.append(content["text"])

        reply = self._client.execute_interactive(code, timeout=timeout, output_hook=hook)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
        lines = "".join(printed).strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def close(self) -> None:
        """End it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def asked_meanwhile(socket: str, seconds: float) -> subprocess.Popen[str]:
    """Ask a session again and again from a process of its own; it prints its figures at the end."""
    code = f"""
import json, time
from pathlib import Path
from t2notebook.client.session_http import Connection
connection = Connection(Path({socket!r}))
took, end = [], time.perf_counter() + {seconds}
while time.perf_counter() < end:
    before = time.perf_counter()
    connection.get("/v1/info")
    took.append(time.perf_counter() - before)
    time.sleep(0.01)
took.sort()
print(json.dumps({{"requests": len(took), "median": took[len(took) // 2], "max": took[-1]}}))
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def main(arguments: list[str] | None = None) -> int:
    """Run both measurements and print them."""
    parser = argparse.ArgumentParser(prog="benchmarks session")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=200, help="simulated")
    options = parser.parse_args(arguments)
    from t2notebook import LocalMesos

    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        for name in ("RUNTIME", "DATA", "CONFIG"):
            os.environ[f"JUPYTER_{name}_DIR"] = str(Path(home) / name.lower())
        os.environ["T2_SESSION_LINGER"] = "0.5"
        with LocalMesos(agents=0, simulate=options.agents, simulate_duration="fixed:1") as mesos:
            kernel = Kernel()
            try:
                kernel.run("import json\n" + TICKS)
                quiet = kernel.run("print(json.dumps(_tick(lambda: False, 5.0)))")
                busy = kernel.run(JOB.format(master=mesos.master, workers=options.workers))
                path = kernel.run("print(json.dumps(str(job._connection.link.connection.path)))")
                probe = asked_meanwhile(path, 8.0)
                time.sleep(1.0)
                sort = kernel.run(SORT)
                answers = json.loads(probe.communicate(timeout=60)[0])
                kernel.run("t2.shutdown()")
            finally:
                kernel.close()
    print(
        f"{options.workers} workers on {options.agents} simulated agents, watched by a live view: {busy['states']}"
    )
    print(f"  from the submit until all had finished (a task takes 1 s)   {busy['seconds']:.2f} s")
    for name, ticks in (("without a job", quiet), ("with it", busy)):
        figures = f"p99 {1e3 * ticks['p99']:.1f} ms, max {1e3 * ticks['max']:.1f} ms of {ticks['ticks']}"
        figures += f"; less its own wait for a cpu, max {1e3 * ticks['held']:.1f} ms"
        print(f"  a tick of the kernel's main thread came late, {name:14} {figures}")
    print(f"a kernel sorts 3 million strings for {sort['seconds']:.1f} s; meanwhile its session answered")
    print(
        f"  {answers['requests']} requests: median {1e3 * answers['median']:.1f} ms, max {1e3 * answers['max']:.1f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
