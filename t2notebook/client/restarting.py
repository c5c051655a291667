"""Jobs that are begun again from their last checkpoint, and what they leave behind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..config import get_config
from ..journal import read_jobs
from ..journal.reader import PACKAGES, RESULTS
from ..model.errors import SubmitError, Twister2Error
from . import locator
from .handles import _known, attach
from .job import Job
from .submission import hand_over, spool_directory

#: How many earlier jobs a restarted one may take its checkpoint from.
_GENERATIONS = 20


def restart(job_id: str, *, credentials: Mapping[str, str] | None = None) -> Job:
    """Run a job that has ended once more: the same code, values and resources, from its last checkpoint if it has one.

    Parameters
    ----------
    job_id : str
        As `attach` takes it, of any kernel's.
    credentials : mapping, optional
        As for `submit`: they are in no file, so a job that had some needs them again.

    Returns
    -------
    Job
        Another job, with an id of its own. ``env.checkpoint`` gives it what the earlier one had committed.

    Raises
    ------
    UnknownJob
    SubmitError
        When it has not ended, its package is no longer there, or it was made by another Python.
    """
    earlier = attach(job_id)
    whole, directory = locator.find(earlier.job_id)
    if not earlier.state.is_final:
        raise SubmitError(
            f"job {whole} is {earlier.state}; kill it, or wait for its end, before it is restarted"
        )
    spec = earlier.spec
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if spec.python != python:
        raise SubmitError(
            f"job {whole} was packaged by Python {spec.python}, this is Python {python}; submit it again from here"
        )
    if missing := sorted(set(spec.credentials) - set(credentials or {})):
        raise SubmitError(
            f"job {whole} needs its credentials again, which are in no file: t2.restart({whole!r}, "
            f"credentials=...) with {', '.join(missing)}"
        )
    package = directory / PACKAGES / f"{spec.package}.t2"
    spool = spool_directory()
    try:
        try:
            copied = Path(shutil.copy(package, spool))
        except FileNotFoundError:
            raise SubmitError(
                f"the package of job {whole} has been removed (it was kept for a week, up to a quota); submit it again"
            ) from None
        again = replace(spec, restore_jobs=(whole, *spec.restore_jobs)[:_GENERATIONS])
        link, replica = hand_over(get_config(), again, copied, dict(credentials or {}))
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    handle = _known[replica.job_id] = Job(link, again, replica)
    return handle


def clear(job_id: str) -> list[str]:
    """Remove what a job that has ended left: its results and package, and its part of the persistent volume.

    What it printed lies in sandboxes, which Mesos removes in its time; its row in `jobs` and its events stay.

    Parameters
    ----------
    job_id : str
        As `attach` takes it.

    Returns
    -------
    list of str
        What was removed.

    Raises
    ------
    UnknownJob
    Twister2Error
        When the job has not ended, or its persistent volume cannot be reached from here.
    """
    job = attach(job_id)
    whole, directory = locator.find(job.job_id)
    if not job.state.is_final:
        raise Twister2Error(f"job {whole} is {job.state}; kill it, or wait for its end, before it is cleared")
    removed = []
    if (results := directory / RESULTS / whole).exists():
        shutil.rmtree(results)
        removed.append(f"the results in {results}")
    specs = read_jobs(directory)
    ours = {whole: job.spec, **{other: spec for other, spec in specs.items() if spec.serves == whole}}
    others = {spec.package for other, spec in specs.items() if other not in ours}
    for job_id, spec in ours.items():
        if job_id != whole:  # its job master's, which people do not know as a job
            shutil.rmtree(directory / RESULTS / job_id, ignore_errors=True)
        package = directory / PACKAGES / f"{spec.package}.t2"
        if spec.package not in others and package.exists():
            package.unlink()
            removed.append(
                f"its package {package}" if job_id == whole else f"its job master's package {package}"
            )
    if job.spec.persistent_volume:
        removed += _clear_volume(job.spec.persistent_volume, whole)
    return removed


def _clear_volume(root: str, job_id: str) -> list[str]:
    place = f"{root.rstrip('/')}/{job_id}"
    try:
        if "://" in root:
            from fsspec.core import url_to_fs

            fs, path = url_to_fs(place)
            if not fs.exists(path):
                return []
            fs.rm(path, recursive=True)
        else:
            if not Path(root).is_dir():
                raise OSError("it is not on this machine")
            if not Path(place).exists():
                return []
            shutil.rmtree(place)
    except (OSError, ImportError, ValueError) as error:
        raise Twister2Error(f"{place} could not be removed from here: {error}") from error
    return [f"its part of the persistent volume, {place}"]
