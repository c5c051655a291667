"""The notebook's own modules travel as files: those that the job reaches, of a package all, and no others."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.errors import PackageError
from t2notebook.package import local_modules as package_local_modules
from t2notebook.package.local_modules import Import, is_installed, local_modules
from t2notebook.protocol.archive import Archive
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
    found = local_modules(names, [], [beside]).members
    assert list(found) == sorted(found)
    return {name.removeprefix("modules/") for name in found}


def test_what_a_module_imports_comes_with_it(beside: Path) -> None:
    before = {name for name in sys.modules if name.startswith("t2x_")}
    assert reached(beside, "t2x_plain") == {"t2x_plain.py", "t2x_other.py"}
    assert reached(beside, "t2x_lazy") == {
        "t2x_lazy.py",
        "t2x_pack/__init__.py",
        "t2x_pack/first.py",
        "t2x_pack/never.py",
        "t2x_pack/second.py",
        "t2x_pack/sub/__init__.py",
        "t2x_pack/sub/deep.py",
    }
    assert "t2x_pack/second.py" in reached(beside, "t2x_dynamic")
    assert reached(beside, "t2x_relative.a") == {
        "t2x_relative/__init__.py",
        "t2x_relative/a.py",
        "t2x_relative/b.py",
    }
    assert {name for name in sys.modules if name.startswith("t2x_")} == before, "nothing is imported"


def test_import_statements_of_code_count(beside: Path) -> None:
    found = local_modules(
        [], [Import("t2x_space.inside", ("part", "NAME")), Import("os.path"), Import("no.such")], [beside]
    )
    assert set(found.members) == {"modules/t2x_space/inside/part.py", "modules/t2x_other.py"}
    assert set(found.paths) == {"t2x_space.inside.part", "t2x_other"}


def test_namespace_packages(beside: Path) -> None:
    assert reached(beside, "t2x_space.inside.part") == {"t2x_space/inside/part.py", "t2x_other.py"}


def test_what_is_installed_stays(beside: Path) -> None:
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
    assert not local_modules(["numpy", "json", "t2notebook.model"], [], [Path("/")]).members
    assert is_installed(os.__file__)
    assert not is_installed(str(beside / "t2x_plain.py"))


def test_a_virtual_environment_beside_the_notebook_is_an_installation(tmp_path: Path) -> None:
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    write(site, {"t2x_installed": ""})
    sys.path.insert(0, str(site))
    try:
        assert not local_modules(["t2x_installed"], [], [tmp_path]).members
    finally:
        sys.path.remove(str(site))


def test_a_directory_need_not_be_on_the_path(tmp_path: Path) -> None:
    write(tmp_path, {"t2x_off_path": "A = 1"})
    found = local_modules(["t2x_off_path"], [], [tmp_path])
    assert found.members == {"modules/t2x_off_path.py": b"A = 1"}
    assert found.paths == {"t2x_off_path": str(tmp_path / "t2x_off_path.py")}


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
    assert not any("unused" in name for package in packages for name in Archive.open(package.path))
    assert packages[0].contents["t2x_plain"] == len(FILES["t2x_plain"])


def test_tracebacks_show_a_modules_lines(beside: Path, tmp_path: Path) -> None:
    package = pack("t2x_fails.fail()", notebook("import t2x_fails"), tmp_path, local_dirs=[beside])
    ((kind, text),) = run([package.path], cwd=tmp_path)
    assert kind == "error"
    assert "return 1 / 0" in text


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on `sys.path` that is neither beside the notebook nor an installation."""
    directory = tmp_path / "src"
    directory.mkdir()
    sys.path.append(str(directory))
    importlib.invalidate_caches()
    yield directory
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.startswith("t2y_")]:
        del sys.modules[name]


def test_modules_on_the_path_travel_from_wherever_they_are(elsewhere: Path, tmp_path: Path) -> None:
    files = {
        "t2y_util": "import t2y_pkg.part\nK = t2y_pkg.part.V",
        "t2y_pkg/__init__": "",
        "t2y_pkg/part": "V = 3",
    }
    write(elsewhere, files)
    found = local_modules(["t2y_util"], [], [tmp_path / "notebooks"])
    assert set(found.paths) == {"t2y_util", "t2y_pkg", "t2y_pkg.part"}
    package = pack("import t2y_util\nt2y_util.K", notebook(), tmp_path)
    assert run([package.path], cwd=tmp_path) == [("ok", "3")]


def test_what_an_installer_put_on_the_path_stays(elsewhere: Path) -> None:
    write(elsewhere, {"t2y_util": "", "t2y_pkg/__init__": ""})
    (elsewhere / "t2y_pkg-1.0.dist-info").mkdir()
    assert not local_modules(["t2y_util", "t2y_pkg"], [], []).members


def test_a_compiled_package_elsewhere_is_the_agents_affair(elsewhere: Path) -> None:
    write(elsewhere, {"t2y_pkg/__init__": "from . import inner", "t2y_pkg/inner/__init__": ""})
    (elsewhere / "t2y_pkg" / "inner" / f"fast{_extension()}").touch()
    (elsewhere / f"t2y_fast{_extension()}").touch()
    assert not local_modules(["t2y_pkg.inner.fast", "t2y_pkg", "t2y_fast"], [], []).members


def test_an_editable_install_by_a_finder_travels(tmp_path: Path) -> None:
    """setuptools's editable installs put no directory on the path, but a finder into `sys.meta_path`."""
    write(tmp_path / "src", {"t2y_edit/__init__": "", "t2y_edit/part": "V = 1"})

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> Any:
            return PathFinder.find_spec(name, [str(tmp_path / "src")]) if name == "t2y_edit" else None

    sys.meta_path.append(Finder)  # type: ignore[arg-type]
    try:
        found = local_modules([], [Import("t2y_edit", ("part",))], [])
    finally:
        sys.meta_path.remove(Finder)  # type: ignore[arg-type]
    assert set(found.paths) == {"t2y_edit", "t2y_edit.part"}


def test_a_name_that_the_notebook_takes_from_elsewhere_does_not_travel(tmp_path: Path) -> None:
    """A file beside the notebook that its own import does not find is not what the notebook means."""
    write(tmp_path, {"xdrlib": "MINE = 1", "chunk": "MINE = 1", "math": "MINE = 1", "xml/__init__": ""})
    assert not local_modules(["tabnanny", "math", "xml.dom"], [], [tmp_path]).members
    write(tmp_path, {"tabnanny": "MINE = 1"})
    assert not local_modules(["tabnanny"], [], [tmp_path]).members
    sys.path.insert(0, str(tmp_path))
    try:
        assert set(local_modules(["tabnanny"], [], [tmp_path]).paths) == {"tabnanny"}
    finally:
        sys.path.remove(str(tmp_path))


READS = """
import importlib.resources, pkgutil
from importlib.resources import files
from pathlib import Path

def read():
    top = files("t2y_data")
    return {
        "get_data": pkgutil.get_data("t2y_data", "data/a.txt").decode(),
        "iterdir": sorted(each.name for each in top.iterdir() if not each.name.startswith("__")),
        "read_text": top.joinpath("data", "a.txt").read_text(),
        "old": importlib.resources.read_binary("t2y_data", "top.bin"),
        "file": (Path(__file__).parent / "data" / "a.txt").read_text(),
        "modules": sorted(each.name for each in pkgutil.iter_modules(__path__)),
        "lazy": lazy(),
    }

def lazy():
    from .util import K
    return K
"""


def test_a_packages_data_is_found_in_every_way(elsewhere: Path, tmp_path: Path) -> None:
    write(elsewhere, {"t2y_data/__init__": READS, "t2y_data/util": "K = 4", "t2y_data/plugin": "P = 1"})
    folder = elsewhere / "t2y_data"
    for name in ("data", ".git", "__pycache__", ".ipynb_checkpoints", "env/bin", "space"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.txt").write_text(name)
    (folder / "env" / "pyvenv.cfg").touch()
    (folder / "top.bin").write_bytes(b"\0\xff")
    (folder / ".env").write_text("SECRET=1")
    (folder / "data" / "again").symlink_to(folder)
    found = local_modules(["t2y_data"], [], [])
    assert set(found.members) == {
        f"modules/t2y_data/{name}"
        for name in ("__init__.py", "util.py", "plugin.py", "data/a.txt", "top.bin", "space/a.txt")
    }
    assert found.sizes["t2y_data/data/a.txt"] == 4 and found.sizes["t2y_data.util"] == 5
    package = pack("import t2y_data\nt2y_data.read()", notebook(), tmp_path)
    ((kind, text),) = run([package.path], cwd=tmp_path)
    assert kind == "ok" and ast.literal_eval(text) == {
        "get_data": "data",
        "iterdir": ["data", "plugin.py", "space", "top.bin", "util.py"],
        "read_text": "data",
        "old": b"\0\xff",
        "file": "data",
        "modules": ["plugin", "util"],
        "lazy": 4,
    }


def test_large_data_of_a_package_stays_and_that_is_said(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_local_modules, "DATA_FILE", 100)
    monkeypatch.setattr(package_local_modules, "DATA_FILES", 150)
    write(elsewhere, {"t2y_big/__init__": "#" * 1000})
    for name, size in (("a", 90), ("b", 90), ("c", 101), ("d", 10)):
        (elsewhere / "t2y_big" / name).write_bytes(bytes(size))
    found = local_modules(["t2y_big"], [], [])
    assert {name.rpartition("/")[2] for name in found.members} == {"__init__.py", "a", "d"}
    assert found.notes == [
        "package t2y_big travels without c 101 bytes, b 90 bytes: of a file up to 100 bytes travel with a package, "
        "150 bytes in all; --file lays larger ones in the workers' current directory"
    ]


DYNAMIC = {
    "a constant": ("from importlib import import_module", "import_module('t2y_state').S"),
    "the builtin": ("", "__import__('t2y_state').S"),
    "a variable": ("import importlib\nname = 't2y_state'", "importlib.import_module(name).S"),
    "a list": ("import importlib\nnames = ['os', 't2y_state']", "importlib.import_module(names[-1]).S"),
    "in a function": ("import importlib\ndef f(): return importlib.import_module('t2y_state')", "f().S"),
    "relative to a package": ("import importlib", "importlib.import_module('.inner', 't2y_lazy').S"),
    "by a module": ("import t2y_loader", "t2y_loader.load().S"),
    "by a package": ("import t2y_lazy", "t2y_lazy.load('inner').S"),
}


@pytest.mark.parametrize("case", DYNAMIC)
def test_modules_that_are_imported_by_a_text(case: str, elsewhere: Path, tmp_path: Path) -> None:
    setup, cell = DYNAMIC[case]
    files = {
        "t2y_state": "S = 6",
        "t2y_loader": "import importlib\nWHICH = 't2y_state'\ndef load(): return importlib.import_module(WHICH)",
        "t2y_lazy/__init__": "import importlib\ndef load(n): return importlib.import_module(f'{__name__}.{n}')",
        "t2y_lazy/inner": "from t2y_state import S",
    }
    write(elsewhere, files)
    package = pack(cell, notebook(setup), tmp_path)
    assert run([package.path], cwd=tmp_path) == [("ok", "6")]


def test_relative_imports_of_functions_that_travel_by_value(elsewhere: Path, tmp_path: Path) -> None:
    """A function of a package's ``__main__``, or of a module that is pickled by value."""
    write(elsewhere, {"t2y_pkg/__init__": "", "t2y_pkg/util": "K = 8", "t2y_pkg/inner/__init__": ""})
    namespace = notebook("def f():\n    from .util import K\n    from . import inner\n    return K")
    namespace["__package__"] = "t2y_pkg"
    package = pack("f()", namespace, tmp_path)
    assert run([package.path], cwd=tmp_path) == [("ok", "8")]


def test_a_module_of_the_standard_librarys_name_is_the_notebooks(elsewhere: Path, tmp_path: Path) -> None:
    write(elsewhere, {"queue": "MINE = 5\n", "t2y_user": "import queue\ndef f(): return queue.MINE\n"})
    before = sys.modules.pop("queue", None)
    sys.path.insert(0, str(elsewhere))
    try:
        package = pack("import t2y_user\nt2y_user.f()", notebook("import t2y_user"), tmp_path)
    finally:
        sys.path.remove(str(elsewhere))
        sys.modules.pop("queue", None)
        if before is not None:
            sys.modules["queue"] = before
    assert run([package.path], cwd=tmp_path) == [("ok", "5")]


def test_a_package_in_a_namespace_travels_whole(elsewhere: Path) -> None:
    write(elsewhere, {"t2y_space/pkg/__init__": "", "t2y_space/pkg/other": "", "t2y_space/alone": ""})
    (elsewhere / "t2y_space" / "pkg" / "a.txt").touch()
    (elsewhere / "t2y_space" / "b.txt").touch()
    found = local_modules(["t2y_space.pkg"], [], [])
    assert set(found.members) == {
        f"modules/t2y_space/pkg/{name}" for name in ("__init__.py", "other.py", "a.txt")
    }
