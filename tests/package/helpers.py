"""Packs cells and runs packages as a worker does, in clean interpreters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2notebook.package.cell import cell_function
from t2notebook.package.job_package import BuiltPackage, build

ROOT = Path(__file__).parents[2]

#: What a kernel's namespace holds from its start.
IPYTHON = """
_oh = Out = {1: "one"}
_ih = In = ["", "1"]
_dh = ["."]
_ = _1 = "one"
__ = ___ = ""
_i = _i1 = "1"
class Autocall: pass
Autocall.__module__ = "IPython.core.autocall"
exit = quit = get_ipython = Autocall()
from IPython.core.interactiveshell import _modified_open as open
"""

_RUNNER = """
import json, os, sys, tempfile, types
from types import SimpleNamespace
from t2notebook.worker.process import remote_traceback as failure, shipped_modules as modules
from t2notebook.protocol.archive import Archive
from t2notebook.worker.process.run import _hint, call

for path in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork():
        os.wait()
        continue
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        archive = Archive.open(path)
        archive.verify(os.path.basename(path).removesuffix(".t2"))
        modules.install(archive, tempfile.mkdtemp(dir=os.getcwd()))
        job = archive.load(vars(main))
        env = SimpleNamespace(worker_id=7, config=job["config"])
        print("\\n" + json.dumps(["ok", repr(call(job["worker"], env))]))
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next
        hint = _hint(error, archive.manifest)
        print("\\n" + json.dumps(["error", failure.describe(error, hint).traceback]))
    sys.stdout.flush()
    os._exit(0)
"""


def notebook(setup: str = "", *, ipython: bool = True) -> dict[str, Any]:
    """Return the namespace of a notebook whose cells were `setup`."""
    namespace: dict[str, Any] = {"__name__": "__main__", "__doc__": None, "__builtins__": __builtins__}
    if ipython:
        exec(IPYTHON, namespace)
    # Not under this module's own `from __future__ import`.
    exec(compile(textwrap.dedent(setup), "<string>", "exec", dont_inherit=True), namespace)
    return namespace


def pack(
    source: str,
    namespace: dict[str, Any],
    directory: Path,
    *,
    config: Any = None,
    local_dirs: Sequence[Path] = (),
    include: Sequence[str] = (),
) -> BuiltPackage:
    """Pack a cell."""
    cell = cell_function(textwrap.dedent(source), namespace, name="test", include=include)
    return build(cell, config or {}, directory=directory, local_dirs=local_dirs, name="test")


def run(paths: Sequence[Path], cwd: Path | None = None) -> list[tuple[str, str]]:
    """Run packages in a clean interpreter that sees t2notebook only; ("ok", repr) or ("error", traceback)."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = python(_RUNNER, *map(str, paths), cwd=cwd or Path(elsewhere))
    results = [json.loads(line) for line in done.splitlines() if line.startswith(('["ok"', '["error"'))]
    assert len(results) == len(paths), done
    return [tuple(result) for result in results]


def python(script: str, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
    """Run a script in a new interpreter and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-P", "-c", script, *arguments]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout
