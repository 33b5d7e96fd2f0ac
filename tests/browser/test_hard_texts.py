"""Texts that are hard to lay out: stacked marks, Arabic beside English; and both on paper."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat_ui_helpers import bubble, make_chat, open_chat, say, sign_in
from tests.browser.conftest import NewPage, hold
from tests.browser.console_helpers import let_settle, new_chat, sit_down
from tests.browser.server import Server
from tests.tiers import representatives

# Forty marks above and forty below each letter: hundreds of pixels high in Chromium.
STACKED = "".join(letter + "\u0323" * 40 + "\u0302" * 40 for letter in "wm")
ARABIC = "سنبحث عن الطرد ونخبرك بالنتيجة في أقرب وقت ممكن، شكرا لصبرك الطويل معنا " * 2
QUESTION = "أين الطرد الذي طلبته؟"
SETTLED = "e => Promise.all(e.getAnimations({ subtree: true }).map(({ finished }) => finished))"
# How far inside of its element a text's first letter begins and how far it is from its left edge.
FIRST_LETTER = """element => {
  const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
  const range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(text, 1);
  const letter = range.getBoundingClientRect(), box = element.getBoundingClientRect();
  return [letter.left - box.left, box.right - letter.right];
}"""


def is_seen_from_its_beginning(text: Locator) -> bool:
    """Say whether the first letter of a text that is cut is inside of what is shown."""
    left, right = text.evaluate(FIRST_LETTER)
    return bool(left >= 0 and right >= 0)


def picture(page: Page, place: Locator) -> bytes:
    """Return what is painted at the place of an element, without its edges and corners."""
    box = place.bounding_box()
    assert box
    width, height = box["width"] - 16, box["height"] - 8
    clip: Any = {"x": box["x"] + 8, "y": box["y"] + 4, "width": width, "height": height}
    return page.screenshot(clip=clip, animations="disabled")


def paints_over(page: Page, text: Locator, neighbours: list[Locator]) -> bool:
    """Say whether the picture of a neighbour changes when a text is made invisible."""
    before = [picture(page, each) for each in neighbours]
    text.evaluate("element => { element.style.webkitTextFillColor = 'transparent' }")
    return before != [picture(page, each) for each in neighbours]


def stands_above(page: Page, upper: str, lower: str) -> bool:
    """Say whether a short text begins at the left edge of what is below it."""
    edges = "names => names.map((name) => document.querySelector(name).getBoundingClientRect())"
    above, below = page.evaluate(edges, [upper, lower])
    return bool(abs(above["left"] - below["left"]) < 2 and above["width"] < 250)


def test_stacked_marks_stay_in_their_message_in_the_console(
    server: Server, new_page: NewPage, agent: dict[str, Any]
) -> None:
    chat = new_chat(server, subject="S " + STACKED, message="Above")
    desk = sit_down(server, new_page(), agent)
    for text in (STACKED, "Below"):
        desk.say(chat, text)
    desk.open(chat)
    page, texts = desk.page, desk.page.locator("#messages .bubble")
    expect(texts).to_have_count(3)
    let_settle(page)
    around = [texts.nth(0), page.locator("#m-1 .facts"), texts.nth(2)]
    assert not paints_over(page, page.locator("#m-2 .text"), around)
    around = [page.locator(".person .sub"), page.locator(".chat-head .controls")]
    assert not paints_over(page, page.locator("#chat-title"), around)
    row = page.locator(f"#chat-{chat['_id']}")
    around = [row.locator(".customer .email"), row.locator(".state")]
    assert not paints_over(page, row.locator(".row-link"), around)


def test_stacked_marks_stay_in_their_message_in_the_chat(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Above", STACKED, "Below", subject="S " + STACKED)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Below")).to_be_visible()
    page.locator(".messages").evaluate(SETTLED)
    around = [bubble(page, "Above"), bubble(page, "Below")]
    assert not paints_over(page, page.locator(".bubble").nth(1), around)
    around = [page.locator(".conversation-title p")]
    assert not paints_over(page, page.locator(".conversation-title h2"), around)
    around = [page.locator(".chat-item .chip")]
    assert not paints_over(page, page.locator(".chat-item .preview bdi"), around)


@pytest.mark.parametrize("width", representatives([375, 1280], 375))
def test_arabic_is_cut_at_its_end_and_stays_beside_what_it_belongs_to(
    server: Server, new_page: NewPage, agent: dict[str, Any], ana: dict[str, Any], width: int
) -> None:
    chat_id = make_chat(server, ana, "Hello", subject=QUESTION)
    desk = sit_down(server, new_page(width), agent)
    chat = {**ana, "_id": chat_id}
    desk.answer(chat, ARABIC)
    page = desk.page
    row = page.locator(f"#chat-{chat_id}")
    preview = row.locator(".preview [dir=auto]").last
    expect(preview).to_have_text(ARABIC.strip())
    assert is_seen_from_its_beginning(preview)
    expect(row.locator(".preview .from")).to_have_text("Marta Oliveira:")
    assert stands_above(page, f"#open-{chat_id}", f"#chat-{chat_id} .preview")
    desk.open(chat)
    assert stands_above(page, "#chat-title", ".person .sub")

    page = new_page(width)
    sign_in(page, server.url, ana)
    preview = page.locator(".chat-item .preview > bdi")
    expect(preview).to_have_text(ARABIC.strip())
    assert is_seen_from_its_beginning(preview)
    assert stands_above(page, ".chat-item .subject", ".chat-item .preview")
    page.locator(".chat-item a, a.chat-item").first.click()
    expect(page.locator(".conversation-title h2")).to_be_visible()
    assert stands_above(page, ".conversation-title h2", ".conversation-title p")


def test_a_conversation_is_printed_as_far_as_it_is_loaded(
    server: Server, new_page: NewPage, agent: dict[str, Any], ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "The first", subject="For the files")
    for number in range(50):
        say(server, ana, chat_id, f"{number} lorem ipsum")
    desk = sit_down(server, new_page(dark=True), agent)
    page = desk.page
    held = hold(page, "**/messages?before=*")
    desk.open({"_id": chat_id})
    page.emulate_media(media="print", color_scheme="dark")
    history = page.locator("#history")
    assert history.evaluate("box => box.scrollHeight - box.clientHeight") == 0
    assert history.evaluate("box => box.clientHeight") > 2000
    hint = "getComputedStyle(document.querySelector('.load-older'), '::before').content"
    assert "not the beginning" in page.evaluate(hint)
    for name in (
        ".bar",
        ".inbox",
        ".composer",
        "#set-status",
        ".delete-message",
        ".person .button",
    ):
        expect(page.locator(name).filter(visible=True)).to_have_count(0)
    expect(page.locator("#chat-title")).to_be_visible()
    expect(page.get_by_text("Unassigned", exact=True).filter(visible=True)).to_have_count(1)
    ink = "getComputedStyle(document.getElementById('chat-title')).color"
    assert page.evaluate(ink) == "rgb(23, 32, 34)"
    for route in held:
        route.continue_()
    expect(page.locator("#m-1 .text")).to_have_text("The first")
    expect(page.locator("#m-1 .text")).to_be_visible()
    expect(page.locator(".load-older")).to_have_count(0)
