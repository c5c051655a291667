from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from t2notebook.package import core_package
from t2notebook.package.core_package import CorePackage, build_core
from tests.busy import longer
from tests.worker.fakes import FakeAgent, FakeSession

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> CorePackage:
    return build_core(tmp_path_factory.mktemp("core"))


def test_it_names_itself_by_its_content(package: CorePackage) -> None:
    assert package.path.name == f"t2-core-{package.digest[:16]}.pyz"
    assert package.path.stat().st_size == package.size
    assert package.python == PYTHON


def test_what_is_in_it_and_nothing_else(package: CorePackage) -> None:
    with zipfile.ZipFile(package.path) as archive:
        names = archive.namelist()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        content = b"".join(archive.read(name) for name in names)
    assert names == sorted(names)
    roots = {name.rpartition("/")[0] for name in names}
    assert roots == {
        "",
        "cloudpickle",
        "t2notebook",
        "t2notebook/dataflow",
        "t2notebook/dataflow/agent",
        "t2notebook/jobmaster",
        "t2notebook/model",
        "t2notebook/protocol",
        "t2notebook/protocol/reducers",
        "t2notebook/worker",
        "t2notebook/worker/executor",
        "t2notebook/worker/process",
    }
    assert [name for name in names if not name.endswith(".pyc")] == ["__main__.py"]
    assert "t2notebook/worker/executor/executor.pyc" in names
    # Tracebacks and digests must not depend on where it was built.
    assert str(Path(core_package.__file__).parents[2]).encode() not in content


def test_a_job_master_on_the_cluster_needs_nothing_else(package: CorePackage) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import t2notebook.jobmaster.hosted as hosted; hosted.run"
    command = [sys.executable, "-I", "-S", "-c", code, str(package.path)]  # no site-packages
    subprocess.run(command, check=True, timeout=60)


def test_the_same_sources_give_the_same_bytes_anywhere(package: CorePackage, tmp_path: Path) -> None:
    build = (
        "import sys; from pathlib import Path; from t2notebook.package.core_package import build_core; "
        "print(build_core(Path(sys.argv[1])).digest)"
    )
    for seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", build, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(core_package.__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == package.digest


def test_the_second_call_costs_nothing(package: CorePackage) -> None:
    written = package.path.stat().st_mtime_ns
    times = []
    for _ in range(5):
        began = time.perf_counter()
        assert build_core(package.path.parent) == package
        times.append(time.perf_counter() - began)
    assert package.path.stat().st_mtime_ns == written
    assert min(times) < longer(0.01)  # about 0.8 ms on an idle machine


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    package = build_core(tmp_path)
    package.path.write_bytes(b"cut")
    assert build_core(tmp_path) == package
    assert package.path.stat().st_size == package.size
    (tmp_path / "t2-core.json").write_text("{")
    assert build_core(tmp_path) == package
    package.path.unlink()
    assert build_core(tmp_path) == package
    assert package.path.exists()


def test_a_changed_source_gives_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_core(tmp_path)
    more = tmp_path / "more.py"
    more.write_text("x = {'a', 'b', 'c'}\n")
    inputs = core_package._inputs
    monkeypatch.setattr(core_package, "_inputs", lambda: [*inputs(), ("t2notebook/more.py", more)])
    after = build_core(tmp_path)
    assert after.digest != before.digest
    assert before.path.exists(), "an executor may be fetching it"


def test_many_at_once(tmp_path: Path) -> None:
    found: list[CorePackage] = []
    threads = [threading.Thread(target=lambda: found.append(build_core(tmp_path / "core"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({package.digest for package in found}) == 1 and len(found) == 4
    assert sorted(os.listdir(tmp_path / "core")) == sorted(["t2-core.json", found[0].path.name])


def test_it_runs_as_an_executor(package: CorePackage, tmp_path: Path) -> None:
    session, agent = FakeSession(), FakeAgent(tmp_path / "sandbox")
    try:
        (tmp_path / "sandbox" / "core.pyz").write_bytes(package.path.read_bytes())
        # As Mesos starts it: from the sandbox, by a relative name, with next to no environment.
        agent.start([sys.executable, "-I", "core.pyz", "--idle-timeout", "30"], PYTHONPATH="")
        ids = [agent.launch(session.launch(session.add(lambda env: env.worker_id), n)) for n in range(2)]
        for number, task_id in enumerate(ids):
            assert agent.end_of(task_id)["state"] == "TASK_FINISHED"
            assert session.result(number) == number

        def imports(env: object) -> list[str]:
            import t2notebook.model.job  # was not imported before the worker changed its directory

            return [t2notebook.model.job.__file__, t2notebook.__version__]

        agent.end_of(agent.launch(session.launch(session.add(imports)), "imports"))
        assert session.result()[0] == str(
            tmp_path / "sandbox" / "core.pyz" / "t2notebook" / "model" / "job.pyc"
        )
        agent.send({"type": "SHUTDOWN"})
        assert agent.process is not None and agent.process.wait(5) == 0
        assert not [line for line in agent.log().splitlines() if "t2notebook executor: " not in line]
    finally:
        agent.close()
        session.close()


def test_frames_of_ours_are_known_in_the_zip_as_well(package: CorePackage, tmp_path: Path) -> None:
    session, agent = FakeSession(), FakeAgent(tmp_path / "sandbox")
    try:
        agent.start([sys.executable, str(package.path)], PYTHONPATH="")
        agent.end_of(agent.launch(session.launch(session.add(lambda env: 1 / 0)), "task"))
        frames = session.facts()["error"]["traceback"].splitlines()[1:]
        assert frames[0].startswith(f'  File "{__file__}"')
    finally:
        agent.close()
        session.close()


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 1), (3, 99, 0)])
def test_another_python_says_both_versions(package: CorePackage, version: tuple[int, int, int]) -> None:
    script = "import runpy, sys; sys.version_info = %r; runpy.run_path(%r, run_name='__main__')"
    script %= (version, str(package.path))
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert f"Python {PYTHON}" in answer.stderr and f"starts Python {version[0]}.{version[1]}" in answer.stderr


def test_by_hand_it_says_what_it_is(package: CorePackage) -> None:
    answer = subprocess.run([sys.executable, str(package.path)], capture_output=True, text=True, env={})
    assert answer.returncode == 1
    assert answer.stderr.startswith("the t2notebook executor is started by a Mesos agent, not by hand")
    assert len(answer.stderr.splitlines()) == 1
