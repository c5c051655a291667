"""Ids, times and the version that master and agent share."""

from __future__ import annotations

import base64
import uuid

from .task_states import Json

VERSION = "1.12.0"


def nanoseconds(seconds: float) -> Json:
    """Give a TimeInfo."""
    return {"nanoseconds": int(seconds * 1e9)}


def new_uuid() -> str:
    """Give 16 random bytes in base64, a status update's uuid."""
    return base64.b64encode(uuid.uuid4().bytes).decode()
