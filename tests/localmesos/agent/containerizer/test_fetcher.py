"""The fetcher: through a real agent, from a loopback server that counts; and its rules alone."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.agent.containerizer.fetcher import Fetcher, FetchError, basename
from t2notebook.localmesos.agent.containerizer.fetcher_cache import Cache
from t2notebook.localmesos.agent.containerizer.sandbox import User
from tests.localmesos.agent.test_recovery import checkpointing, kill_agent
from tests.localmesos.client import Framework, agent_address, encoded, request, task
from tests.localmesos.conftest import executor_info

Make = Callable[..., Framework]


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("pack/inside.txt")
        info.size = 7
        tar.addfile(info, io.BytesIO(b"inside\n"))
    return packed.getvalue()


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as one:
        info = zipfile.ZipInfo("run.sh")
        info.external_attr = 0o755 << 16
        one.writestr(info, "#!/bin/sh\necho ran\n")
    return packed.getvalue()


class Web:
    """A file server; `log` has a line a request."""

    def __init__(self) -> None:
        self.files = {
            "/hello.txt": b"hello\n",
            "/pack.tar.gz": archive(),
            "/pack.tar.gz?v=1": archive(),
            "/tools.zip": zipped(),
            "/plain.gz": gzip.compress(b"plain\n"),
            "/tool.sh": b"#!/bin/sh\necho tool\n",
            "/broken.tar.gz": b"no archive",
        }
        self.log: list[str] = []
        self.head = True
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(False)

            def do_GET(self) -> None:
                self.answer(True)

            def answer(self, with_body: bool) -> None:
                web.log.append(f"{self.command} {self.path}")
                if self.path == "/moved":
                    self.send_response(302)
                    self.send_header("Location", "/hello.txt")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = web.files.get(self.path)
                if body is None or (not with_body and not web.head):
                    self.send_response(404 if body is None else 501)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    one = Web()
    yield one
    one.close()


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., Path]:
    cache = Cache(str(tmp_path / "cache"))
    count = iter(range(100))

    def run(*uris: dict[str, object], user: str = "me") -> Path:
        sandbox = tmp_path / f"sandbox{next(count)}"
        sandbox.mkdir()
        Fetcher(str(sandbox), User(user), cache).run(list(uris))
        return sandbox

    return run


def test_plain_file(web: Web, fetch: Callable[..., Path]) -> None:
    sandbox = fetch({"value": f"{web.url}/hello.txt"})
    assert (sandbox / "hello.txt").read_text() == "hello\n"
    assert "does not seem to be an archive" in (sandbox / "stderr").read_text()


def test_archive_is_extracted_and_stays(web: Web, fetch: Callable[..., Path]) -> None:
    sandbox = fetch({"value": f"{web.url}/pack.tar.gz"})
    assert (sandbox / "pack/inside.txt").read_text() == "inside\n"
    assert (sandbox / "pack.tar.gz").exists()


def test_cached_archive_is_extracted_and_does_not_stay(web: Web, fetch: Callable[..., Path]) -> None:
    sandbox = fetch({"value": f"{web.url}/pack.tar.gz", "cache": True})
    assert (sandbox / "pack/inside.txt").exists()
    assert not (sandbox / "pack.tar.gz").exists()


def test_zip_keeps_modes_and_gz_is_unpacked(web: Web, fetch: Callable[..., Path]) -> None:
    sandbox = fetch({"value": f"{web.url}/tools.zip"}, {"value": f"{web.url}/plain.gz"})
    assert os.access(sandbox / "run.sh", os.X_OK)
    assert (sandbox / "plain").read_text() == "plain\n"


def test_extract_false_and_executable_turn_extraction_off(web: Web, fetch: Callable[..., Path]) -> None:
    sandbox = fetch(
        {"value": f"{web.url}/pack.tar.gz", "extract": False},
        {"value": f"{web.url}/tool.sh", "executable": True, "output_file": "bin/tool"},
    )
    assert not (sandbox / "pack").exists()
    assert os.access(sandbox / "bin/tool", os.X_OK)


def test_query_stays_in_the_name_and_is_not_extracted(web: Web, fetch: Callable[..., Path]) -> None:
    sandbox = fetch({"value": f"{web.url}/pack.tar.gz?v=1"})
    assert (sandbox / "pack.tar.gz?v=1").exists()
    assert not (sandbox / "pack").exists()


def test_redirect_is_followed_and_local_paths_are_copied(
    web: Web, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    local = tmp_path / "local.txt"
    local.write_text("local\n")
    sandbox = fetch(
        {"value": f"{web.url}/moved"},
        {"value": str(local)},
        {"value": f"file://{local}", "output_file": "second.txt"},
    )
    assert (sandbox / "moved").read_text() == "hello\n"
    assert (sandbox / "local.txt").read_text() == (sandbox / "second.txt").read_text() == "local\n"


def test_cache_asks_head_then_get_once_a_user(web: Web, fetch: Callable[..., Path]) -> None:
    for _ in range(3):
        sandbox = fetch({"value": f"{web.url}/hello.txt", "cache": True})
        assert (sandbox / "hello.txt").read_text() == "hello\n"
    assert web.log == ["HEAD /hello.txt", "GET /hello.txt"]
    fetch({"value": f"{web.url}/hello.txt", "cache": True}, user="other")
    assert len(web.log) == 4


def test_no_cache_without_head(web: Web, fetch: Callable[..., Path]) -> None:
    web.head = False
    for _ in range(2):
        assert (fetch({"value": f"{web.url}/hello.txt", "cache": True}) / "hello.txt").exists()
    assert web.log == ["HEAD /hello.txt", "GET /hello.txt"] * 2


@pytest.mark.parametrize("path", ["/nope.txt", "/broken.tar.gz"])
def test_failure_says_why(web: Web, fetch: Callable[..., Path], path: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        fetch({"value": web.url + path})
    log = (tmp_path / "sandbox0/stderr").read_text()
    assert ("return code 404" in log) == (path == "/nope.txt")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x"])
def test_output_stays_in_the_sandbox(web: Web, fetch: Callable[..., Path], name: str) -> None:
    with pytest.raises(FetchError):
        fetch({"value": f"{web.url}/hello.txt", "output_file": name})


def test_archive_cannot_write_outside(fetch: Callable[..., Path], tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    with pytest.raises(FetchError):
        fetch({"value": str(evil)})
    assert not (tmp_path / "escaped").exists()


def test_names() -> None:
    assert basename("http://h:1/a/b%20c") == "b c"
    assert basename("/x/y.tar.gz") == "y.tar.gz"
    with pytest.raises(FetchError):
        basename("http://host")


def test_executor_with_cached_uri_on_a_real_agent(web: Web, framework: Make) -> None:
    one = framework()
    offer = one.offers(2)[0]
    uris = [{"value": f"{web.url}/pack.tar.gz", "cache": True}]
    for name in ("e1", "e2"):
        if name == "e2":
            offer = next(found for found in one.offers() if found["agent_id"] == offer["agent_id"])
        info = executor_info(name, uris=uris)
        one.accept(offer, [task(name, offer, executor=info, data=encoded("finish"))])
        one.until("TASK_FINISHED", name)
        path = f"/frameworks/{one.id}/executors/{name}/runs/latest/pack/inside.txt"
        found = request(agent_address(offer), "GET", f"/files/read?path={path}&offset=0")
        assert found.json() == {"data": "inside\n", "offset": 0}
    assert web.log == ["HEAD /pack.tar.gz", "GET /pack.tar.gz"]


def test_a_new_agent_begins_with_an_empty_cache(web: Web) -> None:
    """What an earlier one fetched is in no index any more, and would lie there for ever."""
    with LocalMesos(agents=1, restart=0) as cluster:
        one = checkpointing(cluster)
        uri = {"value": f"{web.url}/hello.txt", "cache": True}
        offer = one.offers()[0]
        one.accept(offer, [task("t", offer, {"shell": True, "value": "true", "uris": [uri]})])
        one.until("TASK_FINISHED")
        cache = Path(cluster.work_dir) / "agent1/fetch"
        assert list(cache.iterdir())
        kill_agent(cluster, offer)
        assert not cache.exists()
        one.call("TEARDOWN")
        one.close()


def test_failed_fetch_fails_the_task(web: Web, framework: Make) -> None:
    one = framework()
    offer = one.offers()[0]
    one.accept(offer, [task("t", offer, {"value": "true", "uris": [{"value": f"{web.url}/nope.txt"}]})])
    status = one.update()
    assert (status["state"], status["reason"], status["source"]) == (
        "TASK_FAILED",
        "REASON_CONTAINER_LAUNCH_FAILED",
        "SOURCE_AGENT",
    )
    assert status["message"].startswith(
        "Failed to launch container: Failed to fetch all URIs for container '"
    )
    assert status["message"].endswith("': exited with status 1")
