"""Real cells, packed as the notebook packs them, on a real executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2notebook.package.build import build
from t2notebook.package.capture import cell_function
from tests.worker.fakes import FakeAgent, FakeSession

CELL = """\
import numpy as np
from beside import scale

part = data[env.worker_id :: env.number_of_workers]
total = scale(part.sum())
total / divisor
"""
BESIDE = """\
def scale(x):
    return check(x) * 10

def check(x):
    if x > 1000: raise ValueError('too large')
    return x
"""


def end_of_cell(session: FakeSession, agent: FakeAgent, tmp_path: Path, **namespace: Any) -> dict[str, Any]:
    notebook = tmp_path / "notebook"
    notebook.mkdir(exist_ok=True)
    (tmp_path / "packages").mkdir(exist_ok=True)
    (notebook / "beside.py").write_text(BESIDE)
    function = cell_function(CELL, {"__name__": "__main__", **namespace}, name="pi")
    built = build(function, {}, directory=tmp_path / "packages", local_dirs=[notebook], name="pi")
    session.packages[built.digest] = built.path.read_bytes()
    launch = session.launch(built.digest, number_of_workers=1)
    return agent.end_of(agent.launch(launch, f"task-{len(session.requests)}"))


def test_cells(session: FakeSession, agent: FakeAgent, tmp_path: Path) -> None:
    import numpy as np

    end = end_of_cell(session, agent, tmp_path, data=np.arange(10), divisor=3)
    assert end["state"] == "TASK_FINISHED", end
    assert session.result() == 150

    end = end_of_cell(session, agent, tmp_path, data=np.arange(10), divisor="three")
    assert "UFuncTypeError" in end["message"] or "TypeError" in end["message"]
    lines = session.facts()["error"]["traceback"].splitlines()
    assert '"<cell pi>", line 6' in lines[1] and lines[2] == "    total / divisor"

    end = end_of_cell(session, agent, tmp_path, data=np.arange(100), divisor=1)
    assert end["message"] == "ValueError: too large"
    traceback = session.facts()["error"]["traceback"]
    assert '"<cell pi>", line 5' in traceback.splitlines()[1]
    assert "total = scale(part.sum())" in traceback
    assert "if x > 1000: raise ValueError('too large')" in traceback
    assert "worker/run" not in traceback and "package/capture" not in traceback
