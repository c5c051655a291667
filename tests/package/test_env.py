"""A notebook's own variable `env` is never replaced without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.model.errors import PackageError, SubmitError
from tests.package.helpers import notebook, pack, run

SETUP = "env = {'K': 1}\ndef helper(): return env['K']\ndef asks(env): return env.worker_id"


def test_it_is_not_taken_along_by_name(tmp_path: Path) -> None:
    with pytest.raises(SubmitError, match="-i env: on workers env is the worker's environment"):
        pack("1", notebook(SETUP), tmp_path, include=["env"])


def test_a_function_that_reads_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="function 'helper' reads the notebook's variable 'env'"):
        pack("helper()", notebook(SETUP), tmp_path)


@pytest.mark.parametrize("cell", ["env.worker_id", "def f(): return env.worker_id\nf()", "asks(env)"])
def test_a_cell_that_reads_env_gets_the_workers_and_a_note(cell: str, tmp_path: Path) -> None:
    package = pack(cell, notebook(SETUP), tmp_path)
    assert run([package.path]) == [("ok", "7")]
    (note,) = package.notes
    assert note.startswith("the notebook has a variable env, which does not travel")


@pytest.mark.parametrize("cell", ["1", "env = 3\nenv", "asks"])
def test_no_note_where_nothing_is_replaced(cell: str, tmp_path: Path) -> None:
    assert pack(cell, notebook(SETUP), tmp_path).notes == ()
    assert pack("env.worker_id", notebook("def helper(): return env"), tmp_path).notes == ()
    package = pack("helper()", notebook("def helper(): return env.worker_id"), tmp_path)
    assert run([package.path]) == [("ok", "7")]
