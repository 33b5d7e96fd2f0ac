"""The console's conversation: its history, drafts, deletion, and what texts may show."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.browser import hostile
from tests.browser.conftest import PageErrors
from tests.browser.console_helpers import (
    Desk,
    MakeChat,
    SignIn,
)


def test_at_the_newest_message_it_stays_there(desk: Desk, make_chat: MakeChat) -> None:
    chat = make_chat()
    for number in range(40):
        desk.answer(chat, f"Line {number}")
    desk.page.reload()
    desk.open(chat)
    expect(desk.page.locator("#m-41")).to_be_in_viewport()
    desk.say(chat, "Newest")
    expect(desk.page.locator("#m-42")).to_be_in_viewport(timeout=9000)
    expect(desk.page.locator("#jump")).to_be_hidden()


def test_older_messages_load_on_scrolling_up_and_nothing_jumps(
    desk: Desk, make_chat: MakeChat
) -> None:
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
    sign_in: SignIn, make_chat: MakeChat, live: bool
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


def test_a_hidden_draft_is_there_again(desk: Desk, make_chat: MakeChat) -> None:
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


def test_what_people_write_is_text_and_nothing_else(desk: Desk, make_chat: MakeChat) -> None:
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


def test_a_picture_is_loaded_from_the_named_hosts_alone(desk: Desk, make_chat: MakeChat) -> None:
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


def test_deleting_asks_first(desk: Desk, make_chat: MakeChat) -> None:
    page = desk.page
    chat = make_chat(message="Wrong window")
    page.reload()
    desk.open(chat)
    page.hover("#m-1")
    page.click("#m-1 .delete-message")
    page.click("dialog .danger")
    expect(page.locator("#m-1 .text")).to_have_text("This message was deleted.")
    page.click("[title='Delete this chat']")
    page.click("dialog >> text=Cancel")
    expect(page.locator("dialog")).to_have_count(0)
    page.click("[title='Delete this chat']")
    page.click("dialog .danger")
    expect(page.locator("#chat")).to_have_count(0)
    expect(page.locator(f"#chat-{chat['_id']}")).to_have_count(0)
    expect(page).to_have_url(re.compile("/admin$"))


def test_a_chat_that_somebody_else_deletes_closes(
    desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 404")
    chat = make_chat()
    desk.page.reload()
    desk.open(chat)
    desk.server.request("DELETE", f"/api/chat/{chat['_id']}", token=desk.agent["token"])
    expect(desk.page.locator("#chat")).to_have_count(0, timeout=9000)
    expect(desk.page.locator(".toast.problem")).to_contain_text("was deleted")


def test_text_stays_when_a_colleague_closes_assigns_or_deletes_the_chat(
    desk: Desk, make_chat: MakeChat, page_errors: PageErrors
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


def test_times_are_the_readers(sign_in: SignIn, make_chat: MakeChat) -> None:
    chat = make_chat()
    desk = sign_in(timezone_id="Asia/Tokyo", locale="en-GB")
    time = desk.page.locator(f"#chat-{chat['_id']} time")
    sent = datetime.fromisoformat(time.get_attribute("datetime") or "")
    there = sent.astimezone(ZoneInfo("Asia/Tokyo"))
    # Browsers differ in the zero before an early hour.
    expect(time).to_have_text(re.compile(rf"^0?{there.hour}:{there.minute:02}$"))
    expect(time).to_have_attribute("title", re.compile(r"(GMT\+9|Japan)"))
