"""The fetcher: what a command needs is in its sandbox before it runs. Blocking; an agent runs it in a thread.

The rules are those of Mesos's `fetcher.cpp`: one URI after the other; archives are extracted (and stay, unless
they came from the cache); `executable` wins over extraction; the cache is keyed by user and URI, asks HEAD
then GET once, needs a Content-Length and never refreshes. Log lines go to the sandbox's stderr.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ...common.task_states import Json
from .fetcher_cache import Cache, CacheError, Entry, mark_of
from .sandbox import User

if TYPE_CHECKING:  # both are slow to import
    from http.client import HTTPResponse
    from zipfile import ZipFile

ARCHIVES = (".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tar", ".zip", ".gz")
STALL_SECONDS = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_BLOCK = 1 << 18


class FetchError(Exception):
    """A URI cannot be had."""


class Cancelled(FetchError):
    """The container is no longer wanted."""


class Fetcher:
    """Fetches one container's URIs.

    Parameters
    ----------
    directory, user
        The sandbox, and the owner of the files.
    cache
        The agent's.
    cancelled
        Tells whether the container is no longer wanted.
    """

    def __init__(
        self, directory: str, user: User, cache: Cache, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._directory = directory
        self._user = user
        self._cache = cache
        self._cancelled = cancelled
        self._touched: list[str] = []
        #: Whether the sandbox's stderr could not be written.
        self.is_mute = False

    def run(self, uris: list[Json]) -> None:
        """Fetch all.

        Raises
        ------
        FetchError
            At the first that fails; the sandbox's stderr says why.
        """
        self._log("I", f"Fetching {len(uris)} URIs into '{self._directory}'")
        try:
            for uri in uris:
                self._fetch(uri)
        except FetchError as error:
            self._log("E", f"EXIT: {error}")
            raise
        except OSError as error:
            name = f" '{error.filename}'" if error.filename else ""
            text = f"Failed to write{name}: {error.strerror}"
            self._log("E", f"EXIT: {text}")
            raise FetchError(text) from None
        self._log("I", f"Successfully fetched all URIs into '{self._directory}'")
        if self._user.uid is not None:
            for path in self._touched:
                self._give(path)

    def _fetch(self, uri: Json) -> None:
        value = uri["value"]
        self._log("I", f"Fetching URI '{value}'")
        name = uri.get("output_file") or basename(value)
        target = self._inside(name)
        if uri.get("cache") and self._from_cache(uri, target):
            return
        self._log("I", f"Fetching '{value}' directly into the sandbox directory")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        self._download(value, target)
        self._touched.append(target)
        if uri.get("executable"):
            os.chmod(target, 0o755)
        elif uri.get("extract", True) and not self._extract(target, target):
            self._log(
                "W",
                "Copying instead of extracting resource from URI with 'extract' flag, "
                f"because it does not seem to be an archive: {value}",
            )
        self._log("I", f"Fetched '{value}' to '{target}'")

    def _from_cache(self, uri: Json, target: str) -> bool:
        """Serve a URI by way of the cache; False when it cannot be cached."""
        value = uri["value"]
        entry = self._cache.entry(self._user.name, value)
        with entry.lock:
            try:
                if entry.path is not None and (fault := entry.fault()):
                    self._log(
                        "W", f"The file '{entry.path}' in the cache cannot be used: {fault}; fetching anew"
                    )
                    self._cache.drop(entry)
                if is_old := entry.path is not None:
                    try:
                        self._take(entry, uri, target)
                    except (FetchError, OSError) as error:
                        self._log(
                            "W",
                            f"The file '{entry.path}' in the cache cannot be used: {error}; fetching anew",
                        )
                        self._cache.drop(entry)
                        is_old = False
                if not is_old:
                    if not self._fill(entry, value):
                        return False
                    self._take(entry, uri, target)
            except CacheError as error:
                self._log(
                    "W",
                    f"Reverting to fetching directly into the sandbox for '{value}', "
                    f"due to failure to fetch through the cache, with error: {error}",
                )
                return False
            entry.used = time.monotonic()
        return True

    def _fill(self, entry: Entry, value: str) -> bool:
        """Fetch a URI into the cache; False when it has no room for it.

        Raises
        ------
        CacheError
            The cache cannot be used, or not for this URI.
        FetchError
            There is no such URI.
        """
        try:
            size = self._size(value)
        except FetchError as error:
            raise CacheError(error) from None
        if not self._cache.make_room(size):
            return False
        path = self._cache.new_path(basename(value))
        self._log("I", f"Downloading '{value}' into the cache as '{path}'")
        try:
            self._download(value, path)
            entry.mark = mark_of(os.lstat(path))
        except OSError as error:
            _unlink(path)
            raise CacheError(f"Failed to write '{path}': {error.strerror}") from None
        except BaseException:
            _unlink(path)
            raise
        entry.path, entry.size = path, entry.mark[-2]
        return True

    def _take(self, entry: Entry, uri: Json, target: str) -> None:
        """Extract or copy a file of the cache into the sandbox."""
        value = uri["value"]
        assert entry.path is not None
        self._log("I", f"Fetching '{value}' from the cache at '{entry.path}'")
        if not uri.get("executable") and uri.get("extract", True) and self._extract(entry.path, target):
            self._log("I", f"Fetched '{value}' to '{self._directory}'")
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(entry.path, target)
        self._touched.append(target)
        if uri.get("executable"):
            os.chmod(target, 0o755)
        self._log("I", f"Fetched '{value}' to '{target}'")

    # Getting bytes

    def _size(self, uri: str) -> int:
        """Ask for a URI's size, which the cache needs to know beforehand."""
        if not _is_http(uri):
            try:
                return os.path.getsize(_local(uri))
            except OSError as error:
                raise FetchError(f"Failed to determine size of '{uri}': {error.strerror}") from None
        with _open(uri, "HEAD") as response:
            length = response.getheader("Content-Length", "")
        if not length.isdigit() or int(length) == 0:
            raise FetchError(f"URI content-length for '{uri}' is 0 or unknown")
        return int(length)

    def _download(self, uri: str, target: str) -> None:
        """Fetch a URI into a file.

        Raises
        ------
        FetchError
            There is no such URI, or it does not come whole.
        OSError
            The file cannot be written.
        """
        if not _is_http(uri):
            path = _local(uri)
            try:
                source = open(path, "rb")  # noqa: SIM115
            except OSError as error:
                raise FetchError(f"Failed to fetch '{uri}': Failed to copy: {error.strerror}") from None
            with source, open(target, "wb") as file:
                self._copy(uri, source, file)
            return
        self._log("I", f"Downloading resource from '{uri}' to '{target}'")
        with _open(uri, "GET") as response, open(target, "wb") as file:
            self._copy(uri, response, file)

    def _copy(self, uri: str, source: Any, file: IO[bytes]) -> None:
        import http.client

        while True:
            try:
                block = source.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise FetchError(f"Failed to fetch '{uri}': {error!r}") from None
            if not block:
                if missing := getattr(source, "length", None):
                    raise FetchError(
                        f"Failed to fetch '{uri}': the connection ended with {missing} bytes left"
                    )
                return
            if self._cancelled():
                raise Cancelled("Container was destroyed while fetching")
            file.write(block)

    # Archives

    def _extract(self, source: str, target: str) -> bool:
        """Extract if the name of `target` says that it is an archive."""
        import tarfile
        import zipfile

        name, into = target.lower(), os.path.dirname(target)
        if not name.endswith(ARCHIVES) or "?" in os.path.basename(target):
            return False
        self._log("I", f"Extracting '{source}' to '{into}'")
        os.makedirs(into, exist_ok=True)
        try:
            if name.endswith(".zip"):
                with zipfile.ZipFile(source) as archive:
                    _extract_zip(archive, into)
                    names = archive.namelist()
            elif name.endswith(".gz") and not name.endswith(".tar.gz"):
                import gzip

                plain = target[:-3]
                with gzip.open(source) as packed, open(plain, "wb") as file:
                    shutil.copyfileobj(packed, file)
                names = [os.path.basename(plain)]
            else:
                with tarfile.open(source) as packed_tar:
                    packed_tar.extractall(into, filter="data")
                    names = packed_tar.getnames()
        except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise FetchError(f"Failed to extract '{source}': {error}") from None
        self._touched += [os.path.join(into, name) for name in names]
        return True

    def _inside(self, name: str) -> str:
        """Give a path within the sandbox."""
        if not name or os.path.isabs(name) or ".." in name.split("/"):
            raise FetchError(f"Output file '{name}' must be a path within the sandbox")
        path = os.path.join(self._directory, name)
        parent = os.path.realpath(os.path.dirname(path))
        root = os.path.realpath(self._directory)
        if parent != root and not parent.startswith(root + os.sep):
            raise FetchError(f"Output file '{name}' must be a path within the sandbox")
        return path

    def _give(self, path: str) -> None:
        assert self._user.uid is not None and self._user.gid is not None
        while path != self._directory and path.startswith(self._directory):
            try:
                os.lchown(path, self._user.uid, self._user.gid)
            except OSError as error:
                self._log("W", f"Failed to chown '{path}' to '{self._user.name}': {error.strerror}")
                return
            path = os.path.dirname(path)

    def _log(self, level: str, text: str) -> None:
        now = time.time()
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1e6):06d}"
        line = f"{level}{stamp} {os.getpid()} fetcher.py] {text}\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        try:
            descriptor = os.open(os.path.join(self._directory, "stderr"), flags, 0o644)
            try:
                os.write(descriptor, line.encode("utf-8", "replace"))
            finally:
                os.close(descriptor)
        except OSError:
            self.is_mute = True


def basename(uri: str) -> str:
    """Give the file's name of a URI; a query string stays in it, as in Mesos.

    Raises
    ------
    FetchError
        It names no file.
    """
    if "://" in uri and not uri.startswith("file://"):
        rest = uri.split("://", 1)[1]
        if "/" not in rest or rest.endswith("/"):
            raise FetchError(f"Malformed URI (missing path): {uri}")
        return unquote(rest.rsplit("/", 1)[1]) if "?" not in rest else rest.rsplit("/", 1)[1]
    name = os.path.basename(uri)
    if not name:
        raise FetchError(f"Malformed URI (missing path): {uri}")
    return name


def _is_http(uri: str) -> bool:
    scheme = uri.split("://", 1)[0].lower() if "://" in uri else ""
    if scheme in ("http", "https"):
        return True
    if scheme not in ("", "file"):
        raise FetchError(f"Failed to fetch '{uri}': the embedded Mesos fetches http, https and files only")
    return False


def _local(uri: str) -> str:
    path = uri[len("file://") :] if uri.startswith("file://") else uri
    if path.startswith("localhost/"):
        path = path[len("localhost") :]
    if not os.path.isabs(path):
        raise FetchError(
            f"A relative path was passed for the resource '{uri}' but the agent has no frameworks_home"
        )
    return path


class _open:
    """An HTTP answer with status 200, redirects followed, as a context manager."""

    def __init__(self, uri: str, method: str) -> None:
        self._uri, self._method = uri, method

    def __enter__(self) -> HTTPResponse:  # http.client is imported late: it is slow to import
        import http.client

        uri = self._uri
        for _ in range(20):
            parts = urlsplit(uri)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            try:
                self._connection = kind(parts.netloc.rsplit("@", 1)[-1], timeout=STALL_SECONDS)
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                self._connection.request(self._method, target, headers={"Accept": "*/*"})
                response = self._connection.getresponse()
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise FetchError(
                    f"Failed to fetch '{self._uri}': Error downloading resource: {error}"
                ) from None
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                self._connection.close()
                uri = _join(uri, location)
                continue
            if response.status != 200:
                self._connection.close()
                raise FetchError(
                    f"Failed to fetch '{self._uri}': "
                    f"Error downloading resource, received HTTP return code {response.status}"
                )
            return response
        raise FetchError(f"Failed to fetch '{self._uri}': too many redirects")

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _join(base: str, location: str) -> str:
    from urllib.parse import urljoin

    joined = urljoin(base, location)
    if not _is_http(joined):
        raise FetchError(f"Failed to fetch '{base}': redirected to '{joined}'")
    return joined


def _extract_zip(archive: ZipFile, into: str) -> None:
    """Extract with the modes that `unzip` would set (zipfile leaves them out)."""
    for info in archive.infolist():
        path = archive.extract(info, into)
        mode = info.external_attr >> 16
        if mode & 0o777 and not info.is_dir():
            os.chmod(path, mode & 0o755)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
