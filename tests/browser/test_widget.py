"""The users' chat as a widget on pages of another origin."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.chat_ui_helpers import (
    HostSite,
    bubble,
    composer,
    history,
    host_site,
    widget_token,
    write_as_guest,
)
from tests.browser.conftest import NewPage, PageErrors, without_live_connection
from tests.servers import AppServer


def enter_widget(page: Page, site: HostSite) -> None:
    """Open the page, unfold the widget and start a chat as a guest."""
    page.goto(site.origin)
    page.get_by_role("button", name="Support chat").click()
    write_as_guest(page, "Is it waterproof?")


def test_widget_works_on_a_page_of_another_origin(
    embedded: tuple[AppServer, HostSite], new_page: NewPage
) -> None:
    app, site = embedded
    page = new_page()
    # As on a page without https.
    page.add_init_script("delete Crypto.prototype.randomUUID")
    page.add_init_script(
        "addEventListener('keydown', () => (window.pressed = (window.pressed ?? 0) + 1))"
    )
    enter_widget(page, site)
    page.keyboard.type("And this?")
    page.keyboard.press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")

    assert page.evaluate("window.pressed") is None
    assert page.context.cookies() == []
    assert (
        bubble(page, "And this?").evaluate("e => getComputedStyle(e).color") == "rgb(255, 255, 255)"
    )
    token = widget_token(page)
    _, _, chats = app.request("GET", "/api/chat", token)
    assert chats[0]["subject"] == "Is it waterproof?"
    assert chats[0]["userName"] == "visitor"
    assert history(app, {"token": token}, chats[0]["_id"]) == ["Is it waterproof?", "And this?"]

    page.reload()
    expect(bubble(page, "And this?")).to_be_visible()
    composer(page).focus()
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_hidden()
    expect(page.get_by_role("button", name="Support chat")).to_be_focused()


def test_folded_widget_shows_what_is_unread(
    embedded: tuple[AppServer, HostSite], new_page: NewPage
) -> None:
    _, site = embedded
    page = new_page(width=375, height=667)
    without_live_connection(page)
    enter_widget(page, site)
    page.get_by_role("button", name="Fold the chat").last.click()

    def answered(route: Route) -> None:
        answer = route.fetch(
            headers={k: v for k, v in route.request.headers.items() if k != "if-none-match"}
        )
        unread = [
            chat | {"unreadCount": 2, "messageCount": 3, "lastSeq": 3} for chat in answer.json()
        ]
        route.fulfill(response=answer, json=unread)

    page.route(re.compile(r"/api/chat$"), answered)
    expect(page.get_by_role("button", name=re.compile("2 unread"))).to_be_visible(timeout=15_000)
    page.unroute(re.compile(r"/api/chat$"))


def test_widget_stays_away_from_a_page_that_is_not_allowed(
    embedded: tuple[AppServer, HostSite], new_page: NewPage, page_errors: PageErrors
) -> None:
    app, _ = embedded
    page_errors.allow("CORS policy|net::ERR_FAILED")
    with host_site(app.url) as stranger:
        page = new_page()
        with page.expect_console_message(lambda message: "CORS_ORIGINS" in message.text):
            page.goto(stranger.origin)
        assert page.locator("live-chat-widget").count() == 0
        refused = page.evaluate(
            "url => fetch(url, {headers: {Authorization: 'Bearer x'}})"
            ".then(() => 'read', () => 'refused')",
            f"{app.url}/api/chat",
        )
        assert refused == "refused"
