"""Both fronts where there is little room: a phone, its keyboard, a page that is zoomed in.

1366x768 at 200 % is a window of 683x384, 1280x1024 at 400 % one of 320x256.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat_ui_helpers import composer, make_chat, open_chat
from tests.browser.conftest import HostPage, NewPage
from tests.browser.console_helpers import new_chat, sit_down
from tests.browser.server import Server
from tests.browser.test_widget_pages import enter_as_guest, launcher
from tests.tiers import representatives

SIZES = [(375, 340), (683, 384), (320, 256), (375, 667), (768, 1024), (1280, 500)]
LOW = [(375, 340), (320, 256)]
LEAST = 0.4
FOUR_LINES = "One\nTwo\nThree\nFour"


def leaves_room(page: Page, conversation: Locator, field: Locator) -> None:
    """Check that the conversation has its share, the field is in sight, and no page scrolls."""
    size = page.viewport_size
    assert size
    expect(page.locator(".bubble").last).to_be_visible()
    assert conversation.evaluate("box => box.clientHeight") >= LEAST * size["height"]
    expect(field).to_be_in_viewport(ratio=1)
    across, down = page.evaluate(
        "(page => [page.scrollWidth - innerWidth, page.scrollHeight - innerHeight])"
        "(document.scrollingElement)"
    )
    assert across <= 0
    assert down <= 0


@pytest.fixture
def long_chat(server: Server) -> dict[str, Any]:
    """A chat that is longer than a phone."""
    chat = new_chat(server, subject="Where is my parcel with the shoes?", category="billing")
    path = f"/api/chat/{chat['_id']}/messages"
    for number in range(4):
        text = f"{number} " + "lorem ipsum " * 20
        server.request("POST", path, token=chat["token"], json={"content": text})
    return chat


@pytest.mark.parametrize(("width", "height"), representatives(SIZES, (375, 340)))
def test_the_console_leaves_its_conversation_room(
    server: Server,
    new_page: NewPage,
    agent: dict[str, Any],
    long_chat: dict[str, Any],
    width: int,
    height: int,
) -> None:
    desk = sit_down(server, new_page(width, height), agent)
    page = desk.page
    desk.open(long_chat)
    history, field = page.locator("#history"), page.locator("#message")
    leaves_room(page, history, field)
    field.fill(FOUR_LINES)
    leaves_room(page, history, field)
    field.press("Enter")
    expect(page.locator(".message.mine .text").last).to_have_text(FOUR_LINES)
    leaves_room(page, history, field)
    page.locator("#composer").get_by_role("button", name="Send and close").click(trial=True)
    expect(page.locator(".bar")).not_to_be_in_viewport()
    page.click(".back")
    expect(page.locator(".bar")).to_be_in_viewport()


@pytest.mark.parametrize(("width", "height"), representatives(LOW, (375, 340)))
def test_the_choices_open_from_one_line_and_fold_again(
    server: Server,
    new_page: NewPage,
    agent: dict[str, Any],
    long_chat: dict[str, Any],
    width: int,
    height: int,
) -> None:
    desk = sit_down(server, new_page(width, height), agent)
    page = desk.page
    desk.open(long_chat)
    choice = page.get_by_label("Status").filter(visible=True)
    expect(choice).to_have_count(0)
    line = page.get_by_role("button", name="Change:")
    expect(line).to_contain_text("Billing")
    line.press("Enter")
    sheet = page.locator("#controls")
    expect(sheet).to_contain_text(long_chat["email"])
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(line).to_be_focused()
    expect(page.locator("#chat")).to_be_visible()
    line.click()
    for control in sheet.locator("select, button").filter(visible=True).all():
        control.scroll_into_view_if_needed()
        expect(control).to_be_in_viewport(ratio=1)
    page.select_option("#set-priority", "urgent")
    expect(sheet).to_be_hidden()
    expect(line).to_contain_text("Urgent")
    assert desk.chat(long_chat)["priority"] == "urgent"


@pytest.mark.parametrize(("width", "height"), representatives(SIZES, (375, 340)))
def test_the_chat_page_leaves_its_conversation_room(
    server: Server, new_page: NewPage, ana: dict[str, Any], width: int, height: int
) -> None:
    chat_id = make_chat(server, ana, *("lorem ipsum " * 20 for _ in range(4)))
    page = new_page(width, height)
    open_chat(page, server.url, ana, chat_id)
    conversation = page.locator(".messages-scroll")
    leaves_room(page, conversation, composer(page))
    composer(page).fill(FOUR_LINES)
    leaves_room(page, conversation, composer(page))
    composer(page).press("Enter")
    expect(page.locator(".mine .bubble").last).to_have_text(FOUR_LINES)
    leaves_room(page, conversation, composer(page))


@pytest.mark.parametrize(("width", "height"), representatives(LOW, (375, 340)))
def test_the_widget_leaves_its_conversation_room(
    host_page: HostPage, width: int, height: int
) -> None:
    page = host_page(width=width, height=height)
    enter_as_guest(page)
    field = composer(page)
    leaves_room(page, page.locator(".messages-scroll"), field)
    field.fill(FOUR_LINES)
    leaves_room(page, page.locator(".messages-scroll"), field)


FONT_SIZES = (
    "fields => fields.filter((field) => !['hidden', 'checkbox'].includes(field.type))"
    ".map((field) => parseFloat(getComputedStyle(field).fontSize))"
)


def test_no_field_makes_a_phone_zoom_in(
    server: Server,
    new_page: NewPage,
    host_page: HostPage,
    agent: dict[str, Any],
    long_chat: dict[str, Any],
) -> None:
    phone = {"width": 375, "height": 667, "has_touch": True, "is_mobile": True}
    page = new_page(**phone)
    page.goto(f"{server.url}/admin")
    sizes = page.locator("input").evaluate_all(FONT_SIZES)
    desk = sit_down(server, page, agent)
    desk.open(long_chat)
    sizes += page.locator("input, select, textarea").evaluate_all(FONT_SIZES)
    page = new_page(**phone)
    open_chat(page, server.url, long_chat, long_chat["_id"])
    sizes += page.locator("input, select, textarea").evaluate_all(FONT_SIZES)
    page = host_page(head='<meta name="viewport" content="width=device-width">', **phone)
    launcher(page).click()
    expect(page.get_by_label("Your name")).to_be_visible()
    sizes += page.locator("live-chat-widget input").evaluate_all(FONT_SIZES)
    assert len(sizes) > 15
    assert min(sizes) >= 16


@pytest.mark.parametrize(
    ("width", "height"), representatives([(375, 340), (320, 256), (683, 384)], (375, 340))
)
def test_the_bar_of_selected_chats_leaves_rows_to_be_seen(
    server: Server, new_page: NewPage, agent: dict[str, Any], width: int, height: int
) -> None:
    for _ in range(3):
        new_chat(server)
    for _ in range(9):
        server.admin()  # more than the menu has room for
    page = sit_down(server, new_page(width, height), agent).page
    page.check("#rows tbody tr:nth-child(1) input[name=ids]")
    bar = page.locator("#bulk")
    expect(bar).to_be_visible()
    assert bar.evaluate("bar => bar.offsetHeight") <= 52
    assert bar.evaluate("bar => bar.scrollWidth - bar.clientWidth") <= 0
    free = page.evaluate(
        "document.getElementById('bulk').getBoundingClientRect().top"
        " - document.getElementById('list').getBoundingClientRect().top"
    )
    assert free >= 30
    # Every agent can be chosen, also the one who asks.
    page.click("#bulk summary >> text=Assign to")
    expect(page.locator("#bulk details[open] button >> nth=0")).to_be_in_viewport()
    expect(page.locator("#bulk details[open]")).to_contain_text(agent["name"])
