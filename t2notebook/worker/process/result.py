"""A worker's result: packed, written to the sandbox, then sent to the session."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, BinaryIO

from ...model.errors import PackageError
from ...protocol import archive
from ...protocol.launch import compressed_result
from ...protocol.pickling import ResultPickler
from .remote_traceback import Failure, one_line, say, type_name
from .session_api import CONNECTION_ERRORS, SessionClient, Upload
from .unpicklable import reason

FILE = "result.t2"
#: Hex signature of the PUT that would carry the file; so whoever reads it from the sandbox can check it as
#: the session would have.
SIGNATURE_FILE = "result.sig"
PATIENCE = 30.0
#: A result of more bytes is sent while it is written.
LARGE = 1 << 20
_PIECE = 1 << 20
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

Members = Sequence[tuple[str, archive.Bytes]]


class Delivery(Enum):
    """The fate of a result."""

    SENT = "sent"
    REFUSED = "refused"  # a newer incarnation of the worker exists, or the job is over
    LEFT = "left"  # only in the sandbox; the session fetches it from there
    LOST = "lost"  # neither sent nor written
    CARRIED = "carried"  # the executor sends it along with the worker's end


@dataclass(frozen=True)
class Delivered:
    """The fate of a result, a line about it where something went wrong, and what the executor is to send along."""

    how: Delivery
    message: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)


def pack_value(value: Any, worker_id: int) -> tuple[Members, Mapping[str, Any]]:
    """Return members and facts of a result's archive.

    Raises
    ------
    PackageError
        When it cannot be pickled; the message names the part that cannot.
    """
    facts = {"kind": "result", "ok": True, "python": _PYTHON}
    try:
        return archive.dump(value, ResultPickler), facts
    except Exception as error:
        raise PackageError(
            f"the result of worker {worker_id} cannot be pickled: {reason(value, error)}"
        ) from error


def pack_failure(failure: Failure) -> tuple[Members, Mapping[str, Any]]:
    """Return members and facts of a failure's archive; its object is the exception, or None."""
    facts = {
        "kind": "result",
        "ok": False,
        "python": _PYTHON,
        "error": {"type": failure.type, "message": failure.message, "traceback": failure.traceback},
    }
    return archive.dump(failure.error, ResultPickler), facts


def deliver(
    members: Members,
    facts: Mapping[str, Any],
    *,
    directory: str,
    client: SessionClient,
    path: str,
    patience: float = PATIENCE,
    ends_at_once: bool = False,
) -> Delivered:
    """Write a result to the sandbox and send it to the session, or give it back for the executor to send along.

    Parameters
    ----------
    members, facts
        As `pack_value` and `pack_failure` give them.
    directory : str
        The worker's.
    client : SessionClient
    path : str
        Where to PUT to, with its query.
    patience : float
        Seconds to go on trying while the session does not answer.
    ends_at_once : bool
        Whether the worker's end follows, with which a small result can travel: no request, and no session, is needed.
    """
    pieces = archive.pieces(members, facts)
    size = sum(map(len, pieces))
    sending = _Sending(client, path, size) if size > LARGE else None
    stream, sha256, trouble = _write(pieces, directory, client, path, sending)
    with stream:
        if ends_at_once and not trouble:
            carried = compressed_result(pieces, client.signature("PUT", path, sha256))
            if carried:
                return Delivered(Delivery.CARRIED, carried=carried)
        if sending is not None and trouble:
            sending.drop()
        delivered = sending.finish(sha256) if sending is not None else None
        if delivered is None:
            delivered = _send(stream, sha256, client, path, patience)
    if not trouble:
        return delivered
    say(f"t2notebook: {trouble}\n")
    if delivered.how is Delivery.LEFT:
        return Delivered(Delivery.LOST, f"{trouble}; {delivered.message}")
    return delivered


class _Sending:
    """A large result on its way while it is written; whatever goes wrong with that, it is sent again from the file."""

    def __init__(self, client: SessionClient, path: str, size: int) -> None:
        self._client, self._path = client, path
        self._upload: Upload | None = None
        try:
            self._upload = client.upload(path, size)
        except CONNECTION_ERRORS:
            client.close()

    def send(self, data: memoryview) -> None:
        """Send a piece, as long as that goes well."""
        if self._upload is None:
            return
        try:
            self._upload.send(data)
        except CONNECTION_ERRORS:
            self.drop()

    def drop(self) -> None:
        """Send no more."""
        if self._upload is not None:
            self._upload = None
            self._client.close()

    def finish(self, sha256: str) -> Delivered | None:
        """Sign what was sent; None if the session has not got it."""
        if self._upload is None:
            return None
        try:
            response = self._upload.finish(self._client.signature("PUT", self._path, sha256))
            response.read()
        except CONNECTION_ERRORS:
            self._client.close()
            return None
        return Delivered(Delivery.SENT) if response.status in (200, 201, 202, 204) else None


def _write(
    pieces: Sequence[archive.Bytes],
    directory: str,
    client: SessionClient,
    path: str,
    sending: _Sending | None,
) -> tuple[BinaryIO, str, str]:
    """Return a file with the archive in it, its sha256, and what went wrong with the sandbox, if anything."""
    target = os.path.join(directory, FILE)
    temporary = f"{target}.part"
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        stream: BinaryIO = os.fdopen(descriptor, "w+b")
        try:
            sha256 = _fill(stream, pieces, sending)
            with open(os.path.join(directory, SIGNATURE_FILE), "wb", buffering=0) as file:
                file.write(client.signature("PUT", path, sha256).encode() + b"\n")
            os.replace(temporary, target)
        except BaseException:
            stream.close()
            raise
        return stream, sha256, ""
    except OSError as error:
        # What was written of it only makes a full disk fuller.
        for name in (FILE + ".part", SIGNATURE_FILE):
            try:
                os.unlink(os.path.join(directory, name))
            except OSError:
                pass
        trouble = f"the result cannot be written to the sandbox: {error.strerror or error}"
    stream = _memory()
    return stream, _fill(stream, pieces, None), trouble


def _fill(stream: BinaryIO, pieces: Sequence[archive.Bytes], sending: _Sending | None) -> str:
    """Write, hash and send the pieces; return their sha256."""
    digest = hashlib.sha256()
    for piece in pieces:
        view = memoryview(piece)
        for begin in range(0, len(view), _PIECE):
            part = view[begin : begin + _PIECE]
            if sending is not None:
                sending.send(part)  # the first of the three: the session works on it meanwhile
            digest.update(part)
            stream.write(part)
    stream.flush()
    return digest.hexdigest()


def _memory() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("t2-result"), "w+b")
    return tempfile.TemporaryFile()


def _send(stream: BinaryIO, sha256: str, client: SessionClient, path: str, patience: float) -> Delivered:
    size = stream.seek(0, io.SEEK_END)
    deadline = time.monotonic() + patience
    pause = 0.1
    while True:
        try:
            response = client.request("PUT", path, stream, size=size, sha256=sha256, timeout=PATIENCE)
            text = one_line(response.read(400).decode("utf-8", "replace"), 200)
            if response.read():
                client.close()
        except CONNECTION_ERRORS as error:
            client.close()
            why = str(error) or type_name(type(error))
            trouble = one_line(f"the session at {client.url} cannot be reached: {why}")
        else:
            if response.status in (200, 201, 202, 204):
                return Delivered(Delivery.SENT)
            told = f"HTTP {response.status}{f': {text}' if text else ''}"
            if response.status == 409:
                why = "the job was over, or a newer worker had replaced this one"
                return Delivered(Delivery.REFUSED, f"its result came too late: {why}")
            trouble = f"the session at {client.url} did not take the result ({told})"
            if response.status < 500 and response.status not in (408, 429):
                return Delivered(Delivery.LEFT, trouble)
        left = deadline - time.monotonic()
        if left <= 0:
            return Delivered(Delivery.LEFT, trouble)
        # Spread, so that a thousand workers do not meet a restarted session at once.
        time.sleep(min(left, pause * random.uniform(0.5, 1.0)))
        pause = min(2 * pause, 5.0)
