"""Leadership among several masters: who leads, and the redirect that the others answer with. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from ..http import http1

OWN = ("/", "/health", "/version", "/metrics/snapshot", "/flags")
"""Paths that a master answers itself though it does not lead; /files, too."""


class Leadership:
    """The leading master, as far as one is known, and the redirect to it.

    Attributes
    ----------
    elected
        Whether this master leads.
    leader
        "host:port" of the leading master, as far as one is known.
    """

    def __init__(self, leader: str | None, *, elected: bool) -> None:
        self.elected = elected
        self.leader = leader

    def redirect(self, request: http1.Request, path: str) -> http1.Response | None:
        """Give the answer that sends a request to the leader; None if it is answered here.

        Parameters
        ----------
        path
            Without a leading `/master` and a trailing slash.
        """
        if path == "/redirect":
            return self._to_leader("")
        if self.elected or path in OWN or path.startswith(("/files/", "/localmesos/")):
            return None
        query = f"?{urlencode(request.query)}" if request.query else ""
        return self._to_leader(f"/master{quote(path)}{query}")

    def _to_leader(self, path: str) -> http1.Response:
        if self.leader is None:
            return http1.text(503, "No leader elected")
        return http1.Response(307, headers=[("Location", f"//{self.leader}{path}")])
