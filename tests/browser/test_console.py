"""The console in a real browser: an agent's day by mouse and keyboard, and what a poll shows."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import PageErrors
from tests.browser.console_helpers import (
    Desk,
    MakeChat,
    SignIn,
    numbers,
    polled,
)


def test_an_agent_signs_in_opens_a_chat_and_answers(desk: Desk, make_chat: MakeChat) -> None:
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


def test_a_poll_shows_news_and_disturbs_nothing(polling_desk: Desk, make_chat: MakeChat) -> None:
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


def test_nothing_new_costs_a_304_and_no_swap(polling_desk: Desk, make_chat: MakeChat) -> None:
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


def test_the_keyboard_is_enough(polling_desk: Desk, make_chat: MakeChat) -> None:
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


def test_people_are_changed_in_place(sign_in: SignIn, page_errors: PageErrors) -> None:
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
