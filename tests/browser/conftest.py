"""Fixtures of the tests in a real browser: a server, pages, and an eye on their console.

Any error in the console and any uncaught exception fails the test at its end, unless the
test expects it: `page_errors.allow(r"status of 409")`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Page,
    Route,
    sync_playwright,
)

from tests.browser import hostile, in_flight
from tests.browser.chat_ui_helpers import HostSite, host_site
from tests.browser.console_helpers import Desk, MakeChat, SignIn, new_chat, sit_down
from tests.browser.live_console import Seat, sit
from tests.browser.proxy import Proxy
from tests.browser.server import Server
from tests.conftest import chromium_path
from tests.servers import AppServer, start_app, start_database

ARGUMENTS = [
    "--no-sandbox",  # root in a container has no user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NewPage = Callable[..., Page]
HostPage = Callable[..., Page]


@dataclass
class PageErrors:
    """What the pages of a test complained about."""

    seen: list[str] = field(default_factory=list)
    allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Expect errors whose text holds this regular expression."""
        self.allowed.append(re.compile(pattern))

    def watch(self, page: Page) -> None:
        """Collect what a page complains about from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.seen.append(f"uncaught: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            place = message.location.get("url", "")
            self.seen.append(f"{message.text} ({place})")

    def unexpected(self) -> list[str]:
        """Return the complaints that no pattern allows."""
        return [text for text in self.seen if not any(p.search(text) for p in self.allowed)]


def hold(page: Page, address: str | re.Pattern[str]) -> list[Route]:
    """Keep back what the page asks of an address; `held[0].continue_()` lets it go."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(address, keep)
    return held


def until(condition: Callable[[], bool], page: Page, seconds: float = 15) -> None:
    """Wait for something that is no part of a page, while the page goes on."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen."
        page.wait_for_timeout(50)


def without_live_connection(page: Page) -> None:
    """Let the pages of this tab find no WebSocket: they have to poll."""
    page.add_init_script("delete window.WebSocket")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The product in processes of its own, without rate limits. Its data is never emptied."""
    with (
        start_database(tmp_path_factory.mktemp("browser") / "db") as database,
        start_app(
            database.uri,
            env={"RATELIMIT_ENABLED": "false", "IMAGE_HOSTS": hostile.IMAGE_HOSTS},
        ) as app,
    ):
        yield Server(app, database.uri)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AppServer, HostSite]]:
    """A chat that another origin may embed, and a page of that origin."""
    with (
        host_site() as site,
        start_database(tmp_path_factory.mktemp("widget") / "db") as database,
        start_app(
            database.uri, env={"RATELIMIT_ENABLED": "false", "CORS_ORIGINS": site.origin}
        ) as app,
    ):
        site.chat_url = app.url
        yield app, site


@pytest.fixture
def host_page(embedded: tuple[AppServer, HostSite], new_page: NewPage) -> Iterator[HostPage]:
    """`host_page(head="", body="", script=None, **options)` -> an open page with the widget.

    The page has no policy. script -- instead of the script element that docs/widget.md names.
    options -- as `new_page` takes them.
    """
    app, site = embedded

    def make(
        head: str = "", body: str = "<h1>A shop</h1>", script: str | None = None, **options: Any
    ) -> Page:
        if script is None:
            script = f'<script src="{app.url}/widget.js" defer></script>'
        site.html = (
            f"<!doctype html><html><head><title>A shop</title>{head}{script}</head>"
            f"<body>{body}</body></html>"
        )
        page = new_page(**options)
        page.goto(site.origin)
        return page

    yield make
    site.html = None


@pytest.fixture
def ana(server: Server) -> dict[str, Any]:
    """A user with an account."""
    return server.user("Ana Souza")


@pytest.fixture(scope="module")
def agent(server: Server) -> dict[str, Any]:
    """An agent who answers."""
    return server.admin("Marta Oliveira")


@pytest.fixture
def make_chat(server: Server) -> MakeChat:
    """`make_chat(subject=…, message=…)` -> a new chat with its user's token."""
    return partial(new_chat, server)


@pytest.fixture
def sign_in(server: Server, new_page: NewPage) -> SignIn:
    """`sign_in(path="/admin", live=True, **new_page options)` -> a Desk of a new agent.

    live -- False: without a WebSocket, so that the page has to poll.
    """

    def enter(path: str = "/admin", live: bool = True, **options: Any) -> Desk:
        page = new_page(**options)
        if not live:
            without_live_connection(page)
        return sit_down(server, page, path=path)

    return enter


@pytest.fixture
def desk(sign_in: SignIn) -> Desk:
    """An agent at the inbox."""
    return sign_in()


@pytest.fixture
def polling_desk(sign_in: SignIn) -> Desk:
    """An agent at the inbox, where no live connection can be made."""
    return sign_in(live=False)


@pytest.fixture
def seat(server: Server, new_page: NewPage) -> Seat:
    """`seat(chat=None, agent=None, url=None, **new_page options)` -> a Desk that is live.

    chat -- the one to open. url -- of the proxy to go through.
    """

    def make(
        chat: dict[str, Any] | None = None,
        agent: dict[str, Any] | None = None,
        url: str | None = None,
        **options: Any,
    ) -> Desk:
        page = new_page(**options)
        page.clock.install()
        return sit(server, page, chat, agent, url)

    return make


@pytest.fixture
def proxied(server: Server) -> Iterator[Proxy]:
    """The product behind a network that can fail."""
    with Proxy(int(server.url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def chromium() -> Iterator[BrowserType]:
    """Playwright's driver of Chromium."""
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="session")
def browser(chromium: BrowserType) -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    browser = chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def page_errors() -> Iterator[PageErrors]:
    """What pages complained about; fails the test at its end if that was not expected."""
    errors = PageErrors()
    yield errors
    assert not errors.unexpected(), "The browser's console:\n" + "\n".join(errors.unexpected())


@pytest.fixture
def new_page(
    browser: Browser, page_errors: PageErrors, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[NewPage]:
    """`new_page(width=1280, height=800, dark=False, **options)` -> a page of a new visitor.

    Each has its own cookies and storage. options -- as Playwright's new_context takes them.
    A failing test leaves a screenshot of each page and says where.
    """
    contexts: list[BrowserContext] = []

    def make(width: int = 1280, height: int = 800, dark: bool = False, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            **options,
        )
        contexts.append(context)
        context.on("page", page_errors.watch)
        in_flight.watch(context)
        return context.new_page()

    yield make

    failed = request.node.stash.get(_failed, False)
    for number, page in enumerate(page for context in contexts for page in context.pages):
        if failed:
            picture = tmp_path / f"page{number}.png"
            page.screenshot(path=picture)
            print(f"screenshot: {picture} ({page.url})")
    for context in contexts:
        context.close()


_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test failed, for its fixtures."""
    report = yield
    if call.when == "call":
        item.stash[_failed] = bool(report.failed)
    return report
