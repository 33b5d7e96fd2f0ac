"""The console's list: views, filters, search, changes of one chat and of many."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.console_helpers import (
    Desk,
    MakeChat,
    let_settle,
    numbers,
    polled,
)


def test_status_priority_and_assignment_apply_at_once(desk: Desk, make_chat: MakeChat) -> None:
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


def test_what_another_agent_changes_shows(desk: Desk, make_chat: MakeChat) -> None:
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


def test_filters_are_in_the_address_and_back_undoes_them(desk: Desk, make_chat: MakeChat) -> None:
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


def test_leaving_the_search_keeps_what_is_chosen_below_it(desk: Desk, make_chat: MakeChat) -> None:
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


def test_views_are_one_click(desk: Desk, make_chat: MakeChat) -> None:
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


def test_many_chats_are_closed_at_once(polling_desk: Desk, make_chat: MakeChat) -> None:
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


def test_what_could_not_be_done_in_bulk_is_told(desk: Desk, make_chat: MakeChat) -> None:
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
