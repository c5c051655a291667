"""The master's page at / (a file of its own), and the small endpoints that say something of the machine."""

from __future__ import annotations

import os
from functools import cache

from ..http import http1


@cache
def page() -> http1.Response:
    """Give the page: it asks /state for all that it shows."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html"), "rb") as file:
        return http1.Response(200, file.read(), late_headers=[("Content-Type", "text/html")])
