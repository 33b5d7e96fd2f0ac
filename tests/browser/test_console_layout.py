"""The console's layout at every size, its weight, and browsers that lack something."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage, hold
from tests.browser.console_helpers import (
    Desk,
    MakeChat,
    SignIn,
    sit_down,
)
from tests.browser.server import Server
from tests.tiers import representatives


@pytest.mark.parametrize(
    ("width", "height"),
    representatives([(375, 667), (768, 1024), (1280, 800), (1920, 1080)], (375, 667)),
)
def test_nothing_is_wider_than_the_window(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 5
    chat = make_chat(name=long[:90], subject=long[:150], message=f"{long} https://x.example/{long}")
    desk = sign_in(width=width, height=height)
    page = desk.page
    wide = "document.documentElement.scrollWidth - window.innerWidth"
    for path in ("/admin", f"/admin/chats/{chat['_id']}", "/admin/users", "/admin/nothing"):
        if path != "/admin/nothing":
            page.goto(desk.server.url + path)
            assert page.evaluate(wide) <= 0, path
    targets = page.evaluate(
        "[...document.querySelectorAll('a, button, select, input')].filter(e => e.offsetParent)"
        ".map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])"
        ".filter(([_, r]) => r.width && (r.height < 24 || r.width < 24)).map(([html]) => html)"
    )
    assert [each for each in targets if 'type="checkbox"' not in each] == []


def test_a_phone_shows_one_pane_at_a_time(sign_in: SignIn, make_chat: MakeChat) -> None:
    chat = make_chat()
    desk = sign_in(width=375, height=667)
    page = desk.page
    expect(page.locator("#conversation")).to_be_hidden()
    desk.open(chat)
    expect(page.locator(".inbox")).to_be_hidden()
    expect(page.locator("#message")).to_be_in_viewport()
    page.click(".back")
    expect(page.locator(".inbox")).to_be_visible()
    expect(page.locator(f"#open-{chat['_id']}")).to_be_focused()


def test_the_pressed_button_shows_that_it_works_and_keeps_its_size(
    desk: Desk, make_chat: MakeChat
) -> None:
    page, chat = desk.page, make_chat()
    page.reload()
    desk.open(chat)
    held = hold(page, "**/messages**")
    page.type("#message", "One moment")
    before = page.locator(".composer-foot button").evaluate_all(
        "all => all.map(e => e.offsetWidth)"
    )
    page.press("#message", "Enter")
    expect(page.locator("[data-send]")).to_have_attribute("aria-busy", "true")
    expect(page.locator(".composer .second")).not_to_have_attribute("aria-busy", "true")
    after = page.locator(".composer-foot button").evaluate_all("all => all.map(e => e.offsetWidth)")
    assert after == before
    held[0].continue_()
    expect(page.locator("#m-2 .text")).to_have_text("One moment")
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_a_phone_shows_that_a_chat_is_being_opened(sign_in: SignIn, make_chat: MakeChat) -> None:
    chat = make_chat()
    page = sign_in(width=375, height=667).page
    held = hold(page, f"**/admin/chats/{chat['_id']}*")
    page.click(f"#open-{chat['_id']}")
    expect(page.locator(".inbox")).to_have_css("opacity", "1", pseudo="before")
    held[0].continue_()
    expect(page.locator("#chat")).to_be_visible()


@pytest.mark.parametrize(
    ("width", "height"),
    representatives([(320, 568), (375, 667), (768, 1024), (1280, 800)], (1280, 800)),
)
def test_the_chats_controls_are_all_in_sight_and_reached_in_their_order(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    chat = make_chat()
    desk = sign_in(width=width, height=height)
    page = desk.page
    desk.open(chat)
    if width < 900:
        page.click("#summary")
    controls = page.locator(".controls").locator("select, button").filter(visible=True)
    expect(controls).to_have_count(5)
    boxes = []
    for control in controls.all():
        expect(control).to_be_in_viewport(ratio=1)
        box = control.bounding_box()
        assert box
        boxes.append((box["y"], box["x"]))
    assert boxes == sorted(boxes)
    all_chats = page.get_by_role("link", name="All chats").filter(visible=True).last
    expect(all_chats).to_be_in_viewport(ratio=1)
    assert (
        page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.controls'))")
        == 0
    )
    controls.first.focus()
    for control in controls.all()[1:]:
        page.keyboard.press("Tab")
        expect(control).to_be_focused()


def test_the_page_works_without_scripts(
    server: Server, new_page: NewPage, make_chat: MakeChat
) -> None:
    chat, agent = make_chat(), server.admin()
    page = new_page(java_script_enabled=False)
    page.goto(f"{server.url}/admin?q={chat['email']}")
    page.fill("#email", agent["email"])
    page.fill("#password", agent["password"])
    page.click("button.primary")
    page.click(f"#open-{chat['_id']}")
    page.fill("#message", "By hand")
    page.click("[data-send]")
    expect(page.locator("#m-2 .text")).to_have_text("By hand")
    page.select_option("#set-status", "closed")
    page.click("form:has(#set-status) button")
    expect(page.locator("#closed")).to_be_visible()


def test_the_first_page_is_small_and_comes_in_one_round(
    sign_in: SignIn, make_chat: MakeChat
) -> None:
    for _ in range(20):
        make_chat(message="A message of usual length, such as people write. " * 3)
    page = sign_in().page
    page.goto(page.url + "?limit=100")
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(
        "performance.getEntries().filter(e => e.transferSize !== undefined)"
        ".map(e => [e.name, e.encodedBodySize, e.initiatorType])"
    )
    assert sum(size for _, size, _ in sizes) < 100_000
    names = [name for name, _, _ in sizes if "/static/" in name]
    html = page.evaluate("fetch(location.href).then((answer) => answer.text())")
    assert all(name.split(page.url.split("/admin")[0])[1] in html for name in names)


@pytest.mark.parametrize("how", ["return null", "throw new DOMException('no', 'SecurityError')"])
def test_without_storage_and_other_optional_things_the_page_is_live(
    server: Server, new_page: NewPage, make_chat: MakeChat, how: str
) -> None:
    chat, other = make_chat(), make_chat()
    page = new_page()
    for name in ("localStorage", "sessionStorage", "Notification", "AudioContext"):
        page.add_init_script(
            f"Object.defineProperty(window, '{name}', {{get() {{ {how}; }}, configurable: true}})"
        )
    desk = sit_down(server, page)
    desk.open(chat)
    desk.say(chat, "News of the user")
    expect(page.locator("#m-2")).to_be_visible(timeout=9_000)
    page.type("#message", "A draft")
    desk.open(other)
    desk.open(chat)
    expect(page.locator("#message")).to_have_value("A draft")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.check("[data-alert='alert-sound']")
    expect(page.locator("[data-alert='alert-desktop']")).to_be_disabled()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className") == "row-link"
