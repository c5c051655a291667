"""HTTP Basic credentials and TLS for masters and agents, and one line for each way in which TLS fails."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..model.address import Address

SYSTEM_CA = "system"
#: OpenSSL's numbers (``X509_V_ERR_...``, ``x509_vfy.h``).
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_NAME = (62, 64)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
_OUR_CERTIFICATE = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")


class AccessError(Exception):
    """Certificates or keys that cannot be used; the text says what to do."""


@dataclass(frozen=True)
class Credentials:
    """Credentials for masters and agents, and the authorities by which their certificates are verified.

    Mesos has one kind of HTTP credential for both: whoever may read sandboxes through an agent names the principal
    that the agent knows. So an agent gets the secret as well, but only at the address that the master names for it
    in an offer, never through a redirect; and where the master speaks TLS, no agent without TLS gets it.

    Parameters
    ----------
    principal, secret : str
        Empty for nobody.
    tls : ssl.SSLContext or None
        None where the master speaks plain HTTP.
    """

    principal: str = ""
    secret: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, principal: str, secret: str, *, tls: bool, ca: str = "", cert: str = "", key: str = ""
    ) -> Credentials:
        """Return the credentials of these settings.

        Parameters
        ----------
        principal, secret : str
        tls : bool
            Whether the master speaks TLS.
        ca, cert, key : str
            Paths of PEM files; `ca` may be ``"system"``.

        Raises
        ------
        AccessError
            When a file is not what it should be.
        """
        return cls(principal, secret, tls_context(ca, cert, key) if tls else None)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], principal: str, secret: str) -> Credentials:
        """Return the credentials of a session's settings (`t2notebook.config.Config.to_dict`).

        Parameters
        ----------
        settings : mapping
            ``master``, ``tls_ca``, ``tls_cert`` and ``tls_key`` count.
        principal, secret : str

        Raises
        ------
        AccessError
            When a file is not what it should be.
        """
        if settings["master"] == "local":
            return ANONYMOUS
        files = {name: settings.get(f"tls_{name}", "") for name in ("ca", "cert", "key")}
        return cls.of(principal, secret, tls=uses_tls(settings), **files)

    def headers(self, tls: bool) -> dict[str, str]:
        """Return the request headers with the credentials, for a peer that speaks TLS or does not."""
        if not self.secret or (self.tls is not None and not tls):
            return {}
        pair = f"{self.principal}:{self.secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


#: No credentials, and plain HTTP.
ANONYMOUS = Credentials()


def uses_tls(settings: Mapping[str, Any]) -> bool:
    """Return whether settings mean TLS: ``https://``, or a ``zk://`` master with any setting for TLS."""
    master = settings["master"]
    files = any(settings.get(name) for name in ("tls_ca", "tls_cert", "tls_key"))
    return bool(master.startswith("https://") or (master.startswith("zk://") and files))


#: OpenSSL's own choice: Python's leaves out all that a libprocess with its default ciphers speaks (AES128-SHA and its
#: like; Mesos 1.12, ``3rdparty/libprocess/src/openssl.cpp``).
CIPHERS = "DEFAULT"


def tls_context(ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    """Return a context that verifies its peers, and shows `cert` to those that ask.

    Parameters
    ----------
    ca : str
        A file or folder of PEM certificates; empty or ``"system"``: those of the machine.
    cert, key : str
        PEM files; the key may lie in the certificate's.

    Raises
    ------
    AccessError
        When a file is not what it should be.
    """
    try:
        if ca in ("", SYSTEM_CA):
            context = ssl.create_default_context()
        elif Path(ca).is_dir():
            context = ssl.create_default_context(capath=ca)
        else:
            context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise AccessError(f"tls_ca {ca} is no file of certificates in PEM ({_detail(error)})") from None
    context.set_ciphers(CIPHERS)
    if cert:
        try:
            context.load_cert_chain(cert, key or None, password=_no_password)
        except (OSError, ValueError) as error:
            where = f"tls_cert {cert}" + (f" with tls_key {key}" if key else "")
            raise AccessError(f"{where} is no certificate with its key in PEM ({_detail(error)})") from None
    return context


def explain(error: BaseException) -> str:
    """Return the reason of a failed connection in one line; a closed stream often has one."""
    cause = getattr(error, "real_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _explain_certificate(cause)
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or ""
        if reason in _NO_TLS:
            return "it speaks no TLS there; is it a master by http://?"
        if "HANDSHAKE_FAILURE" in reason:
            return (
                f"it does not agree with us on how to speak TLS ({_detail(cause)}): it wants other ciphers, or a "
                "certificate (tls_cert, tls_key)"
            )
        if "ALERT" in reason and any(part in reason for part in _OUR_CERTIFICATE):
            return f"it does not accept us by our certificate ({_detail(cause)}); see tls_cert and tls_key"
        return f"TLS fails: {_detail(cause)}"
    if isinstance(cause, TimeoutError) and not cause.errno:
        return str(cause) or "no answer in time"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def is_ours_to_mend(error: BaseException) -> bool:
    """Return whether only changed settings can help, and trying again cannot: the TLS handshake fails."""
    return isinstance(getattr(error, "real_error", None) or error, ssl.SSLError)


def shown(address: Address) -> str:
    """Return an address with the name in its certificate, where that differs."""
    return f"{address} ({address.name})" if address.name else str(address)


def _explain_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _EXPIRED:
        return "its certificate has expired"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet; are both clocks right?"
    if error.verify_code in _WRONG_NAME:
        return f"its certificate is for another host ({error.verify_message.rstrip('.')}); give the name that it has"
    return f"its certificate is signed by nobody we trust ({error.verify_message}); name its CA with tls_ca"


def _detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


def _no_password() -> str:
    raise ValueError("the key is encrypted, and a session has nobody to ask for its passphrase")
