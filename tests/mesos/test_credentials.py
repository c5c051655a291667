"""TLS and credentials on the wire: real certificates, a real TLS server."""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from t2notebook.mesos import driver as driver_module
from t2notebook.mesos import transport
from t2notebook.mesos.agent_files import Sandbox, SandboxError
from t2notebook.mesos.credentials import ANONYMOUS, AccessError, Credentials, tls_context
from t2notebook.model.address import agent_url
from tests.mesos.fakes import SUBSCRIBED, FakeMaster, Recorder, a_driver, answer, stream, until


class Authority:
    """A CA, with what it has issued as files."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.file = self._write("ca.pem", self.ca.cert_pem)
        client = self.ca.issue_cert("ada@example.org")
        self.client = self._write("client.pem", *client.cert_chain_pems)
        self.key = self._write("client.key", client.private_key_pem)
        self.both = self._write("both.pem", *client.cert_chain_pems, client.private_key_pem)

    def _write(self, name: str, *blobs: trustme.Blob) -> str:
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def server(self, *names: str, mutual: bool = False, **issue: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, **issue).configure_cert(context)
        if mutual:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.02)


def subscribe(
    server: ssl.SSLContext | None, access: Credentials, host: str = "localhost", scheme: str = "https"
) -> Any:
    """Return what a driver is told by such a master, and the master."""

    async def main() -> Any:
        master, recorder = FakeMaster(tls=server), Recorder()
        master.script = [stream(SUBSCRIBED)]
        driver = a_driver(recorder, f"{scheme}://{host}:{master.port}", access)
        driver.start()
        await until(lambda: bool(recorder.told))
        if driver.connected:
            driver.suppressOffers()
            await until(lambda: master.types() == ["SUPPRESS"])
        await driver.stop(teardown=True)
        await master.close()
        return recorder.told, master

    return asyncio.run(main())


def test_https_with_an_authority_of_our_own(authority: Authority) -> None:
    told, master = subscribe(
        authority.server("localhost"), Credentials.of("", "", tls=True, ca=authority.file)
    )
    assert [name for name, *_ in told] == ["subscribed"]
    assert told[0][3] == "127.0.0.1"
    assert master.types() == ["SUPPRESS", "TEARDOWN"]
    assert master.headers[0]["Host"] == f"localhost:{master.port}"


def test_a_certificate_for_a_number(authority: Authority) -> None:
    access = Credentials.of("", "", tls=True, ca=authority.file)
    told, _ = subscribe(authority.server("127.0.0.1"), access, host="127.0.0.1")
    assert told[0][0] == "subscribed"


@pytest.mark.parametrize("separate", [True, False])
def test_a_certificate_of_ours(authority: Authority, separate: bool) -> None:
    files = {"cert": authority.client, "key": authority.key} if separate else {"cert": authority.both}
    access = Credentials.of("", "", tls=True, ca=authority.file, **files)
    told, _ = subscribe(authority.server("localhost", mutual=True), access)
    assert told[0][0] == "subscribed"


DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "unknown",
            "its certificate is signed by nobody we trust (unable to get local issuer certificate); name its CA",
        ),
        ("system", "its certificate is signed by nobody we trust"),
        (
            "host",
            "its certificate is for another host (Hostname mismatch, certificate is not valid for 'localhost')",
        ),
        ("expired", "its certificate has expired"),
        ("early", "its certificate is not valid yet"),
        (
            "no client",
            "it does not accept us by our certificate (tlsv13 alert certificate required); see tls_cert",
        ),
        ("wrong client", "it does not accept us by our certificate (tlsv1 alert unknown ca); see tls_cert"),
    ],
)
def test_tls_that_fails_is_final_and_one_line(
    authority: Authority, stranger: Authority, case: str, message: str
) -> None:
    ca, files = authority.file, {}
    server = authority.server("localhost")
    if case == "unknown":
        ca = stranger.file
    elif case == "system":
        ca = "system"
    elif case == "host":
        server = authority.server("mesos.example.org")
    elif case == "expired":
        server = authority.server("localhost", not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    elif case == "early":
        server = authority.server("localhost", not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    elif case == "no client":
        server = authority.server("localhost", mutual=True)
    else:
        server = authority.server("localhost", mutual=True)
        files = {"cert": stranger.client, "key": stranger.key}
    told, master = subscribe(server, Credentials.of("p", "s3cret", tls=True, ca=ca, **files))
    ((name, text),) = told
    assert name == "error"
    assert text.startswith(f"https://localhost:{master.port}: {message}")
    assert "\n" not in text
    assert master.headers == [], "no secret went there"


@pytest.mark.parametrize("answers", [True, False])
def test_a_master_without_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.3)

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65536)
            if answers:
                writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            else:
                await reader.read(65536)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        recorder = Recorder()
        access = Credentials.of("p", "s3cret", tls=True, ca=authority.file)
        driver = a_driver(recorder, f"https://localhost:{server.sockets[0].getsockname()[1]}", access)
        driver.start()
        await until(lambda: bool(recorder.told))
        assert recorder.told[0][0] == ("error" if answers else "disconnected")
        assert recorder.told[0][1].endswith("; is it a master by http://?")
        await driver.stop()
        server.close()

    asyncio.run(main())


def test_http_to_a_master_with_tls_says_so(authority: Authority) -> None:
    told, _ = subscribe(authority.server("localhost"), ANONYMOUS, scheme="http")
    assert told[0][0] == "disconnected"


def test_a_certificate_that_expires_under_a_framework_is_waited_for(authority: Authority) -> None:
    """What runs goes on until somebody has renewed it."""

    async def main() -> None:
        expired = authority.server("localhost", not_before=NOW - 2 * DAY, not_after=NOW - DAY)
        master, recorder = FakeMaster(tls=expired), Recorder()
        access = Credentials.of("", "", tls=True, ca=authority.file)
        driver = a_driver(recorder, f"https://localhost:{master.port}", access, id={"value": "F"})
        driver.start()
        await until(lambda: recorder.names().count("disconnected") == 2)
        assert "error" not in recorder.names()
        await driver.stop()
        await master.close()

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["", "https:"])
def test_a_redirect_keeps_to_tls(authority: Authority, scheme: str) -> None:
    async def main() -> None:
        home, leader = (FakeMaster(tls=authority.server("localhost")) for _ in range(2))
        leader.script = [stream(SUBSCRIBED)]
        home.script = [answer(307, Location=f"{scheme}//localhost:{leader.port}/master/api/v1/scheduler")]
        access = Credentials.of("alice", "s3cret", tls=True, ca=authority.file)
        driver = a_driver(Recorder(), f"https://localhost:{home.port}", access)
        driver.start()
        await until(lambda: driver.connected)
        assert driver.leader == f"https://localhost:{leader.port}"
        await driver.stop()
        for master in (home, leader):
            await master.close()

    asyncio.run(main())


def test_a_redirect_to_plain_http_does_not_get_the_secret(authority: Authority) -> None:
    async def main() -> None:
        home, thief = FakeMaster(tls=authority.server("localhost")), FakeMaster()
        thief.script = [stream(SUBSCRIBED)]
        home.script = [answer(307, Location=f"http://127.0.0.1:{thief.port}/api/v1/scheduler")]
        recorder = Recorder()
        access = Credentials.of("alice", "s3cret", tls=True, ca=authority.file)
        driver = a_driver(recorder, f"https://localhost:{home.port}", access)
        driver.start()
        await until(lambda: len(home.subscriptions) >= 2)
        assert thief.headers == []
        await driver.stop()
        for master in (home, thief):
            await master.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (ANONYMOUS, "wants to know who we are; set principal and secret_file, or T2_PRINCIPAL and T2_SECRET"),
        (Credentials("x"), "wants to know who we are; set principal and secret_file"),
        (
            Credentials("x", "s3cret"),
            "refuses principal 'x': it does not know it, or the secret is wrong; see secret_file",
        ),
    ],
)
def test_a_master_that_does_not_know_us(
    access: Credentials, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        master, recorder = FakeMaster(), Recorder()
        master.script = [answer(401, "401 Unauthorized.")]
        driver = a_driver(recorder, master.address, access)
        driver.start()
        await until(lambda: "error" in recorder.names())
        ((name, text),) = recorder.told
        assert name == "error"
        assert text.startswith(f"the master {master.address} {message}")
        await driver.stop()
        await master.close()

    asyncio.run(main())
    assert "s3cret" not in caplog.text and "s3cret" not in repr(access)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ca": "/absent"}, "tls_ca /absent is no file of certificates in PEM (No such file or directory)"),
        ({"ca": __file__}, "tls_ca .* is no file of certificates in PEM"),
        ({"cert": __file__}, "tls_cert .* is no certificate with its key in PEM"),
        ({"cert": "CLIENT"}, "tls_cert .* is no certificate with its key in PEM"),
        ({"cert": "CLIENT", "key": "OTHER"}, "tls_cert .* with tls_key .* is no .* .key values mismatch"),
        ({"cert": "CLIENT", "key": "ENCRYPTED"}, "the key is encrypted, and a session has nobody to ask"),
    ],
)
def test_files_that_are_not_what_they_should_be(
    authority: Authority, stranger: Authority, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(Path(authority.key).read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    known = {"CLIENT": authority.client, "OTHER": stranger.key, "ENCRYPTED": str(encrypted)}
    with pytest.raises(AccessError, match=message.replace("(", ".").replace(")", ".")):
        tls_context(**{name: known.get(path, path) for name, path in files.items()})


def test_a_folder_of_authorities(authority: Authority) -> None:
    assert tls_context(ca=str(authority.folder)).verify_mode is ssl.CERT_REQUIRED


# Agents' files.


def with_agent(
    tls: ssl.SSLContext | None, code: int, scenario: Callable[[str, list[str | None]], Awaitable[None]]
) -> None:
    async def main() -> None:
        seen: list[str | None] = []

        class Handler(RequestHandler):
            def get(self) -> None:
                seen.append(self.request.headers.get("Authorization"))
                self.set_status(code)
                if code == 307:
                    self.set_header("Location", "/files/elsewhere")
                self.finish(json.dumps({"data": "hello", "offset": 5}))

        (sock,) = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(Application([("/files/.*", Handler)]), ssl_options=tls)
        server.add_socket(sock)
        url = {"address": {"hostname": "localhost", "ip": "127.0.0.1", "port": sock.getsockname()[1]}}
        try:
            await scenario(agent_url({**url, "scheme": "https" if tls else "http"}), seen)
        finally:
            server.stop()
            await server.close_all_connections()

    asyncio.run(main())


def test_an_agent_is_shown_the_same_credential(authority: Authority) -> None:
    access = Credentials.of("alice", "s3cret", tls=True, ca=authority.file)

    async def scenario(url: str, seen: list[str | None]) -> None:
        assert url.startswith("https://localhost:")
        sandbox = Sandbox(url, "F", "E", access)
        assert await sandbox.size("stdout") == 5
        assert await sandbox.read("stdout") == b"hello"
        target = io.BytesIO()
        await sandbox.download("stdout", target)
        assert json.loads(target.getvalue())["data"] == "hello"
        assert seen == ["Basic YWxpY2U6czNjcmV0"] * 3

    with_agent(authority.server("localhost"), 200, scenario)


@pytest.mark.parametrize("by_tls", [False, True])
def test_an_agent_without_tls_gets_it_only_beside_a_master_without(
    authority: Authority, by_tls: bool
) -> None:
    access = Credentials.of("alice", "s3cret", tls=by_tls, ca=authority.file)

    async def scenario(url: str, seen: list[str | None]) -> None:
        assert url.startswith("http://127.0.0.1:")
        await Sandbox(url, "F", "E", access).size("stdout")
        assert seen == [None if by_tls else "Basic YWxpY2U6czNjcmV0"]

    with_agent(None, 200, scenario)


@pytest.mark.parametrize(
    ("code", "access", "message"),
    [
        (401, ANONYMOUS, "the agent wants to know who we are; see principal and secret_file"),
        (401, Credentials("alice", "s3cret"), "the agent refuses principal 'alice'"),
        (307, Credentials("alice", "s3cret"), "HTTP 307"),
    ],
)
def test_agents_that_do_not_give_a_file(code: int, access: Credentials, message: str) -> None:
    async def scenario(url: str, seen: list[str | None]) -> None:
        with pytest.raises(SandboxError, match=message):
            await Sandbox(url, "F", "E", access).size("stdout")
        assert len(seen) == 1, "a redirect is not followed with a secret in hand"

    with_agent(None, code, scenario)


def test_an_agent_whose_certificate_is_not_trusted(authority: Authority, stranger: Authority) -> None:
    async def scenario(url: str, seen: list[str | None]) -> None:
        access = Credentials.of("alice", "s3cret", tls=True, ca=stranger.file)
        with pytest.raises(
            SandboxError, match=r"the agent at https://localhost:\d+ does not answer: its certificate"
        ):
            await Sandbox(url, "F", "E", access).size("stdout")
        assert seen == []

    with_agent(authority.server("localhost"), 200, scenario)


def test_a_master_with_the_ciphers_of_libprocess() -> None:
    """Mesos with TLS as it comes speaks none of those that Python takes by itself; seen on a real one."""
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers("AES128-SHA:AES256-SHA:DHE-RSA-AES128-SHA:DHE-RSA-AES256-SHA:@SECLEVEL=0")
    ca.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA).configure_cert(server)
    client = tls_context()
    ca.configure_trust(client)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(outgoing, incoming, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (ours, theirs):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert done == {ours, theirs}
    assert ours.version() == "TLSv1.2"


def test_an_agent_that_is_said_to_speak_http_and_speaks_tls(tmp_path: Path) -> None:
    """A real master with TLS names its agents with http."""

    class Read(RequestHandler):
        def get(self) -> None:
            self.write({"data": "hi", "offset": 0})

    async def main() -> None:
        ca = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        server = HTTPServer(Application([("/files/read", Read)]), ssl_options=context)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        access = Credentials.of("", "", tls=True, ca=str(tmp_path / "ca.pem"), cert="", key="")
        assert await Sandbox(url, "F", "E", access).read("stdout") == b"hi"
        with pytest.raises(SandboxError, match="does not answer"):
            await Sandbox(url, "F", "E").read("stdout")
        server.stop()
        await server.close_all_connections()

    asyncio.run(main())
