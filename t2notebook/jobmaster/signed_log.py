"""Records of a job master that runs on the cluster: a file to which each group is appended, every frame of it with a
proof that this job's master wrote it. A sandbox is read by everybody and over no channel of ours, and what is in here
is unpickled by workers.

The file is not forced to the disk: it outlives the process, not a machine that loses its power.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from ..protocol.frames import FrameError, FrameReader, FrameWriter, Seal
from .actions import (
    Barrier,
    DropAnswers,
    DropBarrier,
    DropJob,
    DropMessages,
    PutAnswer,
    PutBarrier,
    PutMessage,
    Write,
)
from .job_master import Kept

log = logging.getLogger(__name__)

FILE = "job-master.log"
_SALT = 16
_LENGTH = struct.Struct(">I")
#: A log that is larger than this, and than four times what it says, is written anew.
ROOM = 8 << 20


class SignedLog:
    """A job master's log; what it holds is read when this is made, and written anew.

    Parameters
    ----------
    path : str
    secret : str
        The job's, hex.
    earlier : bytes, optional
        The log of an earlier incarnation, from elsewhere; else what lies at `path`.

    Attributes
    ----------
    was_there : bool
        Whether there was anything to go on with.

    Raises
    ------
    OSError
        When it cannot be written.
    """

    def __init__(self, path: str, secret: str, earlier: bytes | None = None) -> None:
        self._path, self._secret = path, bytes.fromhex(secret)
        self._barriers: dict[Barrier, tuple[int, float, int]] = {}
        self._answers: dict[tuple[int, int | str], tuple[int, Mapping[str, Any]]] = {}
        self._messages: dict[int, dict[int, tuple[int, bytes]]] = {}
        self._last: dict[int, int] = {}
        self._size = self._live = 0
        self._file: BinaryIO | None = None
        data = _read(path) if earlier is None else earlier
        self.was_there = self._replay(data)
        self._rewrite()

    def kept(self) -> Kept:
        """Return what a job master that takes the last one's place goes on with."""
        now = time.time()
        return Kept(
            barriers={
                name: (expected, until - now, faults)
                for name, (expected, until, faults) in self._barriers.items()
            },
            answers=[
                (sender, number, request, record)
                for (sender, request), (number, record) in self._answers.items()
            ],
            messages=[
                (receiver, number, sender, payload)
                for receiver, box in self._messages.items()
                for number, (sender, payload) in sorted(box.items())
            ],
            last=dict(self._last),
        )

    @property
    def is_quick(self) -> bool:
        """Whether a few records can be written without a wait: no, since now and then all is written anew."""
        return False

    def write(self, writes: Iterable[tuple[str, Write]], *, may_wait: bool = True) -> None:
        """Append a group; on whichever thread, but on one only.

        Parameters
        ----------
        writes : iterable of (job id, Write)
        may_wait : bool
            Makes no difference.

        Raises
        ------
        OSError
        """
        if self._file is None or self._size > ROOM + 4 * self._live:
            self._rewrite()
        pieces = []
        for _, write in writes:
            record, payload = _record(write)
            self._fold(record, payload)
            pieces.append(self._frames(record, payload))
        self._append(b"".join(pieces))

    def close(self) -> None:
        """Close the file; the next group opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # Inside.

    def _replay(self, data: bytes) -> bool:
        """Fold in what is proved of a log, up to where it was cut off."""
        if len(data) <= _SALT:
            return False
        reader = FrameReader(Seal(self._key(data[:_SALT])))
        begin = _SALT
        try:
            while begin + _LENGTH.size <= len(data):
                # Frame by frame: one that is not proved takes none of those before it along.
                end = begin + _LENGTH.size + _LENGTH.unpack_from(data, begin)[0]
                for message in reader.feed(data[begin:end]):
                    self._fold(message.record, bytes(message.payload))
                begin = end
        except FrameError as error:
            log.warning("the log of the last job master holds up to a place only: %s", error)
        return True

    def _rewrite(self) -> None:
        """Write what holds now into a file of its own, and put that in the log's place."""
        self.close()
        salt = secrets.token_bytes(_SALT)
        self._writer = FrameWriter(Seal(self._key(salt)))
        part = f"{self._path}.part"
        file = open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)  # noqa: SIM115
        self._file, self._size = file, 0
        try:
            self._append(salt)
            for record, payload in self._snapshot():
                self._append(self._frames(record, payload))
            os.replace(part, self._path)
        except BaseException:
            self.close()
            raise
        self._live = self._size

    def _snapshot(self) -> Iterable[tuple[Mapping[str, Any], bytes]]:
        yield {"what": "began"}, b""
        for name, (expected, until, faults) in self._barriers.items():
            yield (
                {
                    "what": "PutBarrier",
                    "barrier": name,
                    "expected": expected,
                    "until": until,
                    "faults": faults,
                },
                b"",
            )
        for (sender, request), (number, record) in self._answers.items():
            yield _record(PutAnswer(sender, number, request, record))
        for receiver, number in self._last.items():
            yield {"what": "last", "receiver": receiver, "number": number}, b""
        for receiver, box in self._messages.items():
            for number, (sender, payload) in sorted(box.items()):
                yield _record(PutMessage(receiver, number, sender, payload))

    def _frames(self, record: Mapping[str, Any], payload: bytes) -> bytes:
        self._writer.put(record, payload)
        pieces = []
        while piece := self._writer.take():
            pieces.append(piece)
        return b"".join(pieces)

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            # What follows half a frame would prove nothing: the next group begins a new file.
            self.close()
            raise
        self._size += len(data)

    def _key(self, salt: bytes) -> bytes:
        return hmac.new(self._secret, b"t2notebook job master log 1: " + salt, hashlib.sha256).digest()

    def _fold(self, record: Mapping[str, Any], payload: bytes) -> None:
        what = record["what"]
        if what == "PutBarrier":
            self._barriers[Barrier(record["barrier"])] = (
                record["expected"],
                record["until"],
                record["faults"],
            )
        elif what == "DropBarrier":
            self._barriers.pop(Barrier(record["barrier"]), None)
        elif what == "PutAnswer":
            self._answers[record["sender"], record["request"]] = (record["incarnation"], record["record"])
        elif what == "DropAnswers":
            below = record["below"]
            for sender, request in list(self._answers):
                if sender == record["sender"] and (below is None or int(request) < below):
                    del self._answers[sender, request]
        elif what == "PutMessage":
            receiver, number = record["receiver"], record["number"]
            self._messages.setdefault(receiver, {})[number] = (record["sender"], bytes(payload))
            self._last[receiver] = max(self._last.get(receiver, 0), number)
        elif what == "DropMessages":
            box = self._messages.get(record["receiver"], {})
            for number in [number for number in box if number <= record["number"]]:
                del box[number]
        elif what == "last":
            self._last[record["receiver"]] = record["number"]
        elif what == "DropJob":
            self._barriers.clear()
            self._answers.clear()
            for receiver in [receiver for receiver in self._messages if receiver >= 0]:
                del self._messages[receiver]


def _record(write: Any) -> tuple[Mapping[str, Any], bytes]:
    what = type(write).__name__
    if isinstance(write, PutBarrier):
        until = time.time() + write.timeout
        return {
            "what": what,
            "barrier": write.barrier,
            "expected": write.expected,
            "until": until,
            "faults": write.faults,
        }, b""
    if isinstance(write, PutMessage):
        facts = {"receiver": write.receiver, "number": write.number, "sender": write.sender}
        return {"what": what, **facts}, write.payload
    names = {
        DropBarrier: ("barrier",),
        PutAnswer: ("sender", "incarnation", "request", "record"),
        DropAnswers: ("sender", "below"),
        DropMessages: ("receiver", "number"),
        DropJob: (),
    }[type(write)]
    return {"what": what, **{name: getattr(write, name) for name in names}}, b""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
