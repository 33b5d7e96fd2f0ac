"""Count what a page costs a visitor with an empty cache: requests, and bytes on the wire."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

from tests.browser.conftest import ARGUMENTS
from tests.conftest import chromium_path

QUIET_SECONDS = 1.5
MAX_SECONDS = 20.0


@dataclass
class Traffic:
    """What the browser asked of one origin, as its own network log says."""

    origin: str
    requests: dict[str, float] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    last_at: float = field(default_factory=time.monotonic)

    def watch(self, session: CDPSession) -> None:
        """Count from now on."""
        session.on("Network.requestWillBeSent", self._asked)
        session.on("Network.responseReceived", self._answered)
        session.on("Network.dataReceived", self._received)
        session.on("Network.loadingFinished", self._finished)
        session.send("Network.enable")

    def _asked(self, event: Any) -> None:
        url = event["request"]["url"]
        redirect = event.get("redirectResponse")
        if redirect and event["requestId"] in self.requests:
            # The same id continues with another address: keep the sums of the first response.
            key = f"{event['requestId']}-{len(self.requests)}"
            self.requests[key] = redirect["encodedDataLength"]
            self.urls[key] = self.urls[event["requestId"]]
        if "{0.scheme}://{0.netloc}".format(urlsplit(url)) == self.origin:
            self.requests[event["requestId"]] = 0
            self.urls[event["requestId"]] = url
            self.last_at = time.monotonic()

    def _add(self, event: Any, size: float, *, is_whole: bool = False) -> None:
        key = event["requestId"]
        if key in self.requests:
            self.requests[key] = size if is_whole else self.requests[key] + size
            self.last_at = time.monotonic()

    def _answered(self, event: Any) -> None:
        self._add(event, event["response"]["encodedDataLength"])

    def _received(self, event: Any) -> None:
        self._add(event, event["encodedDataLength"])

    def _finished(self, event: Any) -> None:
        # Headers and body; a stream never comes here and keeps the sum of its parts.
        self._add(event, event["encodedDataLength"], is_whole=True)

    def settle(self, page: Page) -> tuple[int, float]:
        """Wait until nothing moves; return requests and kB so far."""
        end = time.monotonic() + MAX_SECONDS
        while time.monotonic() < end and time.monotonic() - self.last_at < QUIET_SECONDS:
            page.wait_for_timeout(100)
        return len(self.requests), sum(self.requests.values()) / 1000


class HostPage:
    """A page of another origin that embeds the widget of one version."""

    def __init__(self) -> None:
        self.chat_url = ""
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = (
                    "<!doctype html><html lang=en><title>Shop</title><link rel=icon href=data:,>"
                    f'<h1>Shop</h1><script src="{host.chat_url}/widget.js" defer></script>'
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


Found = dict[str, tuple[int, float]]  # page -> requests, kB


def measure(host: HostPage, url: str, admin_token: str) -> Found:
    """Return what the widget, closed and then opened, and the console cost a first visit."""
    found: Found = {}
    with _browser() as new_context:
        host.chat_url = url
        context = new_context()
        page, traffic = _page(context, url)
        page.goto(host.origin)
        closed = found["widget closed"] = traffic.settle(page)
        page.get_by_role("button", name="Support chat").first.click()
        traffic.last_at = time.monotonic()
        both = traffic.settle(page)
        found["widget opened, on top"] = (both[0] - closed[0], both[1] - closed[1])
        context = new_context()
        # The name that DevelopmentConfig gives the session's cookie.
        context.add_cookies([{"name": "chat_session", "value": admin_token, "url": url}])
        page, traffic = _page(context, url)
        page.goto(f"{url}/admin/")
        found["console, first visit"] = traffic.settle(page)
    return found


@contextlib.contextmanager
def _browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        yield lambda: browser.new_context(viewport={"width": 1280, "height": 800})
        browser.close()


def _page(context: BrowserContext, url: str) -> tuple[Page, Traffic]:
    page = context.new_page()
    traffic = Traffic(url)
    traffic.watch(context.new_cdp_session(page))
    return page, traffic
