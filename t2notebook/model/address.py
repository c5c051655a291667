"""Addresses of masters as settings have them: ``host:port``, ``http(s)://host:port``, ``zk://h1,h2/path``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: Mesos's own, with TLS as well (``--port`` of the master).
MASTER_PORT = 5050
ZOOKEEPER_PORT = 2181
ZK = "zk://"
FORMS = "host:port, http://host:port, https://host:port or zk://h1:2181,h2:2181/path"


@dataclass(frozen=True)
class Address:
    """The address of a master or an agent.

    Parameters
    ----------
    host : str
        Name or number; an IPv6 one without brackets.
    port : int
    tls : bool
        Whether it speaks TLS there.
    name : str
        The name in its certificate where that is not `host`: ZooKeeper knows a master by its number and its name.
    """

    host: str
    port: int
    tls: bool = False
    name: str = ""

    @classmethod
    def parse(cls, text: str, *, tls: bool = False) -> Address:
        """Return the address of ``host``, ``host:port``, ``[v6]:port``, ``http://host:port``, ``https://host:port``.

        Parameters
        ----------
        tls
            What holds where `text` names no scheme, as in the ``//host:port/path`` of Mesos's redirects.

        Raises
        ------
        ValueError
            When it is none of these; the text has no password in it.
        """
        try:
            parts = urlsplit(text if "//" in text else f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(_complaint(text)) from None
        if parts.scheme not in ("", "http", "https") or not host or port == 0 or parts.path not in ("", "/"):
            raise ValueError(_complaint(text))
        if "@" in parts.netloc:
            raise ValueError(
                f"{without_userinfo(text)!r} was given with a password; a master's address holds none: "
                "see principal and secret_file"
            )
        return cls(host, port or MASTER_PORT, parts.scheme == "https" or (not parts.scheme and tls))

    @property
    def netloc(self) -> str:
        """``host:port``, with the brackets of IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.netloc}" if self.tls else self.netloc


@dataclass(frozen=True)
class ZooKeeper:
    """The ZooKeeper that knows which master leads.

    Parameters
    ----------
    hosts : tuple of str
        ``host:port`` each.
    path : str
        The node under which masters stand; begins with ``/``.
    """

    hosts: tuple[str, ...]
    path: str

    @classmethod
    def parse(cls, text: str) -> ZooKeeper:
        """Return what ``zk://h1:2181,h2:2181/path`` names; a user and a password are not part of it.

        Raises
        ------
        ValueError
            When it is not of this form; the text has no password in it.
        """
        servers, slash, path = without_userinfo(text).removeprefix(ZK).partition("/")
        try:
            found = [_server(one) for one in servers.split(",")]
        except ValueError:
            found = []
        if not text.startswith(ZK) or not found or not path.strip("/"):
            raise ValueError(
                f"{without_userinfo(text)!r} is not a ZooKeeper; give zk://h1:2181,h2:2181/path, as the masters' --zk"
            )
        return cls(tuple(found), slash + path.strip("/"))

    def __str__(self) -> str:
        return f"{ZK}{','.join(self.hosts)}{self.path}"


def agent_url(url: Mapping[str, Any]) -> str:
    """Return ``http(s)://host:port`` of an agent from the ``url`` in its offers.

    By number, since an agent's name need not resolve here; by name with TLS, since that stands in certificates.
    """
    address, tls = url["address"], url.get("scheme") == "https"
    names = [address.get("ip"), address.get("hostname")]
    host = next(filter(None, reversed(names) if tls else names), "")
    return f"{'https' if tls else 'http'}://{Address(host, address['port']).netloc}"


def split_userinfo(text: str) -> tuple[str, str]:
    """Return ``zk://user:password@hosts/path`` without, and what stood there (``""`` for nothing)."""
    if not text.startswith(ZK):
        return text, ""
    userinfo, at, rest = text.removeprefix(ZK).rpartition("@")
    return (f"{ZK}{rest}", userinfo) if at else (text, "")


def without_userinfo(text: str) -> str:
    """Return an address that may be shown: whatever stands before an ``@`` is left out."""
    before, at, rest = text.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme}{slashes}{rest}" if at and slashes else rest


def check(text: str) -> None:
    """Raise ValueError with one sentence when no master can be named so (``"local"`` is not asked here)."""
    if text.startswith(ZK):
        ZooKeeper.parse(text)
    else:
        Address.parse(text)


def _server(text: str) -> str:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or not re.fullmatch(r"[^\s/@?#]+", text):
        raise ValueError(text)
    return Address(parts.hostname, parts.port or ZOOKEEPER_PORT).netloc


def _complaint(text: str) -> str:
    return f"{without_userinfo(text)!r} is not a Mesos master; give {FORMS}"
