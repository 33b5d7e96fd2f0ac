"""The API's documentation in a browser: with its script, without it, on every size."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.server import Server
from tests.browser.test_accessibility import OPTIONS, faults

SIZES = [
    (375, 340),
    (1280, 800),
    pytest.param(375, 667, marks=pytest.mark.long),
    pytest.param(768, 1024, marks=pytest.mark.long),
    pytest.param(1920, 1080, marks=pytest.mark.long),
]
CURRENT = "nav.side [aria-current]"


def opened(page: Page, server: Server, place: str = "") -> Page:
    page.goto(f"{server.url}/api/docs{place}")
    return page


def test_the_filter_shows_what_has_all_words(new_page: NewPage, server: Server) -> None:
    page = opened(new_page(), server)
    contents = page.get_by_role("navigation", name="Contents", exact=True)
    field = contents.get_by_role("searchbox", name="Filter")
    everything = contents.get_by_role("link").count()
    field.fill("post MESSAGES")
    expect(contents.get_by_role("link", name="POST Send a message")).to_be_visible()
    expect(contents.get_by_role("link", name="GET List chats")).to_be_hidden()
    expect(contents.get_by_role("link", name="Schemas", exact=True)).to_be_hidden()
    expect(contents.get_by_role("link", name="Messages", exact=True)).to_be_visible()
    shown = contents.locator("li[data-find]:visible").count()
    assert 0 < shown < 5
    total = contents.locator("li[data-find]").count()
    expect(contents.get_by_role("status")).to_have_text(f"{shown} of {total} shown")
    field.fill("chat_closed")
    expect(contents.locator("li[data-find]:visible")).to_have_text("409 chat_closed")
    field.press("Enter")
    expect(page).to_have_url(f"{server.url}/api/docs#chat_closed")
    field.fill("kettle")
    expect(contents.get_by_role("status")).to_have_text(f"0 of {total} shown")
    field.fill("")
    expect(contents.get_by_role("link")).to_have_count(everything)
    expect(contents.get_by_role("status")).to_be_empty()


def test_a_command_is_copied_with_the_keyboard(new_page: NewPage, server: Server) -> None:
    page = new_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    opened(page, server)
    button = page.get_by_role("button", name="Copy the command of POST /api/auth/login", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#copy-status")).to_have_text("The command was copied.")
    expect(button).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "/api/auth/login" in copied
    assert "Copy" not in copied
    expect(button).to_have_text("Copy")


def test_without_a_clipboard_the_command_is_selected_and_copied(
    new_page: NewPage, server: Server
) -> None:
    page = new_page()
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { get() {} })")
    opened(page, server)
    page.evaluate(
        "document.execCommand = (name) => name === 'copy' && !!(window.was = `${getSelection()}`)"
    )
    button = page.get_by_role("button", name="Copy the command of GET /api/auth/me", exact=True)
    button.click()
    expect(button).to_have_text("Copied")
    assert page.evaluate("window.was").startswith("curl ")
    page.evaluate("document.execCommand = () => false")
    button.click()
    expect(button).to_have_text("Not copied")
    expect(page.locator("#copy-status")).to_contain_text("Select it")


def test_the_contents_mark_the_section_that_is_read(new_page: NewPage, server: Server) -> None:
    page = opened(new_page(), server)
    expect(page.locator(CURRENT)).to_have_text("Introduction")
    # Contents under the pointer are not scrolled, and at first it may be in the corner.
    page.mouse.move(900, 400)
    for place, text in (
        ("tag-messages", "Messages"),
        ("chat_closed", "409 chat_closed"),
        ("schema-User", "User"),
    ):
        page.evaluate("(id) => document.getElementById(id).scrollIntoView()", place)
        expect(page.locator(CURRENT)).to_have_attribute("href", f"#{place}")
        expect(page.locator(CURRENT)).to_have_text(text)
        expect(page.locator(CURRENT)).to_be_in_viewport()
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator(CURRENT)).to_have_text("Introduction")


def test_each_entry_of_the_contents_is_marked_when_it_is_chosen(
    new_page: NewPage, server: Server
) -> None:
    page = opened(new_page(), server)
    places = page.locator("nav.side a").evaluate_all("links => links.map((link) => link.hash)")
    assert len(places) > 80
    wrong = page.evaluate(
        """async (places) => {
          const wrong = [];
          for (const place of places) {
            location.hash = place;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const marked = document.querySelector("nav.side [aria-current]").hash;
            if (marked !== place) wrong.push(`${place}: ${marked}`);
          }
          return wrong;
        }""",
        places,
    )
    assert wrong == []


def test_on_a_phone_the_menu_filters_leads_there_and_closes(
    new_page: NewPage, server: Server
) -> None:
    page = opened(new_page(375, 340), server)
    page.get_by_text("Contents", exact=True).click()
    contents = page.get_by_role("navigation", name="Contents, small screens")
    contents.get_by_role("searchbox", name="Filter").fill("priority")
    contents.get_by_role("searchbox", name="Filter").fill("rate")
    contents.get_by_role("searchbox", name="Filter").fill("send a message")
    contents.get_by_role("link", name="POST Send a message").click()
    expect(contents).to_be_hidden()
    heading = page.locator("h3#sendMessage")
    expect(heading).to_be_in_viewport()
    # Below the bar, which stays.
    bar = page.locator(".menu").bounding_box()
    box = heading.bounding_box()
    assert bar is not None
    assert box is not None
    assert box["y"] >= bar["y"] + bar["height"]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_is_wider_than_the_window_in_the_documentation(
    new_page: NewPage, server: Server, width: int, height: int
) -> None:
    page = opened(new_page(width, height), server)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if width < 1024:
        page.get_by_text("Contents", exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
    for button in page.get_by_role("button", name="Copy").all()[:3]:
        command = button.locator("xpath=..").locator("code")
        over, under = button.bounding_box(), command.bounding_box()
        assert over is not None
        assert under is not None
        assert over["y"] + over["height"] <= under["y"]


def test_without_the_script_everything_can_be_read(new_page: NewPage, server: Server) -> None:
    page = opened(new_page(java_script_enabled=False), server, "#chat_closed")
    expect(page.get_by_role("heading", name="409 chat_closed")).to_be_in_viewport()
    expect(page.get_by_role("searchbox")).to_have_count(0)
    expect(page.get_by_role("button")).to_have_count(0)
    contents = page.get_by_role("navigation", name="Contents", exact=True)
    contents.get_by_role("link", name="POST Send a message").click()
    expect(page.locator("h3#sendMessage")).to_be_in_viewport()
    page.set_viewport_size({"width": 375, "height": 667})
    page.locator(".menu > summary").click()
    small = page.get_by_role("navigation", name="Contents, small screens")
    expect(small.get_by_role("link", name="Schemas", exact=True)).to_be_visible()


# Of each kind of section there are dozens, all of one template: their colours are looked at once.
PARTS = "nav, main > header, #tag-messages, article:has(#sendMessage), article:has(#internal)"
STRUCTURE = """axe.run({
  rules: { "color-contrast": { enabled: false } }, resultTypes: ["violations"],
}).then(({ violations }) =>
  violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target)}`))"""


def test_the_documentation_has_no_fault(server: Server, new_page: NewPage) -> None:
    page = opened(new_page(**OPTIONS), server)
    page.get_by_role("searchbox").first.fill("messages")
    found = faults(page, "documentation", PARTS)
    assert page.evaluate(STRUCTURE) == []
    page.set_viewport_size({"width": 375, "height": 667})
    page.get_by_text("Contents", exact=True).click()
    page.get_by_role("searchbox", name="Filter").fill("message")
    found += faults(page, "documentation, menu", ".menu")
    assert found == []
