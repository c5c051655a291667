"""The examples: each says what it shows and how long it takes, is saved with real outputs, and runs as it stands."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.ipynb"))
TAKES = re.compile(r"^Shows .*\. Takes about (\d+) seconds\.$", re.MULTILINE)

#: `make demo` runs it.
DEMO = "quickstart"


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_examples_are_there() -> None:
    assert {DEMO, "dask_on_mesos", "factorials", "monte_carlo", "sharing"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_begins_with_what_it_shows_and_how_long_it_takes(name: str) -> None:
    first = read(name).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \w.*\n\n", first.source)
    assert TAKES.search(first.source)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_saved_with_its_outputs_and_a_picture(name: str) -> None:
    cells = code_cells(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    errors = [cell for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert all("raises-exception" in cell.metadata.get("tags", ()) for cell in errors)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_names_no_path_of_the_machine_that_ran_it(name: str) -> None:
    text = (ROOT / "examples" / f"{name}.ipynb").read_text()
    assert str(ROOT) not in text
    assert not re.search(r"/(root|home|work|Users)/", text)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_in_about_the_time_that_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    sys.modules.pop("run_and_save", None)
    from run_and_save import run

    notebook = read(name)
    saved = [len(cell.outputs) > 0 for cell in code_cells(notebook)]
    began = time.perf_counter()
    run(notebook)
    took = time.perf_counter() - began
    assert [len(cell.outputs) > 0 for cell in code_cells(notebook)] == saved
    found = TAKES.search(notebook.cells[0].source)
    assert found is not None
    assert took < 5 * int(found[1])  # tests share the machine
