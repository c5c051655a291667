"""Authentication between workers and session: HMAC-SHA256 under the job's secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets

#: ``Authorization: T2-HMAC-SHA256 <job id>:<hex signature>``
SCHEME = "T2-HMAC-SHA256"
#: The hex digest of a large body, told before it: so the signature holds, or not, before anything is taken in.
BODY_DIGEST = "X-T2-Body-SHA256"
#: In the place of that digest: the body ends with its signature, `SIGNATURE` characters of hex, as `sign` gives it for
#: the rest; nothing that came before is looked into until it holds.
TRAILING, SIGNATURE = "trailing", 64
#: The answer's own proof that it comes from who knows the job's secret (`sign_answer`).
ANSWER = "X-T2-Answer"


def new_secret() -> str:
    """Return a fresh 256-bit secret as hex."""
    return secrets.token_hex(32)


def sign(secret: str, method: str, path: str, body_sha256: str = "") -> str:
    """Return the hex signature of a request.

    Parameters
    ----------
    secret : str
        The job's secret, hex.
    method, path : str
        As in the request line; `path` with its query.
    body_sha256 : str
        Hex digest of the body; empty for a request without one.
    """
    text = f"{method}\n{path}\n{body_sha256}".encode()
    return hmac.new(bytes.fromhex(secret), text, hashlib.sha256).hexdigest()


def authorization(job_id: str, signature: str) -> str:
    """Return the value of the Authorization header."""
    return f"{SCHEME} {job_id}:{signature}"


def parse_authorization(header: str) -> tuple[str, str] | None:
    """Return ``(job_id, signature)``, or None for anything else."""
    scheme, _, credentials = header.partition(" ")
    job_id, colon, signature = credentials.partition(":")
    if scheme != SCHEME or not colon:
        return None
    return job_id, signature


def matches(signature: str, secret: str, method: str, path: str, body_sha256: str = "") -> bool:
    """Return whether `signature` is the one that `sign` gives, compared in constant time.

    Parameters
    ----------
    signature, secret, method, path, body_sha256 : str
        As of `sign`.
    """
    return hmac.compare_digest(signature.encode(), sign(secret, method, path, body_sha256).encode())


def sign_answer(secret: str, signature: str) -> str:
    """Return the proof in the answer to a request that `signature` signed.

    A session's port can be another program's by the time that a worker calls, or another session's, which does not
    know the secret: neither is to be taken for ours.
    """
    return sign(secret, "ANSWER", signature)


def matches_answer(proof: str, secret: str, signature: str) -> bool:
    """Return whether `proof` is the one that `sign_answer` gives, compared in constant time.

    Parameters
    ----------
    proof, secret, signature : str
        As of `sign_answer`.
    """
    return hmac.compare_digest(proof.encode(), sign_answer(secret, signature).encode())


#: The verbs in the signatures of messages that say where something is now: a session, or a job master on the cluster.
MOVES = {"session": "MOVE", "job_master": "MOVE-JOB-MASTER"}


def sign_move(secret: str, url: str, claims: int, kind: str = "session") -> str:
    """Return the signature of a session's message that it (or a job master) now serves workers at `url`.

    Parameters
    ----------
    secret, url : str
        The job's secret, hex, and the new address.
    claims : int
        How often the job's framework has been taken over, this time included; of a job master, how often it has been
        launched.
    kind : str
        One of `MOVES`.
    """
    return sign(secret, MOVES[kind], f"{claims} {url}")


def matches_move(signature: str, secret: str, url: str, claims: int, kind: str = "session") -> bool:
    """Return whether `signature` is the one that `sign_move` gives, compared in constant time.

    Parameters
    ----------
    signature, secret, url : str
    claims : int
    kind : str
        As of `sign_move`.
    """
    return matches(signature, secret, MOVES[kind], f"{claims} {url}")
