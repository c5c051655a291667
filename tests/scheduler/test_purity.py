"""The scheduler decides, its runner acts: nothing else in the room knows a driver, a clock, a disk or a loop."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import t2notebook.scheduler

ROOM = Path(t2notebook.scheduler.__file__).parent
#: The runner, and the question that it asks the master.
EDGE = {"runner.py", "cluster_query.py"}
#: Modules of the standard library, and rooms of ours, that act.
ACTING = {
    "asyncio",
    "threading",
    "time",
    "datetime",
    "os",
    "pathlib",
    "socket",
    "sqlite3",
    "logging",
    "subprocess",
}
ROOMS = ("journal", "mesos", "session", "client", "package")


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_a_part_that_decides_imports_nothing_that_acts(path: Path) -> None:
    if path.name in EDGE:
        return
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & ACTING
        elif isinstance(node, ast.ImportFrom):
            name = (node.module or "").split(".")[0]
            if node.level == 0 and name in ACTING:
                found.add(name)
            if node.level >= 2 and name in ROOMS:
                found.add(f"..{name}")
            if node.level == 1 and f"{name}.py" in EDGE and path.parent == ROOM:
                found.add(f".{name}")
    assert not found
