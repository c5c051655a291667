"""Things that travel with a job, on a real executor: modules, data files, and the notebook's setup."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.package.cell import cell_function
from t2notebook.package.files import data_files
from t2notebook.package.job_package import build
from tests.worker.fakes import FakeAgent, FakeSession

Cell = Callable[..., dict[str, Any]]


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "notebook"
    (directory / "t2w_pkg").mkdir(parents=True)
    (directory / "t2w_pkg" / "__init__.py").write_text(
        "from pathlib import Path\ndef read(): return (Path(__file__).parent / 'a.txt').read_text()\n"
    )
    (directory / "t2w_pkg" / "a.txt").write_text("data of a package")
    (directory / "data.csv").write_text("a\n1\n")
    (directory / "many").mkdir()
    (directory / "many" / "part-1.csv").write_text("1\n")
    sys.path.insert(0, str(directory))
    yield directory
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.startswith("t2w_")]:
        del sys.modules[name]


@pytest.fixture
def run_cell(session: FakeSession, agent: FakeAgent, beside: Path, tmp_path: Path) -> Cell:
    """Run a cell; ``setup`` is another that runs first."""

    def run(
        source: str, *, files: Any = (), setup: str = "", config: Any = None, **namespace: Any
    ) -> dict[str, Any]:
        (tmp_path / "packages").mkdir(exist_ok=True)
        names = {"__name__": "__main__", **namespace}
        built = build(
            cell_function(source, names, name="pi"),
            config or {},
            directory=tmp_path / "packages",
            local_dirs=[beside],
            name="pi",
            files=data_files(files, [beside]),
            setup=cell_function(setup, names, name="setup") if setup else None,
        )
        session.packages[built.digest] = built.path.read_bytes()
        launch = session.launch(built.digest, number_of_workers=1)
        task_id = f"task-{len(session.requests)}"
        return {**agent.end_of(agent.launch(launch, task_id)), "directory": agent.sandbox / task_id}

    return run


def test_files_lie_in_the_current_directory(run_cell: Cell, session: FakeSession) -> None:
    end = run_cell("open('data.csv').read(), open('many/part-1.csv').read()", files=["data.csv", "many"])
    assert end["state"] == "TASK_FINISHED", end
    assert session.result() == ("a\n1\n", "1\n")
    assert (end["directory"] / "data.csv").read_text() == "a\n1\n"


def test_modules_are_files_as_long_as_the_worker_runs(run_cell: Cell, session: FakeSession) -> None:
    """Sandboxes are kept for days, and everybody may read them."""
    end = run_cell("import t2w_pkg\nt2w_pkg.read()")
    assert end["state"] == "TASK_FINISHED", end
    assert session.result() == "data of a package"
    assert not (end["directory"] / ".modules").exists()


MISSING = {
    "a file": ("import pandas as pd\npd.read_csv('data.csv')", "data.csv"),
    "in a folder": ("n = 1\nopen(f'many/part-{n}.csv')", "many"),
    "a variable": ("open(path)", "data.csv"),
    "a path": ("folder / 'part-1.csv'\n(folder / 'part-1.csv').read_text()", "many"),
    "absolute": ("import os\nopen(os.path.abspath('data.csv'))", "data.csv"),
    "without a file name": ("import numpy as np\nnp.loadtxt('data.csv')", "data.csv"),
    "another error": ("raise RuntimeError('cannot open data.csv: no such file')", "data.csv"),
    "in a statement": ('sql = """select *\n  from \'data.csv\'"""\nraise RuntimeError(sql)', "data.csv"),
    "as a cause": (
        "try: open('data.csv')\nexcept OSError as e: raise RuntimeError('no data') from e",
        "data.csv",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_file_that_lies_beside_the_notebook_is_offered(
    case: str, run_cell: Cell, session: FakeSession
) -> None:
    source, name = MISSING[case]
    end = run_cell(source, path="data.csv", folder=Path("many"))
    hint = f"`{name}` lies beside the notebook: `--file {name}` takes it along"
    assert end["message"].endswith(f"; {hint}"), end
    assert session.facts()["error"]["traceback"].rstrip().splitlines()[-1] == hint


@pytest.mark.parametrize(
    "source", ["open('nowhere.csv')", "raise RuntimeError('many')", "open('data.csv'); open('many.csv')"]
)
def test_other_errors_offer_no_file(source: str, run_cell: Cell, session: FakeSession) -> None:
    end = run_cell(source, files=["data.csv"])
    assert end["state"] == "TASK_FAILED"
    assert "beside" not in end["message"] + session.facts()["error"]["traceback"]


class Probe:
    """Rebuilt on the worker, where it notes what held at that time."""

    def __init__(self, seen: Any = None) -> None:
        self.seen = seen

    def __reduce__(self) -> Any:
        return eval, ("__import__('sys').getrecursionlimit(), __import__('os').environ.get('T2W')",)


SETUP = """\
import decimal, os, sys
import numpy as np
decimal.getcontext().prec = 5
sys.setrecursionlimit(7000)
os.environ["T2W"] = f"{env.worker_id} {env.config['x']} {factor}"
np.seterr(all="raise")
def made_by_setup(): return factor
"""


def test_the_setup_runs_before_anything_of_the_job_is_there(run_cell: Cell, session: FakeSession) -> None:
    cell = (
        "import decimal\n(probe, str(decimal.Decimal(1) / 3), made_by_setup(), np.geterr()['divide'], factor)"
    )
    end = run_cell(cell, setup=SETUP, config={"x": 2}, factor=3, probe=Probe())
    assert end["state"] == "TASK_FINISHED", (end, session.facts())
    assert session.result() == ((7000, "0 2 3"), "0.33333", 3, "raise", 3)


def test_the_notebooks_names_win_over_those_of_the_setup(run_cell: Cell, session: FakeSession) -> None:
    assert run_cell("(a, b)", setup="a = b = 'setup'", a="notebook")["state"] == "TASK_FINISHED"
    assert session.result() == ("notebook", "setup")


def test_classes_of_setup_and_cell_are_the_same(run_cell: Cell, session: FakeSession) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class A:\n    n = 0", namespace)
    assert run_cell("A.n", setup="A.n += 1", A=namespace["A"])["state"] == "TASK_FINISHED"
    assert session.result() == 1


def test_an_error_in_the_setup_names_the_setup_and_its_line(run_cell: Cell, session: FakeSession) -> None:
    end = run_cell("1", setup="x = 1\nx / 0")
    assert end["state"] == "TASK_FAILED"
    told = "raised by the notebook's setup, which runs first in every worker: %%twister2 setup changes it"
    assert end["message"] == f"ZeroDivisionError: division by zero; {told}"
    traceback = session.facts()["error"]["traceback"]
    assert '"<cell setup>", line 2' in traceback and "    x / 0" in traceback
    assert traceback.rstrip().endswith(told)
    assert isinstance(session.result(), ZeroDivisionError)
    end = run_cell("1", setup="open('data.csv')")
    assert "`--file data.csv` takes it along; raised by the notebook's setup" in end["message"]


def test_a_setup_that_exits_well_is_over(run_cell: Cell, session: FakeSession) -> None:
    assert run_cell("2", setup="import sys\nsys.exit()")["state"] == "TASK_FINISHED"
    assert session.result() == 2
    assert run_cell("2", setup="import sys\nsys.exit(3)")["state"] == "TASK_FAILED"


def test_a_setup_may_await(run_cell: Cell, session: FakeSession) -> None:
    assert run_cell("x", setup="import asyncio\nawait asyncio.sleep(0)\nx = 4")["state"] == "TASK_FINISHED"
    assert session.result() == 4


def test_a_copy_that_the_setup_forks_is_no_worker(run_cell: Cell, session: FakeSession) -> None:
    end = run_cell("import os\nprint('ran')\nos.getppid()", setup="import os\nif os.fork(): os.wait()")
    assert end["state"] == "TASK_FINISHED"
    assert (end["directory"] / "stdout").read_text() == "ran\n"


def test_a_sandbox_that_takes_no_file_is_the_agents_fault(
    run_cell: Cell, agent: FakeAgent, session: FakeSession
) -> None:
    """The worker may be started again elsewhere; an error of the job's own would end the job."""
    (agent.sandbox / "task-0" / "data.csv").mkdir(parents=True)
    end = run_cell("1", files=["data.csv"])
    assert end["state"] == "TASK_FAILED"
    assert end["message"].startswith("data.csv of the job cannot be written to the sandbox on ")
    assert not session.results, "it is no result of the job's"
