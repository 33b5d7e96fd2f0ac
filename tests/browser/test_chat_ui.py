"""The users' chat component in a real browser: the page /chat and the widget."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser import hostile
from tests.browser.chat_ui_helpers import (
    at_bottom,
    bubble,
    change,
    composer,
    history,
    make_chat,
    open_chat,
    say,
    send,
    sign_in,
    write_as_guest,
)
from tests.browser.conftest import NewPage, PageErrors, hold, without_live_connection
from tests.browser.server import Server
from tests.tiers import representatives

HERE = Path(__file__).parent
CUT = r"net::ERR_(INTERNET_DISCONNECTED|FAILED|CONNECTION)"


def rename(server: Server, agent: dict[str, Any], who: dict[str, Any], name: str) -> None:
    """Give somebody another name, as an agent."""
    path = f"/api/admin/users/{who['_id']}"
    status, _, answer = server.request("PATCH", path, agent["token"], {"name": name})
    assert status == 200, answer


# Coming in


def test_guest_starts_a_chat_and_is_answered(
    server: Server, new_page: NewPage, agent: dict[str, Any]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    write_as_guest(page, "Which size fits? I am 180 cm tall.", "zoe@example.org", "Zoë 🦊")

    expect(composer(page)).to_be_focused()
    chat_id = page.url.rpartition("/")[2]
    say(server, agent, chat_id, "L fits.")
    expect(bubble(page, "L fits.")).to_be_visible()
    expect(
        page.locator("[aria-live=polite]").get_by_text("Marta Oliveira: L fits.")
    ).to_be_attached()
    _, _, chat = server.request("GET", f"/api/chat/{chat_id}", agent["token"])
    assert (chat["category"], chat["userName"]) == ("general", "Zoë 🦊")
    assert chat["subject"] == "Which size fits? I am 180 cm tall."


def test_problems_of_a_form_stand_beside_their_field(
    server: Server, new_page: NewPage, page_errors: PageErrors, ana: dict[str, Any]
) -> None:
    page_errors.allow("status of (401|409|422)")
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_role("tab", name="Sign up").click()
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("Your name")).to_have_accessible_description("Your name is missing.")
    expect(page.get_by_label("Your name")).to_be_focused()

    page.get_by_label("Your name").fill("Ana")
    page.get_by_label("E-mail").fill(ana["email"])
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("Password")).to_have_accessible_description(
        re.compile("Must have at least 8 characters")
    )
    page.get_by_label("Password").fill("long enough by far")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("E-mail")).to_have_accessible_description(re.compile("already"))

    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("Password").fill("not the right one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")


def test_signing_out_ends_the_session_and_shows_nothing_of_it(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Something private")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.get_by_role("button", name="Account of Ana Souza").click()
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    expect(page.get_by_text("Something private")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Your message")).to_be_visible()


def test_nothing_is_asked_while_the_session_ends(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    asked: list[str] = []

    def end_and_dawdle(route: Route) -> None:
        answer = route.fetch()
        page.on("request", lambda request: asked.append(request.url))
        # The live connection hears of the end, and the reader comes back to the window.
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(1_500)
        route.fulfill(response=answer)

    page.route("**/api/auth/logout", end_and_dawdle)
    page.get_by_role("button", name="Account of Ana Souza").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_visible()
    assert [url for url in asked if "/api/" in url] == []


def test_signing_out_that_fails_leaves_the_chat_going(
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.route("**/api/auth/logout", lambda route: route.abort())
    page.get_by_role("button", name="Account of Ana Souza").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(".toast")).to_contain_text("cannot be reached")
    say(server, agent, chat_id, "Still with you")
    expect(bubble(page, "Still with you")).to_be_visible()
    send(page, "So am I")
    expect(page.locator(".receipt")).to_have_text("Sent")


def test_session_survives_a_reload_in_the_same_chat(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Still here")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    page.reload()
    expect(bubble(page, "Still here")).to_be_visible()
    page.go_back()
    page.go_forward()
    expect(bubble(page, "Still here")).to_be_visible()


def test_agent_is_sent_to_the_console(
    server: Server, new_page: NewPage, agent: dict[str, Any]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/chat")
    page.get_by_role("tab", name="Sign in").click()
    page.get_by_label("E-mail").fill(agent["email"])
    page.get_by_label("Password").fill(agent["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Open the console")).to_have_attribute(
        "href", f"{server.url}/admin"
    )


# Writing and receiving


def test_unread_messages_are_counted_until_they_have_been_seen(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello?")
    page = new_page()
    sign_in(page, server.url, ana)
    say(server, agent, chat_id, "One")
    say(server, agent, chat_id, "Two")

    expect(page).to_have_title("(2) Support chat")
    expect(page.locator(".chat-item .badge")).to_have_text("2 unread")
    page.locator(".chat-item").click()
    expect(page.get_by_text("New", exact=True)).to_be_visible()
    expect(page).to_have_title("Support chat")
    expect(page.locator(".chat-item .badge")).to_have_count(0)
    _, _, chat = server.request("GET", f"/api/chat/{chat_id}", ana["token"])
    assert chat["unreadCount"] == 0


def test_read_receipt_appears_when_the_agent_has_read(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    send(page, "Have you seen this?")
    expect(page.locator(".receipt")).to_have_text("Sent")
    server.request("POST", f"/api/chat/{chat_id}/read", agent["token"], {"seq": 1})
    expect(page.locator(".receipt")).to_have_text("Read")


def test_read_receipt_comes_also_to_a_message_far_up(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Have you seen this?")
    for number in range(55):
        say(server, agent, chat_id, f"Line {number}")
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Line 54")).to_be_in_viewport()
    page.locator(".messages-scroll").evaluate("box => box.scrollTo(0, 0)")
    expect(page.locator(".receipt")).to_have_text("Sent")
    server.request("POST", f"/api/chat/{chat_id}/read", agent["token"], {"seq": 1})
    expect(page.locator(".receipt")).to_have_text("Read", timeout=9_000)


def test_enter_sends_but_shift_enter_and_composing_do_not(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).press_sequentially("one")
    composer(page).press("Shift+Enter")
    composer(page).press_sequentially("two")
    composer(page).dispatch_event(
        "keydown", {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    )
    expect(composer(page)).to_have_value("one\ntwo")
    composer(page).press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["one\ntwo"]


def test_length_is_counted_as_the_server_counts(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).fill("🦊" * 5001)
    expect(page.locator(".count")).to_have_text("1 characters too many")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    composer(page).fill("🦊" * 5000)
    expect(page.locator(".count")).to_have_text("5,000 of 5,000")
    composer(page).press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    assert history(server, ana, chat_id) == ["🦊" * 5000]


# Long chats


def test_history_loads_upward_without_a_jump(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana)
    for number in range(1, 301):
        say(
            server,
            ana if number % 3 else agent,
            chat_id,
            f"Message {number}" + "\nmore" * (number % 4),
        )
    page = new_page(width=375, height=667)
    open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".message").last).to_contain_text("Message 300")
    assert at_bottom(page)

    scroller = page.locator(".messages-scroll")
    jumps = scroller.evaluate((HERE / "chat_ui_scroll.js").read_text())
    assert jumps == []
    expect(page.locator(".message")).to_have_count(300)
    numbers = [
        int(re.findall(r"\d+", text)[0]) for text in page.locator(".bubble").all_text_contents()
    ]
    assert numbers == list(range(1, 301))

    say(server, agent, chat_id, "The newest")
    expect(page.get_by_role("button", name="1 new message")).to_be_visible()
    page.get_by_role("button", name="1 new message").click()
    expect(bubble(page, "The newest")).to_be_in_viewport()


# Closed chats


def test_chat_closed_while_typing_keeps_the_text(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    composer(page).fill("One more thing")
    change(server, agent, chat_id, status="closed")

    expect(page.get_by_text("This chat is closed.")).to_be_visible()
    expect(composer(page)).to_have_count(0)
    expect(page.locator(".kept-draft")).to_contain_text("One more thing")
    page.get_by_role("button", name="Start a new chat with this text").click()
    expect(page.get_by_label("Your message")).to_have_value("One more thing")
    page.get_by_label("Subject").fill("Again")
    page.get_by_role("button", name="Start chat", exact=True).click()
    expect(page.get_by_role("heading", name="Again")).to_be_visible()
    expect(bubble(page, "One more thing")).to_be_visible()
    assert history(server, ana, chat_id) == ["Hello"]


def test_archived_chat_is_read_only_and_a_reopened_one_is_not(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    change(server, agent, chat_id, status="archived")
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    expect(page.get_by_text("This chat is archived.")).to_be_visible()
    expect(composer(page)).to_have_count(0)
    change(server, agent, chat_id, status="active")
    expect(composer(page)).to_be_visible()


def test_message_to_a_chat_closed_meanwhile_is_refused_with_the_reason(
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow("status of 409")
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana)
    page = new_page()
    without_live_connection(page)
    open_chat(page, server.url, ana, chat_id)
    expect(composer(page)).to_be_visible()
    news = re.compile(r"/api/chat(/[0-9a-f]{24}\?messages=50)?$")
    page.route(news, lambda route: route.abort())
    change(server, agent, chat_id, status="closed")
    send(page, "Too late")
    expect(page.locator(".meta.refused")).to_contain_text("closed")
    page.unroute(news)
    expect(page.get_by_text("This chat is closed.", exact=True)).to_be_visible(timeout=15_000)
    expect(bubble(page, "Too late")).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Your message")).to_have_value("Too late")
    assert history(server, ana, chat_id) == []


# Hostile text


def test_what_people_write_is_text_and_nothing_else(
    server: Server, new_page: NewPage, agent: dict[str, Any]
) -> None:
    mallory, marta = server.user(hostile.TEXTS[0]), server.admin("Marta")
    made = []
    for text in hostile.TEXTS:
        rename(server, agent, marta, text)
        chat_id = make_chat(server, mallory, text, subject=text)
        say(server, marta, chat_id, text)
        change(server, agent, chat_id, adminId=marta["_id"], status="closed")
        made.append(chat_id)
    page = new_page()
    sign_in(page, server.url, mallory)
    for text, chat_id in zip(hostile.TEXTS, made, strict=True):
        item = page.locator(f'a[href="#chat/{chat_id}"]')
        expect(item.locator(".subject")).to_have_text(text)
        expect(item.locator(".preview > bdi")).to_have_text(text)
        item.click()
        expect(page.locator(".conversation-title h2")).to_have_text(text)
        expect(page.locator(".bubble")).to_have_text([text, text])
        expect(page.locator(".theirs .sender bdi")).to_have_text(text)
        page.locator(".bubble").last.hover()
        hostile.assert_harmless(page)
    page.get_by_role("button", name="Account of").click()
    expect(page.locator(".menu-name strong")).to_have_text(hostile.TEXTS[0])
    assert "Support chat" in page.title()


def test_links_in_messages_are_web_addresses_and_open_elsewhere(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    text = "javascript:alert(1) data:text/html,<b>x https://good.example/a_(b)?q=<i>."
    chat_id = make_chat(server, ana, text)
    page = new_page()
    open_chat(page, server.url, ana, chat_id)
    link = page.locator(".bubble a")
    expect(link).to_have_count(1)
    expect(link).to_have_attribute("href", "https://good.example/a_(b)?q=")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(link).to_have_attribute("target", "_blank")


def test_a_picture_is_loaded_from_the_named_hosts_alone(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    mallory = server.admin("Mallory")
    chat_id = make_chat(server, ana, "Hello")
    say(server, mallory, chat_id, "Hi")
    change(server, agent, chat_id, adminId=mallory["_id"])
    page = new_page()
    hostile.serve_pictures(page)
    open_chat(page, server.url, ana, chat_id)
    for image in hostile.IMAGES:
        shown = 1 if image in hostile.LOADED else 0
        forged = server.forged_image
        with forged(ana["_id"], image), forged(mallory["_id"], image):
            page.reload()
            for place in (".chat-item", ".conversation-head", ".theirs", ".account-button"):
                expect(page.locator(f"{place} .avatar")).to_have_text(re.compile("^(M|AS)$"))
                expect(page.locator(f"{place} .avatar img")).to_have_count(shown)
        hostile.assert_harmless(page)


def test_broken_image_falls_back_to_initials(
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow("status of 404")
    chat_id = make_chat(server, ana, "Hello")
    change(server, agent, chat_id, adminId=agent["_id"])
    page = new_page()
    page.route(re.compile("nothing.png"), lambda route: route.fulfill(status=404))
    with (
        server.forged_image(agent["_id"], "https://x.example/nothing.png"),
        page.expect_response(re.compile("nothing.png")),
    ):
        open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".conversation-head .avatar")).to_have_text("MO")
    expect(page.locator(".conversation-head img")).to_have_count(0)


# Reaching it


def test_everything_can_be_done_by_keyboard(
    server: Server, new_page: NewPage, ana: dict[str, Any]
) -> None:
    make_chat(server, ana, subject="By hand")
    page = new_page()
    page.goto(f"{server.url}/chat")
    expect(page.get_by_role("tab", name="Guest")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Guest")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type(ana["email"])
    page.keyboard.press("Tab")
    page.keyboard.type(ana["password"])
    page.keyboard.press("Enter")
    expect(page.locator(".chat-item")).to_be_visible()

    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Open that chat")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(composer(page)).to_be_focused()
    page.keyboard.type("Typed without a mouse")
    page.keyboard.press("Enter")
    expect(page.locator(".receipt")).to_have_text("Sent")
    expect(composer(page)).to_be_focused()


@pytest.mark.parametrize(
    ("width", "height"),
    representatives([(320, 568), (375, 667), (768, 1024), (1920, 1080)], (375, 667)),
)
def test_nothing_is_wider_than_the_window(
    server: Server,
    new_page: NewPage,
    ana: dict[str, Any],
    agent: dict[str, Any],
    width: int,
    height: int,
) -> None:
    chat_id = make_chat(
        server, ana, "https://example.org/" + "long" * 100, "مرحبا", subject="x" * 200
    )
    say(server, agent, chat_id, "y" * 400)
    page = new_page(width=width, height=height)

    def check() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.scrollHeight") <= height

    page.goto(f"{server.url}/chat")
    expect(page.get_by_role("tab", name="Guest")).to_be_visible()
    check()
    sign_in(page, server.url, ana)
    check()
    page.locator(".chat-item").click()
    expect(page.locator(".message").first).to_be_visible()
    check()
    assert page.locator(".messages-scroll").evaluate("box => box.scrollWidth <= box.clientWidth")
    if width < 760:
        page.get_by_role("button", name="Back to your chats").click()
        expect(page.locator(".chat-item")).to_be_focused()
    page.get_by_role("button", name="New chat").click()
    check()


@pytest.mark.parametrize("dark", representatives([False, True], True))
def test_texts_have_enough_contrast(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any], dark: bool
) -> None:
    chat_id = make_chat(server, ana, "Hello https://example.org")
    say(server, agent, chat_id, "Good morning https://example.org")
    page = new_page(dark=dark)
    open_chat(page, server.url, ana, chat_id)
    expect(page.locator(".message")).to_have_count(2)
    page.wait_for_timeout(400)
    assert page.evaluate((HERE / "chat_ui_contrast.js").read_text()) == []


def test_page_without_scripts_says_so(server: Server, new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{server.url}/chat")
    expect(page.locator(".no-script")).to_contain_text("This chat needs JavaScript.")


def test_files_are_kept_by_the_browser_until_they_change(server: Server) -> None:
    _, headers, script = server.request("GET", "/widget.js")
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert "max-age=3600" in headers["cache-control"]
    status, _, _ = server.request("GET", "/widget.js", headers={"If-None-Match": headers["etag"]})
    assert status == 304

    module = re.search(r"/chat/static/v/[0-9a-f]+/embed\.bundle\.js", script)
    assert module, script
    _, headers, _ = server.request("GET", module[0])
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]
    status, headers, _ = server.request("GET", "/chat/static/v/0123456789ab/embed.js")
    assert (status, headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("width", representatives([375, 1280], 375))
def test_nothing_moves_while_a_chat_is_loaded(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any], width: int
) -> None:
    for number in range(3):
        chat_id = make_chat(server, ana, "Hello", subject=f"Chat {number}")
        change(server, agent, chat_id, status="closed" if number < 2 else "active")
    page = new_page(width=width, height=667)
    open_chat(page, server.url, ana, chat_id)
    page.add_init_script(
        "window.moved = []; new PerformanceObserver((list) => moved.push(...list.getEntries()"
        ".map((e) => [e.value, e.sources.map((s) => s.node?.className)])))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )

    def slow(route: Route) -> None:
        page.wait_for_timeout(150)
        route.continue_()

    page.route("**/api/**", slow)
    page.reload()
    expect(bubble(page, "Hello")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("moved") == []


def test_a_spinner_turns_until_the_script_is_here(server: Server, new_page: NewPage) -> None:
    page = new_page()
    held = hold(page, "**/page*.js")
    page.goto(f"{server.url}/chat", wait_until="commit")
    expect(page.get_by_role("status")).to_have_text("Loading")
    expect(page.locator(".spinner")).to_be_visible()
    held[0].continue_()
    expect(page.get_by_role("tab", name="Guest")).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)
