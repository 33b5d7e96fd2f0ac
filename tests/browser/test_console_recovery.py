"""The console's live connection after cuts, restarts and sleep: every one heals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.chat_ui_helpers import type_in
from tests.browser.conftest import NewPage, PageErrors, until
from tests.browser.console_helpers import MakeChat, let_settle, new_chat, sit_down
from tests.browser.live_console import (
    A_BLINK,
    CUT,
    Seat,
    expect_history,
    expect_live,
    hide,
    sit,
    text_of,
)
from tests.browser.proxy import Proxy
from tests.browser.server import Server
from tests.servers import AppServer, DatabaseServer, start_app, start_database


def test_cut_network_is_shown_and_heals_completely(
    server: Server, proxied: Proxy, seat: Seat, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow(CUT)
    chat = make_chat(message="Before")
    desk = seat(chat, url=proxied.url)
    page = desk.page
    page.type("#message", "Half a sen")
    type_in(server, chat, chat["_id"])
    expect(page.locator("#typing")).not_to_be_empty()
    proxied.cut()
    expect(page.locator("#typing")).to_be_empty()
    expect(page.locator("#link")).to_have_text("Reconnecting…", timeout=4_000)
    expect(page.locator("#banner")).to_contain_text("Connection lost", timeout=9_000)
    for number in range(60):
        desk.say(chat, f"Missed {number}")
    desk.server.request("DELETE", f"/api/chat/{chat['_id']}/messages/1", desk.agent["token"])

    proxied.restore()
    expect_live(page)
    expect(page.locator("#banner")).to_be_empty()
    expect(page.locator("#link")).to_be_hidden()
    expect_history(desk, chat)
    assert page.input_value("#message") == "Half a sen"
    expect(page.locator("#message")).to_be_focused()
    desk.say(chat, "Live again")
    expect(text_of(page, "Live again")).to_be_visible(timeout=A_BLINK)


def test_frozen_network_is_found_out(
    proxied: Proxy, seat: Seat, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow(CUT)
    chat = make_chat(message="Before")
    desk = seat(chat, url=proxied.url)
    proxied.lose(sockets_only=True)
    desk.say(chat, "Unheard")
    # Nobody says that the connection is dead: the page asks, and gets no answer.
    desk.page.clock.run_for(30_000)
    desk.page.clock.run_for(6_000)
    expect(text_of(desk.page, "Unheard")).to_be_visible(timeout=5_000)
    expect_live(desk.page)
    desk.say(chat, "Heard")
    expect(text_of(desk.page, "Heard")).to_be_visible(timeout=A_BLINK)


@pytest.mark.parametrize("how", ["sleep", "hidden"])
def test_page_that_comes_back_does_not_trust_its_connection(
    proxied: Proxy, seat: Seat, make_chat: MakeChat, page_errors: PageErrors, how: str
) -> None:
    page_errors.allow(CUT)
    chat = make_chat(message="Before")
    desk = seat(chat, url=proxied.url)
    page = desk.page
    if how == "hidden":
        hide(page)
    proxied.lose(sockets_only=True)
    desk.say(chat, "While you slept")
    if how == "sleep":
        page.clock.fast_forward("01:00:00")
    else:
        hide(page, hidden=False)
    page.wait_for_timeout(300)
    page.clock.run_for(6_000)
    until(lambda: proxied.sockets == 2, page)
    expect_live(page)
    expect_history(desk, chat)
    desk.say(chat, "Good morning")
    expect(text_of(page, "Good morning")).to_be_visible(timeout=A_BLINK)


def test_refused_websocket_leaves_polling(
    server: Server, new_page: NewPage, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("WebSocket connection")
    chat = make_chat(message="Before")
    with Proxy(int(server.url.rpartition(":")[2]), upgrades=False) as proxy:
        page = new_page()
        page.clock.install()
        desk = sit_down(server, page, url=proxy.url)
        desk.open(chat)
        desk.say(chat, "By poll")
        expect(text_of(page, "By poll")).to_be_visible(timeout=9_000)
        for _ in range(8):
            page.clock.run_for(2_000)
            page.wait_for_timeout(50)
        expect(page.locator("#link")).to_have_text("Not live")
        expect(page.locator("#banner")).to_be_empty()
        with page.expect_request(re.compile("/typing$")) as asked:
            page.type("#message", "I am")
        response = asked.value.response()
        assert response is not None
        assert response.status == 204


@dataclass
class Own:
    """Servers that a test may stop and start again."""

    app: AppServer
    database: DatabaseServer
    server: Server


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """Servers of this file alone."""
    with (
        start_database(tmp_path_factory.mktemp("own") / "db") as database,
        start_app(database.uri, env={"RATELIMIT_ENABLED": "false"}) as app,
    ):
        yield Own(app, database, Server(app, database.uri))


@pytest.mark.long
@pytest.mark.parametrize("what", ["app", "database"])
def test_restart_is_survived_without_a_reload(
    own: Own, new_page: NewPage, page_errors: PageErrors, what: str
) -> None:
    page_errors.allow(CUT)
    server, stopped = own.server, getattr(own, what)
    chat = new_chat(server, message="Before")
    desk = sit(server, new_page(), chat)
    page = desk.page
    page.type("#message", "Half a sen")
    stopped.stop()
    if what == "app":
        expect(page.locator("#link")).to_have_text("Reconnecting…", timeout=10_000)
    stopped.start()
    desk.say(chat, "Meanwhile")
    expect_live(page)
    expect_history(desk, chat)
    expect(page.locator("#banner")).to_be_empty()
    assert page.input_value("#message") == "Half a sen"
    page.wait_for_timeout(500)
    desk.say(chat, "And live")
    expect(text_of(page, "And live")).to_be_visible(timeout=A_BLINK)
    page.type("#message", "tence")
    page.press("#message", "Enter")
    expect(text_of(page, "Half a sentence")).to_be_visible()
    expect_history(desk, chat)


def test_revoked_session_asks_to_sign_in_and_all_goes_on(
    server: Server, seat: Seat, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 401")
    chat = make_chat()
    desk = seat(chat)
    page = desk.page
    page.type("#message", "I was just writ")
    _, _, sessions = server.request("GET", "/api/auth/sessions", desk.agent["token"])
    for session in sessions:
        if not session["current"]:
            server.request("DELETE", f"/api/auth/sessions/{session['_id']}", desk.agent["token"])
    expect(page.locator("#sign-in")).to_be_visible(timeout=8_000)
    page.fill("#sign-in [name=password]", desk.agent["password"])
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in")).to_have_count(0)
    expect(page.locator("#message")).to_have_value("I was just writ")
    expect_live(page)
    page.type("#message", "ing")
    page.press("#message", "Enter")
    expect(text_of(page, "I was just writing")).to_be_visible()
    let_settle(page)
    desk.say(chat, "Welcome back")
    expect(text_of(page, "Welcome back")).to_be_visible(timeout=A_BLINK)


def test_agent_who_is_none_any_more_is_told(
    server: Server, seat: Seat, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 403")
    boss, desk = server.admin(), seat()
    path = f"/api/admin/users/{desk.agent['_id']}"
    server.request("PATCH", path, token=boss["token"], json={"role": "user"})
    expect(desk.page.locator("h1")).to_have_text("For support agents only", timeout=8_000)


def test_connection_that_the_server_ends_is_made_again(
    server: Server, new_page: NewPage, make_chat: MakeChat
) -> None:
    chat = make_chat()
    page = new_page()
    sockets: list[WebSocketRoute] = []

    def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket(re.compile("/api/ws$"), between)
    desk = sit(server, page, chat)
    sockets[0].send(json.dumps({"event": "end", "data": {"code": "restarting", "retryAfter": 0.3}}))
    desk.say(chat, "Meanwhile")
    until(lambda: len(sockets) == 2, page, 4)
    expect_live(page)
    expect_history(desk, chat)
    let_settle(page)
    desk.say(chat, "Live again")
    expect(text_of(page, "Live again")).to_be_visible(timeout=A_BLINK)


@pytest.mark.long
def test_eight_tabs_of_one_browser_stay_live(
    server: Server, seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat()
    first = seat(chat)
    tabs = [first.page, *(first.page.context.new_page() for _ in range(7))]
    for tab in tabs[1:]:
        tab.goto(f"{server.url}/admin/chats/{chat['_id']}")
    for tab in tabs:
        expect_live(tab)
        let_settle(tab)
    first.say(chat, "To all of you")
    for tab in tabs:
        expect(text_of(tab, "To all of you")).to_be_visible(timeout=2_500)
    first.page.fill("#message", "From the first")
    first.page.press("#message", "Enter")
    for tab in tabs:
        expect(text_of(tab, "From the first")).to_be_visible(timeout=2_500)
    # It is the same agent.
    expect(tabs[3].locator("#viewers")).to_be_empty()


def test_page_that_is_left_and_come_back_to_is_live(
    server: Server, seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat()
    desk = seat(chat)
    page = desk.page
    page.click("text=Users")
    expect(page.locator("#people")).to_be_visible()
    page.go_back()
    expect_live(page)
    desk.say(chat, "Welcome")
    expect(text_of(page, "Welcome")).to_be_visible(timeout=2_000)
    page.click("[data-close] >> visible=true")
    expect(page.locator("#chat")).to_have_count(0)
    page.go_back()
    expect(page.locator("#chat")).to_be_visible()
    let_settle(page)
    desk.say(chat, "And again")
    expect(text_of(page, "And again")).to_be_visible(timeout=A_BLINK)
