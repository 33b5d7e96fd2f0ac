"""Where list and focus are on small screens, on which list and chat are shown in turns.

A phone with its keyboard up; 1366x768 at 200 %; 1280x1024 at 400 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.console_helpers import Desk, let_settle, new_chat, numbers, sit_down
from tests.browser.server import Server
from tests.browser.test_console_focus import VIEWS, focus_of, link, row, scroll_of
from tests.tiers import representatives

SIZES = {"375x340": (375, 340, 1), "683x384": (683, 384, 2), "320x256": (320, 256, 4)}

HEAD = 32

Chat = dict[str, Any]


def put_in_sight(page: Page, chat: Chat, below: int) -> int:
    """Scroll a row so far below the list's upper edge; return where the list is then."""
    page.evaluate(
        "([row, below]) => {"
        "  const list = document.getElementById('list');"
        "  const [at, edge] = [document.querySelector(row), list].map("
        "    (box) => box.getBoundingClientRect().top);"
        "  list.scrollTop = Math.round(list.scrollTop + at - edge - below);"
        "}",
        [row(chat), below],
    )
    page.wait_for_timeout(50)
    top = scroll_of(page)
    assert top > 100, "The list is too short to scroll."
    return top


def dismiss_toasts(page: Page) -> None:
    """Take away what lies over the list, by keyboard: the focus comes back to the list."""
    buttons = page.locator(".toast [data-dismiss]")
    while buttons.count():
        buttons.first.focus()
        page.keyboard.press("Enter")
        assert focus_of(page).startswith("open-")


def open_in_sight(page: Page, chat: Chat) -> None:
    """Click a row where it is, without scrolling to it."""
    point = page.evaluate(
        "row => {"
        "  const list = document.getElementById('list').getBoundingClientRect();"
        "  const box = document.querySelector(row).getBoundingClientRect();"
        "  return [box.left + 120, Math.max(box.top + 12, list.top + 40)];"
        "}",
        row(chat),
    )
    page.mouse.click(*point)
    expect(page.locator("#chat")).to_have_attribute("data-chat", chat["_id"])
    let_settle(page, 100)
    assert focus_of(page) == "history"


def listed(page: Page) -> list[str]:
    """Return the ids of the rows' links from top to bottom."""
    ids: list[str] = page.locator("#rows .row-link").evaluate_all("all => all.map(({id}) => id)")
    return ids


def expect_place(page: Page, top: int, focus: str, leeway: int = 0) -> None:
    """Check that the list is at its place and the focus at a row in sight.

    leeway -- how far the list may have been scrolled down to bring that row into sight.
    """
    assert focus_of(page) == focus
    assert top <= scroll_of(page) <= top + leeway
    assert page.evaluate(
        "() => {"
        "  const list = document.getElementById('list').getBoundingClientRect();"
        "  const box = document.activeElement.closest('tr').getBoundingClientRect();"
        f"  return box.bottom > list.top + {HEAD} && box.top < list.bottom - 8;"
        "}"
    ), "The row with the focus is out of sight."


def answer(page: Page) -> str:
    page.fill("#message", "An answer")
    page.press("#message", "Enter")
    expect(page.locator("#m-2")).to_be_visible()
    return "message"


def take(page: Page) -> str:
    page.click("#summary")
    page.click("#take button")
    expect(page.locator("#take")).to_have_count(0)
    return "history"


def change_priority(page: Page) -> str:
    page.click("#summary")
    page.select_option("#set-priority", "urgent")
    expect(page.locator("#summary .priority-urgent")).to_be_visible()
    return "summary"


def send_and_close(page: Page) -> str:
    page.fill("#message", "Done")
    page.click(".composer .second")
    expect(page.locator("#closed")).to_be_visible()
    return "history"


# What is done in an open chat -> the views that hold the chat no longer. `act` returns where
# the focus is while the chat is still shown.
ACTIONS: list[tuple[Callable[[Page], str], set[str]]] = [
    (lambda _: "history", set()),
    (answer, set()),
    (take, {"Unassigned"}),
    (change_priority, {"priority"}),
    (send_and_close, {"Open", "Unassigned"}),
]


@pytest.mark.parametrize("view", representatives(VIEWS, "Open"))
@pytest.mark.parametrize("size", representatives(SIZES, "375x340"))
def test_on_a_small_screen_the_list_and_the_focus_are_at_their_place_after_each_action(
    server: Server, new_page: NewPage, agent: dict[str, Any], size: str, view: str
) -> None:
    word = f"small{next(numbers)}x"
    chats = {chat["_id"]: chat for chat in (new_chat(server, subject=word) for _ in range(18))}
    width, height, scale = SIZES[size]
    page = new_page(width, height, device_scale_factor=scale)
    desk = sit_down(server, page, agent, path=f"/admin?q={word}&{VIEWS[view]}")
    let_settle(page, 250)
    assert page.evaluate("devicePixelRatio") == scale
    # Each way back meets other actions in another view.
    ways: list[Callable[[], object]] = [
        page.go_back,
        lambda: page.click(".back"),
        lambda: page.keyboard.press("Escape"),
    ]
    start = list(VIEWS).index(view)
    leaves = itertools.cycle(ways[start % 3 :] + ways[: start % 3])
    # With a part of the row above in sight, right below the list's head, or partly under it.
    edges = itertools.cycle([HEAD + 20, HEAD, 0])

    def fifth() -> tuple[Chat, list[str]]:
        """Return the chat of the fifth row, and the links of the rows below it."""
        ids = listed(page)
        return chats[ids[4].removeprefix("open-")], ids[5:]

    for act, gone_from in ACTIONS:
        chat, below = fifth()
        top = put_in_sight(page, chat, next(edges))
        dismiss_toasts(page)
        open_in_sight(page, chat)
        focus = act(page)
        let_settle(page, 150)
        # What the view no longer holds stays until the agent leaves it.
        expect(page.locator(row(chat))).to_have_count(1)
        assert focus_of(page) == focus
        next(leaves)()
        expect(page.locator("#list")).to_be_visible()
        is_gone = view == "Unread" or view in gone_from
        # An answer has moved the chat to the top of the list, which is out of sight.
        has_moved = act in {answer, send_and_close}
        height = page.evaluate("document.querySelector('#rows tbody tr').offsetHeight")
        if not has_moved:
            assert scroll_of(page) == top
        let_settle(page, 200)
        expect(page.locator(row(chat))).to_have_count(0 if is_gone else 1)
        if has_moved and is_gone:
            # What leaves at the top moves no row on the screen.
            top -= height
        done = is_gone or has_moved
        focus = below[0] if done else link(chat)
        # The row below the chat's place is out of sight where but one row has room.
        expect_place(page, top, focus, leeway=height if has_moved and width < 400 else 0)
        page.keyboard.press("j")
        assert focus_of(page) == below[1 if done else 0]

    chat, below = fifth()
    top = put_in_sight(page, chat, next(edges))
    dismiss_toasts(page)
    open_in_sight(page, chat)
    page.click("[title='Delete this chat']")
    page.click("dialog .danger")
    expect(page.locator(row(chat))).to_have_count(0)
    let_settle(page, 250)
    expect_place(page, top, below[0])
    page.keyboard.press("j")
    assert focus_of(page) == below[1]

    close_in_bulk(desk, view)


def close_in_bulk(desk: Desk, view: str) -> None:
    """Close the chat of the fifth row with the bar for several chats."""
    page = desk.page
    ids = listed(page)
    page.locator(f"#{ids[4]}").focus()
    page.keyboard.press("x")
    top = scroll_of(page)
    assert top > 0
    page.click("#bulk > [value=closed]")
    expect(page.locator("#bulk")).to_be_hidden()
    let_settle(page, 250)
    is_gone = view in {"Open", "Unassigned"}
    chat = {"_id": ids[4].removeprefix("open-")}
    expect(page.locator(row(chat))).to_have_count(0 if is_gone else 1)
    assert desk.chat(chat)["status"] == "closed"
    expect_place(page, top, ids[5] if is_gone else ids[4])
    page.keyboard.press("j")
    assert focus_of(page) == (ids[6] if is_gone else ids[5])
    for _ in range(3):
        page.keyboard.press("k")
    covered, too_tall = page.evaluate(
        "(() => {"
        "  const row = document.activeElement.closest('tr').getBoundingClientRect();"
        "  const head = document.querySelector('#rows thead tr').getBoundingClientRect().bottom;"
        "  const room = document.getElementById('list').getBoundingClientRect().bottom - head;"
        "  return [head - row.top, row.height - room];"
        "})()"
    )
    # A row that is taller than the room below the head fills it.
    assert covered < max(2, too_tall + 2), "The list's head lies over the row with the focus."
