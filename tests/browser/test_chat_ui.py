"""The users' chat component in a real browser: the page /chat and the widget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser import hostile
from tests.browser.chat_ui_helpers import (
    HostSite,
    at_bottom,
    bubble,
    composer,
    host_site,
    open_chat,
    send,
    sign_in,
    widget_token,
    without_live_connection,
)
from tests.browser.conftest import hold
from tests.servers import AppServer, start_app, start_database

HERE = Path(__file__).parent
MESSAGES = re.compile(r"/api/chat/[0-9a-f]{24}/messages$")
CUT = r"net::ERR_(INTERNET_DISCONNECTED|FAILED|CONNECTION)"


@pytest.fixture
def ana(server: Any) -> dict[str, Any]:
    """Somebody with an account."""
    return server.user("Ana Souza")


@pytest.fixture(scope="module")
def agent(server: Any) -> dict[str, Any]:
    """Somebody who answers."""
    return server.admin("Marta Oliveira")


def make_chat(server: Any, who: dict[str, Any], *texts: str, subject: str = "Help") -> str:
    """Open a chat with messages of its user and return its id."""
    status, _, chat = server.request("POST", "/api/chat", who["token"], {"subject": subject})
    assert status == 201, chat
    for text in texts:
        say(server, who, chat["_id"], text)
    return str(chat["_id"])


def say(server: Any, who: dict[str, Any], chat_id: str, text: str) -> dict[str, Any]:
    """Write a message through the API."""
    path = f"/api/chat/{chat_id}/messages"
    status, _, message = server.request("POST", path, who["token"], {"content": text})
    assert status == 201, message
    return message


def history(server: Any, who: dict[str, Any], chat_id: str) -> list[str]:
    """Return the texts that the server has, in their order."""
    path = f"/api/chat/{chat_id}/messages?limit=200"
    _, _, messages = server.request("GET", path, who["token"])
    return [message["content"] for message in messages]


def change(server: Any, agent: dict[str, Any], chat_id: str, **changes: Any) -> None:
    """Change a chat as an agent."""
    status, _, answer = server.request("PATCH", f"/api/chat/{chat_id}", agent["token"], changes)
    assert status == 200, answer


def rename(server: Any, agent: dict[str, Any], who: dict[str, Any], name: str) -> None:
    """Give somebody another name, as an agent."""
    path = f"/api/admin/users/{who['_id']}"
    status, _, answer = server.request("PATCH", path, agent["token"], {"name": name})
    assert status == 200, answer


def end_other_sessions(server: Any, who: dict[str, Any], password: str) -> None:
    """Change the password, which ends every session but the one that changes it."""
    body = {"current": who["password"], "new": password}
    status, _, answer = server.request("POST", "/api/auth/password", who["token"], body)
    assert status == 204, answer


# Coming in


def test_guest_starts_a_chat_and_is_answered(server: Any, new_page: Any, agent: Any) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_label("Your name").fill("Zoë 🦊")
    page.get_by_label("E-mail").fill("zoe@example.org")
    page.get_by_role("button", name="Start chatting").click()
    page.get_by_role("button", name="Start a chat").click()
    page.get_by_label("Subject").fill("Which size fits?")
    page.get_by_label("Category").select_option("billing")
    page.get_by_role("textbox", name="Message (optional)").fill("I am 180 cm tall.")
    page.get_by_role("button", name="Start chat", exact=True).click()

    expect(bubble(page, "I am 180 cm tall.")).to_be_visible()
    expect(composer(page)).to_be_focused()
    chat_id = page.url.rpartition("/")[2]
    say(server, agent, chat_id, "L fits.")
    expect(bubble(page, "L fits.")).to_be_visible()
    expect(
        page.locator("[aria-live=polite]").get_by_text("Marta Oliveira: L fits.")
    ).to_be_attached()
    _, _, chat = server.request("GET", f"/api/chat/{chat_id}", agent["token"])
    assert (chat["category"], chat["userName"]) == ("billing", "Zoë 🦊")


def test_problems_of_a_form_stand_beside_their_field(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of (401|409|422)")
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_role("tab", name="Sign up").click()
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("Your name")).to_have_accessible_description("Your name is missing.")
    expect(page.get_by_label("Your name")).to_be_focused()

    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("E-mail").fill(ana["email"])
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("Password")).to_have_accessible_description(
        re.compile("Must have at least 8 characters")
    )
    page.get_by_label("Password").fill("long enough by far")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("E-mail")).to_have_accessible_description(re.compile("already"))

    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("Password").fill("not the right one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")


def test_signing_out_ends_the_session_and_shows_nothing_of_it(
    server: Any, new_page: Any, ana: Any
) -> None:
    chat_id = make_chat(server, ana, "Something private")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.get_by_role("button", name="Account of Ana Souza").click()
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    expect(page.get_by_text("Something private")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Your name")).to_be_visible()


def test_nothing_is_asked_while_the_session_ends(server: Any, new_page: Any, ana: Any) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    asked: list[str] = []

    def end_and_dawdle(route: Route) -> None:
        answer = route.fetch()
        page.on("request", lambda request: asked.append(request.url))
        # The live connection hears of the end, and the reader comes back to the window.
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(1_500)
        route.fulfill(response=answer)

    page.route("**/api/auth/logout", end_and_dawdle)
    page.get_by_role("button", name="Account of Ana Souza").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    assert [url for url in asked if "/api/" in url] == []


def test_signing_out_that_fails_leaves_the_chat_going(
    server: Any, new_page: Any, page_errors: Any, ana: Any, agent: Any
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.route("**/api/auth/logout", lambda route: route.abort())
    page.get_by_role("button", name="Account of Ana Souza").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(".toast")).to_contain_text("cannot be reached")
    say(server, agent, chat_id, "Still with you")
    expect(bubble(page, "Still with you")).to_be_visible()
    send(page, "So am I")
    expect(page.locator(".receipt")).to_have_text("Sent")


def test_session_survives_a_reload_in_the_same_chat(server: Any, new_page: Any, ana: Any) -> None:
    chat_id = make_chat(server, ana, "Still here")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.reload()
    expect(bubble(page, "Still here")).to_be_visible()
    page.go_back()
    page.go_forward()
    expect(bubble(page, "Still here")).to_be_visible()


def test_agent_is_sent_to_the_console(server: Any, new_page: Any, agent: Any) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("E-mail").fill(agent["email"])
    page.get_by_label("Password").fill(agent["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Open the console")).to_have_attribute(
        "href", f"{server.url}/admin"
    )


# Writing and receiving


def test_second_open_chat_is_refused_and_the_text_comes_along(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of 409")
    make_chat(server, ana, subject="The first one")
    page = new_page()
    sign_in(page, server.url, ana)
    page.get_by_role("button", name="New chat").click()
    page.get_by_label("Subject").fill("A second one")
    page.get_by_role("textbox", name="Message (optional)").fill("Do not lose me")
    page.get_by_role("button", name="Start chat", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("“The first one”")
    page.get_by_role("button", name="Open that chat").click()
    expect(page.get_by_role("heading", name="The first one")).to_be_visible()
    expect(composer(page)).to_have_value("Do not lose me")


def test_unread_messages_are_counted_until_they_have_been_seen(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    chat_id = make_chat(server, ana, "Hello?")
    page = new_page()
    sign_in(page, server.url, ana)
    say(server, agent, chat_id, "One")
    say(server, agent, chat_id, "Two")

    expect(page).to_have_title("(2) Support chat")
    expect(page.locator(".chat-item .badge")).to_have_text("2 unread")
    page.locator(".chat-item").click()
    expect(page.get_by_text("New", exact=True)).to_be_visible()
    expect(page).to_have_title("Support chat")
    expect(page.locator(".chat-item .badge")).to_have_count(0)
    _, _, chat = server.request("GET", f"/api/chat/{chat_id}", ana["token"])
    assert chat["unreadCount"] == 0


def test_read_receipt_appears_when_the_agent_has_read(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    send(page, "Have you seen this?")
    expect(page.locator(".receipt")).to_have_text("Sent")
    server.request("POST", f"/api/chat/{chat_id}/read", agent["token"], {"seq": 1})
    expect(page.locator(".receipt")).to_have_text("Read")


def test_read_receipt_comes_also_to_a_message_far_up(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    chat_id = make_chat(server, ana, "Have you seen this?")
    for number in range(55):
        say(server, agent, chat_id, f"Line {number}")
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Line 54")).to_be_in_viewport()
    page.locator(".messages-scroll").evaluate("box => box.scrollTo(0, 0)")
    expect(page.locator(".receipt")).to_have_text("Sent")
    server.request("POST", f"/api/chat/{chat_id}/read", agent["token"], {"seq": 1})
    expect(page.locator(".receipt")).to_have_text("Read", timeout=9_000)


def test_enter_sends_but_shift_enter_and_composing_do_not(
    server: Any, new_page: Any, ana: Any
) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).press_sequentially("one")
    composer(page).press("Shift+Enter")
    composer(page).press_sequentially("two")
    composer(page).dispatch_event(
        "keydown", {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    )
    expect(composer(page)).to_have_value("one\ntwo")
    composer(page).press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["one\ntwo"]


def test_length_is_counted_as_the_server_counts(server: Any, new_page: Any, ana: Any) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).fill("🦊" * 5001)
    expect(page.locator(".count")).to_have_text("1 characters too many")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    composer(page).fill("🦊" * 5000)
    expect(page.locator(".count")).to_have_text("5,000 of 5,000")
    composer(page).press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["🦊" * 5000]


# A network that fails


def test_message_is_sent_once_although_its_answer_was_lost(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana)
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    sent: list[str] = []

    def lose_first_answer(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        sent.append(str((route.request.post_data_json or {})["clientMessageId"]))
        if len(sent) == 1:
            route.fetch()
            route.abort()
        else:
            route.fallback()

    page.route(MESSAGES, lose_first_answer)
    page.route(
        re.compile(r"/api/chat"),
        lambda route: (
            route.abort() if len(sent) == 1 and route.request.method == "GET" else route.fallback()
        ),
    )
    send(page, "Only once, please")
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=15_000)
    expect(bubble(page, "Only once, please")).to_have_count(1)
    assert len(sent) > 1
    assert len(set(sent)) == 1
    assert history(server, ana, chat_id) == ["Only once, please"]


def test_messages_written_offline_are_sent_in_order_when_it_is_over(
    server: Any, new_page: Any, page_errors: Any, ana: Any, agent: Any
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana, "Before")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Before")).to_be_visible()
    page.context.set_offline(True)
    for text in ("first", "second", "third"):
        send(page, text)
    expect(page.get_by_text("You are offline.")).to_be_visible()
    expect(page.get_by_text("Not sent yet, trying again")).to_be_visible()
    say(server, agent, chat_id, "Meanwhile")

    page.context.set_offline(False)
    expect(page.get_by_text("You are offline.")).to_be_hidden()
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=15_000)
    expect(bubble(page, "Meanwhile")).to_be_visible()
    expected = ["Before", "Meanwhile", "first", "second", "third"]
    assert history(server, ana, chat_id) == expected
    assert page.locator(".bubble").all_text_contents() == expected


def test_unsent_message_and_draft_survive_a_reload(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.route(MESSAGES, lambda route: route.abort())
    send(page, "Do not forget me")
    composer(page).fill("Half a sent")
    expect(page.get_by_text("Not sent yet, trying again")).to_be_visible()
    page.reload()
    expect(bubble(page, "Do not forget me")).to_be_visible()
    expect(composer(page)).to_have_value("Half a sent")

    page.unroute(MESSAGES)
    page.reload()
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=15_000)
    expect(composer(page)).to_have_value("Half a sent")
    assert history(server, ana, chat_id) == ["Do not forget me"]
    page.reload()
    expect(bubble(page, "Do not forget me")).to_have_count(1)


def test_retry_now_does_not_wait(server: Any, new_page: Any, page_errors: Any, ana: Any) -> None:
    page_errors.allow("status of 429")
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    problem = {"code": "too_many_requests", "detail": "That was too much at once."}
    page.route(
        MESSAGES,
        lambda route: route.fulfill(status=429, headers={"Retry-After": "600"}, json=problem),
    )
    send(page, "Later")
    expect(page.get_by_text("Not sent yet, trying again")).to_be_visible()
    page.unroute(MESSAGES)
    page.get_by_role("button", name="Retry now").click()
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["Later"]


def test_refused_message_says_why_and_can_be_edited(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of 422")
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    problem = {
        "code": "validation_failed",
        "detail": "content: no",
        "fields": {"content": ["Must be nicer."]},
    }
    page.route(MESSAGES, lambda route: route.fulfill(status=422, json=problem))
    send(page, "Something rude")
    expect(page.locator(".meta.refused")).to_contain_text("Not sent. Must be nicer.")
    page.unroute(MESSAGES)
    page.reload()
    expect(page.locator(".meta.refused")).to_contain_text("Not sent. Must be nicer.")
    page.get_by_role("button", name="Edit").click()
    expect(composer(page)).to_have_value("Something rude")
    expect(page.locator(".bubble")).to_have_count(0)
    send(page, "Something kind")
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["Something kind"]


def test_unavailable_service_is_announced_and_recovers_by_itself(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of 503")
    chat_id = make_chat(server, ana)
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    api = re.compile(r"/api/")
    problem = {"code": "database_unavailable", "detail": "Back in a moment."}
    page.route(
        api, lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, json=problem)
    )
    expect(page.get_by_text("The service is temporarily unavailable.")).to_be_visible()
    send(page, "Written meanwhile")
    page.unroute(api)
    expect(page.get_by_text("The service is temporarily unavailable.")).to_be_hidden(timeout=15_000)
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=15_000)
    assert history(server, ana, chat_id) == ["Written meanwhile"]


def test_polls_are_conditional_and_rare_in_a_hidden_tab(
    server: Any, new_page: Any, ana: Any
) -> None:
    chat_id = make_chat(server, ana, "Hi")
    page = new_page()
    without_live_connection(page)
    page.clock.install()
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Hi")).to_be_visible()
    polls: list[Request] = []
    page.on(
        "request",
        lambda request: polls.append(request) if request.url.endswith("/api/chat") else None,
    )

    for _ in range(3):
        with page.expect_response(lambda response: response.url.endswith("/api/chat")) as answer:
            page.clock.run_for(3_500)
        assert answer.value.status == 304
    assert all("if-none-match" in request.headers for request in polls)

    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_timeout(300)
    polls.clear()
    page.clock.run_for(20_000)
    page.wait_for_timeout(300)
    assert polls == []
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)
    assert len(polls) == 1


# Long chats


def test_history_loads_upward_without_a_jump(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    chat_id = make_chat(server, ana)
    for number in range(1, 301):
        say(
            server,
            ana if number % 3 else agent,
            chat_id,
            f"Message {number}" + "\nmore" * (number % 4),
        )
    page = new_page(width=375, height=667)
    open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".message").last).to_contain_text("Message 300")
    assert at_bottom(page)

    scroller = page.locator(".messages-scroll")
    jumps = scroller.evaluate((HERE / "chat_ui_scroll.js").read_text())
    assert jumps == []
    expect(page.locator(".message")).to_have_count(300)
    numbers = [
        int(re.findall(r"\d+", text)[0]) for text in page.locator(".bubble").all_text_contents()
    ]
    assert numbers == list(range(1, 301))

    say(server, agent, chat_id, "The newest")
    expect(page.get_by_role("button", name="1 new message")).to_be_visible()
    page.get_by_role("button", name="1 new message").click()
    expect(bubble(page, "The newest")).to_be_in_viewport()


# Closed chats


def test_chat_closed_while_typing_keeps_the_text(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).fill("One more thing")
    change(server, agent, chat_id, status="closed")

    expect(page.get_by_text("This chat is closed.")).to_be_visible()
    expect(composer(page)).to_have_count(0)
    expect(page.locator(".kept-draft")).to_contain_text("One more thing")
    page.get_by_role("button", name="Start a new chat with this text").click()
    expect(page.get_by_role("textbox", name="Message (optional)")).to_have_value("One more thing")
    page.get_by_label("Subject").fill("Again")
    page.get_by_role("button", name="Start chat", exact=True).click()
    expect(page.get_by_role("heading", name="Again")).to_be_visible()
    expect(bubble(page, "One more thing")).to_be_visible()
    assert history(server, ana, chat_id) == ["Hello"]


def test_archived_chat_is_read_only_and_a_reopened_one_is_not(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    change(server, agent, chat_id, status="archived")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    expect(page.get_by_text("This chat is archived.")).to_be_visible()
    expect(composer(page)).to_have_count(0)
    change(server, agent, chat_id, status="active")
    expect(composer(page)).to_be_visible()


def test_message_to_a_chat_closed_meanwhile_is_refused_with_the_reason(
    server: Any, new_page: Any, page_errors: Any, ana: Any, agent: Any
) -> None:
    page_errors.allow("status of 409")
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana)
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    expect(composer(page)).to_be_visible()
    news = re.compile(r"/api/chat(/[0-9a-f]{24}\?messages=50)?$")
    page.route(news, lambda route: route.abort())
    change(server, agent, chat_id, status="closed")
    send(page, "Too late")
    expect(page.locator(".meta.refused")).to_contain_text("closed")
    page.unroute(news)
    expect(page.get_by_text("This chat is closed.", exact=True)).to_be_visible(timeout=15_000)
    expect(bubble(page, "Too late")).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_role("textbox", name="Message (optional)")).to_have_value("Too late")
    assert history(server, ana, chat_id) == []


# Sessions that end


def test_session_that_ends_while_typing_loses_nothing(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of (401|403)")
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).fill("I was in the middle of")
    end_other_sessions(server, ana, "a quite different password")

    dialog = page.get_by_role("dialog", name="Please sign in again")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("E-mail")).to_have_value(ana["email"])
    dialog.get_by_label("Password").fill("a quite different password")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)
    expect(composer(page)).to_have_value("I was in the middle of")
    composer(page).press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["Hello", "I was in the middle of"]


def test_what_one_account_wrote_is_never_sent_by_another(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of (401|403)")
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana)
    ben = server.user("Ben")
    bens = make_chat(server, ben, subject="Ben's own")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.route(MESSAGES, lambda route: route.abort())
    send(page, "Ana's secret")
    composer(page).fill("Ana's draft")
    expect(page.get_by_text("Not sent yet, trying again")).to_be_visible()
    end_other_sessions(server, ana, "a quite different password")
    page.get_by_role("button", name="Use another account").click()
    page.unroute(MESSAGES)
    sent: list[str] = []
    page.on(
        "request",
        lambda request: sent.append(request.url) if MESSAGES.search(request.url) else None,
    )

    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("E-mail").fill(ben["email"])
    page.get_by_label("Password").fill(ben["password"])
    page.get_by_role("button", name="Sign in").click()
    page.locator(".chat-item").click()
    expect(composer(page)).to_have_value("")
    expect(page.get_by_text("Ana's")).to_have_count(0)
    page.wait_for_timeout(3_000)
    assert sent == []

    page.get_by_role("button", name="Account of Ben").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    sign_in(page, server.url, {**ana, "password": "a quite different password"})
    page.locator(".chat-item").click()
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=15_000)
    expect(composer(page)).to_have_value("Ana's draft")
    assert history(server, ana, chat_id) == ["Ana's secret"]
    assert history(server, ben, bens) == []


def test_tab_whose_cookie_was_replaced_by_another_tab_writes_in_nobody_elses_name(
    server: Any, new_page: Any, page_errors: Any, ana: Any
) -> None:
    page_errors.allow("status of (401|403|404)")
    chat_id = make_chat(server, ana, "Ana's chat")
    ben = server.user("Ben")
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    send(page, "Mine")
    expect(page.locator(".receipt")).to_have_text("Sent")
    # Signed in by another program of the same browser: no event tells this tab.
    token = page.request.get(f"{server.url}/api/auth/csrf").json()["csrfToken"]
    answer = page.request.post(
        f"{server.url}/api/auth/login",
        data={"email": ben["email"], "password": ben["password"], "cookie": True},
        headers={"X-CSRF-Token": token, "Origin": server.url},
    )
    assert answer.status == 200, answer.text()
    send(page, "In whose name?")
    expect(page.get_by_role("button", name="Account of Ben")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("Ana's chat")).to_have_count(0)
    assert history(server, ana, chat_id) == ["Ana's chat", "Mine"]


# Hostile text


def test_what_people_write_is_text_and_nothing_else(server: Any, new_page: Any, agent: Any) -> None:
    mallory, marta = server.user(hostile.TEXTS[0]), server.admin("Marta")
    made = []
    for text in hostile.TEXTS:
        rename(server, agent, marta, text)
        chat_id = make_chat(server, mallory, text, subject=text)
        say(server, marta, chat_id, text)
        change(server, agent, chat_id, adminId=marta["_id"], status="closed")
        made.append(chat_id)
    page = new_page()
    sign_in(page, server.url, mallory)
    for text, chat_id in zip(hostile.TEXTS, made, strict=True):
        item = page.locator(f'a[href="#chat/{chat_id}"]')
        expect(item.locator(".subject")).to_have_text(text)
        expect(item.locator(".preview bdi")).to_have_text(text)
        item.click()
        expect(page.locator(".conversation-title h2")).to_have_text(text)
        expect(page.locator(".bubble")).to_have_text([text, text])
        expect(page.locator(".theirs .sender")).to_have_text(text)
        page.locator(".bubble").last.hover()
        hostile.assert_harmless(page)
    page.get_by_role("button", name="Account of").click()
    expect(page.locator(".menu-name strong")).to_have_text(hostile.TEXTS[0])
    assert "Support chat" in page.title()


def test_links_in_messages_are_web_addresses_and_open_elsewhere(
    server: Any, new_page: Any, ana: Any
) -> None:
    text = "javascript:alert(1) data:text/html,<b>x https://good.example/a_(b)?q=<i>."
    chat_id = make_chat(server, ana, text)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    link = page.locator(".bubble a")
    expect(link).to_have_count(1)
    expect(link).to_have_attribute("href", "https://good.example/a_(b)?q=")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(link).to_have_attribute("target", "_blank")


def test_a_picture_is_loaded_from_https_and_nowhere_else(
    server: Any, new_page: Any, ana: Any, agent: Any
) -> None:
    mallory = server.admin("Mallory")
    chat_id = make_chat(server, ana, "Hello")
    say(server, mallory, chat_id, "Hi")
    change(server, agent, chat_id, adminId=mallory["_id"])
    page = new_page()
    hostile.serve_pictures(page)
    open_chat(page, server.url, ana, chat_id)
    for image in hostile.IMAGES:
        shown = 1 if image in hostile.LOADED else 0
        forged = server.forged_image
        with forged(ana["_id"], image), forged(mallory["_id"], image):
            page.reload()
            for place in (".chat-item", ".conversation-head", ".theirs", ".account-button"):
                expect(page.locator(f"{place} .avatar")).to_have_text(re.compile("^(M|AS)$"))
                expect(page.locator(f"{place} .avatar img")).to_have_count(shown)
        hostile.assert_harmless(page)


def test_broken_image_falls_back_to_initials(
    server: Any, new_page: Any, page_errors: Any, ana: Any, agent: Any
) -> None:
    page_errors.allow("status of 404")
    chat_id = make_chat(server, ana, "Hello")
    change(server, agent, chat_id, adminId=agent["_id"])
    page = new_page()
    page.route(re.compile("nothing.png"), lambda route: route.fulfill(status=404))
    with (
        server.forged_image(agent["_id"], "https://pictures.example/nothing.png"),
        page.expect_response(re.compile("nothing.png")),
    ):
        open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".conversation-head .avatar")).to_have_text("MO")
    expect(page.locator(".conversation-head img")).to_have_count(0)


# Reaching it


def test_everything_can_be_done_by_keyboard(server: Any, new_page: Any, ana: Any) -> None:
    make_chat(server, ana, subject="By hand")
    page = new_page()
    page.goto(f"{server.url}/chat")
    expect(page.get_by_role("tab", name="Guest")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Guest")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type(ana["email"])
    page.keyboard.press("Tab")
    page.keyboard.type(ana["password"])
    page.keyboard.press("Enter")
    expect(page.locator(".chat-item")).to_be_visible()

    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.includes('New chat')"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Subject")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(composer(page)).to_be_focused()
    page.keyboard.type("Typed without a mouse")
    page.keyboard.press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    expect(composer(page)).to_be_focused()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (375, 667), (768, 1024), (1920, 1080)])
def test_nothing_is_wider_than_the_window(
    server: Any, new_page: Any, ana: Any, agent: Any, width: int, height: int
) -> None:
    chat_id = make_chat(
        server, ana, "https://example.org/" + "long" * 100, "مرحبا", subject="x" * 200
    )
    say(server, agent, chat_id, "y" * 400)
    page = new_page(width=width, height=height)

    def check() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.scrollHeight") <= height

    page.goto(f"{server.url}/chat")
    expect(page.get_by_role("tab", name="Guest")).to_be_visible()
    check()
    sign_in(page, server.url, ana)
    check()
    page.locator(".chat-item").click()
    expect(page.locator(".message").first).to_be_visible()
    check()
    assert page.locator(".messages-scroll").evaluate("box => box.scrollWidth <= box.clientWidth")
    if width < 760:
        page.get_by_role("button", name="Back to your chats").click()
        expect(page.locator(".chat-item")).to_be_focused()
    page.get_by_role("button", name="New chat").click()
    check()


@pytest.mark.parametrize("dark", [False, True])
def test_texts_have_enough_contrast(
    server: Any, new_page: Any, ana: Any, agent: Any, dark: bool
) -> None:
    chat_id = make_chat(server, ana, "Hello https://example.org")
    say(server, agent, chat_id, "Good morning https://example.org")
    page = new_page(dark=dark)
    open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".message")).to_have_count(2)
    page.wait_for_timeout(400)
    assert page.evaluate((HERE / "chat_ui_contrast.js").read_text()) == []


def test_page_without_scripts_says_so(server: Any, new_page: Any) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{server.url}/chat")
    expect(page.locator(".no-script")).to_contain_text("This chat needs JavaScript.")


def test_files_are_kept_by_the_browser_until_they_change(server: Any) -> None:
    _, headers, script = server.request("GET", "/widget.js")
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert "max-age=3600" in headers["cache-control"]
    status, _, _ = server.request("GET", "/widget.js", headers={"If-None-Match": headers["etag"]})
    assert status == 304

    module = re.search(r"/chat/static/v/[0-9a-f]+/embed\.js", script)
    assert module, script
    _, headers, _ = server.request("GET", module[0])
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]
    status, headers, _ = server.request("GET", "/chat/static/v/0123456789ab/embed.js")
    assert (status, headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_moves_while_a_chat_is_loaded(
    server: Any, new_page: Any, ana: Any, agent: Any, width: int
) -> None:
    for number in range(3):
        chat_id = make_chat(server, ana, "Hello", subject=f"Chat {number}")
        change(server, agent, chat_id, status="closed" if number < 2 else "active")
    page = new_page(width=width, height=667)
    open_chat(page, server.url, ana, chat_id)
    page.add_init_script(
        "window.moved = []; new PerformanceObserver((list) => moved.push(...list.getEntries()"
        ".map((e) => [e.value, e.sources.map((s) => s.node?.className)])))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    page.route("**/api/**", lambda route: (page.wait_for_timeout(150), route.continue_()))
    page.reload()
    expect(bubble(page, "Hello")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("moved") == []


def test_a_spinner_turns_until_the_script_is_here(server: Any, new_page: Any) -> None:
    page = new_page()
    held = hold(page, "**/page.js")
    page.goto(f"{server.url}/chat", wait_until="commit")
    expect(page.get_by_role("status")).to_have_text("Loading")
    expect(page.locator(".spinner")).to_be_visible()
    held[0].continue_()
    expect(page.get_by_role("tab", name="Guest")).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)


# On other people's pages


@pytest.fixture(scope="module")
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


def enter_widget(page: Page, site: HostSite) -> None:
    """Open the page, unfold the widget and start a chat as a guest."""
    page.goto(site.origin)
    page.get_by_role("button", name="Support chat").click()
    page.get_by_label("Your name").fill("Visitor")
    page.get_by_label("E-mail").fill("visitor@example.org")
    page.get_by_role("button", name="Start chatting").click()
    page.get_by_role("button", name="Start a chat").click()
    page.get_by_label("Subject").fill("From the shop")
    page.get_by_role("textbox", name="Message (optional)").fill("Is it waterproof?")
    page.get_by_role("button", name="Start chat", exact=True).click()
    expect(bubble(page, "Is it waterproof?")).to_be_visible()


def test_widget_works_on_a_page_of_another_origin(
    embedded: tuple[AppServer, HostSite], new_page: Any
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
    assert chats[0]["subject"] == "From the shop"
    assert history(app, {"token": token}, chats[0]["_id"]) == ["Is it waterproof?", "And this?"]

    page.reload()
    expect(bubble(page, "And this?")).to_be_visible()
    composer(page).focus()
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_hidden()
    expect(page.get_by_role("button", name="Support chat")).to_be_focused()


def test_folded_widget_shows_what_is_unread(
    embedded: tuple[AppServer, HostSite], new_page: Any
) -> None:
    app, site = embedded
    page = new_page(width=375, height=667)
    without_live_connection(page)
    enter_widget(page, site)
    token = widget_token(page)
    _, _, chats = app.request("GET", "/api/chat", token)
    chat_id = chats[0]["_id"]
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
    assert chat_id in {chat["_id"] for chat in chats}


def test_widget_stays_away_from_a_page_that_is_not_allowed(
    embedded: tuple[AppServer, HostSite], new_page: Any, page_errors: Any
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
