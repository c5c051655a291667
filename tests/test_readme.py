"""What the README says of tests and files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FAULTS = re.findall(r"^\| .* \| \[`(test_\w+)`\]\(([\w/.]+)\) \|$", README, re.MULTILINE)
LINKS = {link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link}


def test_the_table_of_faults_is_read() -> None:
    assert len(FAULTS) > 15


@pytest.mark.parametrize(("name", "path"), FAULTS, ids=[name for name, _ in FAULTS])
def test_each_fault_names_a_test_that_is_there(name: str, path: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(LINKS))
def test_each_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
