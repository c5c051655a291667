"""The scripts behind the Makefile: set up once, say in one line what is missing, make no noise afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import REPOSITORY, find_python

#: What Debian always has, and the scripts may use.
COREUTILS = [
    "bash",
    "cat",
    "chmod",
    "cksum",
    "cp",
    "dirname",
    "env",
    "expand",
    "grep",
    "head",
    "id",
    "mkdir",
    "mktemp",
    "paste",
    "rm",
    "sed",
    "sort",
    "tail",
    "touch",
]

#: A Python that makes a venv of itself; it notes each `pip` call, and fails those while `broken` exists.
FAKE_PYTHON = r"""#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd)
case "$*" in
    *version_info*) exit 0 ;;
    *ensurepip*) exit 0 ;;
    --version) echo "Python 3.12.1" ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        echo "#!$PWD/$3/bin/python" >"$3/bin/pip" ;;
    "-m pip "*)
        echo "${*:6}" >>"$here/../../calls"
        if [ -e "$here/../../broken" ]; then cat "$here/../../broken"; exit 1; fi
        mkdir -p t2notebook/_vendor/pymesos && touch t2notebook/_vendor/pymesos/process.py ;;
esac
"""


#: The second of the two `pip` calls of an installation.
EDITABLE = "--no-deps --no-build-isolation --editable ."


def locked(*extras: str) -> str:
    """Return the first of the two `pip` calls of an installation."""
    return " ".join(["--require-hashes", *(f"--requirement locks/{extra}.txt" for extra in extras)])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with the scripts, what they read, and a `bin` that is the whole PATH."""
    for name in ("tools", "locks"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    for name in ("pyproject.toml", "hatch_build.py", "Makefile"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in COREUTILS:
        if found := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def fake(place: Path, name: str, code: str) -> Path:
    path = place / "bin" / name
    path.unlink(missing_ok=True)  # it may be a link to the machine's own command
    path.write_text(code)
    path.chmod(0o755)
    return path


def run(place: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [f"{place}/{command[0]}", *command[1:]],
        cwd=place,
        env={"PATH": f"{place}/bin", "HOME": str(place), **environment},
        capture_output=True,
        text=True,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    [line] = done.stderr.splitlines()
    return line.removeprefix("t2notebook: ")


def calls(place: Path) -> list[str]:
    return (place / "calls").read_text().splitlines()


def test_the_second_run_does_and_says_nothing(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    first = run(place, "tools/setup", "demo")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "t2notebook: setting up .venv with Python 3.12.1",
        "t2notebook: installing t2notebook[demo] into .venv",
    ]
    second = run(place, "tools/setup", "demo")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert calls(place) == [locked("demo"), EDITABLE]


def test_a_new_extra_is_added_to_those_that_are_there(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    for extras in (["test"], ["demo", "bench"], ["test"], ["demo"]):
        run(place, "tools/setup", *extras)
    assert calls(place) == [locked("test"), EDITABLE, locked("bench", "demo", "test"), EDITABLE]


@pytest.mark.parametrize("name", ["pyproject.toml", "hatch_build.py", "locks/test.txt"])
def test_a_changed_build_is_installed_again(name: str, place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    run(place, "tools/setup", "test")
    with (place / name).open("a") as file:
        file.write("# more\n")
    run(place, "tools/setup", "test")
    assert calls(place) == [locked("test"), EDITABLE] * 2


def test_a_lost_copy_of_pymesos_is_brought_again(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    run(place, "tools/setup", "test")
    shutil.rmtree(place / "t2notebook")
    run(place, "tools/setup", "test")
    assert calls(place) == [locked("test"), EDITABLE] * 2


def test_a_moved_environment_is_made_anew(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    run(place, "tools/setup", "test")
    (place / ".venv/bin/pip").write_text("#!/somewhere/else/.venv/bin/python\n")
    (place / ".venv/litter").touch()
    run(place, "tools/setup", "test")
    assert not (place / ".venv/litter").exists()
    assert calls(place) == [locked("test"), EDITABLE] * 2


def test_a_failed_install_is_not_taken_for_done(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    (place / "broken").write_text("WARNING: mirror\nerror: a wheel did not build\n")
    done = run(place, "tools/setup", "test")
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "error: a wheel did not build",
        "t2notebook: pip install failed (log: .venv/setup.log)",
    ]
    (place / "broken").unlink()
    assert run(place, "tools/setup", "test").returncode == 0
    assert calls(place) == [locked("test"), locked("test"), EDITABLE]


def test_no_network_is_one_line(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    (place / "broken").write_text(
        "WARNING: Retrying after connection broken\nERROR: No matching distribution found for hatchling\nmore\n"
    )
    line = one_line(run(place, "tools/setup", "test"))
    assert line.startswith("no package index answers (ERROR: No matching distribution found for hatchling)")
    assert "is there a network?" in line


def test_an_index_without_what_is_locked_is_one_line(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    (place / "broken").write_text(
        "ERROR: Could not find a version that satisfies the requirement six==1.17.0 (from versions: 1.15.0, 1.16.0)\n"
        "ERROR: No matching distribution found for six==1.17.0\n"
    )
    line = one_line(run(place, "tools/setup", "test"))
    assert line.startswith("the package index has not got what is locked (ERROR: Could not find a version")
    assert "six==1.17.0 (from versions: 1.15.0, 1.16.0)" in line
    assert "make lock" in line


def test_an_extra_without_a_lock_is_one_line(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON)
    line = one_line(run(place, "tools/setup", "nonesuch"))
    assert line == "locks/nonesuch.txt is not there; make it with: make lock"
    assert not (place / ".venv/.stamp").exists()


def test_no_python_is_one_line(place: Path) -> None:
    assert one_line(run(place, "tools/setup", "test")).startswith("no Python 3.11 or later on PATH; install")


def test_an_old_python_is_one_line(place: Path) -> None:
    old = fake(place, "python3", "#!/usr/bin/env bash\nexit 1\n")
    assert one_line(run(place, "tools/setup", "test")).startswith("no Python 3.11 or later on PATH")
    line = one_line(run(place, "tools/setup", "test", PYTHON=str(old)))
    assert line == f"PYTHON={old} is older than Python 3.11"
    assert one_line(run(place, "tools/setup", PYTHON="/nowhere")) == "PYTHON=/nowhere is not there"


def test_a_python_without_venv_is_one_line(place: Path) -> None:
    fake(place, "python3.12", FAKE_PYTHON.replace("*ensurepip*) exit 0", "*ensurepip*) exit 1"))
    assert "apt install python3-venv" in one_line(run(place, "tools/setup", "test"))
    assert not (place / ".venv").exists()


def test_the_newest_python_is_taken(place: Path) -> None:
    for name in ("python3.11", "python3.14", "python3.13", "python3"):
        fake(place, name, FAKE_PYTHON.replace("3.12.1", name))
    assert "setting up .venv with Python python3.14" in run(place, "tools/setup", "test").stdout


def test_browser_tests_are_skipped_with_a_line_but_not_in_ci(place: Path) -> None:
    done = run(place, "tools/setup-browser")
    assert done.returncode == 0
    assert "browser tests are skipped (apt install chromium chromium-driver)" in done.stderr
    assert "browser tests are skipped" in one_line(run(place, "tools/setup-browser", CI="true"))
    for name in ("chromium", "chromedriver"):
        fake(place, name, "")
    done = run(place, "tools/setup-browser", CI="true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_right_to_install_the_browser_is_not_touched(place: Path) -> None:
    fake(place, "apt-get", "#!/usr/bin/env bash\nexit 1\n")
    fake(place, "id", "#!/usr/bin/env bash\necho 1000\n")
    fake(place, "sudo", "#!/usr/bin/env bash\nexit 1\n")
    assert "no right to install" in run(place, "tools/setup-browser").stderr


def test_lab_allows_root_only_as_root(place: Path) -> None:
    (place / ".venv/bin").mkdir(parents=True)
    jupyter = place / ".venv/bin/jupyter"
    jupyter.write_text('#!/usr/bin/env bash\necho "$@"\n')
    jupyter.chmod(0o755)
    for uid, flag in (("0", " --allow-root"), ("1000", "")):
        fake(place, "id", f"#!/usr/bin/env bash\necho {uid}\n")
        assert run(place, "tools/lab").stdout.strip() == f"lab --notebook-dir=examples{flag}"


def test_make_help_names_every_command() -> None:
    said = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True).stdout
    assert [line.split()[1] for line in said.splitlines()] == [
        "help", "demo", "lab", "docs", "test", "coverage", "test-slow", "test-newest", "test-lowest",
        "labextension", "lock", "bench", "dist", "lint", "clean",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_real_setup_without_an_index(place: Path) -> None:
    python = find_python(13) or find_python(12) or find_python(11)
    assert python
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
    }
    assert "no package index answers" in one_line(run(place, "tools/setup", "demo", PYTHON=python, **nowhere))
