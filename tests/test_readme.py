"""The README and the documentation speak of tests and files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FAULTS = re.findall(
    r"^\| .* \| \[`(test_\w+)`\]\(\.\./([\w/.]+)\) \|$", (ROOT / "docs/faults.md").read_text(), re.MULTILINE
)
LINKS = {
    (page, link)
    for page in PAGES
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    if "://" not in link
}


def test_the_table_of_faults_is_read() -> None:
    assert len(FAULTS) > 15


@pytest.mark.parametrize(("name", "path"), FAULTS, ids=[name for name, _ in FAULTS])
def test_each_fault_names_a_test_that_is_there(name: str, path: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "link"), sorted(LINKS), ids=lambda one: one.name if isinstance(one, Path) else one
)
def test_each_link_leads_somewhere(page: Path, link: str) -> None:
    assert (page.parent / link).exists()
