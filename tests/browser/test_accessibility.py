"""axe finds no fault of accessibility on any screen, in both colour schemes, small and large."""

from __future__ import annotations

from importlib import resources
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.chat_ui_helpers import make_chat, say, sign_in, write_as_guest
from tests.browser.conftest import HostPage, NewPage, PageErrors
from tests.browser.console_helpers import let_settle, new_chat, sit_down
from tests.browser.server import Server

AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
SIZES = [(375, 667), (1920, 1080)]
# Without the policy, axe can be put into the page; without motion, nothing is half transparent.
OPTIONS: dict[str, Any] = {"bypass_csp": True, "reduced_motion": "reduce"}
RUN = """place => axe.run(place ?? document, {
  resultTypes: ["violations"], rules: { "label-content-name-mismatch": { enabled: true } },
}).then(({ violations }) => violations.map(({ id, nodes }) =>
  `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`))"""


def faults(page: Page, screen: str, place: str | None = None) -> list[str]:
    """Return what axe finds on a screen at each size and in each colour scheme.

    place -- a selector of the only part that is looked at.
    """
    found = []
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found += [f"{screen} {width} {scheme}: {each}" for each in page.evaluate(RUN, place)]
    return found


def test_axe_sees_a_fault(new_page: NewPage) -> None:
    page = new_page(**OPTIONS)
    page.set_content("<!doctype html><html lang=en><title>Shop</title><main><h1>A</h1><input>")
    (small, *_) = found = faults(page, "form")
    assert len(found) == 4
    assert small.startswith("form 375 light: label: input")


def test_the_chat_has_no_fault(server: Server, new_page: NewPage, agent: dict[str, Any]) -> None:
    page = new_page(**OPTIONS)
    page.goto(f"{server.url}/chat")
    page.get_by_label("Your message").wait_for()
    found = faults(page, "first screen")
    page.get_by_role("button", name="Start chat", exact=True).click()
    expect(page.get_by_label("Your message")).to_be_focused()
    found += faults(page, "first screen with errors")
    page.get_by_role("tab", name="Sign in").click()
    found += faults(page, "sign in")
    ana = server.user("Ana Souza")
    sign_in(page, server.url, ana)
    found += faults(page, "no chats")
    page.get_by_role("button", name="New chat", exact=True).first.click()
    expect(page.get_by_role("dialog", name="New chat")).to_be_visible()
    found += faults(page, "dialog")
    page.keyboard.press("Escape")
    chat_id = make_chat(server, ana, "Where is my parcel?")
    say(server, agent, chat_id, "On its way: https://example.org/parcels")
    page.locator(f'a[href="#chat/{chat_id}"]').click()
    expect(page.locator(".message")).to_have_count(2)
    found += faults(page, "chat")
    assert found == []


def test_the_widget_has_no_fault(host_page: HostPage) -> None:
    page = host_page(**OPTIONS)
    page.locator("live-chat-widget .launcher").click()
    page.get_by_label("Your message").wait_for()
    found = faults(page, "widget", "live-chat-widget")
    write_as_guest(page, "Is it waterproof?")
    found += faults(page, "widget with a chat", "live-chat-widget")
    assert found == []


def test_the_console_has_no_fault(
    server: Server, new_page: NewPage, page_errors: PageErrors, agent: dict[str, Any]
) -> None:
    page_errors.allow("status of 404")
    page = new_page(**OPTIONS)
    page.goto(f"{server.url}/admin/login")
    found = faults(page, "sign in")
    chat = new_chat(server)
    desk = sit_down(server, page, agent)
    desk.answer(chat, "On its way: https://example.org/parcels")
    let_settle(page)
    found += faults(page, "list")
    page.set_viewport_size({"width": 1920, "height": 1080})
    desk.open(chat)
    found += faults(page, "chat")
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.click("[title='Delete this chat']")
    expect(page.get_by_role("dialog")).to_be_visible()
    found += faults(page, "dialog")
    for path, screen in (
        ("/admin?q=zzzzzz", "empty list"),
        ("/admin/users", "users"),
        ("/admin/nothing", "error"),
    ):
        page.goto(server.url + path)
        let_settle(page)
        found += faults(page, screen)
    assert found == []
