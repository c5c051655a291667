"""The modules of the views: each a file that a page can import, and one module for anywidget."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from t2notebook.views.modules import STATIC, bundled, text_of

MODULES = sorted(path.name for path in Path(str(STATIC)).glob("*.js"))
#: Those that anywidget gets, with all that they import.
WIDGETS = ("job_view.js", "resource_form.js", "cluster_view.js")

_DECLARED = re.compile(r"^(?:export )?(?:async function|function|class|const|let) (\w+)", re.MULTILINE)
_IMPORTED = re.compile(r"^import .*?;$", re.MULTILINE | re.DOTALL)


def needed(name: str, found: dict[str, None] | None = None) -> list[str]:
    """Return the modules that `name` imports, itself included."""
    found = {} if found is None else found
    for statement in _IMPORTED.findall(text_of(name)):
        other = re.search(r'"\./([\w-]+\.js)"', statement)
        assert other, f"{name}: {statement}"
        needed(other[1], found)
    found[name] = None
    return list(found)


@pytest.mark.parametrize("name", WIDGETS)
def test_views_are_one_module_each_and_nothing_is_lost_in_it(name: str) -> None:
    text = bundled(name)
    assert not re.search(r"^import ", text, re.MULTILINE) and text.count("export ") == 1
    declared = [each for module in needed(name) for each in _DECLARED.findall(text_of(module))]
    # one declared twice would be an error when a page loads it
    assert sorted(declared) == sorted(_DECLARED.findall(text)) and len(set(declared)) == len(declared)
    # comments are for who reads the files
    assert "@param" not in text and not re.search(r"^ *// (?!\w+\.js$)", text, re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small_have_one_idea_and_come_from_nowhere_else(name: str) -> None:
    text = text_of(name)
    assert len(text.splitlines()) <= 300
    assert text.startswith("// "), "its first line says its idea"
    for statement in _IMPORTED.findall(text):
        assert re.fullmatch(r'import (?:\{[^}]*\}|view) from "\./[\w-]+\.js";', statement), statement
    assert "http://" not in text and "https://" not in text


def test_every_module_is_needed() -> None:
    # source.js has types only
    used = {
        module
        for name in (*WIDGETS, "dash.js", "cluster_source.js", "form_source.js")
        for module in needed(name)
    }
    assert used | {"source.js"} == set(MODULES)
