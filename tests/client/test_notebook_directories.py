"""The notebook's directory stays its own, wherever the user goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.client import notebook_directories


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory that is nobody's, as after ``%cd``."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setattr(notebook_directories, "_FIRST", str(tmp_path))
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    return tmp_path / "data"


def test_the_current_directory_comes_first(here: Path) -> None:
    assert notebook_directories.beside({}) == [here, here.parent]


@pytest.mark.parametrize("name", ["__vsc_ipynb_file__", "JPY_SESSION_NAME", "_dh", "__file__"])
def test_who_tells_where_the_notebook_is(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = here.parent / "notebooks"
    home.mkdir()
    (home / "a.ipynb").touch()
    namespace = {name: [str(home), str(here)] if name == "_dh" else str(home / "a.ipynb")}
    if name == "JPY_SESSION_NAME":
        monkeypatch.setenv(name, str(home / "a.ipynb"))
        namespace = {}
    assert notebook_directories.beside(namespace) == [here, home, here.parent]


@pytest.mark.parametrize("value", [None, 3, "", "a.ipynb", "/nowhere/at/all.ipynb", "<stdin>", []])
def test_what_tells_nothing_is_passed_over(
    value: object, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(value))
    names = ("__vsc_ipynb_file__", "_dh", "__file__")
    assert notebook_directories.beside(dict.fromkeys(names, value)) == [here, here.parent]


def test_a_launcher_is_no_script(here: Path) -> None:
    import sys

    import pytest as installed

    for launcher in (installed.__file__, sys.executable):
        assert notebook_directories.beside({"__file__": launcher}) == [here, here.parent]


def test_a_current_directory_that_is_gone(here: Path) -> None:
    here.rmdir()
    assert notebook_directories.beside({}) == [here.parent]
