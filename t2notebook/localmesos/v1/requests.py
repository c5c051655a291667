"""From a POST's body to a checked v1 call: the steps and refusals that schedulers, executors and operators share."""

from __future__ import annotations

from collections.abc import Callable

from ..http import http1
from . import schema
from .schema import Message

_TYPES = "Expecting 'Content-Type' of application/json or application/x-protobuf"
NOT_ACCEPTABLE = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"


class Refused(Exception):
    """A call that is answered at once."""

    def __init__(self, response: http1.Response) -> None:
        super().__init__(response.body.decode("utf-8", "replace"))
        self.response = response


def read(
    request: http1.Request, message: str, who: str, validate: Callable[[Message], str | None]
) -> Message:
    """Read and check a call.

    Parameters
    ----------
    message
        The schema's name of the call.
    who
        What Mesos names it in "Failed to validate ...".

    Raises
    ------
    Refused
        With the answer.
    """
    if request.method != "POST":
        raise Refused(http1.method_not_allowed("POST", request.method))
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise Refused(http1.text(400, "Expecting 'Content-Type' to be present"))
    if content_type == "application/x-protobuf" and request.body[:1] == b"{":
        raise Refused(http1.text(400, "Failed to parse body into Call protobuf"))
    if content_type != "application/json":
        raise Refused(http1.text(415, _TYPES))
    try:
        parsed = schema.load_json(request.body)
    except schema.SchemaError as error:
        raise Refused(http1.text(400, f"Failed to parse body into JSON: {error}")) from None
    try:
        call = schema.parse(message, parsed)
    except (schema.SchemaError, RecursionError) as error:
        raise Refused(http1.text(400, f"Failed to convert JSON into Call protobuf: {error}")) from None
    fault = validate(call)
    if fault is not None:
        raise Refused(http1.text(400, f"Failed to validate {who}: {fault}"))
    return call


def check_accept(request: http1.Request) -> None:
    """Check that the caller takes JSON (we have no protobuf to give).

    Raises
    ------
    Refused
        406, as recorded.
    """
    if not http1.accepts(request.headers.get("accept"), "application/json"):
        raise Refused(http1.text(406, NOT_ACCEPTABLE))
