"""A job package on disk: written once, checked early, cheap."""

from __future__ import annotations

import functools
import importlib
import os
import platform
import stat
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import t2notebook
from t2notebook.model.errors import PackageError, SubmitError
from t2notebook.package import distributions
from t2notebook.package.job_package import build, check_worker
from t2notebook.protocol.archive import Archive
from tests.package.helpers import notebook, pack, python, run

PYTHON = ".".join(platform.python_version_tuple()[:2])


def test_a_package_is_named_by_its_digest_and_private(tmp_path: Path) -> None:
    package = pack("env.config['a'] + 1", notebook(), tmp_path, config={"a": 1})
    assert package.path == tmp_path / f"{package.digest}.t2"
    assert package.size == package.path.stat().st_size
    assert package.python == PYTHON
    assert package.contents == {"config['a']": 0}
    assert stat.S_IMODE(package.path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [package.path.name]
    archive = Archive.open(package.path)
    archive.verify(package.digest)
    facts = {key: value for key, value in archive.manifest.items() if key not in ("members", "names")}
    assert facts == {
        "format": 1,
        "kind": "job",
        "python": PYTHON,
        "packages": {},
        "t2notebook": t2notebook.__version__,
        "is_cell": True,
    }
    assert run([package.path]) == [("ok", "2")]


def test_a_package_that_is_there_is_left_alone(tmp_path: Path) -> None:
    first = pack("1", notebook(), tmp_path)
    before = first.path.stat()
    assert pack("1", notebook(), tmp_path) == first
    after = first.path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_half_written_package_is_replaced(tmp_path: Path) -> None:
    first = pack("1", notebook(), tmp_path)
    first.path.write_bytes(b"half")
    pack("1", notebook(), tmp_path)
    Archive.open(first.path).verify(first.digest)


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        PackageError, match=r"^the job package cannot be written to .*/nope: No such file or directory$"
    ):
        pack("1", notebook(), tmp_path / "nope")


def test_distributions_of_what_it_refers_to(tmp_path: Path) -> None:
    setup = "import numpy as np\nfrom sklearn.linear_model import Ridge\nimport json, t2notebook"
    package = pack("import pandas, no_such_module\nnp, Ridge(), json, t2notebook", notebook(setup), tmp_path)
    assert Archive.open(package.path).manifest["packages"] == {
        name: metadata.version(name) for name in ("numpy", "pandas", "scikit-learn")
    }
    assert distributions.versions(["sklearn.utils", "os.path", "nope", "__main__"]) == {
        "scikit-learn": metadata.version("scikit-learn")
    }


def test_too_large_names_the_largest(tmp_path: Path) -> None:
    namespace = notebook("big = bytes(3 << 20)\nbigger = bytearray(4 << 20)\nsmall = 1")
    cell = "big, bigger, small"
    size = pack(cell, namespace, tmp_path).size
    worker = _cell(cell, namespace)
    with pytest.raises(PackageError) as caught:
        build(worker, {}, directory=tmp_path, local_dirs=[], name="pi", max_size=1 << 20)
    assert str(caught.value) == (
        "the package of job pi would have 7.0 MiB, more than the 1.0 MiB that are allowed; "
        "largest: bigger 4.0 MiB, big 3.0 MiB. Read large data on the workers, or leave it out"
    )
    assert build(worker, {}, directory=tmp_path, local_dirs=[], name="pi", max_size=size)


def _cell(source: str, namespace: dict[str, Any]) -> Any:
    from t2notebook.package.cell import cell_function

    return cell_function(source, namespace, name="test")


class Callable:
    def __call__(self, env: Any) -> Any:
        return env

    def method(self, env: Any) -> Any:
        return env

    @staticmethod
    def static() -> None: ...


async def coroutine(env: Any) -> Any:
    return env


@pytest.mark.parametrize(
    "worker",
    [
        lambda env: 1,
        lambda: 1,
        lambda *args: 1,
        lambda env, more=1: 1,
        lambda env=None, **kwargs: 1,
        functools.partial(lambda a, env: 1, 1),
        functools.partial(lambda env, *, k: 1, k=1),
        Callable(),
        Callable().method,
        Callable.static,
        coroutine,
        print,
        time.time,
        len,
        dict,
    ],
)
def test_workers_that_can_be_called(worker: Any) -> None:
    check_worker(worker)


def _two(a: Any, b: Any) -> None: ...


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (_two, "_two(a: 'Any', b: 'Any') -> 'None' takes neither"),
        (lambda env, *, k: 1, "<lambda>(env, *, k) takes neither"),
        (functools.partial(_two), "partial(a: 'Any', b: 'Any') -> 'None' takes neither"),
    ],
)
def test_workers_that_cannot_be_called(worker: Any, message: str) -> None:
    with pytest.raises(SubmitError) as caught:
        check_worker(worker)
    assert str(caught.value) == f"a worker function is called with env, or with nothing; {message}"


def test_what_is_no_function() -> None:
    with pytest.raises(
        SubmitError, match=r"^worker is an int, not callable; give a function that takes env$"
    ):
        check_worker(3)  # type: ignore[arg-type]


def test_functions_without_a_cell(tmp_path: Path) -> None:
    namespace = notebook(
        """
        import functools
        n = 3
        def with_env(env): return env.worker_id + n
        def without(): return n
        async def later(env): return env.worker_id
        class A:
            def __init__(self): self.x = 5
            def method(self, env): return self.x
            def __call__(self, env): return self.x + 1
        a = A()
        method = a.method
        part = functools.partial(lambda k, env: k, 8)
        """,
        ipython=False,
    )
    workers = {
        "with_env": "10",
        "without": "3",
        "later": "7",
        "method": "5",
        "a": "6",
        "part": "8",
        "int": None,
    }
    namespace["int"] = time.time
    paths = [
        build(namespace[name], {}, directory=tmp_path, local_dirs=[], name=name).path for name in workers
    ]
    for (kind, text), wanted in zip(run(paths), workers.values(), strict=True):
        assert kind == "ok"
        assert wanted in (text, None)


def test_a_function_of_a_script_takes_its_module_along(tmp_path: Path) -> None:
    (tmp_path / "t2x_helpers.py").write_text("def double(x):\n    return 2 * x\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom t2x_helpers import double\n"
        "from t2notebook.package.job_package import build\n\n"
        "def work(env):\n    return double(env.worker_id)\n\n"
        "def fail(env):\n    return 1 / 0\n\n"
        "for f in work, fail:\n"
        "    print(build(f, {}, directory=Path(sys.argv[1]), local_dirs=[Path(__file__).parent], name='x').path)\n"
    )
    code = f"sys.path.insert(0, {str(tmp_path)!r})\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    paths = [Path(line) for line in python(f"import runpy, sys\n{code}", str(tmp_path), cwd=tmp_path).split()]
    script.unlink()
    worked, failed = run(paths, cwd=Path("/"))
    assert worked == ("ok", "14")
    assert "line 10, in fail\n    return 1 / 0" in failed[1]


def test_packing_a_small_cell_is_less_work_than_compiling_a_few_modules(tmp_path: Path) -> None:
    """A ratio in one run: how long either takes is the machine's business."""
    namespace = notebook("import numpy as np, pandas as pd\nn = 3\ndef f(x):\n    return np.sqrt(x)")
    cell = "import math\nrng = np.random.default_rng(env.worker_id)\nmath.pi * n, f(rng.integers(5))"
    pack(cell, namespace, tmp_path)
    times = []
    for _ in range(20):
        start = time.process_time()
        pack(cell, namespace, tmp_path, local_dirs=[tmp_path])
        times.append(time.process_time() - start)
    start = time.process_time()
    for name in ("pickle", "pickletools", "argparse", "dataclasses"):
        source = Path(importlib.import_module(name).__file__ or "").read_text()
        compile(source, name, "exec")
    assert min(times) < time.process_time() - start


def test_the_package_is_light_to_import() -> None:
    loaded = python(
        "import sys\nimport t2notebook.package.job_package, t2notebook.package.cell\n"
        "print([name for name in ('tornado', 'numpy', 'pandas', 'IPython', 'asyncio') if name in sys.modules])"
    )
    assert loaded.strip() == "[]"
