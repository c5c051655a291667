"""Requests to the session, signed with the job's secret."""

from __future__ import annotations

import http.client
import os
import socket
from typing import BinaryIO
from urllib.parse import urlsplit

from ...protocol import auth
from ..session_address import SessionAddress

#: What one attempt may meet and the next one may not.
CONNECTION_ERRORS = (OSError, http.client.HTTPException)
_PIECE = 1 << 20


class NotTheSession(ConnectionError):
    """Another program has the session's port now, or another session; ours may be back, or tell where it is."""


class Upload:
    """A body that is sent while it is made; made by `SessionClient.upload`.

    Parameters
    ----------
    client : SessionClient
    connection : HTTPConnection
    signature : str
        The request's.
    """

    def __init__(self, client: SessionClient, connection: http.client.HTTPConnection, signature: str) -> None:
        self._client, self._connection, self._signature = client, connection, signature

    def send(self, data: bytes | memoryview) -> None:
        """Send a piece of the body; raises OSError when the session takes no more."""
        assert self._connection.sock is not None
        self._connection.sock.sendall(data)

    def finish(self, signature: str) -> http.client.HTTPResponse:
        """Send the signature of the whole, and return the answer, unread."""
        self.send(signature.encode("ascii"))
        return self._client.answer(self._connection, self._signature)


class SessionClient:
    """A kept connection to the session's server for workers.

    Parameters
    ----------
    url : str
        ``http://host:port``, with or without a path before ``/v1``.
    job_id, secret : str
        Whose requests these are; `secret` is hex.
    timeout : float
        Seconds that a connection, a write or a read may take.
    session_address : SessionAddress, optional
        Where the session is now, if it moves; `url` is where it is at first.
    """

    def __init__(
        self,
        url: str,
        job_id: str,
        secret: str,
        *,
        timeout: float = 10.0,
        session_address: SessionAddress | None = None,
    ) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._session_address, self._told = session_address, 0
        self._turn_to(url)
        self._job_id, self._secret = job_id, secret
        self._timeout = timeout
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[object, ...]:
        # It holds the secret; whatever is pickled here ends in a sandbox that everyone can read.
        raise TypeError("a worker's connection to its session cannot be pickled")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO = b"",
        *,
        size: int | None = None,
        sha256: str = "",
        content_type: str = "application/octet-stream",
        timeout: float | None = None,
    ) -> http.client.HTTPResponse:
        """Send one request and return the response, its body unread.

        Parameters
        ----------
        method, path : str
            `path` with its query, from ``/v1`` on.
        body : bytes or binary file
            A file is sent from its beginning, by the kernel.
        size : int, optional
            Bytes of a file.
        sha256 : str
            Hex digest of the body; empty without one.
        timeout : float, optional
            In place of the client's.

        Raises
        ------
        OSError, http.client.HTTPException
            When the session cannot be reached or breaks off.
        """
        self.look()
        kept = self._connection is not None and self._pid == os.getpid()
        try:
            return self._request(method, path, body, size, sha256, content_type, timeout)
        except CONNECTION_ERRORS as error:
            self.close()
            # A kept connection may have been closed by the other side since; that costs no attempt.
            if not kept or isinstance(error, TimeoutError):
                raise
        return self._request(method, path, body, size, sha256, content_type, timeout)

    def upload(self, path: str, size: int) -> Upload:
        """Begin a PUT whose body is sent while it is made, and signed at its end.

        Parameters
        ----------
        path : str
            With its query, from ``/v1`` on.
        size : int
            Bytes of the body.

        Raises
        ------
        OSError, http.client.HTTPException
            When the session cannot be reached.
        """
        self.look()
        connection = self._connect(self._timeout)
        connection.putrequest("PUT", self._base + path, skip_accept_encoding=True)
        signature = self.signature("PUT", path, auth.TRAILING)
        connection.putheader("Authorization", auth.authorization(self._job_id, signature))
        connection.putheader(auth.BODY_DIGEST, auth.TRAILING)
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(size + auth.SIGNATURE))
        connection.endheaders()
        return Upload(self, connection, signature)

    def answer(self, connection: http.client.HTTPConnection, signature: str) -> http.client.HTTPResponse:
        """Return the answer to a request, which has to prove that it is the session's.

        Parameters
        ----------
        connection : HTTPConnection
        signature : str
            The request's.

        Raises
        ------
        NotTheSession
        """
        response = connection.getresponse()
        if not auth.matches_answer(response.headers.get(auth.ANSWER, ""), self._secret, signature):
            self.close()
            raise NotTheSession(f"what answers there (HTTP {response.status}) is not this job's session")
        return response

    def signature(self, method: str, path: str, sha256: str = "") -> str:
        """Return the signature that the request would carry.

        Parameters
        ----------
        method, path : str
        sha256 : str
            Of the body.
        """
        return auth.sign(self._secret, method, self._base + path, sha256)

    def look(self) -> bool:
        """Turn to where the session is now; return whether another has taken its place since the last look."""
        if self._session_address is None:
            return False
        number, url = self._session_address.read()
        if number == self._told:
            return False
        self._told = number
        self._turn_to(url)
        return True

    def _turn_to(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"cannot talk to {url!r}; it needs to be http://host:port")
        self.close()
        self.url = url
        self._address = (parts.hostname, parts.port or 80)
        self._base = parts.path.rstrip("/")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO,
        size: int | None,
        sha256: str,
        content_type: str,
        timeout: float | None,
    ) -> http.client.HTTPResponse:
        connection = self._connect(timeout or self._timeout)
        connection.putrequest(method, self._base + path, skip_accept_encoding=True)
        signature = self.signature(method, path, sha256)
        connection.putheader("Authorization", auth.authorization(self._job_id, signature))
        if sha256:
            connection.putheader(auth.BODY_DIGEST, sha256)
        if isinstance(body, bytes):
            if sha256:
                connection.putheader("Content-Type", content_type)
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
        else:
            connection.putheader("Content-Type", content_type)
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            body.seek(0)
            assert connection.sock is not None
            try:
                connection.sock.sendfile(body, 0, size)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent; the answer, if there is one, says why
        return self.answer(connection, signature)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._pid != os.getpid():
            # The user's code forked; the socket belongs to the parent.
            self.close()
            self._pid = os.getpid()
        if self._connection is None:
            host, port = self._address
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout, blocksize=_PIECE)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock.settimeout(timeout)
        return self._connection
