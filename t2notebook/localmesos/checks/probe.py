"""One TCP or HTTP probe of a port on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl


async def connect(ip: str, port: int, path: str | None, scheme: str, timeout: float) -> int | bool | None:
    """Connect, and ask for a path if there is one.

    Parameters
    ----------
    scheme
        "http" or "https".
    timeout
        Seconds.

    Returns
    -------
    bool, int or None
        Without a path: whether the connection stood. With one: the status code, None if there was none in time
        (certificates are not verified, as Mesos does not).
    """
    try:
        return await asyncio.wait_for(_connect(ip, port, path, scheme), timeout)
    except (OSError, TimeoutError, ValueError):
        return False if path is None else None


async def _connect(ip: str, port: int, path: str | None, scheme: str) -> int | bool | None:
    context = None
    if scheme == "https" and path is not None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(ip, port, ssl=context)
    try:
        if path is None:
            return True
        host = f"[{ip}]" if ":" in ip else ip
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        match = re.match(rb"HTTP/\d\.\d (\d{3})", await reader.readline())
        return None if match is None else int(match[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
