import re
import subprocess
import sys

import pytest

from tests.busy import longer

PROGRAM = """
import sys, threading, time
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
ip = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
before = set(sys.modules), threading.active_count()
begin = time.perf_counter()
ip.run_line_magic("load_ext", "t2notebook")
spent = time.perf_counter() - begin
new = set(sys.modules) - before[0]
assert threading.active_count() == before[1], threading.enumerate()
heavy = {"pandas", "numpy", "ipywidgets", "anywidget", "tornado", "dask"} & new
assert not heavy, heavy
print(spent)
"""


def test_loading_is_fast_and_starts_nothing(tmp_path):
    command = [sys.executable, "-c", PROGRAM]
    import os

    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    spent = [
        float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    ]
    assert min(spent) < longer(0.15), spent


def test_loading_twice_and_unloading(shell):
    from t2notebook import load_ipython_extension, unload_ipython_extension
    from t2notebook.model.errors import JobFailed

    load_ipython_extension(shell)
    assert len(shell.Completer.custom_matchers) == 1
    unload_ipython_extension(shell)
    unload_ipython_extension(shell)
    assert not shell.Completer.custom_matchers
    assert "twister2" not in shell.magics_manager.magics["line"]
    assert "twister2" not in shell.magics_manager.magics["cell"]
    assert not hasattr(JobFailed, "_render_traceback_")
    load_ipython_extension(shell)
    assert shell.run_cell("%twister2 --help").success


@pytest.mark.parametrize("cause", ["SyntaxError('no')", "ExceptionGroup('several', [ValueError(1)])"])
def test_a_failed_job_is_shown_as_such_whatever_else_it_is(shell, capsys, cause):
    """IPython shows a SyntaxError and a group in ways of its own, without what failed and with frames of ours."""
    code = (
        "from t2notebook.model.job_failed import failed_as, JobFailed\n"
        "from contextlib import suppress\n"
        f"failure = failed_as(JobFailed('item 3 of f failed', remote_traceback='its lines', worker_id=1), {cause})"
    )
    assert shell.run_cell(code).success
    for raising in (
        "raise failure",
        "try: raise failure\nexcept JobFailed: raise JobFailed('item 3 of f failed')",
    ):
        result = shell.run_cell(raising)
        assert not result.success and isinstance(result.error_in_exec, Exception)
        shown = capsys.readouterr()
        assert "JobFailed: item 3 of f failed" in re.sub(r"\x1b\[[0-9;]*m", "", shown.out + shown.err)
        assert "Traceback (most recent call last)" not in shown.out + shown.err


def test_a_handler_of_the_users_own_stays(shell):
    from t2notebook import load_ipython_extension, unload_ipython_extension

    unload_ipython_extension(shell)
    assert shell.custom_exceptions == ()
    shell.set_custom_exc((KeyError,), lambda *_, **__: None)
    load_ipython_extension(shell)
    assert shell.custom_exceptions == (KeyError,)
    unload_ipython_extension(shell)
    assert shell.custom_exceptions == (KeyError,)


WITHOUT_DASK = """
import importlib.metadata, sys
sys.modules["dask"] = sys.modules["distributed"] = None
real = importlib.metadata.version
def version(name):
    if name in ("dask", "distributed"):
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
"""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import t2notebook as t2\nt2.submit(str, 3)", "SubmitError: submit takes only the function"),
        (
            f"{WITHOUT_DASK}from t2notebook import *\nimport t2notebook as t2\nt2.MesosCluster(workers=4)",
            "DataflowError: Dask on Mesos needs dask, which is not installed: pip install",
        ),
        ("import t2notebook as t2\nt2.MesosCluster(workers=-1)", "SubmitError: workers is -1; give"),
    ],
)
def test_errors_are_one_line_without_the_extension_too(code, line):
    """Who only imports the package saw frames of ours, and with no Dask could not import all of its names."""
    if "workers=-1" in code:
        pytest.importorskip("distributed")
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code],
        capture_output=True,
        text=True,
    )
    told = (done.stdout + done.stderr).strip().splitlines()
    assert len(told) == 1 and told[0].startswith(line), told


def test_the_magic_s_documentation_is_that_of_its_verbs(shell):
    """``%%twister2?`` had a line."""
    for name in ("%%twister2", "%twister2"):
        text = shell.object_inspect(name)["docstring"]
        for part in (
            "%twister2 cluster",
            "%twister2 why",
            "--workers-per-executor",
            "env.progress(done, total, text)",
        ):
            assert part in text
