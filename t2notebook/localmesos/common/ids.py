"""Ids, times, and what else those who talk to a master or an agent of ours share."""

from __future__ import annotations

import base64
import uuid

from .task_states import Json

VERSION = "1.12.0"

#: A header of the request of somebody whose framework is about to subscribe: an idle cluster waits for it.
COMING_HEADER = "X-Localmesos-Coming"


def nanoseconds(seconds: float) -> Json:
    """Give a TimeInfo."""
    return {"nanoseconds": int(seconds * 1e9)}


def new_uuid() -> str:
    """Give 16 random bytes in base64, a status update's uuid."""
    return base64.b64encode(uuid.uuid4().bytes).decode()
