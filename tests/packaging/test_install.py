"""t2notebook installs on every CPython it names, every way, without a compiler, from complete dists."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import t2notebook
from tests.packaging.conftest import MINORS, REPOSITORY, copy_checkout, find_python, output_of
from tests.packaging.debian import debian

#: Prints where the package lies; fails when the fence, the command or the metadata are not right.
USE = """
import importlib.metadata, signal, t2notebook
from t2notebook.mesos._pymesos import load
handler = signal.getsignal(signal.SIGINT)
assert load().MesosSchedulerDriver.__module__ == "t2notebook._vendor.pymesos.scheduler"
assert signal.getsignal(signal.SIGINT) is handler
assert importlib.metadata.version("t2notebook") == t2notebook.__version__
assert [e.name for e in importlib.metadata.distribution("t2notebook").entry_points] == ["t2notebook"]
print(t2notebook.__file__)
"""

EVERY_PYTHON = pytest.mark.parametrize("minor", MINORS, ids=[f"3.{minor}" for minor in MINORS])


def no_compiler() -> dict[str, str]:
    return {**os.environ, "CC": "/bin/false", "CXX": "/bin/false"}


def no_index(empty: Path) -> dict[str, str]:
    """Return an environment in which pip finds no distribution anywhere."""
    empty.mkdir(exist_ok=True)
    environment = {key: value for key, value in no_compiler().items() if not key.startswith("PIP_")}
    return environment | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(empty), "PIP_CONFIG_FILE": os.devnull}


# Quick: one build, with the copy of pymesos that is there


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build sdist and wheel of the checkout; return their paths."""
    folder = tmp_path_factory.mktemp("dists")
    checkout = copy_checkout(folder / "checkout")
    vendored = "t2notebook/_vendor/pymesos"
    shutil.copytree(REPOSITORY / vendored, checkout / vendored, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "t2notebook/_vendor/.lock").touch()
    (checkout / ".venv").mkdir()
    (checkout / ".venv/pyvenv.cfg").touch()
    environment = no_index(folder / "empty")
    output_of(sys.executable, "-m", "hatchling", "build", "-d", folder / "out", cwd=checkout, env=environment)
    [sdist] = (folder / "out").glob("*.tar.gz")
    [wheel] = (folder / "out").glob("*.whl")
    return sdist, wheel


def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_sdist_carries_pymesos_and_all_that_a_build_needs(dists: tuple[Path, Path]) -> None:
    names = sdist_names(dists[0])
    package = "t2notebook/_vendor/pymesos"
    assert {f"{package}/{name}" for name in (".stamp.json", "process.py", "scheduler.py")} < names
    assert {"pyproject.toml", "hatch_build.py", "LICENSE", "NOTICE", "licenses/pymesos.txt"} < names
    assert "t2notebook/_vendor/__init__.py" in names


def test_the_dists_can_be_uploaded(dists: tuple[Path, Path]) -> None:
    said = output_of(sys.executable, "-m", "twine", "check", "--strict", *dists)
    assert said.count("PASSED") == 2


def test_the_dists_carry_no_litter(dists: tuple[Path, Path]) -> None:
    sdist, wheel = dists
    names = sdist_names(sdist) | set(zipfile.ZipFile(wheel).namelist())
    litter = re.compile(
        r"__pycache__|\.pyc$|\.lock$|(^|/)\.(venv|yarn|git|coverage|mypy_cache)(/|$)|node_modules"
    )
    assert [name for name in names if litter.search(name)] == []


def test_the_wheel_has_the_package_its_licences_and_nothing_beside(dists: tuple[Path, Path]) -> None:
    wheel = zipfile.ZipFile(dists[1])
    names = set(wheel.namelist())
    info = f"t2notebook-{t2notebook.__version__}.dist-info"
    assert {f"{info}/licenses/{name}" for name in ("LICENSE", "NOTICE", "licenses/pymesos.txt")} < names
    assert b"Douban" in wheel.read(f"{info}/licenses/licenses/pymesos.txt")
    assert {"t2notebook/_vendor/pymesos/process.py", "t2notebook/py.typed"} < names
    tops = {name.partition("/")[0] for name in names}
    assert tops - {f"t2notebook-{t2notebook.__version__}.data"} == {"t2notebook", info}
    assert b"Root-Is-Purelib: true" in wheel.read(f"{info}/WHEEL")


def test_both_carry_the_lab_extension_and_say_that_the_server_has_one(dists: tuple[Path, Path]) -> None:
    """So that nobody who installs needs Node.js."""
    sdist, wheel = sdist_names(dists[0]), zipfile.ZipFile(dists[1])
    built = REPOSITORY / "labextension" / "dist"
    files = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    assert {f"labextension/dist/{name}" for name in files} < sdist
    assert "labextension/src/index.ts" in sdist and "labextension/package-lock.json" in sdist
    data = f"t2notebook-{t2notebook.__version__}.data/data"
    place = f"{data}/share/jupyter/labextensions/t2notebook"
    for name in files:
        assert wheel.read(f"{place}/{name}") == (built / name).read_bytes()
    load = json.loads(wheel.read(f"{place}/package.json"))["jupyterlab"]["_build"]["load"]
    assert load in files
    assert json.loads(wheel.read(f"{place}/install.json"))["packageManager"] == "python"
    config = json.loads(wheel.read(f"{data}/etc/jupyter/jupyter_server_config.d/t2notebook.json"))
    assert config == {"ServerApp": {"jpserver_extensions": {"t2notebook.server": True}}}


def test_nothing_of_the_lab_extension_names_a_registry_or_this_machine() -> None:
    found = [
        path.name
        for path in (REPOSITORY / "labextension").rglob("*")
        if path.is_file()
        and not {"node_modules", "lib"} & set(path.relative_to(REPOSITORY / "labextension").parts)
        and re.search(
            r"registry\.[\w-]+\.|/work/|\"resolved\"|" + re.escape(str(REPOSITORY)), path.read_text()
        )
    ]
    assert found == []


def test_no_module_of_the_lab_extension_is_long() -> None:
    sources = [*(REPOSITORY / "labextension" / "src").glob("*.ts")]
    assert sources and [path.name for path in sources if len(path.read_text().splitlines()) > 300] == []


def test_a_checkout_without_the_lab_extension_says_one_line(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    vendored = "t2notebook/_vendor/pymesos"
    shutil.copytree(REPOSITORY / vendored, checkout / vendored, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(checkout / "labextension" / "dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(
        command, cwd=checkout, env=no_index(tmp_path / "empty"), capture_output=True, text=True
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "labextension/dist is not there" in done.stderr.splitlines()[-1]


def test_the_metadata_says_what_the_project_promises(dists: tuple[Path, Path]) -> None:
    wheel = zipfile.ZipFile(dists[1])
    info = f"t2notebook-{t2notebook.__version__}.dist-info"
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["Version"] == t2notebook.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    required = {re.split(r"[^\w.-]", line)[0] for line in metadata.get_all("Requires-Dist")}
    assert not required & {"pymesos", "http-parser"}  # neither installs on CPython 3.11 or later
    assert {
        "tornado",
        "ipykernel",
        "anywidget",
        "cloudpickle",
        "pandas",
        "kazoo",
        "six",
        "addict",
    } <= required
    assert {"dataflow", "demo", "bench", "test"} <= set(metadata.get_all("Provides-Extra"))
    assert b"t2notebook = t2notebook.cli:main" in wheel.read(f"{info}/entry_points.txt")


def test_the_version_is_written_once() -> None:
    version = re.escape(t2notebook.__version__)
    tracked = ["pyproject.toml", "Makefile", "hatch_build.py", *(REPOSITORY / "t2notebook").rglob("*.py")]
    found = [name for name in tracked if re.search(rf'(?<!>=)"{version}"', (REPOSITORY / name).read_text())]
    assert found == [REPOSITORY / "t2notebook" / "_version.py"]


def test_a_build_from_git_without_an_index_says_one_line(checkout: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build"],
        cwd=checkout,
        env=no_index(tmp_path / "empty"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("t2notebook: could not download pymesos 0.3.15")


# Slow: every way to install, on every CPython here


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`python -m build` in a clean checkout: it makes the sdist, and the wheel from that sdist."""
    folder = tmp_path_factory.mktemp("built")
    checkout = copy_checkout(folder / "checkout")
    output_of(sys.executable, "-m", "build", "--outdir", folder / "out", checkout, env=no_compiler())
    [sdist] = (folder / "out").glob("*.tar.gz")
    [wheel] = (folder / "out").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def make_venv(minor: int, folder: Path) -> Path:
    """Make a venv of CPython 3.`minor` and return its Python."""
    python = find_python(minor)
    if python is None:
        pytest.skip(f"no CPython 3.{minor} on this machine")
    output_of(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def use(python: Path, folder: Path) -> Path:
    """Use the installed package from another folder; return where it lies."""
    folder.mkdir(exist_ok=True)
    return Path(output_of(python, "-W", "error", "-c", USE, cwd=folder).splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(900)
@EVERY_PYTHON
def test_every_way_to_install(minor: int, built: dict[str, Path], checkout: Path, tmp_path: Path) -> None:
    python = make_venv(minor, tmp_path / "venv")
    site, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    pip = (python, "-m", "pip", "install", "--quiet")
    environment = no_compiler()

    # with all dependencies, from git
    output_of(*pip, checkout, env=environment)
    assert use(python, elsewhere).is_relative_to(site)
    assert output_of(python, "-m", "pip", "check").strip() == "No broken requirements found."

    # the others have the dependencies now
    again = (*pip, "--no-deps", "--force-reinstall")
    output_of(*again, "-e", checkout, env=environment)
    assert use(python, elsewhere).is_relative_to(checkout)
    output_of(*again, built["wheel"], env=no_index(tmp_path / "empty"))
    assert use(python, elsewhere).is_relative_to(site)
    output_of(*again, built["sdist"], env=environment)
    assert use(python, elsewhere).is_relative_to(site)

    # the sdist needs no network for pymesos: here there is none for anything
    output_of(python, "-m", "pip", "install", "--quiet", "hatchling")
    output_of(*again, "--no-build-isolation", built["sdist"], env=no_index(tmp_path / "empty"))
    assert use(python, elsewhere).is_relative_to(site)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_uv_builds_too(checkout: Path, tmp_path: Path) -> None:
    output_of(sys.executable, "-m", "uv", "build", "--out-dir", tmp_path / "out", checkout, env=no_compiler())
    [sdist] = (tmp_path / "out").glob("*.tar.gz")
    [wheel] = (tmp_path / "out").glob("*.whl")
    assert "t2notebook/_vendor/pymesos/process.py" in sdist_names(sdist)
    assert "t2notebook/_vendor/pymesos/process.py" in zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_installs_of_one_checkout_at_once(checkout: Path, tmp_path: Path) -> None:
    pythons = [make_venv(sys.version_info[1], tmp_path / name) for name in ("one", "two")]
    installs = [
        subprocess.Popen(
            [str(python), "-m", "pip", "install", "-q", "--no-deps", "-e", str(checkout)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for python in pythons
    ]
    for install in installs:
        said, _ = install.communicate()
        assert install.returncode == 0, said
    folder = checkout / "t2notebook" / "_vendor"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "__init__.py", "pymesos"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_wheel_runs_the_quickstart_on_a_debian_with_cpython_314(
    built: dict[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    archive = debian("testing")
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", archive], check=True)
    if "3.14" not in output_of("chroot", root, "python3", "--version"):
        pytest.skip("Debian testing has another Python than 3.14")
    place = root / "root" / "try"
    shutil.copytree(REPOSITORY / "examples", place)
    wheel = shutil.copy(built["wheel"], place)
    for name in ("/etc/resolv.conf", "/etc/hosts", os.environ.get("PIP_CERT", "")):
        if name and Path(name).is_file():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy(name, target)
    keep = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name.endswith("_proxy")
    }
    # What is mounted ends with the name space.
    inside = f"""
        mount -t proc proc {root}/proc && mount --bind /dev {root}/dev && exec chroot {root} sh -ec '
            cd /root/try
            python3 -m venv venv
            venv/bin/pip install --quiet --disable-pip-version-check "{Path(wheel).name}[demo]"
            venv/bin/python run_demo.py
        '
    """
    said = output_of(
        "unshare", "--mount", "sh", "-c", inside, env={**keep, "HOME": "/root", "PATH": os.environ["PATH"]}
    )
    assert "worker 3: 70! = 1.198e+100" in said
