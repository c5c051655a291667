"""locks/: what pyproject.toml asks for, pinned with hashes for every Python and platform, from no index of its own."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import MINORS, REPOSITORY, output_of

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]

PLATFORMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}


@dataclass(frozen=True)
class Locked:
    requirement: Requirement
    hashes: tuple[str, ...]


def locked(extra: str, repository: Path = REPOSITORY) -> Iterator[Locked]:
    """Read a lock as pip does: a requirement a line, lines that end in a backslash joined."""
    text = (repository / "locks" / f"{extra}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line)
            yield Locked(Requirement(requirement), tuple(part.strip() for part in hashes))


def pins(extra: str, environment: dict[str, str]) -> dict[str, str]:
    """Return the version of each package that `extra`'s lock installs in `environment`."""
    found: dict[str, str] = {}
    for each in locked(extra):
        requirement = each.requirement
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in found
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def environments() -> Iterator[dict[str, str]]:
    for minor in MINORS:
        for platform in PLATFORMS.values():
            yield {
                **platform,
                "python_version": f"3.{minor}",
                "python_full_version": f"3.{minor}.9",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }


def test_every_extra_has_a_lock_and_nothing_else_has() -> None:
    assert {path.stem for path in (REPOSITORY / "locks").iterdir()} == set(EXTRAS)


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_holds_what_pyproject_asks_for(extra: str) -> None:
    wanted = [*PYPROJECT["project"]["dependencies"], *EXTRAS[extra], *PYPROJECT["build-system"]["requires"]]
    for environment in environments():
        found = pins(extra, environment)
        for requirement in map(Requirement, wanted):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = found[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), (
                    f"{requirement}, but {version} is locked; make lock"
                )


def test_the_locks_go_together_in_one_environment() -> None:
    for environment in environments():
        together: dict[str, str] = {}
        for extra in EXTRAS:
            for name, version in pins(extra, environment).items():
                assert together.setdefault(name, version) == version, name


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_pins_every_package_by_hash(extra: str) -> None:
    for each in locked(extra):
        assert re.fullmatch(r"==[\w.!+]+", str(each.requirement.specifier)), each
        assert each.requirement.url is None, each
        assert each.hashes, each
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in each.hashes), each


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_names_no_index_and_no_place(extra: str) -> None:
    text = (REPOSITORY / "locks" / f"{extra}.txt").read_text()
    assert re.findall(r"^-.*|\w+://\S*|--(?!hash)\S+| @ .*", text, re.MULTILINE) == []
    assert "/" not in text


def test_every_python_that_is_tested_is_declared() -> None:
    prefix = "Programming Language :: Python :: 3."
    declared = [name for name in PYPROJECT["project"]["classifiers"] if name.startswith(prefix)]
    assert declared == [f"{prefix}{minor}" for minor in MINORS]
    assert PYPROJECT["project"]["requires-python"] == f">=3.{min(MINORS)}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_lock_that_is_kept_moves_no_pin(checkout: Path, tmp_path: Path) -> None:
    """Made in a clean checkout, with settings of a machine's own that must not get into it."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "constraints.txt").write_text("six==1.16.0\n")
    settings = {
        "PYTHON": sys.executable,
        "UV_FIND_LINKS": str(tmp_path / "wheels"),
        "UV_CONSTRAINT": str(tmp_path / "constraints.txt"),
    }
    output_of(checkout / "tools" / "lock", "--keep", env=os.environ | settings)
    for extra in EXTRAS:
        made = {str(each.requirement) for each in locked(extra, checkout)}
        assert made == {str(each.requirement) for each in locked(extra)}
        assert str(tmp_path) not in (checkout / "locks" / f"{extra}.txt").read_text()
    assert (checkout / "binder/requirements.txt").read_text() == (checkout / "locks/demo.txt").read_text()
