"""Limits of slow clients, which send a body or read a response slowly.

A body that never arrives and a response that is never read both occupy the worker. Each
has a time limit here, and one network has a limited number of them at once.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask, request
from gevent import Timeout
from werkzeug.wsgi import ClosingIterator

from chatapi.domain import errors
from chatapi.domain.networks import Network, network_in
from chatapi.domain.runtime import PerApp

RETRY_SECONDS = 10


@dataclass(frozen=True)
class Pace:
    """The rate at which a body has to arrive.

    size, seconds -- each `size` bytes, or what is left of the body, in so many seconds.
    pause -- the longest time without a byte, where that is less.
    """

    size: int
    seconds: float
    pause: float | None = None


class Unfinished:
    """The unfinished requests of each network in this process.

    most -- how many one network may have; None for any number.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._counts: Counter[str] = Counter()

    def is_full(self, network: Network) -> bool:
        """Return whether a network, or the site around it, has reached the limit."""
        if self.most is None:
            return False
        return any(self._counts[name] >= most for name, most in network.counters(self.most))

    def add(self, network: Network) -> None:
        """Count one more."""
        for name, _ in network.counters(0):
            self._counts[name] += 1

    def remove(self, network: Network) -> None:
        """Count one less."""
        for name, _ in network.counters(0):
            self._counts[name] -= 1
            if self._counts[name] <= 0:
                del self._counts[name]

    @property
    def is_empty(self) -> bool:
        """Return whether this process waits for no client."""
        return not self._counts

    @contextlib.contextmanager
    def one(self, network: Network) -> Iterator[None]:
        """Count one in the block. Raises TooManyRequests."""
        if self.is_full(network):
            raise errors.TooManyRequests(retryAfter=RETRY_SECONDS)
        self.add(network)
        try:
            yield
        finally:
            self.remove(network)


waited_for = PerApp(lambda: Unfinished(None))


class Body(io.RawIOBase):
    """A request's body with a minimum rate.

    A view may set another `pace` before it reads: `request.environ["wsgi.input"].pace`.
    """

    def __init__(
        self, source: Any, link: Any, pace: Pace, unfinished: Unfinished, network: Network
    ) -> None:
        self.source, self.link, self.pace = source, link, pace
        self.unfinished, self.network = unfinished, network
        self._left = 0
        self._ends = 0.0

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes. Raises RequestTimeout, TooManyRequests."""
        if self._left <= 0:
            self._left, self._ends = self.pace.size, time.monotonic() + self.pace.seconds
        try:
            with self.unfinished.one(self.network):
                data = self._read(min(len(buffer), self._left))
        except errors.ChatError:
            self.close_connection()
            raise
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        self.link.settimeout(self.pace.pause)
        try:
            # Bytes that have already arrived are read even after the timeout.
            with Timeout(max(0.0, self._ends - time.monotonic()), errors.RequestTimeout()):
                return bytes(self.source.read(size))
        except TimeoutError:
            raise errors.RequestTimeout from None
        finally:
            self.link.settimeout(None)

    def close_connection(self) -> None:
        """Close the connection after the response, without waiting for the rest of the body."""
        self.source.failed = True
        # Set by deploy/worker.py: the response has `Connection: close`.
        getattr(self.source, "close_connection", lambda: None)()


class SlowClients:
    """WSGI middleware that sets the limits of each request that gunicorn serves."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        pace: Pace,
        answer_seconds: float,
        unfinished: Unfinished,
    ) -> None:
        self.app, self.pace = app, pace
        self.answer_seconds, self.unfinished = answer_seconds, unfinished

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve a request. A connection that is detached for a stream has no limit here."""
        link = environ.get("gunicorn.socket")
        if link is None:
            return self.app(environ, start_response)
        network = network_in(environ)
        # The previous response on the same connection may have left its timeout.
        link.settimeout(None)
        source = environ["wsgi.input"]
        if not getattr(source, "has_arrived", False):  # deploy/worker.py says so.
            environ["wsgi.input"] = Body(source, link, self.pace, self.unfinished, network)
        chunks = self.app(environ, start_response)
        link.settimeout(self.answer_seconds)
        self.unfinished.add(network)
        return ClosingIterator(chunks, lambda: self.unfinished.remove(network))


def init_app(app: Flask) -> None:
    """Limit the requests of this app. Call it before the app gets its ProxyFix."""
    config = app.config
    unfinished = Unfinished(
        config["UNFINISHED_PER_ADDRESS"] if config["RATELIMIT_ENABLED"] else None
    )
    waited_for.set(unfinished)
    pace = Pace(config["MAX_CONTENT_LENGTH"], config["REQUEST_BODY_SECONDS"])
    app.wsgi_app = SlowClients(app.wsgi_app, pace, config["ANSWER_SECONDS"], unfinished)  # type: ignore[method-assign]

    def refuse_more() -> None:
        if unfinished.is_empty:
            return
        if unfinished.is_full(network_in(request.environ)):
            body = request.environ["wsgi.input"]
            if isinstance(body, Body):
                body.close_connection()
            raise errors.TooManyRequests(retryAfter=RETRY_SECONDS)

    app.before_request(refuse_more)
