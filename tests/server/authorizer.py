"""An authorizer of the Jupyter server that refuses what a request names in its header `X-Refuse`."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth import AllowAllAuthorizer


class Picky(AllowAllAuthorizer):
    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return f"{action} {resource}" not in handler.request.headers.get("X-Refuse", "").split(", ")
