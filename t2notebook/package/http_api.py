"""Serves packages to agents: the core package to everyone, a job's package to who knows the job's secret.

Files are named by their content, so whatever an agent has fetched once it may keep. Mesos's fetcher asks HEAD
before GET when it may cache, and needs Content-Length; ranges, HEAD and conditional requests are tornado's.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from ..protocol.auth import ANSWER, SCHEME, matches, parse_authorization, sign_answer
from .job_package import SUFFIX

#: ``lookup(job_id)`` gives the job's secret and the digest of its package, or None for an unknown job.
Lookup = Callable[[str], tuple[str, str] | None]

_YEAR = 365 * 24 * 3600


class _PackageHandler(StaticFileHandler):
    """A directory's files under ``/<name>``: no listing, no subdirectory, nothing hidden."""

    cache_control = "public"

    def set_default_headers(self) -> None:
        """Drop tornado's advertisement."""
        self.clear_header("Server")

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Answer 404 for whatever is no file right in the directory."""
        path = Path(absolute_path)
        if path.parent != Path(root) or path.name.startswith(".") or path.is_symlink() or not path.is_file():
            raise HTTPError(404, reason="Not Found")
        return super().validate_absolute_path(root, absolute_path)

    def get_content_type(self) -> str:
        """Return the one type that nobody tries to unpack or show."""
        return "application/octet-stream"

    def compute_etag(self) -> str | None:
        """Return the file's name, which its content gives; nothing is read for it."""
        assert self.absolute_path is not None
        return f'"{Path(self.absolute_path).name}"'

    def get_modified_time(self) -> datetime.datetime | None:
        """Return None: the ETag says all."""
        return None

    def set_extra_headers(self, path: str) -> None:
        """Say that the content of this URL never changes."""
        self.set_header("Cache-Control", f"{self.cache_control}, max-age={_YEAR}, immutable")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with one line of text."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.clear_header("Cache-Control")
        self.finish(f"{self._reason}\n" if self.request.method != "HEAD" else None)


class CorePackageHandler(_PackageHandler):
    """``/v1/core/<file>``: the core package, for Mesos's fetcher."""


class JobPackageHandler(_PackageHandler):
    """``/v1/packages/<digest>``: a job's package, for requests that the job's secret signs."""

    cache_control = "private"

    def initialize(self, path: str, lookup: Lookup) -> None:  # type: ignore[override]
        """Take the directory and what knows the jobs."""
        super().initialize(path)
        self._lookup = lookup

    def prepare(self) -> None:
        """Refuse a request that no job has signed, or that is for another job's package.

        Raises
        ------
        tornado.web.HTTPError
        """
        credentials = parse_authorization(self.request.headers.get("Authorization", ""))
        job = self._lookup(credentials[0]) if credentials is not None else None
        if credentials is None or job is None:
            raise HTTPError(401, reason="Unauthorized")
        secret, digest = job
        if not matches(credentials[1], secret, self.request.method or "", self.request.uri or ""):
            raise HTTPError(401, reason="Unauthorized")
        self.proof = sign_answer(secret, credentials[1])
        self.set_default_headers()
        if self.path_args[0] != digest:
            raise HTTPError(404, reason="Not Found")
        if not Path(self.root, f"{digest}{SUFFIX}").is_file():
            raise HTTPError(410, reason="Gone")

    def set_default_headers(self) -> None:
        """Prove that we know the job's secret, as soon as the request has."""
        super().set_default_headers()
        if proof := getattr(self, "proof", ""):
            self.set_header(ANSWER, proof)

    def parse_url_path(self, url_path: str) -> str:
        """Return the file of a digest."""
        return f"{url_path}{SUFFIX}"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say how to sign, where that is what was missing."""
        if status_code == 401:
            self.set_header("WWW-Authenticate", SCHEME)
        super().write_error(status_code, **kwargs)


def routes(core_dir: Path, package_dir: Path, lookup: Lookup) -> list[tuple[str, type, dict[str, Any]]]:
    """Return the routes for a `tornado.web.Application`.

    Parameters
    ----------
    core_dir : Path
        Holds the core packages, under names that their content gives.
    package_dir : Path
        Holds job packages, ``<digest>.t2``.
    lookup : callable
    """
    return [
        (r"/v1/core/([A-Za-z0-9_][A-Za-z0-9._-]*)", CorePackageHandler, {"path": os.path.abspath(core_dir)}),
        (
            r"/v1/packages/([0-9a-f]{64})",
            JobPackageHandler,
            {"path": os.path.abspath(package_dir), "lookup": lookup},
        ),
    ]
