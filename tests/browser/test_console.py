"""The console in a real browser: what agents do all day, and what goes wrong meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser import hostile
from tests.browser.conftest import NewPage, PageErrors, Server, hold, without_live_connection
from tests.browser.console_helpers import (
    Desk,
    let_settle,
    new_chat,
    numbers,
    sit_down,
)


@pytest.fixture
def make_chat(server: Server) -> Callable[..., dict[str, Any]]:
    """`make_chat(subject=…, message=…)` -> a new chat with its user's token."""
    return partial(new_chat, server)


@pytest.fixture
def sign_in(server: Server, new_page: NewPage) -> Callable[..., Desk]:
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
def desk(sign_in: Callable[..., Desk]) -> Desk:
    """An agent at the inbox."""
    return sign_in()


@pytest.fixture
def polling_desk(sign_in: Callable[..., Desk]) -> Desk:
    """An agent at the inbox, where no live connection can be made."""
    return sign_in(live=False)


def polled(page: Page, path: str = "/admin") -> int:
    """Wait for the next poll of a path and return its status."""
    with page.expect_response(lambda r: r.url.split("?")[0].endswith(path), timeout=9000) as answer:
        pass
    return answer.value.status


def test_an_agent_signs_in_opens_a_chat_and_answers(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat(name="Ana Souza", subject="Where is my parcel")
    expect(page.locator(f"#chat-{chat['_id']}")).to_have_class(re.compile("unread"), timeout=9000)
    expect(page).to_have_title(re.compile(r"^\(\d+\) Inbox$"))
    desk.open(chat)
    expect(page).to_have_url(re.compile(chat["_id"]))
    expect(page).to_have_title(re.compile("Where is my parcel$"))
    expect(page.locator(f"#chat-{chat['_id']}")).not_to_have_class(re.compile("unread"))
    assert desk.chat(chat)["unreadCount"] == 0

    page.fill("#message", "Let me look.")
    page.press("#message", "Shift+Enter")
    page.type("#message", "One moment.")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Let me look.\nOne moment.")
    expect(page.locator("#message")).to_have_value("")
    page.type("#message", "Found it")
    page.press("#message", "Enter")
    expect(page.locator("#m-3 .text")).to_have_text("Found it")
    sent = desk.chat(chat)["messages"]
    assert [each["content"] for each in sent] == ["Hello?", "Let me look.\nOne moment.", "Found it"]
    assert len({each["clientMessageId"] for each in sent[1:]}) == 2


def test_a_poll_shows_news_and_disturbs_nothing(polling_desk: Desk, make_chat: Any) -> None:
    desk, page = polling_desk, polling_desk.page
    chat, other = make_chat(message="First"), make_chat()
    for number in range(60):
        desk.answer(chat, f"Line {number}\n" * 3)
    page.reload()
    desk.open(chat)
    page.check(f"#pick-{other['_id']}")
    page.focus("#message")
    page.type("#message", "Half a sen")
    page.evaluate("document.getElementById('message').setSelectionRange(2, 4)")
    page.evaluate("document.getElementById('history').scrollTop = -600")
    page.evaluate("document.getElementById('message').marked = true")
    top = page.evaluate("document.getElementById('m-50').getBoundingClientRect().top")

    desk.say(chat, "Are you there?")
    expect(page.locator("#m-62")).to_be_attached(timeout=9000)
    expect(page.locator("#jump")).to_have_text("1 new message")
    assert page.input_value("#message") == "Half a sen"
    assert page.evaluate("document.activeElement.marked") is True
    caret = "(({selectionStart: a, selectionEnd: b}) => [a, b])(document.activeElement)"
    assert page.evaluate(caret) == [2, 4]
    assert page.is_checked(f"#pick-{other['_id']}")
    now = page.evaluate("document.getElementById('m-50').getBoundingClientRect().top")
    assert abs(now - top) < 2
    page.click("#jump")
    expect(page.locator("#jump")).to_be_hidden()
    expect(page.locator("#m-62")).to_be_in_viewport()
    expect(page.locator(f"#chat-{chat['_id']} .count")).to_have_count(0, timeout=9000)
    assert desk.chat(chat)["unreadCount"] == 0


def test_at_the_newest_message_it_stays_there(desk: Desk, make_chat: Any) -> None:
    chat = make_chat()
    for number in range(40):
        desk.answer(chat, f"Line {number}")
    desk.page.reload()
    desk.open(chat)
    expect(desk.page.locator("#m-41")).to_be_in_viewport()
    desk.say(chat, "Newest")
    expect(desk.page.locator("#m-42")).to_be_in_viewport(timeout=9000)
    expect(desk.page.locator("#jump")).to_be_hidden()


def test_older_messages_load_on_scrolling_up_and_nothing_jumps(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat()
    for number in range(2, 131):
        desk.answer(chat, f"Line {number}")
    page.reload()
    desk.open(chat)
    expect(page.locator(".message")).to_have_count(50)
    page.evaluate("document.getElementById('history').scrollTop = -1e6")
    before = page.evaluate("document.getElementById('m-81').getBoundingClientRect().top")
    expect(page.locator("#m-31")).to_be_attached()
    after = page.evaluate("document.getElementById('m-81').getBoundingClientRect().top")
    assert abs(after - before) < 2
    page.evaluate("document.getElementById('history').scrollTop = -1e6")
    expect(page.locator("#m-1")).to_be_attached()
    desk.say(chat, "News")
    expect(page.locator("#m-131")).to_be_attached(timeout=9000)
    assert page.locator(".message").count() == 131


@pytest.mark.parametrize("live", [True, False])
def test_seen_marks_come_also_to_the_older_part(
    sign_in: Callable[..., Desk], make_chat: Any, live: bool
) -> None:
    desk, chat = sign_in(live=live), make_chat()
    page = desk.page
    for number in range(2, 61):
        desk.answer(chat, f"Line {number}")
    page.reload()
    desk.open(chat)
    page.evaluate("document.getElementById('history').scrollTop = -1e6")
    expect(page.locator("#m-2 .mark")).to_have_attribute("title", "Sent")
    path = f"/api/chat/{chat['_id']}/read"
    desk.server.request("POST", path, token=chat["token"], json={"seq": 3})
    for seq, title in ((2, "Seen"), (3, "Seen"), (4, "Sent")):
        mark = page.locator(f"#m-{seq} .mark")
        expect(mark).to_have_attribute("title", title, timeout=9000)
        expect(mark).to_have_text(title)
        expect(mark).to_have_class("mark seen" if title == "Seen" else re.compile("^mark ?$"))


def test_nothing_new_costs_a_304_and_no_swap(polling_desk: Desk, make_chat: Any) -> None:
    desk, page = polling_desk, polling_desk.page
    chat = make_chat()
    page.goto(f"{desk.server.url}/admin?q={chat['email']}")
    desk.open(chat)
    # Opening has changed the chat, which is fetched again: only after a whole round without
    # news is there nothing left to put into the page.
    for path in (f"/admin/chats/{chat['_id']}", "/admin"):
        page.wait_for_event(
            "response",
            lambda r, path=path: r.status == 304 and r.url.split("?")[0].endswith(path),
            timeout=20_000,
        )
    statuses: list[int] = []
    page.on("response", lambda r: statuses.append(r.status) if "/admin" in r.url else None)
    page.evaluate(
        "window.changes = 0; new MutationObserver((all) => window.changes += all.length).observe("
        "document.querySelector('main'), {subtree: true, childList: true, attributes: true})"
    )
    for _ in range(2):
        polled(page)
    assert set(statuses) == {304}
    assert len(statuses) <= 6
    assert page.evaluate("window.changes") == 0


def test_status_priority_and_assignment_apply_at_once(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    page.select_option("#set-priority", "urgent")
    expect(page.locator(f"#chat-{chat['_id']} .priority-urgent")).to_be_visible()
    page.select_option("#set-status", "pending")
    expect(page.locator(f"#chat-{chat['_id']} .status-pending")).to_be_visible()
    page.click("#take button")
    expect(page.locator(".toast").last).to_contain_text(f"Assigned to {desk.agent['name']}.")
    expect(page.locator("#take")).to_have_count(0)
    page.select_option("#set-status", "closed")
    expect(page.locator("#closed")).to_contain_text("no message can be added")
    page.click("#closed button")
    expect(page.locator("#composer")).to_be_visible()
    stored = desk.chat(chat)
    assert (stored["status"], stored["priority"]) == ("active", "urgent")


def test_what_another_agent_changes_shows(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    page.fill("#message", "A draft")
    path = f"/api/chat/{chat['_id']}"
    desk.server.request("PATCH", path, token=desk.agent["token"], json={"status": "closed"})
    expect(page.locator("#closed")).to_be_visible(timeout=9000)
    expect(page.locator("#set-status")).to_have_value("closed")
    page.click("#closed button")
    expect(page.locator("#message")).to_have_value("A draft")


def test_filters_are_in_the_address_and_back_undoes_them(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    word = f"word{next(numbers)}x"
    low = make_chat(subject=f"{word} low", priority="low")
    high = make_chat(subject=f"{word} high", priority="high")
    page.fill("#q", word)
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    expect(page).to_have_url(re.compile(rf"\?q={word}$"))
    page.select_option("#filters [name=priority]", "high")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"priority=high"))
    desk.open(high)
    expect(page).to_have_url(re.compile(rf"/chats/{high['_id']}\?.*priority=high"))
    page.reload()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page.locator("#chat")).to_be_visible()

    page.go_back()
    expect(page.locator("#chat")).to_have_count(0)
    expect(page.locator("#filters [name=priority]")).to_have_value("high")
    page.go_back()
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    expect(page.locator("#filters [name=priority]")).to_have_value("")
    desk.open(low)
    page.fill("#message", "Works after going back")
    page.press("#message", "Enter")
    expect(page.locator("#m-2")).to_be_visible()


def test_leaving_the_search_keeps_what_is_chosen_below_it(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    word = f"left{next(numbers)}x"
    chat = make_chat(subject=word)
    make_chat(subject=word)
    page.fill("#q", word)
    expect(page).to_have_url(re.compile(f"q={word}$"))
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    let_settle(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if word in request.url else None)
    page.locator(f"#chat-{chat['_id']} input[name=ids]").check()
    let_settle(page)
    expect(page.locator("[data-picked]")).to_have_text("1")
    assert asked == []


def test_views_are_one_click(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat()
    page.click(".views >> text=Unread")
    expect(page.locator("[data-view][aria-current]")).to_have_text("Unread")
    expect(page.locator("#filters [name=unread]")).to_have_value("true")
    expect(page.locator(f"#chat-{chat['_id']}")).to_be_visible()
    page.click(".views >> text=Mine")
    expect(page.locator("#rows")).to_contain_text("No chat matches these filters.")
    page.click("[data-clear]")
    expect(page.locator("[data-view][aria-current]")).to_have_text("All")


def test_many_chats_are_closed_at_once(polling_desk: Desk, make_chat: Any) -> None:
    desk, page = polling_desk, polling_desk.page
    word = f"bulk{next(numbers)}x"
    made = [make_chat(subject=f"{word} {n}") for n in range(5)]
    page.goto(f"{desk.server.url}/admin?q={word}")
    boxes = page.locator("#rows input[name=ids]")
    boxes.nth(0).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(page.locator("[data-picked]")).to_have_text("4")
    polled(page)
    desk.say(made[4], "I come to the top")
    expect(page.locator("#rows tbody tr").first).to_have_id(f"chat-{made[4]['_id']}", timeout=9000)
    expect(page.locator("[data-picked]")).to_have_text("4")
    page.click("#bulk button[value=closed] >> nth=0")
    expect(page.locator(".toast")).to_contain_text("4 chats changed.")
    expect(page.locator("#rows .status-closed")).to_have_count(4)
    expect(page.locator("#bulk")).to_be_hidden()
    page.check("[data-pick-all]")
    expect(page.locator("[data-picked]")).to_have_text("5")
    page.click("#bulk summary >> nth=0")
    page.click(f"#bulk .menu button:has-text('{desk.agent['name']}')")
    expect(page.locator("#rows .assignee", has_text=desk.agent["name"])).to_have_count(5)


def test_what_could_not_be_done_in_bulk_is_told(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    word = f"again{next(numbers)}x"
    old = make_chat(subject=f"{word} old")
    path = f"/api/chat/{old['_id']}"
    desk.server.request("PATCH", path, token=desk.agent["token"], json={"status": "closed"})
    desk.server.request("POST", "/api/chat", token=old["token"], json={"subject": f"{word} new"})
    page.goto(f"{desk.server.url}/admin?q={word}")
    page.check("[data-pick-all]")
    page.click("#bulk summary >> text=Status")
    page.click("#bulk .menu button[value=active]")
    expect(page.locator(".toast.problem")).to_contain_text("1 refused")
    expect(page.locator(".toast.problem")).to_contain_text("another open chat")


def test_an_expired_session_asks_over_the_page_and_all_goes_on(
    polling_desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    desk = polling_desk
    page_errors.allow("status of 401")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    page.type("#message", "I was just writ")
    page.context.clear_cookies(name="chat_session")
    expect(page.locator("#sign-in")).to_be_visible(timeout=9000)
    expect(page.locator("#sign-in [name=email]")).to_have_value(desk.agent["email"])
    page.fill("#sign-in [name=password]", "wrong password")
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in .form-error")).to_contain_text("not right")
    page.fill("#sign-in [name=password]", desk.agent["password"])
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in")).to_have_count(0)
    expect(page.locator("#message")).to_have_value("I was just writ")
    page.type("#message", "ing")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("I was just writing")


def test_a_message_refused_for_the_session_can_be_sent_after_the_sign_in(
    desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 401")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    let_settle(page)
    page.context.clear_cookies(name="chat_session")
    page.type("#message", "Not lost")
    page.press("#message", "Enter")
    expect(page.locator("#sign-in")).to_have_count(1)
    page.fill("#sign-in [name=password]", desk.agent["password"])
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in")).to_have_count(0)
    expect(page.locator("#message")).to_have_value("Not lost")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Not lost")
    assert desk.chat(chat)["lastSeq"] == 2


def test_a_token_that_went_stale_is_renewed(
    desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 403")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    fields = "document.querySelectorAll('[name=csrf_token]')"
    page.evaluate(f"for (const field of {fields}) field.value = 'stale'")
    page.type("#message", "Twice")
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem")).to_contain_text("try once more")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Twice")


def test_an_outage_is_told_and_ends_by_itself(
    polling_desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    desk = polling_desk
    page_errors.allow("net::ERR_|Failed to fetch|status of 503")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    broken = re.compile(r"/admin")
    page.route(broken, lambda route: route.abort())
    expect(page.locator("#banner")).to_contain_text("Connection lost", timeout=9000)
    page.type("#message", "Kept")
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem")).to_contain_text("Your text is still here.")
    expect(page.locator("#message")).to_have_value("Kept")
    page.unroute(broken)

    def down(route: Route) -> None:
        headers = {"Retry-After": "1", "Content-Type": "text/html"}
        route.fulfill(status=503, headers=headers, body="<h1>proxy</h1>")

    page.route(broken, down)
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem").last).to_contain_text("cannot be reached")
    expect(page.locator("#message")).to_have_value("Kept")
    assert page.locator("text=proxy").count() == 0
    page.unroute(broken)
    expect(page.locator("#banner")).to_be_empty(timeout=20000)
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Kept")
    assert desk.chat(chat)["lastSeq"] == 2


def test_a_lost_answer_does_not_send_twice(
    desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    page_errors.allow("net::ERR_|Failed to fetch")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/messages?**", lose, times=1)
    page.type("#message", "Once")
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem")).to_be_visible()
    page.press("#message", "Enter")
    expect(page.locator("#message")).to_have_value("")
    assert [each["content"] for each in desk.chat(chat)["messages"]] == ["Hello?", "Once"]


def test_a_hidden_draft_is_there_again(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat, other = make_chat(), make_chat()
    page.reload()
    desk.open(chat)
    page.type("#message", "To be continued")
    desk.open(other)
    expect(page.locator("#message")).to_have_value("")
    desk.open(chat)
    expect(page.locator("#message")).to_have_value("To be continued")
    page.reload()
    expect(page.locator("#message")).to_have_value("To be continued")


def test_what_people_write_is_text_and_nothing_else(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    made = [make_chat(name=text, subject=text, message=text) for text in hostile.TEXTS]
    page.reload()
    for text, chat in zip(hostile.TEXTS, made, strict=True):
        expect(page.locator(f"#open-{chat['_id']}")).to_have_text(text)
        expect(page.locator(f"#chat-{chat['_id']} .name")).to_have_text(text)
        desk.open(chat)
        expect(page.locator("#chat-title")).to_have_text(text)
        expect(page.locator("#m-1 .text")).to_have_text(text)
        expect(page.locator("#m-1 .sender [dir=auto]")).to_have_text(text)
        page.hover("#m-1 .text")
        desk.say(chat, text)
        expect(page.locator("#m-2 .text")).to_have_text(text, timeout=9000)
        page.click("#m-1 .delete-message")
        expect(page.locator("dialog blockquote")).to_have_text(text)
        page.keyboard.press("Escape")
    hostile.assert_harmless(page)
    page.goto(f"{desk.server.url}/admin/users")
    expect(page.locator("#people")).to_contain_text(hostile.TEXTS[0])
    hostile.assert_harmless(page)


def test_a_picture_is_loaded_from_the_named_hosts_alone(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    hostile.serve_pictures(page)
    chat = make_chat(name="Mallory")
    for image in hostile.IMAGES:
        shown = 1 if image in hostile.LOADED else 0
        with desk.server.forged_image(chat["userId"], image):
            page.goto(f"{desk.server.url}/admin/chats/{chat['_id']}")
            for place in (f"#chat-{chat['_id']}", ".person", "#m-1"):
                expect(page.locator(f"{place} .avatar")).to_contain_text("M")
                expect(page.locator(f"{place} .avatar img")).to_have_count(shown)
            hostile.assert_harmless(page)
            page.goto(f"{desk.server.url}/admin/users?q={chat['email']}")
            expect(page.locator("#people .avatar")).to_contain_text("M")
            expect(page.locator("#people .avatar img")).to_have_count(shown)
            hostile.assert_harmless(page)


def test_the_keyboard_is_enough(polling_desk: Desk, make_chat: Any) -> None:
    page = polling_desk.page
    word = f"keys{next(numbers)}x"
    second, first = make_chat(subject=f"{word} b"), make_chat(subject=f"{word} a")
    page.keyboard.press("/")
    page.keyboard.type(word)
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator("#q")).to_have_value("")
    expect(page).to_have_url(re.compile("/admin$"))
    page.fill("#q", word)
    expect(page).to_have_url(re.compile(f"q={word}$"))
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    expect(page.locator(f"#open-{first['_id']}")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f"#open-{second['_id']}")).to_be_focused()
    page.keyboard.press("x")
    expect(page.locator("[data-picked]")).to_have_text("1")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("#chat")).to_have_attribute("data-chat", first["_id"])
    polled(page)
    expect(page.locator(f"#open-{first['_id']}")).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator("#message")).to_be_focused()
    page.keyboard.type("jkx?/")
    expect(page.locator("#message")).to_have_value("jkx?/")
    page.keyboard.press("Escape")
    expect(page.locator("#chat")).to_have_count(0)
    expect(page.locator(f"#open-{first['_id']}")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Keyboard shortcuts")
    page.uncheck("[data-shortcuts]")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_have_count(0)


def test_deleting_asks_first(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat(message="Wrong window")
    page.reload()
    desk.open(chat)
    page.hover("#m-1")
    page.click("#m-1 .delete-message")
    page.click("dialog .danger")
    expect(page.locator("#m-1 .text")).to_have_text("This message was deleted.")
    page.click("[title='Delete this chat']")
    page.click("dialog >> text=Keep it")
    expect(page.locator("dialog")).to_have_count(0)
    page.click("[title='Delete this chat']")
    page.click("dialog .danger")
    expect(page.locator("#chat")).to_have_count(0)
    expect(page.locator(f"#chat-{chat['_id']}")).to_have_count(0)
    expect(page).to_have_url(re.compile("/admin$"))


def test_a_chat_that_somebody_else_deletes_closes(
    desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 404")
    chat = make_chat()
    desk.page.reload()
    desk.open(chat)
    desk.server.request("DELETE", f"/api/chat/{chat['_id']}", token=desk.agent["token"])
    expect(desk.page.locator("#chat")).to_have_count(0, timeout=9000)
    expect(desk.page.locator(".toast.problem")).to_contain_text("was deleted")


def test_who_is_no_agent_any_more_sees_nothing_more(
    desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 403")
    make_chat()
    server, boss = desk.server, desk.server.admin()
    me = server.request("GET", "/api/auth/me", token=desk.agent["token"])[2]
    path = f"/api/admin/users/{me['_id']}"
    server.request("PATCH", path, token=boss["token"], json={"role": "user"})
    expect(desk.page.locator("h1")).to_have_text("For support agents only", timeout=9000)
    assert desk.page.locator("#rows").count() == 0


def test_signing_out_leaves_no_draft_behind(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    page.type("#message", "A secret")
    assert page.evaluate("localStorage.length") == 1
    page.click("[data-sign-out] button")
    expect(page.locator("dialog")).to_contain_text("1 unsent draft")
    page.click("dialog >> text=Stay")
    expect(page.locator("#message")).to_have_value("A secret")
    page.click("[data-sign-out] button")
    page.click("dialog [data-leave]")
    expect(page.locator("#password")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0


def test_text_stays_when_a_colleague_closes_assigns_or_deletes_the_chat(
    desk: Desk, make_chat: Any, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 404")
    page, server = desk.page, desk.server
    morgan, chat = server.admin("Morgan Lee"), make_chat()
    path = f"/api/chat/{chat['_id']}"
    page.reload()
    desk.open(chat)
    page.type("#message", "Half a sen")
    server.request("PATCH", path, token=morgan["token"], json={"adminId": morgan["_id"]})
    expect(page.locator(".toast")).to_contain_text("assigned to Morgan Lee. Your text is kept")
    server.request("PATCH", path, token=morgan["token"], json={"status": "closed"})
    expect(page.locator("#kept")).to_contain_text("Morgan Lee closed this; your text is kept.")
    expect(page.locator("#kept-text")).to_have_value("Half a sen")
    expect(page.locator("#kept-text")).to_be_focused()
    page.click("#closed button")
    expect(page.locator("#message")).to_have_value("Half a sen")
    server.request("DELETE", path, token=morgan["token"])
    expect(page.locator(".kept-chat")).to_contain_text("was deleted; your text is kept")
    expect(page.locator("#kept-text")).to_have_value("Half a sen")
    page.click(".kept-chat [data-close]")
    expect(page.locator(".kept-chat")).to_have_count(0)


def test_nothing_is_asked_while_the_session_ends(desk: Desk, make_chat: Any) -> None:
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    let_settle(page)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    def end_and_dawdle(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        page.on("request", note)
        # Meanwhile the live connection hears of the end.
        page.wait_for_timeout(1_500)
        page.remove_listener("request", note)
        route.fulfill(response=answer)

    page.route("**/admin/logout", end_and_dawdle)
    page.click("[data-sign-out] button", no_wait_after=True)
    expect(page.locator("#password")).to_be_visible()
    assert asked == []


def test_people_are_changed_in_place(sign_in: Callable[..., Desk], page_errors: PageErrors) -> None:
    page_errors.allow("status of (409|422)")
    desk = sign_in("/admin/users")
    page = desk.page
    user = desk.server.user(f"Uma {next(numbers)}")
    page.fill("#q", user["email"])
    row = page.locator(f"#user-{user['_id']}")
    expect(row).to_be_visible()
    row.get_by_text("Make agent").click()
    page.click("dialog .primary")
    expect(row.locator(".chip")).to_have_text("Agent")
    expect(page.locator("dialog")).to_have_count(0)
    row.get_by_text("Disable").click()
    page.click("dialog .danger")
    expect(row.locator(".disabled")).to_be_visible()
    row.get_by_text("Edit").click()
    page.fill("#image", "ftp://x.example/a.png")
    page.click("dialog .primary")
    expect(page.locator("#image-error")).to_contain_text("http")
    page.fill("#image", "")
    page.fill("#name", "Uma Renamed")
    page.click("dialog .primary")
    expect(row.locator(".name")).to_have_text("Uma Renamed")


@pytest.mark.parametrize(("width", "height"), [(375, 667), (768, 1024), (1280, 800), (1920, 1080)])
def test_nothing_is_wider_than_the_window(
    sign_in: Callable[..., Desk], make_chat: Any, width: int, height: int
) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 5
    chat = make_chat(name=long[:90], subject=long[:150], message=f"{long} https://x.example/{long}")
    desk = sign_in(width=width, height=height)
    page = desk.page
    wide = "document.documentElement.scrollWidth - window.innerWidth"
    for path in ("/admin", f"/admin/chats/{chat['_id']}", "/admin/users", "/admin/nothing"):
        if path != "/admin/nothing":
            page.goto(desk.server.url + path)
            assert page.evaluate(wide) <= 0, path
    targets = page.evaluate(
        "[...document.querySelectorAll('a, button, select, input')].filter(e => e.offsetParent)"
        ".map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])"
        ".filter(([_, r]) => r.width && (r.height < 24 || r.width < 24)).map(([html]) => html)"
    )
    assert [each for each in targets if 'type="checkbox"' not in each] == []


def test_a_phone_shows_one_pane_at_a_time(sign_in: Callable[..., Desk], make_chat: Any) -> None:
    chat = make_chat()
    desk = sign_in(width=375, height=667)
    page = desk.page
    expect(page.locator("#conversation")).to_be_hidden()
    desk.open(chat)
    expect(page.locator(".inbox")).to_be_hidden()
    expect(page.locator("#message")).to_be_in_viewport()
    page.click(".back")
    expect(page.locator(".inbox")).to_be_visible()
    expect(page.locator(f"#open-{chat['_id']}")).to_be_focused()


def test_the_pressed_button_shows_that_it_works_and_keeps_its_size(
    desk: Desk, make_chat: Any
) -> None:
    page, chat = desk.page, make_chat()
    page.reload()
    desk.open(chat)
    held = hold(page, "**/messages**")
    page.type("#message", "One moment")
    before = page.locator(".composer-foot button").evaluate_all(
        "all => all.map(e => e.offsetWidth)"
    )
    page.press("#message", "Enter")
    expect(page.locator("[data-send]")).to_have_attribute("aria-busy", "true")
    expect(page.locator(".composer .second")).not_to_have_attribute("aria-busy", "true")
    after = page.locator(".composer-foot button").evaluate_all("all => all.map(e => e.offsetWidth)")
    assert after == before
    held[0].continue_()
    expect(page.locator("#m-2 .text")).to_have_text("One moment")
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_a_phone_shows_that_a_chat_is_being_opened(
    sign_in: Callable[..., Desk], make_chat: Any
) -> None:
    chat = make_chat()
    page = sign_in(width=375, height=667).page
    held = hold(page, f"**/admin/chats/{chat['_id']}*")
    page.click(f"#open-{chat['_id']}")
    expect(page.locator(".inbox")).to_have_css("opacity", "1", pseudo="before")
    held[0].continue_()
    expect(page.locator("#chat")).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (375, 667), (768, 1024), (1280, 800)])
def test_the_chats_controls_are_all_in_sight_and_reached_in_their_order(
    sign_in: Callable[..., Desk], make_chat: Any, width: int, height: int
) -> None:
    chat = make_chat()
    desk = sign_in(width=width, height=height)
    page = desk.page
    desk.open(chat)
    if width < 900:
        page.click("#summary")
    controls = page.locator(".controls").locator("select, button").filter(visible=True)
    expect(controls).to_have_count(5)
    boxes = []
    for control in controls.all():
        expect(control).to_be_in_viewport(ratio=1)
        box = control.bounding_box()
        assert box
        boxes.append((box["y"], box["x"]))
    assert boxes == sorted(boxes)
    all_chats = page.get_by_role("link", name="All chats").filter(visible=True).last
    expect(all_chats).to_be_in_viewport(ratio=1)
    assert (
        page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.controls'))")
        == 0
    )
    controls.first.focus()
    for control in controls.all()[1:]:
        page.keyboard.press("Tab")
        expect(control).to_be_focused()


def test_times_are_the_readers(sign_in: Callable[..., Desk], make_chat: Any) -> None:
    chat = make_chat()
    desk = sign_in(timezone_id="Asia/Tokyo", locale="en-GB")
    time = desk.page.locator(f"#chat-{chat['_id']} time")
    sent = datetime.fromisoformat(time.get_attribute("datetime") or "")
    there = sent.astimezone(ZoneInfo("Asia/Tokyo"))
    # Browsers differ in the zero before an early hour.
    expect(time).to_have_text(re.compile(rf"^0?{there.hour}:{there.minute:02}$"))
    expect(time).to_have_attribute("title", re.compile(r"(GMT\+9|Japan)"))


def test_the_page_works_without_scripts(server: Server, new_page: NewPage, make_chat: Any) -> None:
    chat, agent = make_chat(), server.admin()
    page = new_page(java_script_enabled=False)
    page.goto(f"{server.url}/admin?q={chat['email']}")
    page.fill("#email", agent["email"])
    page.fill("#password", agent["password"])
    page.click("button.primary")
    page.click(f"#open-{chat['_id']}")
    page.fill("#message", "By hand")
    page.click("[data-send]")
    expect(page.locator("#m-2 .text")).to_have_text("By hand")
    page.select_option("#set-status", "closed")
    page.click("form:has(#set-status) button")
    expect(page.locator("#closed")).to_be_visible()


def test_the_first_page_is_small_and_comes_in_one_round(
    sign_in: Callable[..., Desk], make_chat: Any
) -> None:
    for _ in range(20):
        make_chat(message="A message of usual length, such as people write. " * 3)
    page = sign_in().page
    page.goto(page.url + "?limit=100")
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(
        "performance.getEntries().filter(e => e.transferSize !== undefined)"
        ".map(e => [e.name, e.encodedBodySize, e.initiatorType])"
    )
    assert sum(size for _, size, _ in sizes) < 100_000
    names = [name for name, _, _ in sizes if "/static/" in name]
    html = page.evaluate("fetch(location.href).then((answer) => answer.text())")
    assert all(name.split(page.url.split("/admin")[0])[1] in html for name in names)


@pytest.mark.parametrize("how", ["return null", "throw new DOMException('no', 'SecurityError')"])
def test_without_storage_and_other_optional_things_the_page_is_live(
    server: Server, new_page: NewPage, make_chat: Any, how: str
) -> None:
    chat, other = make_chat(), make_chat()
    page = new_page()
    for name in ("localStorage", "sessionStorage", "Notification", "AudioContext"):
        page.add_init_script(
            f"Object.defineProperty(window, '{name}', {{get() {{ {how}; }}, configurable: true}})"
        )
    desk = sit_down(server, page)
    desk.open(chat)
    desk.say(chat, "News of the user")
    expect(page.locator("#m-2")).to_be_visible(timeout=9_000)
    page.type("#message", "A draft")
    desk.open(other)
    desk.open(chat)
    expect(page.locator("#message")).to_have_value("A draft")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.check("[data-alert='alert-sound']")
    expect(page.locator("[data-alert='alert-desktop']")).to_be_disabled()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className") == "row-link"
