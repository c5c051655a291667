"""Runs notebooks of this folder and saves them with their outputs: ``tools/run-examples``.

What cannot be shown without a kernel (the live view's widget) is left out; its still picture stays.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
LIVE = "application/vnd.jupyter.widget-view+json"


def run(notebook: nbformat.NotebookNode) -> None:
    """Run a notebook in this folder, in Jupyter directories of its own, and keep the outputs that need no kernel."""
    with tempfile.TemporaryDirectory(prefix="t2-example-") as scratch:
        places = {
            f"JUPYTER_{name}_DIR": f"{scratch}/{name.lower()}" for name in ("RUNTIME", "DATA", "CONFIG")
        }
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            timeout=300,
            resources={"metadata": {"path": str(HERE)}},
        )
        client.execute(env={**os.environ, **places, "T2_SESSION_LINGER": "0.5", "T2_LOCAL_LINGER": "0.5"})
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(LIVE, None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("data") != {}]


def main(names: list[str]) -> int:
    """Run and save the notebooks with these names; return the exit code."""
    for path in [HERE / f"{Path(name).stem}.ipynb" for name in names] or sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        began = time.perf_counter()
        run(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
