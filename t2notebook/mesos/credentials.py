"""As whom we come, and whom we trust: HTTP Basic credentials and TLS, and what its failures mean in one line."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from pathlib import Path

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
        """Return the access of these settings (paths of PEM files; `ca` may be ``"system"``).

        Raises
        ------
        AccessError
            When a file is not what it should be.
        """
        return cls(principal, secret, tls_context(ca, cert, key) if tls else None)

    def headers(self, tls: bool) -> dict[str, str]:
        """Return the request headers that say who we are, for a peer that speaks TLS or does not."""
        if not self.secret or (self.tls is not None and not tls):
            return {}
        pair = f"{self.principal}:{self.secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


#: Nobody, with plain HTTP.
ANONYMOUS = Credentials()


#: OpenSSL's own choice: Python's leaves out all that a libprocess with its default ciphers speaks (AES128-SHA and its
#: like; Mesos 1.12, ``3rdparty/libprocess/src/openssl.cpp``).
CIPHERS = "DEFAULT"


def tls_context(ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    """Return a context that verifies its peers, and shows `cert` to who asks.

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
    """Say what went wrong; a closed stream often knows more than that it is closed."""
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
    """Whether trying again changes nothing before somebody has changed the settings: TLS does not come about."""
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
