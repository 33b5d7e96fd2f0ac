"""From a visitor's first message to a chat that is solved: what each screen asks for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser.chat_ui_helpers import (
    bubble,
    change,
    composer,
    history,
    make_chat,
    open_chat,
    say,
    send,
    sign_in,
    write_as_guest,
)
from tests.browser.conftest import NewPage, PageErrors, hold, until, without_live_connection
from tests.browser.server import Server

CHATS = re.compile(r"/api/chat$")


def fill(page: Page, message: str, email: str) -> None:
    """Fill in what the first screen requires."""
    page.get_by_label("Your message").fill(message)
    page.get_by_label("E-mail").fill(email)


def press(page: Page) -> None:
    """Start the chat."""
    page.get_by_role("button", name="Start chat", exact=True).click()


# The first screen


def test_one_screen_asks_for_a_message_an_address_and_perhaps_a_name(
    server: Server, new_page: NewPage, agent: dict[str, Any]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    expect(page.get_by_label("Your name (optional)")).to_have_value("")
    press(page)
    expect(page.get_by_label("Your message")).to_be_focused()
    expect(page.get_by_label("Your message")).to_have_accessible_description(
        "Your message is missing."
    )
    expect(page.get_by_label("E-mail")).to_have_accessible_description("E-mail is missing.")
    message = "The lamp does not light up any more.\nI bought it in May."
    write_as_guest(page, message, "lena.kim@example.org")
    expect(composer(page)).to_be_focused()
    chat_id = page.url.rpartition("/")[2]
    _, _, chat = server.request("GET", f"/api/chat/{chat_id}", agent["token"])
    assert chat["userName"] == "lena.kim"
    assert chat["subject"] == "The lamp does not light up any more."
    assert [each["content"] for each in chat["messages"]] == [message]


def test_the_first_screen_fits_a_phone_and_each_screen_has_its_heading(
    server: Server, new_page: NewPage
) -> None:
    page = new_page(width=375, height=667)
    page.goto(f"{server.url}/chat")
    expect(page.get_by_role("button", name="Start chat", exact=True)).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("heading", level=1)).to_have_text("Support chat")
    write_as_guest(page, "Hello", "phone@example.org")
    expect(page.locator(".top")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_have_text("Support chat")


def test_a_guest_whose_chat_could_not_be_made_goes_on_at_the_next_press(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 503")
    page = new_page()
    page.goto(f"{server.url}/chat")
    guests: list[str] = []

    def note(request: Request) -> None:
        if "/guest" in request.url:
            guests.append(request.url)

    page.on("request", note)
    problem = {"code": "database_unavailable", "detail": "Back in a moment."}
    page.route(CHATS, lambda route: route.fulfill(status=503, json=problem))
    fill(page, "Is anybody there?", "kept@example.org")
    press(page)
    expect(page.get_by_role("alert")).to_contain_text("Back in a moment.")
    expect(page.get_by_label("Your message")).to_have_value("Is anybody there?")
    page.unroute(CHATS)
    press(page)
    expect(bubble(page, "Is anybody there?")).to_be_visible()
    assert len(guests) == 1


def test_a_first_message_whose_answer_was_lost_is_sent_once(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    page_errors.allow("net::ERR_FAILED")
    page = new_page()
    page.goto(f"{server.url}/chat")
    sent: list[str] = []

    def lose_first_answer(route: Route) -> None:
        if route.request.method == "POST":
            sent.append((route.request.post_data_json or {})["clientMessageId"])
            if len(sent) == 1:
                route.fetch()
                route.abort()
                return
        route.fallback()

    page.route(CHATS, lose_first_answer)
    fill(page, "Only once", "once@example.org")
    press(page)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    press(page)
    expect(bubble(page, "Only once")).to_have_count(1)
    assert len(sent) == 2
    assert len(set(sent)) == 1


def test_a_first_message_comes_along_to_the_account_and_through_a_reload(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_label("Your message").fill("Written before")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("Written before")
    assert "Written before" not in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("E-mail").fill(ana["email"])
    page.get_by_label("Password").fill(ana["password"])
    page.get_by_role("button", name="Sign in").click()
    dialog = page.get_by_role("dialog", name="New chat")
    expect(dialog.get_by_label("Your message")).to_have_value("Written before")
    expect(dialog.get_by_label("Your message")).to_be_focused()
    dialog.get_by_role("button", name="Start chat").click()
    expect(bubble(page, "Written before")).to_be_visible()
    assert "Written before" not in page.evaluate("JSON.stringify(sessionStorage)")


# A chat of somebody who is signed in


def test_a_new_chat_needs_a_message_only(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    page = new_page()
    sign_in(page, server.url, ana)
    page.get_by_role("button", name="New chat").click()
    dialog = page.get_by_role("dialog", name="New chat")
    expect(dialog.get_by_label("Your message")).to_be_focused()
    dialog.get_by_label("Your message").fill("My invoice is wrong")
    dialog.get_by_label("Category").select_option("billing")
    dialog.get_by_role("button", name="Start chat").click()
    expect(page.get_by_role("heading", name="My invoice is wrong")).to_be_visible()
    expect(composer(page)).to_be_focused()


def test_an_open_chat_is_named_before_anything_is_filled_in(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, subject="The first one")
    page = new_page()
    sign_in(page, server.url, ana)
    expect(page.locator(".chat-item")).to_be_visible()
    page.get_by_role("button", name="New chat").click()
    dialog = page.get_by_role("dialog", name="New chat")
    expect(dialog).to_contain_text("Your chat “The first one” is still open. Please go on there.")
    expect(dialog.get_by_label("Your message")).to_be_hidden()
    expect(dialog.get_by_role("button", name="Open that chat")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The first one")).to_be_visible()
    expect(composer(page)).to_be_focused()
    assert page.url.endswith(chat_id)


def test_a_chat_opened_elsewhere_meanwhile_takes_the_text_along(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
) -> None:
    page_errors.allow("status of 409")
    page = new_page()
    without_live_connection(page)
    sign_in(page, server.url, ana)
    page.get_by_role("button", name="New chat").click()
    dialog = page.get_by_role("dialog", name="New chat")
    dialog.get_by_label("Your message").fill("Do not lose me")
    held = hold(page, re.compile(r"/api/chat$"))
    make_chat(server, ana, subject="On my phone")
    dialog.get_by_role("button", name="Start chat").click()
    until(lambda: any(route.request.method == "POST" for route in held), page)
    for route in held:
        route.continue_()
    page.unroute(re.compile(r"/api/chat$"))
    expect(dialog).to_contain_text("your text comes along")
    dialog.get_by_role("button", name="Open that chat").click()
    expect(composer(page)).to_have_value("Do not lose me")
    expect(page.get_by_role("heading", name="On my phone")).to_be_visible()


# Solved


def test_a_user_says_that_it_is_solved_until_they_write_again(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "How do I reset it?")
    say(server, agent, chat_id, "Hold the button for ten seconds.")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.get_by_role("button", name="This is solved").click()
    expect(page.locator(".toast")).to_contain_text("Marked as solved.")
    expect(page.locator(".conversation-head .chip")).to_have_text("Solved")
    expect(page.locator(".chat-item .chip")).to_have_text("Solved")
    expect(page.get_by_role("button", name="This is solved")).to_have_count(0)
    expect(composer(page)).to_be_focused()
    _, _, chat = server.request("GET", f"/api/chat/{chat_id}", ana["token"])
    assert chat["solvedAt"]
    assert chat["status"] == "active"

    send(page, "It came back")
    expect(page.locator(".conversation-head .chip")).to_have_text("Active")
    expect(page.get_by_role("button", name="This is solved")).to_be_visible()
    change(server, agent, chat_id, status="closed")
    expect(page.get_by_text("This chat is closed.")).to_be_visible()
    expect(page.get_by_role("button", name="This is solved")).to_have_count(0)


def test_solved_that_fails_says_so(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
) -> None:
    page_errors.allow("net::ERR_FAILED")
    chat_id = make_chat(server, ana, "How?")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.route("**/solved", lambda route: route.abort())
    page.get_by_role("button", name="This is solved").click()
    expect(page.locator(".toast.error")).to_contain_text("cannot be reached")
    expect(page.get_by_role("button", name="This is solved")).to_be_focused()
    assert history(server, ana, chat_id) == ["How?"]


# Who is who


@pytest.mark.parametrize("name", ["\u202eSupport", "أحمد"])
def test_only_agents_are_marked_as_support_and_names_are_isolated(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any], name: str
) -> None:
    marta = server.admin("Marta")
    server.request("PATCH", f"/api/admin/users/{marta['_id']}", agent["token"], {"name": name})
    chat_id = make_chat(server, ana, "Hello")
    say(server, marta, chat_id, "Hi")
    change(server, agent, chat_id, adminId=marta["_id"])
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    shown = name.replace("\u202e", "")
    expect(page.locator(".theirs .sender bdi")).to_have_text(shown)
    expect(page.locator(".theirs .agent-mark")).to_have_text("Support")
    expect(page.locator(".mine .agent-mark")).to_have_count(0)
    expect(page.locator(".conversation-title p bdi")).to_have_text(shown)
    expect(page.locator(".chat-item .preview-sender bdi")).to_have_text(shown)
