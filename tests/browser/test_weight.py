"""What a visit costs on the wire: requests, and bytes with their headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat_ui_helpers import HostSite, host_site
from tests.browser.conftest import NewPage
from tests.browser.server import Server
from tests.servers import AppServer, start_app, start_database

CLOSED = (3, 12_000)
OPENED = (8, 45_000)
CONSOLE = 60_000


class Traffic:
    """Counts what a page loads from the product: requests, and bytes received."""

    def __init__(self, page: Page, origin: str) -> None:
        self.sizes: dict[str, float] = {}
        self._addresses: dict[str, str] = {}
        self._origin = origin
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": False})
        session.on("Network.requestWillBeSent", self._sent)
        # Chromium counts the headers into encodedDataLength.
        session.on("Network.loadingFinished", self._finished)

    def _sent(self, event: dict[str, Any]) -> None:
        self._addresses[event["requestId"]] = event["request"]["url"]

    def _finished(self, event: dict[str, Any]) -> None:
        address = self._addresses.get(event["requestId"], "")
        if address.startswith(self._origin):
            self.sizes[address] = self.sizes.get(address, 0) + event["encodedDataLength"]

    def take(self) -> tuple[int, float, dict[str, float]]:
        """Return requests, bytes and the bytes of each, and begin anew."""
        sizes, self.sizes = self.sizes, {}
        return len(sizes), sum(sizes.values()), sizes


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AppServer, HostSite]]:
    """A chat that another origin may embed, and a page of that origin."""
    with (
        host_site() as site,
        start_database(tmp_path_factory.mktemp("weight") / "db") as database,
        start_app(
            database.uri, env={"RATELIMIT_ENABLED": "false", "CORS_ORIGINS": site.origin}
        ) as app,
    ):
        site.chat_url = app.url
        yield app, site


def test_the_widget_is_light_closed_and_opened(
    embedded: tuple[AppServer, HostSite], new_page: NewPage
) -> None:
    app, site = embedded
    page = new_page()
    traffic = Traffic(page, app.url)
    page.goto(site.origin)
    expect(page.get_by_role("button", name="Support chat")).to_be_visible()
    page.wait_for_timeout(300)
    count, size, each = traffic.take()
    assert 0 < count <= CLOSED[0], each
    assert size <= CLOSED[1], each

    page.get_by_role("button", name="Support chat").click()
    expect(page.get_by_label("E-mail")).to_be_visible()
    page.wait_for_timeout(500)
    count, size, each = traffic.take()
    assert 0 < count <= OPENED[0], each
    assert size <= OPENED[1], each


def test_the_chat_page_is_as_light_as_the_opened_widget(server: Server, new_page: NewPage) -> None:
    page = new_page()
    traffic = Traffic(page, server.url)
    page.goto(f"{server.url}/chat")
    expect(page.get_by_label("E-mail")).to_be_visible()
    page.wait_for_timeout(500)
    count, size, each = traffic.take()
    assert 0 < count <= OPENED[0], each
    assert size <= OPENED[1], each


def test_the_console_is_light_at_the_first_visit(server: Server, new_page: NewPage) -> None:
    agent = server.admin()
    page = new_page()
    traffic = Traffic(page, server.url)
    page.goto(f"{server.url}/admin")
    page.fill("#email", agent["email"])
    page.fill("#password", agent["password"])
    page.click("button.primary")
    expect(page.locator("#rows")).to_be_attached()
    page.wait_for_timeout(500)
    _, size, each = traffic.take()
    assert 0 < size <= CONSOLE, each
