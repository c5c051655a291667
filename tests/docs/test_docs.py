"""The documentation: it builds without a warning, and its generated pages have what the code has."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import t2notebook as t2
from t2notebook.config import Config
from t2notebook.notebook.magics.dispatch import VERBS, parser_of
from tests.packaging.conftest import copy_checkout

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the pages that are written from the code, written by a process of their own, as a build does."""
    folder = tmp_path_factory.mktemp("generated") / "pages"
    code = "import sys; from pathlib import Path; from reference import write; write(Path(sys.argv[1]))"
    path = os.pathsep.join([str(ROOT / "docs/_ext"), str(ROOT)])
    subprocess.run(
        [sys.executable, "-c", code, folder], check=True, env={**os.environ, "PYTHONPATH": path}, timeout=60
    )
    return folder


def test_every_verb_and_each_of_its_options_is_described(generated: Path) -> None:
    text = (generated / "verbs.md").read_text()
    sections = dict(re.findall(r"^### ([^\n]+)\n\n```text\n(.*?)\n```", text, re.MULTILINE | re.DOTALL))
    assert set(VERBS) < set(sections)
    for verb in VERBS:
        assert all(option in sections[verb] for option in parser_of(verb).options())
    assert {"t2notebook local", "t2notebook list", "t2notebook kill"} < set(sections)
    assert all(section.startswith("usage:") for section in sections.values())


def test_every_setting_has_its_default_its_variable_and_a_meaning(generated: Path) -> None:
    rows = [line.split(" | ") for line in (generated / "settings.md").read_text().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{one.name}`" for one in dataclasses.fields(Config)]
    for (_, default, variable, meaning), one in zip(rows, dataclasses.fields(Config), strict=True):
        assert default == f"`{one.default!r}`"
        assert variable == f"`T2_{one.name.upper()}`"
        assert len(meaning) > 10


def test_the_api_page_has_every_public_name_once(generated: Path) -> None:
    text = (ROOT / "docs/api.md").read_text() + (generated / "names.md").read_text()
    named = re.findall(r"^\.\. auto\w+:: (?:t2notebook\.)?(\w+)$", text, re.MULTILINE)
    assert set(t2.__all__) - {"__version__"} <= set(named)
    assert len(named) == len(set(named))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("myst_nb") is None:
        pytest.skip("sphinx and myst-nb are not installed (tools/setup docs)")
    source = copy_checkout(tmp_path / "checkout")  # a build writes pages beside its sources
    html = tmp_path / "html"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        source / "docs",
        html,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "ramp-up" in (html / "_generated/examples/sharing.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert (html / f"{page.stem}.html").exists()
