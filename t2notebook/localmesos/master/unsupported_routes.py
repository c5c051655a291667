"""Older endpoints by which operators would change a cluster: their methods, malformed requests, and else 501. Pure.

Nothing of it can be changed here (`docs/embedded-mesos-differences.md`), but who asks wrongly is told so first, in
Mesos's words, and who only asks (GET) is answered elsewhere.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from ..http import http1
from ..v1 import schema

_METHODS = {
    **dict.fromkeys(("/machine/down", "/machine/up"), "POST"),
    **dict.fromkeys(("/reserve", "/unreserve", "/create-volumes", "/destroy-volumes"), "POST"),
    "/weights": "GET, PUT",
    "/quota": "GET, POST, DELETE",
    "/maintenance/schedule": "GET, POST",
    "/maintenance/status": "GET",
}


def answer(request: http1.Request, path: str) -> http1.Response | None:
    """Answer what would change something, or is no method of the endpoint's; None for the rest."""
    methods = _METHODS.get(path)
    if methods is None:
        return None
    if request.method not in methods.split(", "):
        return http1.method_not_allowed(methods, request.method)
    if request.method == "GET":
        return None
    fault = _fault(request, path)
    return http1.text(501, "501 Not Implemented.") if fault is None else http1.text(400, fault)


def _fault(request: http1.Request, path: str) -> str | None:
    text = request.body.decode("utf-8", "replace")
    if path in ("/reserve", "/unreserve", "/create-volumes", "/destroy-volumes"):
        given = parse_qs(text)
        needed = ("slaveId", "volumes" if path.endswith("volumes") else "resources")
        missing = next((name for name in needed if name not in given), None)
        return None if missing is None else f"Missing '{missing}' query parameter in the request body"
    if request.method == "DELETE":
        wrong = "expected 3 tokens, found 2 tokens"
        return f"Failed to parse remove quota request for path '/master/quota': {wrong}"
    try:
        value = schema.load_json(request.body)
    except schema.SchemaError as error:
        what = {"/weights": "update weights", "/quota": "set quota"}.get(path)
        return str(error) if what is None else f"Failed to parse {what} request JSON '{text}': {error}"
    wanted = list if path.startswith("/machine/") else dict
    return "Unexpected JSON type parsed" if path.startswith("/ma") and not isinstance(value, wanted) else None
