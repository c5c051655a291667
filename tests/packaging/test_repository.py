"""Files that a forge reads: they are well-formed, and run the commands and Pythons that the project names."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/test.yml"
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_workflow_runs_what_continuous_integration_runs_on_every_python() -> None:
    job = read(WORKFLOW)["jobs"]["test"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = [found[1] for one in classifiers if (found := re.fullmatch(r".* :: (3\.\d+)", one))]
    assert job["strategy"]["matrix"]["python"] == supported
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & stat.S_IXUSR


def test_the_workflow_names_make_targets_that_are_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = read(WORKFLOW)["jobs"]["slow"]["strategy"]["matrix"]["target"]
    assert named == ["coverage", "test-slow", "test-newest", "test-lowest"]
    assert set(named) <= set(targets)


def test_pre_commit_runs_programs_and_tests_that_are_there() -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"].split() for hook in repository["hooks"]]
    assert {Path(entry[0]).name for entry in entries} == {"ruff", "mypy", "python"}
    tests = [word for entry in entries for word in entry if word.startswith("tests/")]
    assert tests
    assert all((ROOT / test).exists() for test in tests)


@pytest.mark.parametrize("path", FORMS, ids=[path.stem for path in FORMS])
def test_issue_forms_are_whole(path: Path) -> None:
    form = read(path)
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert form["name"]
    assert form["description"]
    for element in form["body"]:
        assert element["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert element["attributes"].get("label") or element["attributes"].get("value")


@pytest.mark.parametrize(
    "name", ["SECURITY.md", "RELEASING.md", "CONTRIBUTING.md", ".github/pull_request_template.md"]
)
def test_what_is_linked_and_named_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or ((ROOT / name).parent / link).exists(), link
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)
