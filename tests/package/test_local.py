"""Modules beside the notebook travel as source, those that the job reaches and no others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from t2notebook.model.errors import PackageError
from t2notebook.package.local import Import, is_installed, local_modules
from t2notebook.worker.archive import Archive
from tests.package.helpers import notebook, pack, run

FILES = {
    "t2x_plain": "import t2x_other\nclass Thing:\n    def __init__(self, x): self.x = x\ndef double(x): return 2 * x\n",
    "t2x_other": "VALUE = 5\n",
    "t2x_unused": "1 / 0\n",
    "t2x_lazy": "def f():\n    from t2x_pack.sub import deep\n    return deep.VALUE\n",
    "t2x_pack/__init__": "from . import first\nNAME = __name__\n",
    "t2x_pack/first": "from .second import X\nfrom .sub.deep import VALUE\n",
    "t2x_pack/second": "X = 2\n",
    "t2x_pack/never": "1 / 0\n",
    "t2x_pack/sub/__init__": "",
    "t2x_pack/sub/deep": "VALUE = 7\n",
    "t2x_space/inside/part": "import t2x_other\nVALUE = t2x_other.VALUE + 1\n",
    "t2x_dynamic": "import importlib\ndef f(): return importlib.import_module('t2x_pack.second').X\n",
    "t2x_guarded": "try:\n    from t2x_fast import quick\nexcept ImportError:\n    quick = 'slow'\n",
    "t2x_broken": "def f(:\n",
    "t2x_fails": "def fail():\n    return 1 / 0\n",
    "t2x_relative/__init__": "",
    "t2x_relative/a": "from . import b\n",
    "t2x_relative/b": "import json, os.path, numpy\nV = 1\n",
}


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "notebooks"
    write(directory, FILES)
    (directory / "t2x_fast.cpython-311-x86_64-linux-gnu.so").touch()
    (directory / f"t2x_fast{_extension()}").touch()
    (directory / "data").mkdir()
    sys.path.insert(0, str(directory))
    before = set(sys.modules)
    yield directory
    sys.path.remove(str(directory))
    for name in set(sys.modules) - before:
        if name.startswith("t2x_"):
            del sys.modules[name]


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _extension() -> str:
    from importlib.machinery import EXTENSION_SUFFIXES

    return EXTENSION_SUFFIXES[0]


def reached(beside: Path, *names: str) -> set[str]:
    found = local_modules(names, [], [beside])
    assert list(found) == sorted(found)
    return {name.removeprefix("modules/") for name in found}


def test_what_a_module_imports_comes_with_it(beside: Path) -> None:
    before = set(sys.modules)
    assert reached(beside, "t2x_plain") == {"t2x_plain.py", "t2x_other.py"}
    assert reached(beside, "t2x_lazy") == {
        "t2x_lazy.py",
        "t2x_pack/__init__.py",
        "t2x_pack.first.py",
        "t2x_pack.second.py",
        "t2x_pack.sub/__init__.py",
        "t2x_pack.sub.deep.py",
    }
    assert "t2x_pack.second.py" in reached(beside, "t2x_dynamic")
    assert reached(beside, "t2x_relative.a") == {
        "t2x_relative/__init__.py",
        "t2x_relative.a.py",
        "t2x_relative.b.py",
    }
    assert set(sys.modules) == before, "nothing is imported"


def test_import_statements_of_code_count(beside: Path) -> None:
    found = local_modules(
        [], [Import("t2x_pack", ("second", "NAME")), Import("os.path"), Import("no.such")], [beside]
    )
    assert "modules/t2x_pack.second.py" in found
    assert "modules/t2x_pack.never.py" not in found


def test_namespace_packages(beside: Path) -> None:
    assert reached(beside, "t2x_space.inside.part") == {"t2x_space.inside.part.py", "t2x_other.py"}


def test_what_is_installed_or_elsewhere_stays(beside: Path, tmp_path: Path) -> None:
    names = [
        "numpy",
        "json",
        "sys",
        "t2notebook",
        "t2notebook.model.job",
        "__main__",
        "data",
        "",
        "builtins",
        "os.path",
    ]
    assert reached(beside, *names) == set()
    assert local_modules(["t2x_plain"], [], [tmp_path / "elsewhere"]) == {}
    assert local_modules(["t2x_plain"], [], []) == {}
    assert local_modules(["numpy", "json", "t2notebook.model"], [], [Path("/")]) == {}
    assert is_installed(os.__file__)
    assert not is_installed(str(beside / "t2x_plain.py"))


def test_a_virtual_environment_beside_the_notebook_is_an_installation(tmp_path: Path) -> None:
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    write(site, {"t2x_installed": ""})
    sys.path.insert(0, str(site))
    try:
        assert local_modules(["t2x_installed"], [], [tmp_path]) == {}
    finally:
        sys.path.remove(str(site))


def test_a_directory_need_not_be_on_the_path(tmp_path: Path) -> None:
    write(tmp_path, {"t2x_off_path": "A = 1"})
    assert local_modules(["t2x_off_path"], [], [tmp_path]) == {"modules/t2x_off_path.py": b"A = 1"}


def test_a_compiled_module_is_refused(beside: Path) -> None:
    with pytest.raises(PackageError) as caught:
        local_modules(["t2x_fast"], [], [beside])
    assert str(caught.value) == (
        f"module t2x_fast beside the notebook is compiled (t2x_fast{_extension()}) and does not travel to workers: "
        "install it on the agents"
    )


def test_a_compiled_module_that_may_be_absent_is_left_out(beside: Path) -> None:
    assert reached(beside, "t2x_guarded") == {"t2x_guarded.py"}


def test_a_module_that_is_no_python_travels_as_it_is(beside: Path) -> None:
    assert reached(beside, "t2x_broken") == {"t2x_broken.py"}


def test_jobs_find_their_modules_on_a_worker(beside: Path, tmp_path: Path) -> None:
    namespace = notebook(
        """
        import t2x_plain, t2x_pack.first as first
        from t2x_plain import Thing, double
        thing = Thing(3)
        def helper():
            import t2x_space.inside.part
            return t2x_space.inside.part.VALUE
        """
    )
    cells = [
        "t2x_plain.double(t2x_plain.t2x_other.VALUE)",
        "thing.x, isinstance(thing, Thing), double(4), type(thing).__module__",
        "first.X, first.VALUE",
        "from t2x_lazy import f\nf()",
        "import t2x_dynamic as d\nd.f()",
        "helper()",
        "import t2x_guarded\nt2x_guarded.quick",
    ]
    packages = [pack(cell, namespace, tmp_path, local_dirs=[beside]) for cell in cells]
    assert run([package.path for package in packages], cwd=tmp_path) == [
        ("ok", "10"),
        ("ok", "(3, True, 8, 't2x_plain')"),
        ("ok", "(2, 7)"),
        ("ok", "7"),
        ("ok", "2"),
        ("ok", "6"),
        ("ok", "'slow'"),
    ]
    assert not any(
        "unused" in name or "never" in name for package in packages for name in Archive.open(package.path)
    )
    assert packages[0].contents["t2x_plain"] == len(FILES["t2x_plain"])


def test_tracebacks_show_a_modules_lines(beside: Path, tmp_path: Path) -> None:
    package = pack("t2x_fails.fail()", notebook("import t2x_fails"), tmp_path, local_dirs=[beside])
    ((kind, text),) = run([package.path], cwd=tmp_path)
    assert kind == "error"
    assert "return 1 / 0" in text
