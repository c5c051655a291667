"""TLS for Dask with keys that lie in memory only: a `distributed.Security` that writes none to a file."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed.security import Security

#: Roles of Dask's parts, each with a certificate of its own.
ROLES = ("client", "scheduler", "worker")


class MemorySecurity(Security):
    """Certificates and keys as texts (PEM), handed to OpenSSL without a file.

    `distributed.Security` writes a key that is given as a text into the temporary directory, for a worker that is its
    sandbox, which everybody on the cluster can read.
    """

    @classmethod
    def of(cls, keys: Mapping[str, str]) -> MemorySecurity:
        """Return it from a record: ``ca``, and ``<role>_cert`` and ``<role>_key`` of the roles that are wanted."""
        known = {f"tls_{name}": text for name, text in keys.items() if name != "ca"}
        return cls(require_encryption=True, tls_ca_file=keys["ca"], **known)

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """Return what `distributed` connects with."""
        return {
            "ssl_context": self._context(role, ssl.Purpose.SERVER_AUTH),
            "require_encryption": True,
            "extra_conn_args": self.extra_conn_args,
        }

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Return what `distributed` listens with."""
        return {"ssl_context": self._context(role, ssl.Purpose.CLIENT_AUTH), "require_encryption": True}

    def _context(self, role: str, purpose: ssl.Purpose) -> ssl.SSLContext | None:
        tls = self.get_tls_config_for_role(role)
        if not (tls["ca_file"] and tls["cert"]):
            return None
        context = ssl.create_default_context(purpose=purpose, cadata=tls["ca_file"])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with _file(f"{tls['cert']}\n{tls['key']}") as path:
            context.load_cert_chain(path)
        # Each side shows a certificate of the cluster's own authority; there are no host names in them.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        if tls["ciphers"]:
            context.set_ciphers(tls["ciphers"])
        return context


@contextmanager
def _file(text: str) -> Iterator[str]:
    """Give a text as a path, which OpenSSL wants: of memory, where the system has such files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("t2-tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:  # macOS, where only the notebook runs: for a moment, in a file that nobody else can read
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            yield file.name
