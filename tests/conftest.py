"""Ground of every test: interrupts that arrive, and folders of no user; and that none harms the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

#: A busy machine takes what time it takes; how long an example took says nothing.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("busy")

REPOSITORY = Path(__file__).parents[1]

#: Names the folder that stands for the user's own ones; the processes that the tests start inherit it.
FOLDER = "T2TESTS_FOLDER"

#: The system's own: whoever runs the tests may be root.
SYSTEM = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/etc")

#: Where Debian's package manager notes what it does.
PACKAGES = Path("/var/lib/dpkg")


def _deliver_interrupts() -> None:
    """Let the tests and what they start be interrupted.

    In the background of a shell that is not interactive SIGINT is ignored, and so it is in all that is started there.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def _use_folders_of_our_own() -> str | None:
    """Keep the user's sessions, clusters and settings apart from the tests'; return the folder if it was made here."""
    if FOLDER in os.environ:  # pytest-xdist's workers share it
        return None
    folder = tempfile.mkdtemp(prefix="t2-tests-")
    os.environ[FOLDER] = folder
    for name in [name for name in os.environ if name.startswith("T2_") and not name.startswith("T2_TEST_")]:
        del os.environ[name]
    for name in (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "IPYTHONDIR",
        "MPLCONFIGDIR",
    ):
        os.environ[name] = os.path.join(folder, name.removesuffix("DIR").strip("_").lower())
    return folder


def _short_ways() -> set[Path]:
    """Return the directories that stand for runtime directories whose paths are too long for a socket."""
    return set(Path("/tmp").glob(f"t2notebook-{os.getuid()}-*"))


_deliver_interrupts()
_made = _use_folders_of_our_own()
_there = _short_ways()


def pytest_unconfigure() -> None:
    if _made is None:
        return
    shutil.rmtree(_made, ignore_errors=True)
    for directory in _short_ways() - _there:  # pytest's folders have long paths
        if not any(directory.glob("*.sock")):
            shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(wrapper=True, trylast=True)  # within pytest-cov's
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Remove files of coverage that processes have left that were killed before they could write anything.

    pytest-cov, which looks at them next, would warn of each and leave it there.
    """
    result = yield
    if not hasattr(session.config, "workerinput"):
        for path in REPOSITORY.glob(".coverage.*"):
            if _is_unfinished(path):
                path.unlink(missing_ok=True)
    return result


def _is_unfinished(path: Path) -> bool:
    """Whether a file of coverage's has nothing in it: its tables come in one transaction, before all else."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'coverage_schema'").fetchall()
    except sqlite3.Error:
        return False  # that is worth a warning


def system_files() -> dict[str, tuple[int, ...]]:
    """Return what changes about the system's commands and settings when somebody writes to them."""
    found = {}
    for folder in SYSTEM:
        if Path(folder).is_dir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
                        with contextlib.suppress(FileNotFoundError):  # somebody's temporary file
                            status = entry.stat(follow_symlinks=False)
                            facts = (status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns)
                            found[entry.path] = facts
    return found


def packages_changed(since: float) -> bool:
    """Whether the machine's package manager has been at work: what it changes is no test's doing.

    It notes each step in these folders before it takes it; the minute is for a step that had begun before.
    """
    return any(
        path.exists() and path.stat().st_mtime > since - 60
        for path in (PACKAGES / "updates", PACKAGES / "info")
    )


@pytest.fixture(autouse=True, scope="module")
def harm_nothing() -> Iterator[None]:
    """Fail the module whose tests wrote to the system's own files, through a link for instance."""
    begun, before = time.time(), system_files()
    yield
    after = system_files()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if changed and packages_changed(begun):
        return
    assert not changed, f"these tests (or somebody else meanwhile) changed {', '.join(changed)}"
