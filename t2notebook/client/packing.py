"""Packs a job with what lies beside the notebook."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.errors import Twister2Warning
from ..model.job import Twister2Job
from . import notebook_directories, setups

if TYPE_CHECKING:
    from ..package.job_package import BuiltPackage

#: Paths of files, folders and globs that a job takes along.
Files = Sequence[str | os.PathLike[str]] | str | os.PathLike[str]


def pack(job: Twister2Job, directory: Path, files: Files = ()) -> BuiltPackage:
    """Write a job's package into `directory`: its function, its modules, `files`, and the notebook's setup.

    Parameters
    ----------
    job : Twister2Job
    directory : Path
    files : str or sequence of str
        Data files, by their paths here.

    Raises
    ------
    SubmitError
        When something of it cannot travel.
    """
    from ..package.files import data_files
    from ..package.job_package import build

    beside = notebook_directories.beside()
    memory = min(resource.ram_mega_bytes for resource in job.resources) * 1024 * 1024
    first = setups.current()
    return build(
        job.worker,
        job.config,
        directory=directory,
        local_dirs=beside,
        name=job.name,
        files=data_files(files, beside, memory),
        setup=first.make() if first is not None else None,
    )


def tell(package: BuiltPackage) -> None:
    """Warn of what the user should know about a package; the warning's place is the caller's caller."""
    for note in package.notes:
        warnings.warn(note, Twister2Warning, stacklevel=3)
