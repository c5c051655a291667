"""The surroundings that a kernel gives its session, and all that follows: packages, signals, users."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.session.conftest import ROOT, end, eventually, kernel, processes, sessions_of, submit

BACKPORTS = ("dataclasses", "asyncio", "uuid", "pathlib", "enum", "typing", "random", "argparse", "json")
RUN = """
    import t2notebook as t2
    job = t2.submit(lambda env: env.worker_id, workers=2, ram_mega_bytes=64)
    print(job.results(timeout=60))
    t2.shutdown()
"""


def run(code: str, clean: Path, prefix: tuple[str, ...] = (), **environment: str) -> str:
    """Run a kernel to its end; return what it printed."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )
    log = "".join(path.read_text() for path in clean.rglob("session-*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + log
    return done.stdout.strip()


def backports(directory: Path) -> Path:
    """Make modules that are older than the standard library's of the same names: nothing can work with them."""
    directory.mkdir()
    for name in BACKPORTS:
        (directory / f"{name}.py").write_text(f"raise ImportError('the old backport of {name}')\n")
    return directory


def test_backports_beside_the_package_are_not_the_standard_library(clean: Path, tmp_path: Path) -> None:
    """As in site-packages: they lie beside t2notebook, and after the standard library on the kernel's path."""
    site = backports(tmp_path / "site-packages")
    shutil.copytree(ROOT / "t2notebook", site / "t2notebook", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"""
    import sys, typing
    sys.path.insert(0, {str(site)!r})
    import t2notebook
    sys.path.append(sys.path.pop(0))
    assert t2notebook.__file__.startswith({str(site)!r})
    """
    assert run(f"{code}{RUN}", clean) == "[0, 1]"


def test_the_session_is_of_the_kernels_package_and_not_of_one_that_comes_first(
    clean: Path, tmp_path: Path
) -> None:
    """A t2notebook on PYTHONPATH that this kernel did not take is not the session's either."""
    other = backports(tmp_path / "other")
    (other / "t2notebook").mkdir()
    (other / "t2notebook" / "__init__.py").write_text("raise ImportError('another t2notebook')\n")
    code = f"    import os; os.environ['PYTHONPATH'] = {str(other)!r}\n{RUN}"
    assert run(code, clean) == "[0, 1]"


BLOCKED = """
    import signal
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
"""
SIGNALS = """
    def state(env):
        import signal
        ignored = [n.name for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
        return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), sorted(ignored)
    import t2notebook as t2
    job = t2.submit(state, ram_mega_bytes=64)
    print(job.results(timeout=60))
"""


def test_blocked_and_ignored_signals_are_not_inherited(clean: Path) -> None:
    """SIGCHLD blocked in the kernel: supervisor and agents outlived t2.shutdown()."""
    code = f"{BLOCKED}{SIGNALS}    t2.shutdown()\n"
    assert run(code, clean) == "[([], ['SIGPIPE', 'SIGXFSZ'])]"
    eventually(lambda: not processes(clean), timeout=20)


def test_each_process_has_no_signal_blocked_or_ignored(clean: Path) -> None:
    code = f"""{BLOCKED}
    import t2notebook as t2
    import os, sys, time
    job = t2.submit(lambda env: __import__("time").sleep(300), ram_mega_bytes=64)
    while job.state.value != "STARTED": time.sleep(0.02)
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    job.kill()
    job.wait(30)
    t2.shutdown()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    kernel = int(process.stdout.readline())
    mine = {pid: command for pid, command in processes(clean).items() if pid != kernel}
    assert len(mine) >= 4
    bits = sum(
        1 << (number - 1) for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP)
    )
    for pid, command in mine.items():
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert int(status["SigBlk"], 16) & bits == 0, command
        # A launcher ignores what would end it before it has swept up.
        assert int(status["SigIgn"], 16) & bits & ~(1 << signal.SIGTERM - 1) == 0, command
    process.communicate("\n", timeout=60)
    eventually(lambda: not processes(clean), timeout=20)


def as_a_uid(uid: int) -> tuple[str, ...]:
    """Return the beginning of a command line that has a uid which nobody has given a name."""
    prefix = ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}")
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there are no user namespaces here")
    return prefix


def test_a_uid_without_a_passwd_line(clean: Path) -> None:
    """A container's arbitrary uid ended in a bare KeyError."""
    uid = 54321
    printed = run(f"{RUN}    print(job.job_id.split('-')[0])\n", clean, as_a_uid(uid), USER="", LOGNAME="")
    assert printed.splitlines() == ["[0, 1]", f"u{uid}"]


@pytest.mark.parametrize("user", ["no-such-user", "daemon", "caf\udce9"])
def test_user_and_logname_decide_nothing(clean: Path, user: str) -> None:
    """They decided who runs the workers; an unknown one was PENDING for ever."""
    code = """
    import os
    import t2notebook as t2
    job = t2.submit(lambda env: __import__("os").getuid(), ram_mega_bytes=64)
    print(job.results(timeout=60) == [os.getuid()], job.job_id.split("-")[0])
    t2.shutdown()
    """
    import pwd

    name = pwd.getpwuid(os.getuid()).pw_name
    assert run(code, clean, USER=user, LOGNAME=user, LC_ALL="POSIX") == f"True {name}"


def test_the_name_of_a_user_is_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd
    from types import SimpleNamespace

    from t2notebook.model.process import user_name

    # As `pwd` gives it under a POSIX locale without UTF-8 mode.
    for shown, name in (("jos\udcc3\udca9", "jos\u00e9"), ("caf\udce9", "caf\ufffd"), ("ada", "ada")):
        monkeypatch.setattr(pwd, "getpwuid", lambda _, shown=shown: SimpleNamespace(pw_name=shown))
        assert user_name() == name


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (
            'echo "$0: error while loading shared libraries: libx.so.1: cannot open shared object file" >&2; exit 127',
            "error while loading shared libraries: libx.so.1: cannot open shared object file",
        ),
        (
            "echo 'Fatal Python error: no module encodings' >&2; exit 1",
            "Fatal Python error: no module encodings",
        ),
    ],
)
def test_a_program_that_cannot_start_is_not_tried_five_times(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, line: str
) -> None:
    import t2notebook as t2

    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setenv("T2_PYTHON", str(python))
    job = t2.submit(lambda env: 1, workers=2, ram_mega_bytes=64)
    with pytest.raises(t2.JobFailed) as caught:
        job.results(timeout=60)
    first = str(caught.value).splitlines()[0]
    assert "the executor cannot start on " in first and line in first
    assert "fetcher" not in str(caught.value)
    # one more try; two where the agent's end came before its executor's last words could be read
    assert job.tasks.restarts.max() <= 2
    t2.shutdown()


@pytest.mark.parametrize("end", ["exit 127", "kill -SEGV $$"])
def test_a_program_that_ends_without_a_word_is_said_to_have(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Mesos says "Executor terminated" of it, and nothing else did."""
    import t2notebook as t2

    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{end}\n")
    python.chmod(0o755)
    monkeypatch.setenv("T2_PYTHON", str(python))
    job = t2.submit(lambda env: 1, ram_mega_bytes=64, max_worker_restarts=0)
    with pytest.raises(t2.JobFailed) as caught:
        job.results(timeout=60)
    assert "Executor terminated; the executor on 127.0.0.1 ended without a word before a worker ran" in str(
        caught.value
    )
    assert "t2.configure(python=...) names another" in str(caught.value)
    t2.shutdown()


@pytest.mark.skipif(os.getuid() != 0, reason="only root's agents look for users")
def test_an_unknown_user_ends_the_job_at_once(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import t2notebook as t2

    monkeypatch.setenv("T2_USER", "no-such-user")
    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    with pytest.raises(
        t2.JobFailed, match=r"there is no user 'no-such-user' on .*t2.configure\(user="
    ) as caught:
        job.results(timeout=30)
    assert len(str(caught.value).splitlines()) == 1
    assert job.tasks.restarts.tolist() == [0]
    t2.shutdown()


@pytest.mark.usefixtures("uncalled")
def test_a_setting_that_keeps_workers_from_being_served_is_named(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[Errno 98] Address already in use, of what?; and for bind="no.such.host" the master was blamed."""
    import socket

    import t2notebook as t2

    def refused(**settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(t2.JobFailed) as caught:
            t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=40)
        for name in settings:
            monkeypatch.delenv(name)
        t2.shutdown()
        eventually(lambda: not sessions_of(clean))
        return str(caught.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(T2_PORT=str(port))
        assert (
            f"port is {port}, which another program has on 127.0.0.1; name another with t2.configure(port="
            in told
        )
    told = refused(T2_BIND="no.such.host.invalid")
    assert "bind is 'no.such.host.invalid', which cannot be found" in told and "master" not in told
    assert "bind is '192.0.2.1', which is no address of this machine" in refused(T2_BIND="192.0.2.1")


def test_a_log_level_that_is_none(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import t2notebook as t2

    monkeypatch.setenv("T2_LOG", "loud")
    with pytest.raises(t2.SessionError, match="T2_LOG is LOUD; give one of "):
        t2.submit(lambda env: 1)


def test_workers_on_this_machine_find_what_the_kernel_finds(clean: Path, tmp_path: Path) -> None:
    """sys.path entries that the notebook added, PYTHONPATH, the user's own packages and libraries."""
    for name in ("added", "given", "user"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"t2_{name}.py").write_text(f"value = {name!r}\n")
    code = f"""
    import os, site, sys
    sys.path.insert(0, {str(tmp_path / "added")!r})
    sys.path.append({str(tmp_path / "user")!r})
    import t2notebook as t2
    def work(env):
        import ctypes, os, subprocess, sys
        found = [__import__("t2_" + name).value for name in ("added", "given", "user")]
        child = subprocess.run([sys.executable, "-c", "import t2_given; print(t2_given.value)"],
                               capture_output=True, text=True)
        return (found, child.stdout.strip(), os.environ["LD_LIBRARY_PATH"], os.environ.get("PYTHONUSERBASE", ""),
                os.environ["PATH"] == {os.environ["PATH"]!r}, os.environ["HOME"] != {os.environ.get("HOME", "")!r},
                "OF_NOBODY" in os.environ)
    base = site.getuserbase() if site.ENABLE_USER_SITE else ""
    print(t2.submit(work, ram_mega_bytes=64).results(60)[0] == (
        ["added", "given", "user"], "given", "/a:/b", base, True, True, False))
    t2.shutdown()
    """
    assert (
        run(code, clean, PYTHONPATH=str(tmp_path / "given"), LD_LIBRARY_PATH="/a:/b", OF_NOBODY="x") == "True"
    )


def test_a_library_beside_the_standard_ones_is_found_on_this_machine(clean: Path, tmp_path: Path) -> None:
    """The loader reads LD_LIBRARY_PATH when a program starts: in the worker it would be too late."""
    import ctypes.util

    real = next(Path("/").glob("usr/lib*/*/libz.so.1"), None) or next(
        Path("/").glob("lib*/*/libz.so.1"), None
    )
    if real is None:
        pytest.skip(f"no library to copy ({ctypes.util.find_library('z')})")
    shutil.copy(real, tmp_path / "libt2own.so.1")
    code = """
    import t2notebook as t2
    job = t2.submit(lambda env: __import__("ctypes").CDLL("libt2own.so.1") is not None, ram_mega_bytes=64)
    print(job.results(60))
    t2.shutdown()
    """
    assert run(code, clean, LD_LIBRARY_PATH=str(tmp_path)) == "[True]"


def test_a_cluster_of_the_kernels_own_is_on_this_machine_too_and_another_is_not(
    clean: Path, tmp_path: Path
) -> None:
    (tmp_path / "t2_added.py").write_text("value = 1\n")
    code = f"""
    import sys
    sys.path.insert(0, {str(tmp_path)!r})
    import t2notebook as t2
    from t2notebook.client import surroundings
    with t2.LocalMesos(agents=1) as mesos:
        t2.configure(master=mesos.master)
        print(t2.submit(lambda env: __import__("t2_" + "added").value, ram_mega_bytes=64).results(60))
        t2.shutdown()
    print(surroundings.is_embedded(t2.configure(master=mesos.master)))
    print(surroundings.is_embedded(t2.configure(master="10.0.0.1:5050")))
    """
    assert run(code, clean).splitlines() == ["[1]", "False", "False"]


def test_a_session_of_another_version_in_the_same_runtime_directory(clean: Path) -> None:
    """Each version has a session of its own; jobs of one are seen, attached and killed from the other."""
    older, job_id = submit(steps=1000, then="    time.sleep(100)\n")
    newer = kernel(
        f"""
        import t2notebook._version
        t2notebook._version.__version__ = "9.9.9"
        import t2notebook as t2

        print(t2.submit(lambda: "new", workers=1, ram_mega_bytes=64).results(timeout=60))
        print({job_id!r} in set(t2.jobs().job_id), end=" ")
        job = t2.attach({job_id!r})
        print(job.state.value, end=" ")
        job.kill()
        print(job.wait(60).value)
        """
    )
    assert newer.stdout is not None
    assert newer.stdout.readline() == "['new']\n"
    assert len(sessions_of(clean)) == 2
    assert newer.stdout.readline() == "True STARTED KILLED\n"
    end(newer)
    older.kill()
    end(older)
