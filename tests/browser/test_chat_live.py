"""The users' chat while it is live: news come in by themselves, and every cut heals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, WebSocketRoute, expect

from tests.browser import hostile
from tests.browser.chat_ui_helpers import (
    HostSite,
    bubble,
    composer,
    history,
    host_site,
    make_chat,
    open_chat,
    say,
    send,
    sign_in,
    type_in,
    widget_token,
    write_as_guest,
)
from tests.browser.conftest import NewPage, PageErrors, until
from tests.browser.proxy import Proxy
from tests.browser.server import Server
from tests.servers import AppServer, DatabaseServer, start_app, start_database

CUT = r"net::ERR_|WebSocket connection|status of (502|503)"
A_BLINK = 1_000


def expect_history(page: Page, server: Server, who: dict[str, Any], chat_id: str) -> None:
    """Wait until the screen shows exactly what the server has."""
    expect(page.locator(".bubble")).to_have_text(history(server, who, chat_id), timeout=20_000)


def requests_of(page: Page) -> list[Request]:
    """Collect what a page asks the API for from now on."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/api/" in request.url else None)
    return asked


def open_live(page: Page, url: str, who: dict[str, Any], chat_id: str) -> None:
    """Sign in, open a chat, and wait until it is listened to."""
    heard: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))),
    )
    open_chat(page, url, who, chat_id)
    until(lambda: any(f'"ref":"chat:{chat_id}"' in frame for frame in heard), page)
    page.wait_for_load_state("networkidle")


# In a blink


def test_message_appears_without_any_poll(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    page.clock.install()
    open_live(page, server.url, ana, chat_id)
    asked = requests_of(page)
    page.clock.run_for(20_000)
    assert asked == []

    say(server, agent, chat_id, "Good morning")
    expect(bubble(page, "Good morning")).to_be_visible(timeout=A_BLINK)
    expect(
        page.locator("[aria-live=polite]").get_by_text("Marta Oliveira: Good morning")
    ).to_be_attached()

    def unread() -> int:
        _, _, chat = server.request("GET", f"/api/chat/{chat_id}", ana["token"])
        return int(chat["unreadCount"])

    until(lambda: unread() == 0, page)
    assert asked == []


def test_message_that_is_seen_at_once_never_counts_as_unread(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_live(page, server.url, ana, chat_id)
    page.evaluate(
        "window.titles = []; new MutationObserver(() => titles.push(document.title))"
        ".observe(document.querySelector('title'), {childList: true})"
    )
    for number in range(3):
        say(server, agent, chat_id, f"Message {number}")
        expect(bubble(page, f"Message {number}")).to_be_visible(timeout=A_BLINK)
    assert page.evaluate("titles") == []
    expect(page.locator(".chat-item .badge")).to_have_count(0)


def test_list_and_title_follow_a_chat_that_is_not_open(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    sign_in(page, server.url, ana)
    page.wait_for_load_state("networkidle")
    say(server, agent, chat_id, "Look here")
    expect(page).to_have_title("(1) Support chat", timeout=A_BLINK)
    expect(page.locator(".chat-item .preview")).to_contain_text("Look here")
    server.request("PATCH", f"/api/chat/{chat_id}", agent["token"], {"status": "closed"})
    expect(page.locator(".chat-item .chip")).to_have_text("Closed", timeout=A_BLINK)


def test_read_mark_and_closing_show_at_once(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana)
    page = new_page()
    open_live(page, server.url, ana, chat_id)
    send(page, "Have you seen this?")
    expect(page.locator(".receipt")).to_have_text("Sent")
    server.request("POST", f"/api/chat/{chat_id}/read", agent["token"], {"seq": 1})
    expect(page.locator(".receipt")).to_have_text("Read", timeout=A_BLINK)
    server.request("PATCH", f"/api/chat/{chat_id}", agent["token"], {"status": "closed"})
    expect(page.get_by_text("This chat is closed.")).to_be_visible(timeout=A_BLINK)


def test_deleted_message_and_deleted_chat_are_gone_at_once(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "One", "Two")
    page = new_page()
    open_live(page, server.url, ana, chat_id)
    expect(page.locator(".bubble")).to_have_text(["One", "Two"])
    server.request("DELETE", f"/api/chat/{chat_id}/messages/1", agent["token"])
    expect(page.locator(".bubble.deleted")).to_have_count(1, timeout=A_BLINK)
    expect(bubble(page, "One")).to_have_count(0)
    server.request("DELETE", f"/api/chat/{chat_id}", agent["token"])
    expect(page.get_by_text("This chat no longer exists.")).to_be_visible(timeout=A_BLINK)
    expect(page.locator(".chat-item")).to_have_count(0)


# Signals


def test_agent_who_types_is_named_until_the_message_or_silence(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    page.clock.install()
    open_live(page, server.url, ana, chat_id)
    typing = page.get_by_role("status").get_by_text("Marta Oliveira is typing…")
    height = page.locator(".messages-scroll").evaluate("box => box.clientHeight")
    type_in(server, ana, chat_id)
    type_in(server, agent, chat_id)
    expect(typing).to_be_visible(timeout=A_BLINK)
    expect(page.locator(".typing")).to_have_text("Marta Oliveira is typing…")
    assert page.locator(".messages-scroll").evaluate("box => box.clientHeight") == height
    say(server, agent, chat_id, "Here I am")
    expect(typing).to_have_count(0, timeout=A_BLINK)

    type_in(server, agent, chat_id)
    expect(typing).to_be_visible(timeout=A_BLINK)
    page.clock.run_for(4_500)
    expect(typing).to_be_visible()
    page.clock.run_for(2_000)
    expect(typing).to_have_count(0)


def test_agent_who_looks_at_the_chat_is_shown(
    server: Server, browser: Any, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_live(page, server.url, ana, chat_id)
    # A page of another kind of client: it only listens to the chat, as the console does.
    listener = new_page()
    listener.goto(f"{server.url}/chat")
    listener.evaluate(
        "([token, chatId]) => new Promise((ready) => {"
        "  const offered = ['chat.v1', `bearer.${token}`];"
        "  window.ws = new WebSocket(`ws://${location.host}/api/ws`, offered);"
        "  ws.onopen = () => ws.send(JSON.stringify({type: 'subscribe', chatId}));"
        "  ws.onmessage = ready;"
        "})",
        [agent["token"], chat_id],
    )
    here = page.get_by_text("Marta Oliveira from support is here")
    expect(here).to_be_visible(timeout=10_000)
    listener.evaluate("ws.close()")
    expect(here).to_have_count(0, timeout=15_000)


# Connections that fail


def test_cut_network_is_shown_and_heals_completely(
    server: Server,
    proxied: Proxy,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana, "Before")
    page = new_page()
    open_live(page, proxied.url, ana, chat_id)
    type_in(server, agent, chat_id)
    expect(page.locator(".typing")).not_to_be_empty()
    proxied.cut()
    expect(page.locator(".typing")).to_be_empty()
    expect(page.get_by_text("You are offline.")).to_be_visible(timeout=10_000)
    send(page, "Written meanwhile")
    for number in range(60):
        say(server, agent, chat_id, f"Missed {number}")
    server.request("DELETE", f"/api/chat/{chat_id}/messages/1", agent["token"])

    proxied.restore()
    expect(page.get_by_text("You are offline.")).to_be_hidden(timeout=20_000)
    expect(bubble(page, "Written meanwhile")).to_be_visible(timeout=20_000)
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=20_000)
    expect_history(page, server, ana, chat_id)
    until(lambda: proxied.sockets == 1, page)
    say(server, agent, chat_id, "Live again")
    expect(bubble(page, "Live again")).to_be_visible(timeout=A_BLINK)


def test_computer_that_has_slept_does_not_trust_its_connection(
    server: Server,
    proxied: Proxy,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow(CUT)
    chat_id = make_chat(server, ana, "Before")
    page = new_page()
    page.clock.install()
    open_live(page, proxied.url, ana, chat_id)
    # No request finds out what the socket does not know.
    page.route(re.compile(r"/api/chat"), lambda route: route.abort())
    proxied.lose()
    say(server, agent, chat_id, "While you slept")
    page.clock.fast_forward("01:00:00")
    page.wait_for_timeout(500)
    page.clock.run_for(5_000)
    page.unroute(re.compile(r"/api/chat"))
    page.clock.run_for(3_000)
    expect_history(page, server, ana, chat_id)
    say(server, agent, chat_id, "Good morning")
    expect(bubble(page, "Good morning")).to_be_visible(timeout=A_BLINK)


def test_tab_that_is_looked_at_again_is_checked(
    server: Server, proxied: Proxy, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Before")
    page = new_page()
    page.clock.install()
    open_live(page, proxied.url, ana, chat_id)
    proxied.lose()
    say(server, agent, chat_id, "Unheard")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(8_000)
    expect(bubble(page, "Unheard")).to_be_visible()
    until(lambda: proxied.sockets == 2, page)
    say(server, agent, chat_id, "Heard")
    expect(bubble(page, "Heard")).to_be_visible(timeout=A_BLINK)


@dataclass
class Own:
    """Servers that a test may stop and start again, and a page of another origin."""

    app: AppServer
    database: DatabaseServer
    site: HostSite
    server: Server


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """Servers of this file alone."""
    with (
        host_site() as site,
        start_database(tmp_path_factory.mktemp("own") / "db") as database,
        start_app(
            database.uri,
            env={
                "RATELIMIT_ENABLED": "false",
                "CORS_ORIGINS": site.origin,
                "IMAGE_HOSTS": hostile.IMAGE_HOSTS,
            },
        ) as app,
    ):
        site.chat_url = app.url
        yield Own(app, database, site, Server(app, database.uri))


@pytest.mark.long
@pytest.mark.parametrize("what", ["app", "database"])
def test_restart_is_survived_without_a_reload(
    own: Own, new_page: NewPage, page_errors: PageErrors, what: str
) -> None:
    page_errors.allow(CUT)
    server, stopped = own.server, getattr(own, what)
    ben, marta = server.user(f"Ben {what}"), server.admin(f"Marta {what}")
    chat_id = make_chat(server, ben, "Before")
    page = new_page()
    open_live(page, server.url, ben, chat_id)
    composer(page).fill("Half a sent")
    stopped.stop()
    send(page, "Written meanwhile")
    expect(page.get_by_text("Not sent yet, trying again")).to_be_visible(timeout=30_000)
    stopped.start()
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=30_000)
    expect(page.locator(".banner")).to_be_hidden(timeout=20_000)
    say(server, marta, chat_id, "After")
    expect_history(page, server, ben, chat_id)
    assert history(server, ben, chat_id) == ["Before", "Written meanwhile", "After"]
    # By then it is live again.
    page.wait_for_timeout(2_000)
    say(server, marta, chat_id, "And live")
    expect(bubble(page, "And live")).to_be_visible(timeout=A_BLINK)


def test_refused_websocket_leaves_polling(
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow("WebSocket connection")
    chat_id = make_chat(server, ana, "Hello")
    with Proxy(int(server.url.rpartition(":")[2]), upgrades=False) as proxy:
        page = new_page()
        open_chat(page, proxy.url, ana, chat_id)
        asked = requests_of(page)
        say(server, agent, chat_id, "By poll")
        expect(bubble(page, "By poll")).to_be_visible()
        expect(page.locator(".banner")).to_be_hidden()
        composer(page).press_sequentially("I am")
        until(lambda: any(request.url.endswith("/typing") for request in asked), page)


# The server's last word


def test_ended_session_asks_to_sign_in_and_keeps_the_text(
    server: Server,
    new_page: NewPage,
    page_errors: PageErrors,
    ana: dict[str, Any],
    agent: dict[str, Any],
) -> None:
    page_errors.allow("status of 401")
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    open_live(page, server.url, ana, chat_id)
    composer(page).fill("I was in the middle of")
    body = {"current": ana["password"], "new": "a quite different password"}
    server.request("POST", "/api/auth/password", ana["token"], body)
    dialog = page.get_by_role("dialog", name="Please sign in again")
    expect(dialog).to_be_visible(timeout=8_000)
    expect(composer(page)).to_have_value("I was in the middle of")
    dialog.get_by_label("Password").fill("a quite different password")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)
    page.wait_for_load_state("networkidle")
    say(server, agent, chat_id, "Welcome back")
    expect(bubble(page, "Welcome back")).to_be_visible(timeout=A_BLINK)
    expect(composer(page)).to_have_value("I was in the middle of")


def test_connection_that_the_server_ends_is_made_again(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    page = new_page()
    sockets: list[WebSocketRoute] = []

    def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket(re.compile("/api/ws$"), between)
    open_chat(page, server.url, ana, chat_id)
    expect(bubble(page, "Hello")).to_be_visible()
    until(lambda: len(sockets) == 1, page)
    page.wait_for_timeout(500)
    sockets[0].send(json.dumps({"event": "end", "data": {"code": "restarting", "retryAfter": 0.5}}))
    say(server, agent, chat_id, "Meanwhile")
    until(lambda: len(sockets) == 2, page, 4)
    expect(bubble(page, "Meanwhile")).to_be_visible()
    page.wait_for_timeout(500)
    say(server, agent, chat_id, "Live again")
    expect(bubble(page, "Live again")).to_be_visible(timeout=A_BLINK)
    expect_history(page, server, ana, chat_id)


# Many places at once


@pytest.mark.long
def test_eight_tabs_of_one_browser_stay_live(
    server: Server, new_page: NewPage, ana: dict[str, Any], agent: dict[str, Any]
) -> None:
    chat_id = make_chat(server, ana, "Hello")
    first = new_page()
    open_live(first, server.url, ana, chat_id)
    tabs = [first, *(first.context.new_page() for _ in range(7))]
    for tab in tabs[1:]:
        tab.goto(f"{server.url}/chat#chat/{chat_id}")
        expect(bubble(tab, "Hello")).to_be_visible()
    for tab in tabs:
        tab.wait_for_load_state("networkidle")
    say(server, agent, chat_id, "To all of you")
    for tab in tabs:
        expect(bubble(tab, "To all of you")).to_be_visible(timeout=A_BLINK)
    send(first, "From the first")
    for tab in tabs:
        expect(bubble(tab, "From the first")).to_be_visible(timeout=A_BLINK)


def test_widget_is_live_on_a_page_of_another_origin(own: Own, new_page: NewPage) -> None:
    server, marta = own.server, own.server.admin("Marta")
    path, image = f"/api/admin/users/{marta['_id']}", "https://x.example/marta.png"
    server.request("PATCH", path, marta["token"], {"image": image})
    page = new_page()
    hostile.serve_pictures(page)
    page.clock.install()
    page.goto(own.site.origin)
    page.get_by_role("button", name="Support chat").click()
    write_as_guest(page, "Is it waterproof?")
    _, _, chats = server.request("GET", "/api/chat", widget_token(page))
    chat_id = chats[0]["_id"]
    page.wait_for_load_state("networkidle")
    type_in(server, marta, chat_id)
    expect(page.locator(".typing")).to_have_text("Marta is typing…", timeout=A_BLINK)
    say(server, marta, chat_id, "To 10 metres.")
    expect(bubble(page, "To 10 metres.")).to_be_visible(timeout=A_BLINK)
    expect(page.locator(".theirs img.loaded")).to_have_attribute("src", image)

    page.get_by_role("button", name="Fold the chat").last.click()
    asked = requests_of(page)
    say(server, marta, chat_id, "Shall I send one?")
    expect(page.get_by_role("button", name=re.compile("1 unread"))).to_be_visible(timeout=A_BLINK)
    page.clock.run_for(20_000)
    assert asked == []
    page.get_by_role("button", name="Support chat").first.click()
    expect(bubble(page, "Shall I send one?")).to_be_visible(timeout=A_BLINK)


def test_widget_polls_where_the_pages_policy_forbids_the_connection(
    server: Server, new_page: NewPage, page_errors: PageErrors
) -> None:
    page = new_page()
    page_errors.allow("Content Security Policy")
    ben = server.user("Ben")
    chat_id = make_chat(server, ben, "Hello")

    def strict(route: Route) -> None:
        answer = route.fetch()
        policy = answer.headers["content-security-policy"]
        route.fulfill(
            response=answer,
            headers=answer.headers
            | {
                "content-security-policy": policy.replace(
                    "connect-src 'self'", f"connect-src {server.url}"
                )
            },
        )

    page.route(f"{server.url}/chat", strict)
    with page.expect_console_message(
        lambda message: "connect-src" in message.text and message.type == "warning"
    ):
        open_chat(page, server.url, ben, chat_id)
    say(server, ben, chat_id, "From my phone")
    expect(bubble(page, "From my phone")).to_be_visible()
