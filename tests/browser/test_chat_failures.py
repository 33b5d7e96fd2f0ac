"""The users' chat when something fails: the network, the service, the session."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.chat_ui_helpers import (
    bubble,
    composer,
    history,
    make_chat,
    open_chat,
    say,
    send,
    sign_in,
)
from tests.browser.conftest import NewPage, PageErrors, without_live_connection
from tests.browser.server import Server
from tests.tiers import representatives

MESSAGES = re.compile(r"/api/chat/[0-9a-f]{24}/messages$")
CUT = r"net::ERR_(INTERNET_DISCONNECTED|FAILED|CONNECTION)"


# A network that fails


def test_message_is_sent_once_although_its_answer_was_lost(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
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


@pytest.mark.parametrize(
    ("width", "height"), representatives([(375, 667), (768, 1024), (1280, 800)], (375, 667))
)
def test_the_banner_covers_neither_titles_nor_buttons(
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    width: int,
    height: int,
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana, "Before")
    page = new_page(width=width, height=height)
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Before")).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_text("You are offline.")).to_be_visible()
    banner = page.locator(".banner").bounding_box()
    assert banner
    for part in (".top", ".chats-head", ".conversation-head", ".composer"):
        box = page.locator(part).bounding_box()
        if box is not None:
            below = banner["y"] >= box["y"] + box["height"]
            assert below or banner["y"] + banner["height"] <= box["y"], part
    assert page.evaluate("document.documentElement.scrollHeight") <= height


def test_unsent_message_and_draft_survive_a_reload(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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


def test_retry_now_does_not_wait(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
) -> None:
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
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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


def end_other_sessions(server: Server, who: dict[str, Any], password: str) -> None:
    """Change the password, which ends every session but the one that changes it."""
    body = {"current": who["password"], "new": password}
    status, _, answer = server.request("POST", "/api/auth/password", who["token"], body)
    assert status == 204, answer


# Sessions that end


def test_session_that_ends_while_typing_loses_nothing(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
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
