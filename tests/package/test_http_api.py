"""Packages over HTTP, as Mesos's fetcher and executors ask for them."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from t2notebook.package.http_api import routes
from t2notebook.protocol.auth import authorization, new_secret, sign

CORE = bytes(range(256)) * 1000
PACKAGE = b"package" * 50_000
DIGEST, OTHER, GONE = "ab" * 32, "cd" * 32, "ef" * 32
SECRETS = {"job-1": new_secret(), "job-2": new_secret(), "job-3": new_secret()}
JOBS = {"job-1": DIGEST, "job-2": OTHER, "job-3": GONE}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    root = tmp_path_factory.mktemp("serve")
    core, packages = root / "core", root / "packages"
    core.mkdir()
    packages.mkdir()
    (core / "t2core-0123.pyz").write_bytes(CORE)
    (core / ".hidden").write_text("hidden")
    (core / "directory").mkdir()
    (root / "secret").write_text("secret")
    (core / "link").symlink_to(root / "secret")
    (packages / f"{DIGEST}.t2").write_bytes(PACKAGE)
    (packages / f"{OTHER}.t2").write_bytes(b"other")

    def lookup(job_id: str) -> tuple[str, str] | None:
        return (SECRETS[job_id], JOBS[job_id]) if job_id in JOBS else None

    loop = asyncio.new_event_loop()
    sockets = bind_sockets(0, "127.0.0.1")

    async def start() -> HTTPServer:
        server = HTTPServer(Application(routes(core, packages, lookup)))
        server.add_sockets(sockets)
        return server

    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield sockets[0].getsockname()[1]

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()
        loop.stop()

    asyncio.run_coroutine_threadsafe(stop(), loop)
    thread.join(10)
    loop.close()


Answer = tuple[int, http.client.HTTPMessage, bytes]


def ask(port: int, method: str, path: str, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def ask_signed(port: int, method: str, path: str, job: str = "job-1", **headers: str) -> Answer:
    return ask(
        port, method, path, Authorization=authorization(job, sign(SECRETS[job], method, path)), **headers
    )


def test_the_core_package_is_for_everyone(port: int) -> None:
    status, headers, body = ask(port, "GET", "/v1/core/t2core-0123.pyz")
    assert (status, body) == (200, CORE)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(len(CORE))
    assert headers["ETag"] == '"t2core-0123.pyz"'
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Last-Modified"] is None
    assert "Content-Encoding" not in headers


def test_the_fetchers_head_has_a_length_and_no_body(port: int) -> None:
    status, headers, body = ask(port, "HEAD", "/v1/core/t2core-0123.pyz")
    assert (status, headers["Content-Length"], body) == (200, str(len(CORE)), b"")


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=250000-", 206, 250_000, len(CORE)),
        ("bytes=-7", 206, len(CORE) - 7, len(CORE)),
        ("bytes=5-99999999", 206, 5, len(CORE)),
        ("nonsense", 200, 0, len(CORE)),
    ],
)
def test_ranges(port: int, asked: str, status: int, first: int, last: int) -> None:
    got, headers, body = ask(port, "GET", "/v1/core/t2core-0123.pyz", Range=asked)
    assert (got, body) == (status, CORE[first:last])
    assert headers["Content-Length"] == str(last - first)
    if status == 206:
        assert headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(CORE)}"


def test_a_range_behind_the_end(port: int) -> None:
    status, headers, _ = ask(port, "GET", "/v1/core/t2core-0123.pyz", Range="bytes=999999999-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(CORE)}")


def test_who_has_it_gets_304(port: int) -> None:
    status, _, body = ask(port, "GET", "/v1/core/t2core-0123.pyz", If_None_Match='"t2core-0123.pyz"')
    assert (status, body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/core/",
        "/v1/core",
        "/v1/core/nope",
        "/v1/core/.hidden",
        "/v1/core/directory",
        "/v1/core/directory/",
        "/v1/core/..",
        "/v1/core/../secret",
        "/v1/core/..%2fsecret",
        "/v1/core/%2e%2e/secret",
        "/v1/core/%2fetc%2fpasswd",
        "/v1/core/t2core-0123.pyz%00",
        "/v1/core/..\\secret",
        "/v1/packages/",
    ],
)
def test_nothing_else_is_there(port: int, path: str) -> None:
    for method in ("GET", "HEAD"):
        status, _, body = ask(port, method, path)
        assert status in (400, 404)
        assert b"secret" not in body


def test_a_link_out_of_the_directory_gives_nothing(port: int) -> None:
    status, _, body = ask(port, "GET", "/v1/core/link")
    assert status in (403, 404)
    assert body != b"secret"


def test_a_jobs_package_is_for_who_knows_its_secret(port: int) -> None:
    path = f"/v1/packages/{DIGEST}"
    status, headers, body = ask_signed(port, "GET", path)
    assert (status, body) == (200, PACKAGE)
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    status, headers, body = ask_signed(port, "HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, str(len(PACKAGE)), b"")
    status, _, body = ask_signed(port, "GET", path, Range="bytes=7-13")
    assert (status, body) == (206, b"package")
    assert ask_signed(port, "GET", f"{path}?x=1")[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic abc",
        "T2-HMAC-SHA256 job-1",
        authorization("job-1", "00" * 32),
        authorization("job-1", ""),
        authorization("job-1", "\xe9"),
        authorization("nobody", sign(SECRETS["job-1"], "GET", f"/v1/packages/{DIGEST}")),
        authorization("job-2", sign(SECRETS["job-1"], "GET", f"/v1/packages/{DIGEST}")),
        authorization("job-1", sign(SECRETS["job-1"], "HEAD", f"/v1/packages/{DIGEST}")),
        authorization("job-1", sign(SECRETS["job-1"], "GET", f"/v1/packages/{OTHER}")),
    ],
    ids=[
        "none",
        "basic",
        "no-mac",
        "wrong",
        "empty",
        "not-ascii",
        "nobody",
        "other-job",
        "other-method",
        "other-path",
    ],
)
def test_without_the_secret_there_is_nothing(port: int, header: str) -> None:
    status, headers, body = ask(port, "GET", f"/v1/packages/{DIGEST}", Authorization=header)
    assert (status, body) == (401, b"Unauthorized\n")
    assert headers["WWW-Authenticate"] == "T2-HMAC-SHA256"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Cache-Control" not in headers


def test_another_jobs_package_is_not_found(port: int) -> None:
    status, _, body = ask_signed(port, "GET", f"/v1/packages/{OTHER}")
    assert (status, body) == (404, b"Not Found\n")
    assert ask_signed(port, "GET", f"/v1/packages/{OTHER}", "job-2")[2] == b"other"


def test_a_package_that_is_gone_is_told_from_one_that_never_was(port: int) -> None:
    assert ask_signed(port, "GET", f"/v1/packages/{GONE}", "job-3")[0] == 410


def test_other_methods_are_refused(port: int) -> None:
    status, _, body = ask(port, "POST", "/v1/core/t2core-0123.pyz", Content_Length="0")
    assert (status, body) == (405, b"Method Not Allowed\n")


def test_one_connection_serves_many_requests(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for method in ("HEAD", "GET", "HEAD", "GET"):
        connection.request(method, "/v1/core/t2core-0123.pyz")
        response = connection.getresponse()
        assert response.read() == (CORE if method == "GET" else b"")
        connection.request(method, "/v1/core/nope")
        assert connection.getresponse().read() == (b"Not Found\n" if method == "GET" else b"")
    connection.close()


def test_a_client_that_leaves_harms_nobody(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/core/t2core-0123.pyz")
    connection.close()
    assert ask(port, "GET", "/v1/core/t2core-0123.pyz")[0] == 200


def test_the_directory_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "core").mkdir()
    handler = routes(Path("core"), Path("packages"), lambda job_id: None)[0]
    assert handler[2] == {"path": str(tmp_path / "core")}
