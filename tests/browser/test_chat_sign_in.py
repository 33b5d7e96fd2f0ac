"""Coming into the chat and leaving it: the focus, what a guest would lose, blocked cookies."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.browser.chat_ui_helpers import make_chat, open_chat, sign_in, write_as_guest
from tests.browser.conftest import NewPage, PageErrors
from tests.browser.server import Server


def test_focus_goes_on_after_signing_in_and_out(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    page = new_page()
    sign_in(page, server.url, ana)
    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_focused()


def test_a_refused_form_keeps_the_focus(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
) -> None:
    page_errors.allow("status of 401")
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("E-mail").fill(ana["email"])
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_focused()


def test_nothing_promises_mail_that_is_not_sent(server: Server, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    expect(page.get_by_text("no e-mail is sent")).to_be_visible()
    expect(page.get_by_text("We use your e-mail only to answer you")).to_have_count(0)


def test_a_guest_is_asked_before_signing_out_and_can_keep_the_chats(
    server: Server, new_page: NewPage
) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    write_as_guest(page, "Kept", "gus@example.org")
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Sign out").click()
    dialog = page.get_by_role("dialog", name="Sign out?")
    expect(dialog).to_contain_text("you can never open your chats again")
    dialog.get_by_role("button", name="Stay signed in").click()
    expect(page.get_by_role("button", name="Account of")).to_be_focused()
    expect(page.get_by_role("heading", name="Kept")).to_be_visible()

    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Sign out").click()
    dialog.get_by_label("New password").fill("a very good sentence")
    dialog.get_by_role("button", name="Set a password and keep the chats").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Account of")).to_be_focused()
    page.get_by_role("button", name="Account of").click()
    expect(page.get_by_text("You are here as a guest.")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    who = {"email": "gus@example.org", "password": "a very good sentence"}
    sign_in(page, server.url, who)
    expect(page.locator(".chat-item .subject")).to_have_text("Kept")


def test_a_guest_who_signs_out_anyway_leaves_nothing(server: Server, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    write_as_guest(page, "Lost", "gil@example.org")
    page.locator(".composer-text").fill("Not for others")
    assert "Not for others" in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign out and lose the chats").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    assert "Not for others" not in page.evaluate("JSON.stringify(localStorage)")


def test_another_tab_hears_that_a_guest_has_an_account(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    # The first tab may ask for the session before it hears that the other has signed out.
    page_errors.allow("status of 401")
    page = new_page()
    page.goto(f"{server.url}/chat")
    write_as_guest(page, "Kept", "gia@example.org")
    other = page.context.new_page()
    other.goto(f"{server.url}/chat")
    expect(other.locator(".chat-item")).to_be_visible()
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Set a password").click()
    page.get_by_label("New password").fill("a very good sentence")
    page.get_by_role("button", name="Set a password and keep the chats").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    other.get_by_role("button", name="Account of").click()
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("heading", name="How can we help?")).to_be_visible()


def test_the_address_of_a_guests_chat_greets_no_other_guest(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 401")
    page = new_page()
    page.goto(f"{server.url}/chat")
    write_as_guest(page, "Mine", "one@example.org")
    address = page.url
    page.context.clear_cookies()
    page.reload()
    write_as_guest(page, "Other", "two@example.org")
    page.wait_for_timeout(500)
    expect(page.get_by_text("no longer exists")).to_have_count(0)
    assert page.url != address


def test_blocked_cookies_are_named_and_make_no_further_guest(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 401")
    page = new_page()
    asked = []

    def without_cookie(route: Route) -> None:
        asked.append(route.request.url)
        answer = route.fetch()
        page.context.clear_cookies()
        headers = {k: v for k, v in answer.headers.items() if k != "set-cookie"}
        route.fulfill(response=answer, headers=headers)

    def press(page: Page) -> None:
        page.goto(f"{server.url}/chat")
        page.get_by_label("Your message").fill("Hello")
        page.get_by_label("E-mail").fill("gus@example.org")
        page.get_by_role("button", name="Start chat", exact=True).click()

    page.route("**/api/auth/guest", without_cookie)
    press(page)
    expect(page.get_by_role("alert")).to_contain_text("Your browser blocks cookies")
    page.get_by_role("button", name="Start chat", exact=True).click()
    page.wait_for_timeout(300)
    expect(page.get_by_role("alert")).to_contain_text("Your browser blocks cookies")
    assert len(asked) == 1

    page = new_page()
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'cookieEnabled', { get: () => false })"
    )
    page.on("request", lambda request: asked.append(request.url))
    press(page)
    expect(page.get_by_role("alert")).to_contain_text("Your browser blocks cookies")
    assert not any("/auth/guest" in url for url in asked[1:])


def test_a_whole_conversation_is_printed(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, *[f"Line {number} " + "text " * 60 for number in range(30)])
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".message")).to_have_count(30)
    page.emulate_media(media="print")
    shown = page.locator(".messages-scroll").evaluate("box => [box.clientHeight, box.scrollHeight]")
    assert shown[0] == shown[1] > 2000
    expect(page.locator(".composer")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollHeight") > 2000
