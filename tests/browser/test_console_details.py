"""Small things of the console that agents meet each day, in a real browser."""

from __future__ import annotations

import itertools
import re

import pytest
from playwright.sync_api import FloatRect, Locator, Page, Route, expect

from tests.browser.conftest import NewPage, PageErrors
from tests.browser.console_helpers import MakeChat, SignIn, let_settle, numbers
from tests.browser.server import Server
from tests.conftest import PASSWORD
from tests.tiers import representatives


def let_a_minute_pass(page: Page) -> None:
    page.evaluate("(now => { Date.now = () => now.call(Date) + 61_000 })(Date.now)")


@pytest.mark.parametrize("move", ["click", "key", "return", "message"])
def test_the_line_before_new_messages_goes_for_an_agent_who_only_reads(
    sign_in: SignIn, make_chat: MakeChat, move: str
) -> None:
    chat = make_chat()
    desk = sign_in()
    page, line = desk.page, desk.page.locator("#new-line")
    desk.open(chat)
    expect(line).to_be_visible()
    let_settle(page)
    page.click("#history")
    let_settle(page)
    expect(line).to_be_visible()
    let_a_minute_pass(page)
    let_settle(page)
    expect(line).to_be_visible()
    if move == "click":
        page.click("#history")
    elif move == "key":
        page.keyboard.press("ArrowUp")
    elif move == "return":
        page.evaluate("window.dispatchEvent(new Event('focus'))")
    else:
        desk.say(chat, "One more thing")
    expect(line).to_have_count(0)
    assert "new=0" in str(page.locator("#chat").get_attribute("data-poll"))


@pytest.mark.parametrize(
    ("width", "height"), representatives([(1440, 900), (768, 1024), (375, 667)], (1440, 900))
)
def test_each_page_of_the_console_has_one_main_heading(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    chat = make_chat()
    desk = sign_in(width=width, height=height)
    page = desk.page
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Inbox")
    page.goto(f"{desk.server.url}/admin/chats/{chat['_id']}")
    expect(heading).to_have_text("Inbox")
    page.goto(f"{desk.server.url}/admin/users")
    expect(heading).to_have_text("Users")


def test_the_brand_has_a_name_where_its_word_is_hidden(sign_in: SignIn) -> None:
    page = sign_in(width=375, height=667).page
    expect(page.locator(".brand span")).to_be_hidden()
    expect(page.get_by_role("link", name="Support console")).to_be_visible()


def cut_badges(page: Page) -> list[str]:
    """Return the line of each badge that is not shown whole."""
    return list(
        page.locator(":is(.guest, .unverified, .agent):visible").evaluate_all(
            """badges => badges.filter((badge) => {
              const {left, right} = badge.getBoundingClientRect();
              const box = badge.closest(".sub, .sender").getBoundingClientRect();
              return badge.scrollWidth > badge.clientWidth
                || left < box.left - 1 || right > box.right + 1;
            }).map((badge) => badge.parentElement.textContent)"""
        )
    )


@pytest.mark.parametrize(
    ("width", "height"),
    representatives([(1440, 900), (1024, 700), (768, 1024), (375, 667), (320, 256)], (375, 667)),
)
def test_a_badge_is_never_cut_short(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    chat = make_chat(name="Amelia Thornbury-Featherstonehaugh")
    desk = sign_in(width=width, height=height)
    page = desk.page
    # A guest, and somebody with a long address.
    long = f"{'amelia.' * 7}thornbury{next(numbers)}@{'featherstonehaugh.' * 3}example.org"
    guest = {"name": "Gil Thornbury-Featherstonehaugh", "email": long}
    for path, body in (
        ("/api/auth/guest", guest),
        ("/api/auth/register", guest | {"password": PASSWORD}),
    ):
        status, _, made = desk.server.request("POST", path, json=body)
        assert status == 201, made
        opened = {"subject": "A long address", "message": "Hello"}
        desk.server.request("POST", "/api/chat", token=made["token"], json=opened)
    page.reload()
    expect(page.locator(f"#chat-{chat['_id']} .unverified")).to_be_visible()
    expect(page.locator("#rows .guest").first).to_be_visible()
    assert cut_badges(page) == []
    desk.open(chat)
    expect(page.locator(".person .unverified")).to_be_visible()
    assert cut_badges(page) == []
    page.goto(f"{desk.server.url}/admin/users")
    expect(page.locator("#people .unverified").first).to_be_visible()
    assert cut_badges(page) == []


@pytest.mark.parametrize(
    ("width", "height"),
    representatives([(1920, 1080), (1440, 900), (1024, 700), (375, 667), (320, 256)], (375, 667)),
)
def test_a_row_shows_its_time_whole_and_its_facts_apart(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    desk = sign_in(width=width, height=height)
    chat = make_chat(name="Amelia Thornbury-Featherstonehaugh")
    path = f"/api/chat/{chat['_id']}"
    change = {"adminId": desk.agent["_id"], "category": "technical", "status": "pending"}
    desk.server.request("PATCH", path, token=desk.agent["token"], json=change)
    desk.page.reload()
    row = desk.page.locator(f"#chat-{chat['_id']}")
    expect(row).to_have_class(re.compile("unread"))
    # The widest time of the row's form, and a name that does not fit.
    row.locator("time").evaluate("(time) => { time.textContent = '10:48 AM'; }")
    row.locator(".assignee").evaluate("(name) => { name.textContent = 'Maximiliana Ó Murchú'; }")
    time = row.locator("time").evaluate("({scrollWidth, clientWidth}) => scrollWidth - clientWidth")
    assert time <= 0
    boxes = row.locator(".state .chip:visible, .who > *:visible").evaluate_all(
        "facts => facts.map((fact) => fact.getBoundingClientRect().toJSON())"
    )
    for one, other in itertools.combinations(boxes, 2):
        apart = one["right"] <= other["left"] or other["right"] <= one["left"]
        # Each has room of 3 px for marks above and below its letters.
        assert apart or abs(one["top"] - other["top"]) >= min(one["height"], other["height"]) - 6


@pytest.mark.parametrize("width", representatives([1100, 1160, 1200, 1280, 1366, 1440, 1920], 1200))
def test_the_filters_stand_in_one_line_wherever_they_are_not_folded(
    sign_in: SignIn, width: int
) -> None:
    page = sign_in(width=width, height=800).page
    tops = page.locator(".selects .choice").evaluate_all(
        "choices => choices.filter((each) => each.checkVisibility())"
        ".map((each) => Math.round(each.getBoundingClientRect().top))"
    )
    assert len(tops) in {0, 6}
    assert len(set(tops)) <= 1
    assert tops or page.locator("[data-toggle-filters]").is_visible()


def test_deleting_a_chat_makes_one_toast(sign_in: SignIn, make_chat: MakeChat) -> None:
    chat = make_chat()
    desk = sign_in()
    page = desk.page
    desk.open(chat)
    page.evaluate(
        """window.toasts = [];
        new MutationObserver((changes) => changes.forEach((change) =>
          change.addedNodes.forEach((node) => node.matches?.(".toast") && toasts.push(node))
        )).observe(document.getElementById("toasts"), {childList: true})"""
    )
    page.click("[title='Delete this chat']")
    page.click("dialog .danger")
    expect(page.locator("#chat")).to_have_count(0)
    let_settle(page)
    assert page.evaluate("toasts.length") == 1


def test_who_types_shows_until_the_chat_is_closed(sign_in: SignIn, make_chat: MakeChat) -> None:
    chat = make_chat(name="Ana Souza")
    desk = sign_in()
    page = desk.page
    desk.open(chat)
    path = f"/api/chat/{chat['_id']}"
    desk.server.request("POST", f"{path}/typing", token=chat["token"], json={})
    row = page.locator(f"#chat-{chat['_id']} .subject")
    expect(page.locator("#typing")).to_contain_text("is typing…")
    expect(row).to_have_attribute("data-typing", re.compile("typing"))
    desk.server.request("PATCH", path, token=desk.agent["token"], json={"status": "closed"})
    expect(page.locator("#closed")).to_be_visible()
    expect(page.locator("#typing")).to_have_text("", timeout=1500)
    expect(row).not_to_have_attribute("data-typing", re.compile("typing"), timeout=1500)


def test_a_chat_without_an_agent_is_unassigned_everywhere(
    sign_in: SignIn, make_chat: MakeChat
) -> None:
    chat = make_chat()
    desk = sign_in()
    page = desk.page
    desk.open(chat)
    expect(page.locator(f"#chat-{chat['_id']} .assignee")).to_have_text("Unassigned")
    for place, value in (("#set-adminId", ""), (".filters [name=assigned]", "none")):
        expect(page.locator(f"{place} option[value='{value}']").last).to_have_text("Unassigned")
    expect(page.locator(".views a", has_text="Unassigned")).to_have_count(1)
    expect(page.locator(".bulk button[name=adminId][value='']")).to_have_text("Unassigned")
    page.click("#take button")
    expect(page.locator("#take")).to_have_count(0)
    let_settle(page)
    page.select_option("#set-adminId", "")
    page.press("#set-adminId", "Enter")
    expect(page.locator(".toast").last).to_contain_text("Unassigned")
    assert "Nobody" not in page.locator("body").inner_text()


def box(place: Locator) -> FloatRect:
    found = place.bounding_box()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("width", "height"), representatives([(1440, 900), (375, 667)], (375, 667))
)
def test_no_toast_covers_who_closed_the_chat_and_the_kept_text(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    chat = make_chat()
    desk = sign_in(width=width, height=height)
    page, morgan = desk.page, desk.server.admin("Morgan Lee")
    desk.open(chat)
    page.type("#message", "Half a sen")
    path, token = f"/api/chat/{chat['_id']}", morgan["token"]
    desk.server.request("PATCH", path, token=token, json={"adminId": morgan["_id"]})
    expect(page.locator(".toast")).to_contain_text("Your text is kept")
    desk.server.request("PATCH", path, token=token, json={"status": "closed"})
    expect(page.locator("#kept")).to_contain_text("Morgan Lee closed this")
    toast, closed, head = (box(page.locator(each)) for each in (".toast", "#closed", ".chat-head"))
    assert toast["y"] + toast["height"] <= closed["y"]
    assert toast["y"] >= head["y"] + head["height"]


@pytest.mark.parametrize(
    ("width", "height"),
    representatives(
        [(1920, 1080), (1400, 800), (1200, 800), (768, 1024), (375, 667), (375, 340)], (1200, 800)
    ),
)
def test_the_banner_covers_nothing(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int
) -> None:
    chat = make_chat()
    desk = sign_in(width=width, height=height)
    page = desk.page
    say = (
        "() => { document.getElementById('banner').textContent = "
        "'The disk is almost full: nothing can be saved. Reading still works.' }"
    )
    places = (".bar nav, .bar-end", ".views, #q"), ("#chat-title, .chat-head .button", "#message")
    for path, (above, below) in zip(("/admin", f"/admin/chats/{chat['_id']}"), places, strict=True):
        page.goto(desk.server.url + path)
        let_settle(page)
        page.evaluate(say)
        banner = box(page.locator("#banner"))
        for place in page.locator(f"{above}, {below}").all():
            if not place.is_visible():
                continue
            other = box(place)
            apart = (
                other["x"] + other["width"] <= banner["x"]
                or banner["x"] + banner["width"] <= other["x"]
                or other["y"] + other["height"] <= banner["y"]
                or banner["y"] + banner["height"] <= other["y"]
            )
            assert apart, place
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_a_browser_that_blocks_cookies_is_warned_before_the_first_try(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    page_errors.allow(r"status of 403")
    page = new_page()
    page.goto(f"{server.url}/admin/login")
    expect(page.get_by_label("Password")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)

    def without_cookies(route: Route) -> None:
        # Redirects are followed by the page, so that none of their cookies is kept either.
        answer = route.fetch(max_redirects=0)
        page.context.clear_cookies()
        headers = {k: v for k, v in answer.headers.items() if k != "set-cookie"}
        route.fulfill(response=answer, headers=headers)

    agent = server.admin()
    page = new_page()
    # The headless shell reads no profile with this setting: scripts and answers keep no cookie.
    page.context.new_cdp_session(page).send(
        "Emulation.setDocumentCookieDisabled", {"disabled": True}
    )
    page.route("**/*", without_cookies)
    page.goto(f"{server.url}/admin/login")
    expect(page.get_by_role("alert")).to_contain_text("Your browser blocks cookies")
    page.fill("#email", agent["email"])
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    page.wait_for_load_state()
    expect(page.get_by_role("alert").first).to_contain_text("cookies")
    expect(page.locator("#password")).to_be_visible()


@pytest.mark.parametrize(
    ("width", "height", "by"),
    representatives([(900, 600, "key"), (1920, 1080, "tap")], (900, 600, "key")),
)
def test_what_the_list_cuts_is_read_in_full_in_the_open_chat(
    sign_in: SignIn, make_chat: MakeChat, width: int, height: int, by: str
) -> None:
    subject = ("The parcel with the blue shoes has not arrived, " * 5)[:200].strip()
    name = ("Maximiliana von und zu Hohenstein " * 3)[:100].strip()
    chat = make_chat(name=name, subject=subject)
    desk = sign_in(width=width, height=height, has_touch=True)
    page = desk.page
    link = page.get_by_role("link", name=subject, exact=True).first
    assert is_cut(link)
    if by == "key":
        page.locator(f"#pick-{chat['_id']}").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    else:
        page.locator(f"#open-{chat['_id']}").tap()
    heading = page.locator("#chat-title")
    expect(heading).to_have_text(subject)
    lines = page.locator(".person .lines")
    before = lines.bounding_box()
    for text in (heading, page.locator(".person .name"), page.locator(".person .more a").first):
        assert not is_cut(text)
    last = page.get_by_role("link", name="All chats")
    last.focus()
    expect(last).to_be_in_viewport(ratio=0.9)
    let_settle(page)
    assert lines.bounding_box() == before
    assert page.locator("#history").evaluate("box => box.clientHeight") >= 0.25 * height


def is_cut(text: Locator) -> bool:
    """Say whether a part of a text does not fit into its element."""
    return bool(
        text.evaluate(
            "e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible'"
            " || e.scrollHeight > e.clientHeight + 1 && e.tagName === 'H2'"
        )
    )
