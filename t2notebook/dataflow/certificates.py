"""The certificates of one cluster: an authority of its own, and one certificate for each of Dask's roles."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from .agent.tls import ROLES
from .requirements import need

#: How long they hold, and how long before now they begin: clocks of a cluster differ.
DAYS, EARLIER = 365, datetime.timedelta(hours=1)


def make() -> dict[str, str]:
    """Return texts (PEM): ``ca``, and ``<role>_cert`` and ``<role>_key`` for client, scheduler and worker.

    The keys are of the curve P-256, which takes less than a millisecond each. The authority's own key is forgotten:
    nobody can make another certificate.
    """
    need("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    begin = datetime.datetime.now(datetime.UTC) - EARLIER
    end = begin + datetime.timedelta(days=DAYS)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def pem(certificate: x509.Certificate) -> str:
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    authority_key, authority = ec.generate_private_key(ec.SECP256R1()), name("t2notebook Dask cluster")
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())

    def build(who: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        usages = {
            "digital_signature": not is_authority,
            "key_cert_sign": is_authority,
            "crl_sign": is_authority,
            "content_commitment": False,
            "key_encipherment": False,
            "data_encipherment": False,
            "key_agreement": False,
            "encipher_only": False,
            "decipher_only": False,
        }
        builder = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(authority)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usages), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
            )
        )
        if not is_authority:
            both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            alternative = x509.SubjectAlternativeName([x509.DNSName("dask-internal")])
            builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    found = {"ca": pem(build(authority, authority_key.public_key(), is_authority=True))}
    for role in ROLES:
        key = ec.generate_private_key(ec.SECP256R1())
        found[f"{role}_cert"] = pem(build(name(f"dask {role}"), key.public_key(), is_authority=False))
        found[f"{role}_key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    return found


def of_role(keys: Mapping[str, str], *roles: str) -> dict[str, str]:
    """Return what a role needs of `keys`, and nothing of the others'."""
    return {name: text for name, text in keys.items() if name == "ca" or name.partition("_")[0] in roles}
