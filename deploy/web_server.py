"""gunicorn as `make run` starts it: its command, its port, and whether it is ready."""

from __future__ import annotations

import errno
import socket
import sys
import urllib.request
from typing import Any

from deploy.process import Failure, Signals
from deploy.settings import Settings


def web_command() -> list[str]:
    """Return how gunicorn is started; the rest is in its configuration file."""
    return [
        *(sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"),
        *("--no-control-socket", "--log-level", "warning", "wsgi:app"),
    ]


def check_port(settings: Settings, signals: Signals) -> None:
    """Fail when PORT is taken, after a moment in which a predecessor may still leave it."""
    for attempt in range(20):
        try:
            family, kind, protocol, _, address = resolve(settings.address, settings.port)
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except PermissionError:
            raise Failure(f"PORT {settings.port} needs root; choose one above 1023.") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise Failure(
                    f"LISTEN_ADDRESS {settings.address} is no address of this machine."
                ) from None
            if attempt == 19:
                raise Failure(
                    f"PORT {settings.port} cannot be used on {settings.address} "
                    f"({error.strerror}). Choose another: PORT={settings.port + 10} make run"
                ) from None
        signals.pause()


def resolve(address: str, port: int) -> Any:
    """Return the first entry that getaddrinfo has for a listening address. Raises Failure."""
    try:
        return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise Failure(
            f"LISTEN_ADDRESS must be an address of this machine, not {address!r} ({reason})."
        ) from None


def ready(url: str) -> bool:
    """Say whether the web server answers and reaches its database."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
