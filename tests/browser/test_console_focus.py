"""Where the console's list stays and where the focus goes, with the keyboard alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, PageErrors, until
from tests.browser.console_helpers import Desk, MakeChat, let_settle, new_chat, numbers, sit_down
from tests.browser.server import Server
from tests.tiers import representatives

SIZES = [(1920, 1080), (768, 1024), (375, 667)]


def focus_of(page: Page) -> str:
    """Return the id of the element that has the focus, or its tag's name."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def scroll_of(page: Page) -> int:
    """Return how far the list is scrolled."""
    return int(page.evaluate("document.getElementById('list').scrollTop"))


def scroll_to(page: Page, top: int) -> int:
    """Scroll the list and return where it is then."""
    page.evaluate("top => document.getElementById('list').scrollTop = top", top)
    page.wait_for_timeout(50)
    return scroll_of(page)


def open_one_in_sight(page: Page, number: int = 1) -> None:
    """Click the row that stands so many rows below the list's upper edge."""
    point = page.evaluate(
        "number => {"
        "  const list = document.getElementById('list').getBoundingClientRect();"
        "  const rows = [...document.querySelectorAll('#rows tbody tr')]"
        "    .map((row) => row.getBoundingClientRect()).filter(({top}) => top > list.top + 40);"
        "  return [rows[number].left + 120, rows[number].top + 12];"
        "}",
        number,
    )
    page.mouse.click(*point)
    expect(page.locator("#chat")).to_be_visible()


def row(chat: dict[str, Any]) -> str:
    """Return the selector of a chat's row."""
    return f"#chat-{chat['_id']}"


def link(chat: dict[str, Any]) -> str:
    """Return the id of the link of a chat's row."""
    return f"open-{chat['_id']}"


@pytest.fixture(scope="module")
def many(server: Server) -> str:
    """A word that finds forty chats, enough for the list to scroll at every size."""
    word = f"many{next(numbers)}x"
    for number in range(40):
        new_chat(server, subject=f"{word} {number}")
    return word


@pytest.mark.parametrize(("width", "height"), representatives(SIZES, (1920, 1080), (375, 667)))
def test_the_list_stays_where_it_is_while_chats_are_opened_and_changed(
    server: Server, new_page: NewPage, many: str, width: int, height: int
) -> None:
    page = new_page(width=width, height=height)
    sit_down(server, page, path=f"/admin?q={many}")
    let_settle(page, 250)
    wide = width >= 900
    top = scroll_to(page, 900)
    assert top == 900
    open_one_in_sight(page, 2)

    def expect_unmoved() -> None:
        let_settle(page, 250)
        if wide:
            assert scroll_of(page) == top

    expect_unmoved()
    page.fill("#message", "An answer")
    page.click("[data-send]")
    expect(page.locator("#m-2")).to_be_visible()
    # The answer has moved the chat to the top of the list.
    expect_unmoved()
    if wide:
        open_one_in_sight(page, 3)
        expect_unmoved()
        open_one_in_sight(page, 2)
        expect_unmoved()
        page.go_back()
        expect_unmoved()
        page.go_forward()
        expect_unmoved()
    else:
        page.click("#summary")
    page.select_option("#set-priority", "high")
    expect_unmoved()
    page.click("[data-close] >> visible=true")
    expect(page.locator("#chat")).to_have_count(0)
    let_settle(page, 250)
    assert scroll_of(page) == top

    # News above move no row on the screen.
    at = "document.querySelectorAll('.row-link')[%d].getBoundingClientRect().top"
    before = page.evaluate(at % 15)
    new_chat(server, subject=f"{many} news")
    expect(page.locator("#rows tbody tr").first).to_contain_text("news", timeout=9_000)
    assert abs(page.evaluate(at % 16) - before) < 2

    # The list that is asked for begins at its top.
    page.click(".views >> text=Open")
    expect(page.locator("[data-view][aria-current]")).to_have_text("Open")
    let_settle(page, 250)
    assert scroll_of(page) == 0


@pytest.mark.parametrize(("width", "height"), representatives(SIZES[1:], (375, 667)))
def test_back_on_a_phone_returns_to_the_same_place(
    server: Server, new_page: NewPage, many: str, width: int, height: int
) -> None:
    page = new_page(width=width, height=height)
    sit_down(server, page, path=f"/admin?q={many}")
    for leave in (page.go_back, lambda: page.click(".back"), lambda: page.keyboard.press("Escape")):
        top = scroll_to(page, 1200)
        open_one_in_sight(page)
        let_settle(page, 250)
        leave()
        expect(page.locator("#list")).to_be_visible()
        let_settle(page, 250)
        assert scroll_of(page) == top
        assert focus_of(page).startswith("open-")


def test_going_back_to_another_list_finds_it_where_it_was(
    server: Server, new_page: NewPage, many: str
) -> None:
    page = new_page()
    sit_down(server, page, path=f"/admin?q={many}")
    top = scroll_to(page, 700)
    page.click(".views >> text=Unread")
    expect(page.locator("[data-view][aria-current]")).to_have_text("Unread")
    let_settle(page, 250)
    assert scroll_of(page) == 0
    page.go_back()
    expect(page).to_have_url(re.compile(f"q={many}$"))
    until(lambda: scroll_of(page) == top, page)
    page.click("text=Users")
    expect(page.locator("#people")).to_be_visible()
    page.go_back()
    expect(page.locator("#rows")).to_be_visible()
    until(lambda: scroll_of(page) == top, page)


VIEWS = {
    "Unread": "unread=true",
    "Open": "status=active&status=pending",
    "Unassigned": "status=open&assigned=none",
    "priority": "priority=medium",
    "category": "category=general",
}


@pytest.fixture
def four(server: Server) -> tuple[str, list[dict[str, Any]]]:
    """A word, and the four unread chats that it finds, as the list shows them."""
    word = f"four{next(numbers)}x"
    made = [new_chat(server, subject=f"{word} {number}") for number in range(4)]
    return word, made[::-1]


def enter(server: Server, page: Page, query: str) -> Desk:
    desk = sit_down(server, page, path=f"/admin?{query}")
    let_settle(page, 250)
    return desk


@pytest.mark.parametrize("view", representatives(VIEWS, "Unread"))
def test_after_each_action_the_focus_is_at_a_row_and_j_goes_on(
    server: Server, new_page: NewPage, four: tuple[str, list[dict[str, Any]]], view: str
) -> None:
    word, (first, second, third, fourth) = four
    page = new_page()
    desk = enter(server, page, f"q={word}&{VIEWS[view]}")
    press = page.keyboard.press

    press("j")
    assert focus_of(page) == link(first)
    press("j")
    press("Enter")
    expect(page.locator("#chat")).to_have_attribute("data-chat", second["_id"])
    let_settle(page, 250)
    # What the view no longer holds stays until the agent leaves it.
    expect(page.locator("#rows tbody tr")).to_have_count(4)
    assert focus_of(page) == link(second)

    # Assign, by keyboard: the button goes, the chat's row stays and is where j goes on from.
    page.focus("#take button")
    press("Enter")
    expect(page.locator("#take")).to_have_count(0)
    let_settle(page, 250)
    expect(page.locator(row(second))).to_be_visible()
    assert focus_of(page) == link(second)

    # Send and close: on to the next row.
    press("r")
    page.keyboard.type("Done")
    page.focus(".composer .second")
    press("Enter")
    expect(page.locator("#closed")).to_be_visible()
    let_settle(page, 250)
    assert desk.chat(second)["status"] == "closed"
    expect(page.locator(row(second))).to_be_visible()
    following = page.evaluate(
        "id => document.getElementById(id).closest('tr').nextElementSibling.id", link(second)
    )
    assert focus_of(page) in {link(third), following.replace("chat-", "open-")}
    focused = focus_of(page)
    press("Enter")
    expect(page.locator("#chat")).to_have_attribute("data-chat", focused.removeprefix("open-"))
    let_settle(page, 250)
    if view in {"Unread", "Open", "Unassigned"}:
        expect(page.locator(row(second))).to_have_count(0)
    assert focus_of(page) == focused

    # Delete: on to the next row.
    page.focus("[title='Delete this chat']")
    press("Enter")
    page.wait_for_selector("dialog[open]")
    page.focus("dialog .danger")
    press("Enter")
    expect(page.locator(f"#{focused}")).to_have_count(0)
    let_settle(page, 250)
    assert focus_of(page).startswith("open-")
    assert focus_of(page) in {link(first), link(second), link(third), link(fourth)}
    at = focus_of(page)
    press("k")
    press("j")
    press("j")
    assert focus_of(page) in {at, link(fourth), link(first)}

    # Bulk: the bar hides, the focus is at a row or, of an empty list, at the list.
    press("k")
    press("x")
    expect(page.locator("#bulk")).to_be_visible()
    page.focus("#bulk [name=status][value=closed] >> nth=0")
    press("Enter")
    expect(page.locator("#bulk")).to_be_hidden()
    let_settle(page, 250)
    assert focus_of(page).startswith(("open-", "list"))


def test_a_row_that_leaves_the_view_hands_the_focus_to_the_next(
    server: Server, new_page: NewPage, four: tuple[str, list[dict[str, Any]]]
) -> None:
    word, (_, second, third, fourth) = four
    page = new_page()
    enter(server, page, f"q={word}&unread=true")
    for _ in range(2):
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#chat")).to_be_visible()
    let_settle(page, 250)
    page.keyboard.press("Escape")
    expect(page.locator(row(second))).to_have_count(0)
    assert focus_of(page) == link(third)
    page.keyboard.press("j")
    assert focus_of(page) == link(fourth)
    page.keyboard.press("Enter")
    let_settle(page, 250)
    page.reload()
    expect(page.locator(row(fourth))).to_be_visible()


def test_a_priority_changed_in_a_view_of_that_priority_keeps_row_and_focus(
    server: Server, new_page: NewPage, four: tuple[str, list[dict[str, Any]]]
) -> None:
    word, (_, second, third, _) = four
    page = new_page()
    enter(server, page, f"q={word}&priority=medium")
    for _ in range(2):
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#chat")).to_be_visible()
    page.focus("#set-priority")
    page.select_option("#set-priority", "urgent")
    expect(page.locator(f"{row(second)} .priority-urgent")).to_be_visible()
    let_settle(page, 250)
    assert focus_of(page) == "set-priority"
    page.keyboard.press("Escape")
    expect(page.locator(row(second))).to_have_count(0)
    assert focus_of(page) == link(third)


def test_the_bulk_bar_is_a_few_tabs_from_a_ticked_row_and_escape_unticks(
    server: Server, new_page: NewPage, many: str
) -> None:
    page = new_page()
    enter(server, page, f"q={many}")
    for key in ("j", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("[data-picked]")).to_have_text("1")
    tabs = 0
    while not page.evaluate("Boolean(document.activeElement.closest('#bulk'))"):
        page.keyboard.press("Tab")
        tabs += 1
        assert tabs <= 4
    page.keyboard.press("Escape")
    expect(page.locator("#rows input[name=ids]:checked")).to_have_count(0)
    assert focus_of(page).startswith("open-")


def test_an_arrow_key_on_a_select_changes_nothing_until_enter_or_leaving_it(
    server: Server, new_page: NewPage, make_chat: MakeChat
) -> None:
    chat = make_chat()
    page = new_page()
    desk = enter(server, page, f"q={chat['email']}")
    desk.open(chat)
    page.focus("#set-status")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#set-status")).to_have_value("closed")
    let_settle(page)
    assert desk.chat(chat)["status"] == "active"
    page.keyboard.press("Escape")
    expect(page.locator("#set-status")).to_have_value("active")
    expect(page.locator("#chat")).to_be_visible()

    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(f"{row(chat)} .status-pending")).to_be_visible()
    assert focus_of(page) == "set-status"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(page.locator("#closed")).to_be_visible()
    assert desk.chat(chat)["status"] == "closed"
    assert focus_of(page) == "set-priority"
    # Before the undo: the row shows "pending" until it has been refreshed.
    expect(page.locator(f"{row(chat)} .status-closed")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    expect(page.locator(f"{row(chat)} .status-pending")).to_be_visible()
    assert desk.chat(chat)["status"] == "pending"


def test_closing_assigning_and_bulk_are_undone_from_the_toast(
    server: Server,
    new_page: NewPage,
    four: tuple[str, list[dict[str, Any]]],
    page_errors: PageErrors,
) -> None:
    page_errors.allow("status of 409")
    word, chats = four
    page = new_page()
    desk = enter(server, page, f"q={word}")
    desk.open(chats[0])
    page.click("#take button")
    expect(page.locator("#take")).to_have_count(0)
    page.click("[data-undo]")
    expect(page.locator("#take")).to_be_visible()
    expect(page.locator(".toast").last).to_contain_text("Undone.")
    expect(page.locator("[data-undo]")).to_have_count(0)
    assert desk.chat(chats[0])["adminId"] is None
    page.fill("#message", "Done")
    page.click(".composer .second")
    expect(page.locator("#closed")).to_be_visible()
    page.click("[data-undo]")
    expect(page.locator("#composer")).to_be_visible()
    assert desk.chat(chats[0])["status"] == "active"

    page.check("[data-pick-all]")
    page.click("#bulk button[value=closed] >> nth=0")
    expect(page.locator("#rows .status-closed")).to_have_count(4)
    path = f"/api/chat/{chats[1]['_id']}"
    server.request("PATCH", path, token=desk.agent["token"], json={"status": "archived"})
    page.click("[data-undo]")
    expect(page.locator(".toast.problem")).to_contain_text("changed meanwhile")
    expect(page.locator("#rows .status-active")).to_have_count(3)
    assert [desk.chat(chat)["status"] for chat in chats] == [
        *("active", "archived", "active", "active")
    ]
