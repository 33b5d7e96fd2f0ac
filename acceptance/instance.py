"""Talks to the running instance, as any client does, over one connection that stays open."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

TIMEOUT = 15.0
# The server closes an idle connection after 5 s; this one is closed before that.
IDLE_SECONDS = 2.0
_MAX_BODY = 20_000_000


class Unreachable(Exception):
    """Nothing answers there."""


class HasToken(Protocol):
    """A signed-in user."""

    @property
    def token(self) -> str: ...


@dataclass(frozen=True)
class Answer:
    """An answer: headers in lower case, and how long it took."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: bytes
    seconds: float

    @property
    def data(self) -> Any:
        """The body as JSON, None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def code(self) -> str | None:
        """The code of a refusal."""
        found = self.data
        return found.get("code") if isinstance(found, dict) else None

    @property
    def fields(self) -> dict[str, Any]:
        """What a refusal says of each field."""
        found = self.data
        return (found.get("fields") or {}) if isinstance(found, dict) else {}

    @property
    def summary(self) -> str:
        """The status, and the code if it is a refusal."""
        return f"{self.status} ({self.code})" if self.code else str(self.status)


class Instance:
    """A running instance at an address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._secure = parts.netloc, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0
        self.origin = f"{parts.scheme}://{parts.netloc}"

    def _connect(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        who: HasToken | None = None,
        json_body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        form: bytes | None = None,
    ) -> Answer:
        """Send a request and return the response of any status. Raises Unreachable."""
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
        if self._connection is None:
            self._connection = self._connect()
        sent, body = self._request(who, json_body, headers)
        if form is not None:
            sent["Content-Type"], body = "application/x-www-form-urlencoded", form
        begun = time.perf_counter()
        try:
            self._connection.request(method, self._prefix + path, body, sent)
            response = self._connection.getresponse()
            streams = response.getheader("Content-Type", "").startswith("text/event-stream")
            content = b"" if streams else response.read(_MAX_BODY)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(str(error) or type(error).__name__) from None
        seconds = time.perf_counter() - begun
        if streams or response.will_close or response.status == 101:
            self.close()
        self._used = time.monotonic()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            tuple(response.headers.get_all("Set-Cookie", [])),
            content,
            seconds,
        )

    def _request(
        self, who: HasToken | None, json_body: object, headers: Mapping[str, str] | None
    ) -> tuple[dict[str, str], bytes | None]:
        sent = {"User-Agent": "flask verify", "Accept": "*/*"}
        body = None
        if who is not None:
            sent["Authorization"] = f"Bearer {who.token}"
        if json_body is not None:
            sent["Content-Type"], body = "application/json", json.dumps(json_body).encode()
        return sent | dict(headers or {}), body

    def events(self, path: str, who: HasToken, seconds: float = 10.0) -> Iterator[tuple[str, Any]]:
        """Yield the events of a stream, name and data, until it is quiet for so long.

        The first is ("open", None), as soon as the stream is there.
        """
        connection = self._connect(seconds)
        try:
            sent, _ = self._request(who, None, {"Accept": "text/event-stream"})
            connection.request("GET", self._prefix + path, None, sent)
            response = connection.getresponse()
            if response.status != 200:
                return
            yield "open", None
            name = ""
            end = time.monotonic() + seconds
            while time.monotonic() < end and (raw := response.readline()):
                kind, _, value = raw.decode().rstrip("\n").partition(": ")
                if kind == "event":
                    name = value
                elif kind == "data":
                    yield name, json.loads(value)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(str(error) or type(error).__name__) from None
        finally:
            connection.close()

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
