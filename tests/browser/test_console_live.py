"""The console while it is live: what others do shows at once and costs little."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from tests.browser.chat_ui_helpers import bubble, open_chat, send
from tests.browser.conftest import NewPage, until
from tests.browser.console_helpers import MakeChat, let_settle
from tests.browser.live_console import A_BLINK, Seat, expect_history, requests_of, text_of
from tests.browser.server import Server


def test_user_and_agent_talk_without_a_poll(
    server: Server, new_page: NewPage, seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat(name="Ana Souza", subject="My parcel", message="Where is it?")
    desk = seat(chat)
    user = new_page()
    open_chat(user, server.url, chat, chat["_id"])
    user.wait_for_load_state("networkidle")
    asked = requests_of(desk.page)
    desk.page.clock.run_for(20_000)
    assert asked == []

    send(user, "It should be here")
    expect(text_of(desk.page, "It should be here")).to_be_visible(timeout=A_BLINK)
    expect(user.locator(".receipt")).to_have_text("Read", timeout=A_BLINK)
    desk.page.fill("#message", "I am looking")
    desk.page.press("#message", "Enter")
    expect(bubble(user, "I am looking")).to_be_visible(timeout=A_BLINK)
    # The user looks at it: the mark of the console says so.
    expect(desk.page.locator("#m-3 .mark")).to_have_class(re.compile("seen"), timeout=A_BLINK)
    send(user, "Thank you")
    expect(text_of(desk.page, "Thank you")).to_be_visible(timeout=A_BLINK)
    expect_history(desk, chat)
    until(lambda: desk.chat(chat)["unreadCount"] == 0, desk.page)


def test_inbox_and_title_follow_at_once(server: Server, seat: Seat, make_chat: MakeChat) -> None:
    desk = seat()
    page = desk.page
    chat = make_chat(subject="Brand new")
    row = page.locator(f"#chat-{chat['_id']}")
    expect(row).to_have_class(re.compile("unread"), timeout=A_BLINK)
    before = page.title()
    assert re.match(r"^\(\d+\) Inbox$", before)
    desk.say(chat, "And one more")
    expect(row.locator(".preview")).to_have_text("And one more", timeout=A_BLINK)
    expect(page).not_to_have_title(before, timeout=A_BLINK)
    server.request("PATCH", f"/api/chat/{chat['_id']}", desk.agent["token"], {"priority": "urgent"})
    expect(row.locator(".priority-urgent")).to_be_visible(timeout=A_BLINK)
    server.request("DELETE", f"/api/chat/{chat['_id']}", desk.agent["token"])
    expect(row).to_have_count(0, timeout=A_BLINK)


def test_message_that_is_seen_at_once_is_never_shown_as_unread(
    seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat()
    desk = seat(chat)
    desk.page.evaluate(
        "window.titles = []; new MutationObserver(() => titles.push(document.title))"
        ".observe(document.querySelector('title'), {childList: true})"
    )

    def unread(title: str) -> int:
        found = re.match(r"^\((\d+)\)", title)
        return int(found[1]) if found else 0

    before = unread(desk.page.title())
    for number in range(3):
        desk.say(chat, f"Message {number}")
        expect(text_of(desk.page, f"Message {number}")).to_be_visible(timeout=A_BLINK)
        # The next one not while the list is fetched for this one: it would be unread there.
        desk.page.wait_for_timeout(500)
    assert max(map(unread, desk.page.evaluate("titles")), default=0) <= before


def test_deleted_message_is_gone_at_once_also_from_the_older_part(
    seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat(message="Line 1")
    desk = seat()
    for number in range(2, 61):
        desk.answer(chat, f"Line {number}")
    page = desk.page
    desk.open(chat)
    page.evaluate("document.getElementById('history').scrollTop = -1e6")
    expect(page.locator("#m-1")).to_be_attached()
    for seq in (1, 60):
        path = f"/api/chat/{chat['_id']}/messages/{seq}"
        desk.server.request("DELETE", path, token=desk.agent["token"])
        expect(page.locator(f"#m-{seq} .text")).to_have_text(
            "This message was deleted.", timeout=A_BLINK
        )


def test_burst_costs_few_fetches_and_disturbs_nothing(seat: Seat, make_chat: MakeChat) -> None:
    chat, other = make_chat(message="Mark this text"), make_chat()
    desk = seat()
    for number in range(2, 61):
        desk.answer(chat, f"Line {number}\n" * 3)
    page = desk.page
    desk.open(chat)
    page.check(f"#pick-{other['_id']}")
    page.type("#message", "Half a sen")
    page.evaluate("document.getElementById('message').setSelectionRange(2, 4)")
    page.evaluate("document.getElementById('message').marked = true")
    page.evaluate("document.getElementById('history').scrollTop = -600")
    top = "document.getElementById('m-50').getBoundingClientRect().top"
    before = page.evaluate(top)
    let_settle(page)
    asked = requests_of(page)
    begun = time.monotonic()
    for number in range(50):
        desk.say(chat if number % 2 else other, f"Burst {number}")
    expect(text_of(page, "Burst 49")).to_be_attached(timeout=3_000)
    seconds = time.monotonic() - begun
    expect(page.locator("#jump")).to_have_text("25 new messages")
    fetched = [request for request in asked if request.method == "GET"]
    assert len(fetched) <= 10 + 12 * seconds
    assert abs(page.evaluate(top) - before) < 2
    assert page.input_value("#message") == "Half a sen"
    caret = "(({selectionStart: a, selectionEnd: b}) => [a, b])(document.activeElement)"
    assert page.evaluate(caret) == [2, 4]
    assert page.evaluate("document.activeElement.marked") is True
    assert page.is_checked(f"#pick-{other['_id']}")

    page.evaluate("getSelection().selectAllChildren(document.querySelector('#m-40 .text'))")
    marked = page.evaluate("String(getSelection())")
    for number in range(5):
        desk.say(chat, f"Again {number}")
    expect(text_of(page, "Again 4")).to_be_attached(timeout=3_000)
    assert page.evaluate("String(getSelection())") == marked
