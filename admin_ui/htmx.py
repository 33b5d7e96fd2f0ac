"""All reading and writing of HX-* headers, for htmx 4."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

_READ = ("HX-Request", "HX-Request-Type", "HX-History-Restore-Request")


def is_htmx() -> bool:
    """Return whether htmx sent the request."""
    return request.headers.get("HX-Request") == "true"


def wants_fragment() -> bool:
    """Return whether the response is a fragment for an open page.

    When HTMX goes back in the history or replaces the whole body it wants a page.
    """
    return (
        is_htmx()
        and request.headers.get("HX-Request-Type") != "full"
        and request.headers.get("HX-History-Restore-Request") != "true"
    )


def vary(response: Response) -> Response:
    """Set `Vary`, because the same URL returns pages and fragments."""
    response.vary.update(_READ)
    return response


def retarget(response: Response, selector: str, swap: str) -> Response:
    """Change the target element of the response."""
    response.headers["HX-Retarget"] = selector
    response.headers["HX-Reswap"] = swap
    return response


def trigger(response: Response, **events: dict[str, Any]) -> Response:
    """Trigger events in the page after the swap, each with its detail."""
    response.headers["HX-Trigger"] = json.dumps(
        {name.replace("_", ":"): detail for name, detail in events.items()}
    )
    return response


def redirect(response: Response, address: str) -> Response:
    """Redirect the whole page."""
    response.headers["HX-Redirect"] = address
    return response
