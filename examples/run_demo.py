"""Runs ``quickstart.ipynb`` without a browser and prints what came out: ``make demo``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent

#: Printed by the notebook's own kernel, after its last cell.
REPORT = r"""
_table = job.tasks
_table["agent"] = _table.agent.str.rpartition("-")[2]
_table["seconds"] = (_table.finished - _table.started).dt.total_seconds().round(3)
_table["started"] = _table.started.dt.strftime("%H:%M:%S.%f").str[:-3]
_columns = ["worker_id", "state", "host", "agent", "cpus", "mem", "started", "seconds", "exit_code"]
print("The workers of", job.job_id, "\n")
print(_table[_columns].to_string(index=False))
print("\nTheir results:")
for _worker, _result in enumerate(job.results()):
    _shown = [f"{n}! = {value if value < 10**12 else format(value, '.3e')}" for n, value in _result]
    print(f"  worker {_worker}:", ", ".join(_shown))
_took = (job.tasks.finished.max() - job.events.time.min()).total_seconds()
print(f"\nFrom submit to the last worker's end: {_took:.2f} s")
print(f"k-means over {len(X)} digits: {len(steps)} jobs of {WORKERS} workers in {sum(steps):.2f} s,",
      f"a job in {sorted(steps)[len(steps) // 2]:.2f} s (median);",
      f"{agreement:.0%} of the digits lie with their own kind")
"""


def main() -> int:
    """Run the notebook; return the exit code."""
    notebook = nbformat.read(HERE / "quickstart.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    print("Running examples/quickstart.ipynb on the embedded Mesos ...", flush=True)
    began = time.perf_counter()
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        timeout=300,
        resources={"metadata": {"path": str(HERE)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    for output in notebook.cells[-1].outputs:
        print("\n" + output.get("text", "").strip())
    print(f"\nThe whole notebook took {time.perf_counter() - began:.1f} s.")
    print("To see it live in JupyterLab: make lab, then open quickstart.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
