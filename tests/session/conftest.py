"""Real sessions on the embedded Mesos, in directories of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directories that no other test shares, and settings for short lives."""
    base = tmp_path_factory.mktemp("home")
    settings = {
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "JUPYTER_DATA_DIR": str(base / "data"),
        "JUPYTER_CONFIG_DIR": str(base / "config"),
        "T2_SESSION_LINGER": "0.5",
        "T2_LOCAL_LINGER": "0.5",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in [name for name in os.environ if name.startswith("T2_") and name not in settings]:
            patch.delenv(name)
        yield base


@pytest.fixture(scope="module", autouse=True)
def unconfigured() -> Iterator[None]:
    """What one module configures is nothing to the next, which would find its T2_MASTER overruled."""
    from t2notebook.config import sources

    before = dict(sources._configured)
    yield
    sources._configured.clear()
    sources._configured.update(before)


@pytest.fixture(scope="module")
def t2(home: Path) -> Iterator[object]:
    """The package, with a session that ends with the module's last test."""
    import t2notebook
    from t2notebook import client

    yield t2notebook
    t2notebook.shutdown()
    eventually(lambda: not processes(home), timeout=30)
    client.stop_cluster()


def eventually(condition: Callable[[], object], timeout: float = 15.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def processes(home: Path) -> dict[int, str]:
    """Return the living processes that were started for `home`: pid -> command line."""
    found = {}
    marker = f"JUPYTER_RUNTIME_DIR={home / 'runtime'}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if marker in (entry / "environ").read_bytes() or str(home) in command:
                found[int(entry.name)] = command
        except OSError:
            continue
    return {pid: command for pid, command in found.items() if command}


def kernel(code: str, **environment: str) -> subprocess.Popen[str]:
    """Start a Python process that stands for a kernel."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def sessions_of(home: Path) -> list[int]:
    """Return the pids of the living sessions of `home`."""
    return [pid for pid, command in processes(home).items() if "t2notebook.session" in command]


SUBMIT = """
    import time
    import t2notebook as t2

    def work(env):
        import time
        for step in range({steps}):
            env.progress(step, {steps})
            time.sleep(0.1)
        return env.worker_id

    job = t2.submit(work, workers=2, ram_mega_bytes=64, on_exit={on_exit!r})
    while job.state.value != "STARTED":
        time.sleep(0.02)
    print(job.job_id)
"""


@pytest.fixture
def clean(home: Path) -> Iterator[Path]:
    """Each test begins and ends without any process of ours."""
    yield home
    try:
        eventually(lambda: not processes(home), timeout=60)
    except AssertionError:
        raise AssertionError(f"still there: {processes(home)}") from None
    finally:
        left = processes(home)
        for pid in left:  # so that one test's leftovers fail that test alone
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def uncalled(clean: Path) -> Iterator[None]:
    """The embedded Mesos ends with the test, and need not wait until the session that failed surely does not come."""
    from t2notebook import client

    yield
    client.stop_cluster()


def submit(steps: int, on_exit: str | None = None, then: str = "") -> tuple[subprocess.Popen[str], str]:
    code = SUBMIT.format(steps=steps, on_exit=on_exit) + then
    process = kernel(code)
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    assert job_id
    return process, job_id


def end(process: subprocess.Popen[str], number: int | None = None) -> int:
    if number is not None:
        process.send_signal(number)
    code = process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()
    return code
