"""What the tests of the live console share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Request, expect

from tests.browser.console_helpers import Desk, let_settle, numbers, sit_down
from tests.browser.server import Server

CUT = r"net::ERR_|WebSocket connection|Failed to fetch|status of (502|503)"
A_BLINK = 1_000
GONE_WITHIN = 8_000
Seat = Callable[..., Desk]


def sit(
    server: Server,
    page: Page,
    chat: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    url: str | None = None,
) -> Desk:
    """Sign an agent in, open a chat, and wait until the page is live."""
    desk = sit_down(server, page, agent, url=url)
    if chat is not None:
        desk.open(chat)
    expect_live(page)
    let_settle(page)
    return desk


def expect_live(page: Page, timeout: float = 20_000) -> None:
    """Wait until the live connection is up."""
    expect(page.locator("#link[data-state=live]")).to_be_attached(timeout=timeout)


def agent_named(server: Server, name: str) -> dict[str, Any]:
    """Return an agent whose name no other test uses."""
    return server.admin(f"{name} {next(numbers)}")


def texts(desk: Desk, chat: dict[str, Any]) -> list[str]:
    """Return the history as it is stored."""
    return [message["content"] for message in desk.chat(chat)["messages"]]


def expect_history(desk: Desk, chat: dict[str, Any]) -> None:
    """Wait until the screen shows exactly what is stored."""
    expect(desk.page.locator("#messages .text")).to_have_text(texts(desk, chat), timeout=20_000)


def text_of(page: Page, text: str) -> Any:
    """Return the messages on the console's screen with exactly this text."""
    return page.locator("#messages .text").get_by_text(text, exact=True)


def requests_of(page: Page) -> list[Request]:
    """Collect what a page asks the server for from now on."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - no builtin
    return asked


def hide(page: Page, hidden: bool = True) -> None:
    """Let a page believe that its tab is in the background, or in sight again."""
    page.evaluate(
        "hidden => {"
        "  Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});"
        "  document.dispatchEvent(new Event('visibilitychange'));"
        "}",
        hidden,
    )
