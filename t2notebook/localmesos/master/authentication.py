"""Authentication of whoever asks a master, and the credentials file. Pure.

With credentials every endpoint wants HTTP Basic but those that the recorded master left open; the realms are the
recorded ones.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping

from ..http import http1

OPEN = frozenset({"/", "/health", "/version", "/redirect", "/localmesos/link"})
"""Paths that ask for no credentials. (The agents' link has a secret of its own.)"""

WRITING = frozenset({"/teardown"})
"""Paths in the realm of those that change something."""


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


class Authenticator:
    """HTTP Basic authentication, as Mesos's default HTTP authenticator does it.

    Parameters
    ----------
    credentials
        Secrets by principal; None asks nobody.
    """

    def __init__(self, credentials: Mapping[str, str] | None) -> None:
        self._credentials = credentials

    def principal(self, request: http1.Request) -> str | None:
        """Give the principal that a request comes from; None if its credentials are not known."""
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
        """Give the answer of a request whose sender is unknown and should not be; None lets it through.

        Parameters
        ----------
        path
            Without a leading `/master` and a trailing slash.
        """
        if self._credentials is None or path in OPEN or self.principal(request) is not None:
            return None
        headers = [("WWW-Authenticate", f'Basic realm="{_realm(path)}"'), ("Content-Type", http1.TEXT)]
        return http1.Response(401, b"401 Unauthorized.", headers)


def _realm(path: str) -> str:
    if re.match(r"/api/v1/scheduler(/|$)", path):
        return "mesos-master-scheduler"
    writing = path in WRITING or re.match(r"/api/v1(/|$)", path)
    return "mesos-master-readwrite" if writing else "mesos-master-readonly"
