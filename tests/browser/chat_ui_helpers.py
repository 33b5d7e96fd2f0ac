"""What the tests of the chat component share: ways in, and a page of another origin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.server import Server
from tests.servers import AppServer

HOST_PAGE = """<!doctype html>
<html lang="ar" dir="rtl"><head><title>A shop</title>
<style nonce="own">
  html {{ font-size: 62.5% }}
  * {{ color: red !important; font-family: serif !important }}
  div, section, button, live-chat-widget {{ display: none !important }}
</style>
<script src="{chat}/widget.js" defer></script>
</head><body><h1>A shop</h1><input id="search"></body></html>"""


@contextmanager
def host_site(chat_url: str = "") -> Iterator[HostSite]:
    """Serve a page of another origin that embeds the widget, with hostile styles and a policy.

    The policy lets in no more than docs/deployment.md asks for, and the page's own style.
    `site.chat_url` may be set later: the origin has to be known before the chat is started.
    """
    site = HostSite(chat_url)
    try:
        yield site
    finally:
        site.stop()


class HostSite:
    """A web server with one page: HOST_PAGE with its policy, or `html` with none."""

    def __init__(self, chat_url: str) -> None:
        self.chat_url = chat_url
        self.html: str | None = None
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/"
                self.send_response(200 if found else 204)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                if site.html is not None:
                    self.end_headers()
                    self.wfile.write(site.html.encode())
                    return
                self.send_header(
                    "Content-Security-Policy",
                    f"default-src 'none'; script-src {site.chat_url}; "
                    f"connect-src {site.chat_url} {site.chat_url.replace('http', 'ws', 1)}; "
                    "img-src https:; style-src 'nonce-own'; "
                    "require-trusted-types-for 'script'; trusted-types 'none'",
                )
                self.end_headers()
                if found:
                    self.wfile.write(HOST_PAGE.format(chat=site.chat_url).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def sign_in(page: Page, url: str, who: dict[str, Any]) -> None:
    """Open the chat page and sign in by its form."""
    page.goto(f"{url}/chat")
    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("E-mail").fill(who["email"])
    page.get_by_label("Password").fill(who["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Your chats")).to_be_visible()


def write_as_guest(
    page: Page, message: str, email: str = "visitor@example.org", name: str | None = None
) -> None:
    """Send the first message of a visitor by the form of the first screen, and see the chat."""
    page.get_by_label("Your message").fill(message)
    page.get_by_label("E-mail").fill(email)
    if name is not None:
        page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start chat", exact=True).click()
    expect(bubble(page, message.strip())).to_be_visible()


def open_chat(page: Page, url: str, who: dict[str, Any], chat_id: str) -> None:
    """Sign in and open a chat from the list."""
    sign_in(page, url, who)
    page.locator(f'a[href="#chat/{chat_id}"]').click()
    expect(page.locator(".messages-scroll")).to_be_visible()


def make_chat(
    server: Server | AppServer, who: dict[str, Any], *texts: str, subject: str = "Help"
) -> str:
    """Open a chat with messages of its user and return its id."""
    status, _, chat = server.request("POST", "/api/chat", who["token"], {"subject": subject})
    assert status == 201, chat
    for text in texts:
        say(server, who, chat["_id"], text)
    return str(chat["_id"])


def say(server: Server | AppServer, who: dict[str, Any], chat_id: str, text: str) -> dict[str, Any]:
    """Write a message through the API."""
    path = f"/api/chat/{chat_id}/messages"
    status, _, answer = server.request("POST", path, who["token"], {"content": text})
    assert status == 201, answer
    message: dict[str, Any] = answer
    return message


def history(server: Server | AppServer, who: dict[str, Any], chat_id: str) -> list[str]:
    """Return the texts that the server has, in their order."""
    path = f"/api/chat/{chat_id}/messages?limit=200"
    _, _, messages = server.request("GET", path, who["token"])
    return [message["content"] for message in messages]


def change(server: Server, agent: dict[str, Any], chat_id: str, **changes: Any) -> None:
    """Change a chat as an agent."""
    status, _, answer = server.request("PATCH", f"/api/chat/{chat_id}", agent["token"], changes)
    assert status == 200, answer


def type_in(server: Server | AppServer, who: dict[str, Any], chat_id: str) -> None:
    """Signal that somebody types."""
    status, _, answer = server.request("POST", f"/api/chat/{chat_id}/typing", who["token"])
    assert status == 204, answer


def composer(page: Page) -> Locator:
    """Return the box messages are written in."""
    return page.locator(".composer-text")


def send(page: Page, text: str) -> None:
    """Write a message and send it with Enter."""
    composer(page).fill(text)
    composer(page).press("Enter")


def bubble(page: Page, text: str) -> Locator:
    """Return the messages on the screen with exactly this text."""
    return page.locator(".bubble").get_by_text(text, exact=True)


def at_bottom(page: Page) -> bool:
    """Say whether the newest message is in sight."""
    return bool(
        page.locator(".messages-scroll").evaluate(
            "box => box.scrollHeight - box.scrollTop - box.clientHeight < 2"
        )
    )


def widget_token(page: Page) -> str:
    """Return the token that the widget keeps on the page of the other origin."""
    name = "Object.keys(localStorage).find((key) => key.endsWith(':session'))"
    return str(page.evaluate(f"JSON.parse(localStorage.getItem({name})).token"))
