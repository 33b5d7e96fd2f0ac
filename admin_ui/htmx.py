"""The only reader and writer of HX-* headers, for htmx 4."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

_READ = ("HX-Request", "HX-Request-Type", "HX-History-Restore-Request")


def is_htmx() -> bool:
    """Tell whether a script asks, which can show a part of a page."""
    return request.headers.get("HX-Request") == "true"


def wants_fragment() -> bool:
    """Tell whether the answer is put into a page that is open.

    When HTMX goes back in the history or replaces the whole body it wants a page.
    """
    return (
        is_htmx()
        and request.headers.get("HX-Request-Type") != "full"
        and request.headers.get("HX-History-Restore-Request") != "true"
    )


def vary(response: Response) -> Response:
    """Say that the same address has more than one answer."""
    response.vary.update(_READ)
    return response


def retarget(response: Response, selector: str, swap: str) -> Response:
    """Put the answer somewhere else than the element that asked says."""
    response.headers["HX-Retarget"] = selector
    response.headers["HX-Reswap"] = swap
    return response


def trigger(response: Response, **events: dict[str, Any]) -> Response:
    """Fire events in the page after the swap, each with its detail."""
    response.headers["HX-Trigger"] = json.dumps(
        {name.replace("_", ":"): detail for name, detail in events.items()}
    )
    return response


def redirect(response: Response, address: str) -> Response:
    """Send the whole page elsewhere."""
    response.headers["HX-Redirect"] = address
    return response
