"""Tails of workers' files since the last look: those of several files, none larger than asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ..journal.job_store import JobRecord
from ..mesos.agent_files import PAGE, Sandbox, SandboxError

#: Files that one request may ask for, bytes that it may get of each, and seconds that their agents have.
MOST_FILES, MOST_BYTES, PATIENCE = 16, 64 << 10, 5.0


async def read_tails(
    job: JobRecord,
    sandbox_of: Callable[[JobRecord, int], tuple[Sandbox, str] | None],
    files: Sequence[dict[str, Any]],
    most: int,
) -> list[dict[str, Any]]:
    """Return what is new in workers' files.

    Parameters
    ----------
    job : JobRecord
    sandbox_of : callable
        Returns a worker's sandbox and its folder there, or None.
    files : sequence of dict
        At most `MOST_FILES`, each with ``worker_id``, ``task_id`` (another task of the worker has other files),
        ``stream`` and ``offset``: bytes that are known, -1 to begin near the end.
    most : int
        Bytes of each that are wanted; of more, the last ones.

    Returns
    -------
    list of dict
        For each file that could be read: the same with ``offset`` moved on, ``text``, and ``skipped``, whether
        something before the text is left out.
    """
    most = max(1, min(most, MOST_BYTES))

    async def one(file: dict[str, Any]) -> dict[str, Any] | None:
        worker = job.view.workers[file["worker_id"]]
        place = sandbox_of(job, worker.worker_id)
        if place is None or worker.task_id != file["task_id"]:
            return None
        sandbox, folder = place
        try:
            async with asyncio.timeout(PATIENCE):
                start, data = await _tail(sandbox, f"{folder}/{file['stream']}", file["offset"], most)
        except (SandboxError, TimeoutError):
            return None
        text, used = decode(data, clipped=start > max(0, file["offset"]))
        skipped = start > max(0, file["offset"])
        return {**file, "offset": start + used, "text": text, "skipped": skipped}

    answers = await asyncio.gather(*(one(file) for file in files[:MOST_FILES]))
    return [answer for answer in answers if answer is not None]


async def _tail(sandbox: Sandbox, name: str, offset: int, most: int) -> tuple[int, bytes]:
    """Return at most `most` bytes after `offset`, the last ones, and where they begin; usually in one request."""
    start = offset
    data = await sandbox.read(name, start, PAGE) if offset >= 0 else b""
    if offset < 0 or len(data) >= PAGE:
        start = max(start, await sandbox.size(name) - most, 0)
        data = await sandbox.read(name, start, most)
    surplus = max(0, len(data) - most)
    return start + surplus, data[surplus:]


def decode(data: bytes, *, clipped: bool) -> tuple[str, int]:
    """Return `data` as text, and how many bytes that took: a character that has not come whole stays for later.

    Parameters
    ----------
    data : bytes
    clipped : bool
        Whether it may begin in the middle of a character, which is left out then.
    """
    begin = 0
    while clipped and begin < min(3, len(data)) and data[begin] & 0xC0 == 0x80:
        begin += 1
    end = len(data)
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4 if byte >> 3 == 0b11110 else 1
        if length > back:
            end -= back
        break
    return data[begin:end].decode("utf-8", "replace"), end
