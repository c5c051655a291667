"""The live view of a job: what a kernel sends to a page, however much happens, and what its main thread notices."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .session import TICKS

#: A job's status changes as they come from a session, fed by a thread as fast as it can be done.
CHANGES = """
get_ipython().run_line_magic("load_ext", "t2notebook")
import gc, threading
from IPython.display import display
from t2notebook.client.job import Job
from t2notebook.client.job_replica import JobReplica
from t2notebook.client.offline import OfflineSession
from t2notebook.client.turns import Turns
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.text import loads
from pathlib import Path
import pandas as _pd

def _lines(workers):
    def line(seq, kind, **fields):
        event = Event(kind, "me-many-1", _time.time(), seq=seq, **fields)
        return f'{{"event":{event.to_json()}}}'.encode()

    yield line(1, EventKind.SUBMITTED, data={"name": "many", "number_of_workers": workers})
    seq = 1
    for state in ("", "STARTING", "RUNNING", "FINISHED"):
        for worker_id in range(workers):
            seq += 1
            agent = worker_id %% max(1, workers // 5)
            data = {"agent": f"5c1e-77-S{agent}", "host": f"node-{agent}.example.org", "cpus": 1.0, "mem": 64.0,
                    "restart_count": 0, "executor_id": f"e{agent}", "agent_url": "http://10.1.2.3:5051"}
            kind = EventKind.STATUS if state else EventKind.LAUNCHED
            yield line(seq, kind, worker_id=worker_id, task_id=f"5c1e-77-t{worker_id}", state=state,
                       source="SOURCE_EXECUTOR", data={} if state else data)

_spec = JobSpec("many", "me", (ComputeResource(1.0, 64.0, instances=%(workers)d),), "0" * 64, 1234, "3.11")
_replica = JobReplica("me-many-1")
job = Job(OfflineSession(Path("/nowhere")), _spec, _replica)
_stream = list(_lines(%(workers)d))
_fed = threading.Event()

def _feed():
    turns = Turns()
    for line in _stream[1:]:
        turns.next()
        _replica.apply(Event.from_dict(loads(line)["event"]), line)
    _fed.set()

_replica.apply(Event.from_dict(loads(_stream[0])["event"]), _stream[0])
display(job)
gc.collect()  # of what was imported just now
_begun = _time.perf_counter()
threading.Thread(target=_feed).start()
_found = _tick(_fed.is_set, 300.0)
_found["seconds"] = _time.perf_counter() - _begun
_found["changes"] = len(_stream)
_begun = _time.perf_counter()
_frame = job.events
_found["frame"] = _time.perf_counter() - _begun
_found["rows"] = len(_frame)
print(json.dumps(_found))
"""

OUTPUT = """
get_ipython().run_line_magic("load_ext", "t2notebook")
import t2notebook as t2
from IPython.display import display

def _talk(env):
    import time
    begun = time.time()
    for number in range(250 * %(seconds)d):
        print(f"step {number}: loss {1 / (number + 1):.6f}, of worker {env.worker_id}, and a little more to read")
        if number %% 25 == 0:
            env.progress(number, 250 * %(seconds)d, f"step {number}")
            time.sleep(max(0.0, begun + number / 250 - time.time()))

t2.configure(master=%(master)r)
job = t2.submit(_talk, workers=40, cpu=0.1, ram_mega_bytes=32)
display(job)
_over = lambda: job.state.is_final
while job.state.value != "STARTED":
    _time.sleep(0.05)
print(json.dumps(_time.time()))
_found = _tick(_over, 300.0)
_found["state"] = job.state.value
print(json.dumps(_found))
"""


class Kernel:
    """A real kernel, to run cells in; every message that it sends a page is kept with its time and its size."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self._manager, self._client = start_new_kernel(kernel_name="python3")

    def run(self, code: str, timeout: float = 300.0) -> tuple[list[Any], list[tuple[float, int, str]]]:
        """Run a cell; return the JSON of the lines that it prints, and the messages: time, bytes, kind."""
        printed: list[str] = []
        sent: list[tuple[float, int, str]] = []

        def hook(message: Any) -> None:
            kind, content = message["msg_type"], message["content"]
            size = len(json.dumps(message, default=str))
            sent.append((message["header"]["date"].timestamp(), size, kind))
            if kind == "stream" and content["name"] == "stdout":
                printed.append(content["text"])

        reply = self._client.execute_interactive(code, timeout=timeout, output_hook=hook)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
        return [json.loads(line) for line in "".join(printed).splitlines()], sent

    def close(self) -> None:
        """End it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def most_in_a_second(times: list[float]) -> int:
    """Return how many of these moments lie within one second, at the most."""
    times = sorted(times)
    return max((sum(begin <= time < begin + 1 for time in times) for begin in times), default=0)


def changes(workers: int) -> None:
    """Measure 4 status changes of each worker, fed at once."""
    kernel = Kernel()
    try:
        kernel.run("import json\n" + TICKS)
        (found,), sent = kernel.run(CHANGES % {"workers": workers})
    finally:
        kernel.close()
    widget = [time for time, _, kind in sent if kind == "comm_msg"]
    size = sum(size for _, size, kind in sent if kind in ("comm_msg", "update_display_data"))
    print(
        f"{found['changes']:,} status changes of {workers:,} workers, in {found['seconds']:.1f} s, a live view shown"
    )
    print(
        f"  messages to the page: {len(widget)}, at most {most_in_a_second(widget)} in a second; {size / 1000:.0f} kB"
    )
    print(f"  job.events: {found['rows']:,} rows in {found['frame']:.3f} s")
    print(f"  the main thread came late: p99 {1e3 * found['p99']:.1f} ms, max {1e3 * found['max']:.1f} ms")


def output(seconds: int) -> None:
    """Measure 40 workers that print 10,000 lines a second together."""
    from t2notebook import LocalMesos

    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        for name in ("RUNTIME", "DATA", "CONFIG"):
            os.environ[f"JUPYTER_{name}_DIR"] = str(Path(home) / name.lower())
        os.environ["T2_SESSION_LINGER"] = "0.5"
        with LocalMesos(agents=2, cpus=8, mem=8192) as mesos:
            kernel = Kernel()
            try:
                kernel.run("import json\n" + TICKS)
                (begun, found), sent = kernel.run(OUTPUT % {"seconds": seconds, "master": mesos.master})
                kernel.run("t2.shutdown()")
            finally:
                kernel.close()
    seen = [(time - begun, size) for time, size, kind in sent if kind in ("comm_msg", "update_display_data")]
    each = [sum(size for time, size in seen if second <= time < second + 1) for second in range(seconds)]
    print(f"40 workers print 10,000 lines a second for {seconds} s ({found['state']}), a live view shown")
    print(
        f"  bytes to the page a second: mean {sum(each) / len(each) / 1000:.1f} kB, "
        f"median {statistics.median(each) / 1000:.1f} kB, max {max(each) / 1000:.1f} kB"
    )
    print(f"  the main thread came late: p99 {1e3 * found['p99']:.1f} ms, max {1e3 * found['max']:.1f} ms")


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks views")
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[25_000, 50_000], help="of the status changes"
    )
    parser.add_argument("--seconds", type=int, default=20, help="of the output")
    options = parser.parse_args(arguments)
    print(f"load: {os.getloadavg()[0]:.1f}")
    begun = time.monotonic()
    for workers in options.workers:
        changes(workers)
    if options.seconds:
        output(options.seconds)
    print(f"({time.monotonic() - begun:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
