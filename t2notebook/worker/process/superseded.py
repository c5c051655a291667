"""Message of the session that a worker is to stop."""

from __future__ import annotations


class Superseded(BaseException):
    """The session told this worker to stop: a newer incarnation of it exists, or the job is over.

    No `Exception`, so that a user's ``except Exception`` does not keep the worker alive.
    """
