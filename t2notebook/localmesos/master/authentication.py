"""What stands before a master's answers: authentication, and the way to the leader. Pure.

With credentials every endpoint wants HTTP Basic but those that the recorded master left open; the realms are the
recorded ones. A master that does not lead answers for itself only what concerns itself.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from ..http import http1

OPEN = frozenset({"/", "/health", "/version", "/redirect", "/localmesos/link"})
"""Nobody has to say who he is. (The agents' link has a secret of its own.)"""

WRITING = frozenset({"/teardown"})

OWN = ("/", "/health", "/version", "/metrics/snapshot", "/flags")
"""What a master that does not lead answers itself; /files, too."""


class CredentialsError(ValueError):
    """A credentials file that cannot be used; the text says why."""


def read_credentials(text: str) -> dict[str, str]:
    """Read a credentials file as Mesos does: JSON, or a line `principal secret` each.

    Raises
    ------
    CredentialsError
        It is neither.
    """
    try:
        if text.lstrip().startswith("{"):
            found = {one["principal"]: one["secret"] for one in json.loads(text)["credentials"]}
        else:
            found = {}
            for line in filter(None, map(str.strip, text.splitlines())):
                principal, secret = line.split()
                found[principal] = secret
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialsError(f"neither JSON credentials nor lines 'principal secret' ({error})") from None
    if not found or not all(isinstance(one, str) for pair in found.items() for one in pair):
        raise CredentialsError("no credentials in it")
    return found


class Gate:
    """Decides on requests before anything else does.

    Parameters
    ----------
    credentials
        Secrets by principal; None lets everybody in.
    elected
        Whether this master leads.

    Attributes
    ----------
    leader
        "host:port" of the leading master, as far as one is known.
    """

    def __init__(self, credentials: Mapping[str, str] | None, leader: str | None, *, elected: bool) -> None:
        self._credentials = credentials
        self.elected = elected
        self.leader = leader

    @property
    def authenticates(self) -> bool:
        """Tell whether credentials are asked for."""
        return self._credentials is not None

    def principal(self, request: http1.Request) -> str | None:
        """Say who asks; None for nobody that is known."""
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if self._credentials is None or scheme != "Basic":
            return None
        try:
            name, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        known = self._credentials.get(name)
        if known is None or not colon or not hmac.compare_digest(known.encode(), secret.encode()):
            return None
        return name

    def refuse(self, request: http1.Request, path: str) -> http1.Response | None:
        """Give the answer of a request that must not pass; None lets it through.

        Parameters
        ----------
        path
            Without a leading `/master` and a trailing slash.
        """
        if self._credentials is not None and path not in OPEN and self.principal(request) is None:
            headers = [("WWW-Authenticate", f'Basic realm="{_realm(path)}"'), ("Content-Type", http1.TEXT)]
            return http1.Response(401, b"401 Unauthorized.", headers)
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


def _realm(path: str) -> str:
    if re.match(r"/api/v1/scheduler(/|$)", path):
        return "mesos-master-scheduler"
    writing = path in WRITING or re.match(r"/api/v1(/|$)", path)
    return "mesos-master-readwrite" if writing else "mesos-master-readonly"
