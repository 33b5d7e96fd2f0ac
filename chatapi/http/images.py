"""The pictures that the pages show: those on this server and on the hosts in IMAGE_HOSTS.

A picture on another host would reveal to it who reads a chat, and when. Such URLs that
were stored before stay in the database and in the API; the pages show initials instead.
"""

from __future__ import annotations

import re

from flask import current_app, request

PORTS = {"http": "80", "https": "443"}
# Stricter than browsers: no user name, no backslash, nothing that parsers read differently.
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?(?=[/?#]|\Z)",
    re.IGNORECASE | re.ASCII,
)


def is_shown(url: str | None) -> bool:
    """Return whether the pages show the picture at a URL, or initials instead."""
    origin = _origin(url or "")
    return origin is not None and (
        origin == _origin(request.host_url) or origin in map(_origin, map(_over_tls, hosts()))
    )


def hosts() -> list[str]:
    """Return the hosts, some with a port, whose pictures are shown over https on every page."""
    public = str(current_app.config["PUBLIC_URL"])
    own = [public.removeprefix("https://").rstrip("/")] if public.startswith("https://") else []
    return [*own, *current_app.config["IMAGE_HOSTS"]]


def policy() -> str:
    """Return the value of `img-src` in the pages' Content-Security-Policy."""
    # data: is the empty icon of the API's page.
    return " ".join(("'self'", "data:", *map(_over_tls, hosts())))


def _over_tls(host: str) -> str:
    return f"https://{host}"


def _origin(url: str) -> tuple[str, str, str] | None:
    match = _ADDRESS.match(url)
    if match is None:
        return None
    scheme = match["scheme"].lower()
    port = (match["port"] or PORTS[scheme]).lstrip("0")
    return scheme, match["host"].lower(), port
