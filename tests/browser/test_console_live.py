"""The console while it is live: what others do shows at once, and every cut heals."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Request, WebSocketRoute, expect

from tests.browser.chat_ui_helpers import bubble, composer, open_chat, send, type_in
from tests.browser.conftest import (
    NewPage,
    PageErrors,
    Server,
    hold,
    until,
)
from tests.browser.console_helpers import Desk, let_settle, new_chat, numbers, sit_down
from tests.browser.proxy import Proxy
from tests.servers import AppServer, DatabaseServer, start_app, start_database

CUT = r"net::ERR_|WebSocket connection|Failed to fetch|status of (502|503)"
A_BLINK = 1_000
GONE_WITHIN = 8_000

MakeChat = Callable[..., dict[str, Any]]
Seat = Callable[..., Desk]


@pytest.fixture
def make_chat(server: Server) -> MakeChat:
    """`make_chat(subject=…, message=…)` -> a new chat with its user's token."""
    return partial(new_chat, server)


@pytest.fixture
def seat(server: Server, new_page: NewPage) -> Seat:
    """`seat(chat=None, agent=None, url=None, **new_page options)` -> a Desk that is live.

    chat -- the one to open. url -- of the proxy to go through.
    """

    def make(
        chat: dict[str, Any] | None = None,
        agent: dict[str, Any] | None = None,
        url: str | None = None,
        **options: Any,
    ) -> Desk:
        page = new_page(**options)
        page.clock.install()
        return sit(server, page, chat, agent, url)

    return make


def sit(
    server: Server,
    page: Page,
    chat: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    url: str | None = None,
) -> Desk:
    """Sign an agent in, open a chat, and wait until the page is live."""
    desk = sit_down(server, page, agent, url=url)
    if chat is not None:
        desk.open(chat)
    expect_live(page)
    let_settle(page)
    return desk


def expect_live(page: Page, timeout: float = 20_000) -> None:
    """Wait until the live connection is up."""
    expect(page.locator("#link[data-state=live]")).to_be_attached(timeout=timeout)


def agent_named(server: Server, name: str) -> dict[str, Any]:
    """Return an agent whose name no other test uses."""
    return server.admin(f"{name} {next(numbers)}")


def texts(desk: Desk, chat: dict[str, Any]) -> list[str]:
    """Return the history as it is stored."""
    return [message["content"] for message in desk.chat(chat)["messages"]]


def expect_history(desk: Desk, chat: dict[str, Any]) -> None:
    """Wait until the screen shows exactly what is stored."""
    expect(desk.page.locator("#messages .text")).to_have_text(texts(desk, chat), timeout=20_000)


def text_of(page: Page, text: str) -> Any:
    """Return the messages on the console's screen with exactly this text."""
    return page.locator("#messages .text").get_by_text(text, exact=True)


def requests_of(page: Page) -> list[Request]:
    """Collect what a page asks the server for from now on."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - no builtin
    return asked


def hide(page: Page, hidden: bool = True) -> None:
    """Let a page believe that its tab is in the background, or in sight again."""
    page.evaluate(
        "hidden => {"
        "  Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});"
        "  document.dispatchEvent(new Event('visibilitychange'));"
        "}",
        hidden,
    )


# In a blink


def test_user_and_agent_talk_without_a_poll(
    server: Server, new_page: NewPage, seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat(name="Ana Souza", subject="My parcel", message="Where is it?")
    desk = seat(chat)
    user = new_page()
    open_chat(user, server.url, chat, chat["_id"])
    user.wait_for_load_state("networkidle")
    asked = requests_of(desk.page)
    desk.page.clock.run_for(20_000)
    assert asked == []

    send(user, "It should be here")
    expect(text_of(desk.page, "It should be here")).to_be_visible(timeout=A_BLINK)
    expect(user.locator(".receipt")).to_have_text("Read", timeout=A_BLINK)
    desk.page.fill("#message", "I am looking")
    desk.page.press("#message", "Enter")
    expect(bubble(user, "I am looking")).to_be_visible(timeout=A_BLINK)
    # The user looks at it: the mark of the console says so.
    expect(desk.page.locator("#m-3 .mark")).to_have_class(re.compile("seen"), timeout=A_BLINK)
    send(user, "Thank you")
    expect(text_of(desk.page, "Thank you")).to_be_visible(timeout=A_BLINK)
    expect_history(desk, chat)
    until(lambda: desk.chat(chat)["unreadCount"] == 0, desk.page)


def test_inbox_and_title_follow_at_once(server: Server, seat: Seat, make_chat: MakeChat) -> None:
    desk = seat()
    page = desk.page
    chat = make_chat(subject="Brand new")
    row = page.locator(f"#chat-{chat['_id']}")
    expect(row).to_have_class(re.compile("unread"), timeout=A_BLINK)
    before = page.title()
    assert re.match(r"^\(\d+\) Inbox$", before)
    desk.say(chat, "And one more")
    expect(row.locator(".preview")).to_have_text("And one more", timeout=A_BLINK)
    expect(page).not_to_have_title(before, timeout=A_BLINK)
    server.request("PATCH", f"/api/chat/{chat['_id']}", desk.agent["token"], {"priority": "urgent"})
    expect(row.locator(".priority-urgent")).to_be_visible(timeout=A_BLINK)
    server.request("DELETE", f"/api/chat/{chat['_id']}", desk.agent["token"])
    expect(row).to_have_count(0, timeout=A_BLINK)


def test_message_that_is_seen_at_once_is_never_shown_as_unread(
    seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat()
    desk = seat(chat)
    desk.page.evaluate(
        "window.titles = []; new MutationObserver(() => titles.push(document.title))"
        ".observe(document.querySelector('title'), {childList: true})"
    )

    def unread(title: str) -> int:
        found = re.match(r"^\((\d+)\)", title)
        return int(found[1]) if found else 0

    before = unread(desk.page.title())
    for number in range(3):
        desk.say(chat, f"Message {number}")
        expect(text_of(desk.page, f"Message {number}")).to_be_visible(timeout=A_BLINK)
        # The next one not while the list is fetched for this one: it would be unread there.
        desk.page.wait_for_timeout(500)
    assert max(map(unread, desk.page.evaluate("titles")), default=0) <= before


def test_deleted_message_is_gone_at_once_also_from_the_older_part(
    seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat(message="Line 1")
    desk = seat()
    for number in range(2, 61):
        desk.answer(chat, f"Line {number}")
    page = desk.page
    desk.open(chat)
    page.evaluate("document.getElementById('history').scrollTop = -1e6")
    expect(page.locator("#m-1")).to_be_attached()
    for seq in (1, 60):
        path = f"/api/chat/{chat['_id']}/messages/{seq}"
        desk.server.request("DELETE", path, token=desk.agent["token"])
        expect(page.locator(f"#m-{seq} .text")).to_have_text(
            "This message was deleted.", timeout=A_BLINK
        )


def test_safety_poll_stays(seat: Seat, make_chat: MakeChat) -> None:
    desk = seat(make_chat())
    asked = requests_of(desk.page)
    desk.page.clock.run_for(30_000)
    assert asked == []
    with desk.page.expect_response(re.compile("/admin")):
        desk.page.clock.run_for(30_000)


def test_burst_costs_few_fetches_and_disturbs_nothing(seat: Seat, make_chat: MakeChat) -> None:
    chat, other = make_chat(message="Mark this text"), make_chat()
    desk = seat()
    for number in range(2, 61):
        desk.answer(chat, f"Line {number}\n" * 3)
    page = desk.page
    desk.open(chat)
    page.check(f"#pick-{other['_id']}")
    page.type("#message", "Half a sen")
    page.evaluate("document.getElementById('message').setSelectionRange(2, 4)")
    page.evaluate("document.getElementById('message').marked = true")
    page.evaluate("document.getElementById('history').scrollTop = -600")
    top = "document.getElementById('m-50').getBoundingClientRect().top"
    before = page.evaluate(top)
    let_settle(page)
    asked = requests_of(page)
    begun = time.monotonic()
    for number in range(50):
        desk.say(chat if number % 2 else other, f"Burst {number}")
    expect(text_of(page, "Burst 49")).to_be_attached(timeout=3_000)
    seconds = time.monotonic() - begun
    expect(page.locator("#jump")).to_have_text("25 new messages")
    fetched = [request for request in asked if request.method == "GET"]
    assert len(fetched) <= 10 + 12 * seconds
    assert abs(page.evaluate(top) - before) < 2
    assert page.input_value("#message") == "Half a sen"
    caret = "(({selectionStart: a, selectionEnd: b}) => [a, b])(document.activeElement)"
    assert page.evaluate(caret) == [2, 4]
    assert page.evaluate("document.activeElement.marked") is True
    assert page.is_checked(f"#pick-{other['_id']}")

    page.evaluate("getSelection().selectAllChildren(document.querySelector('#m-40 .text'))")
    marked = page.evaluate("String(getSelection())")
    for number in range(5):
        desk.say(chat, f"Again {number}")
    expect(text_of(page, "Again 4")).to_be_attached(timeout=3_000)
    assert page.evaluate("String(getSelection())") == marked


# Signals


def test_typing_shows_on_both_sides(
    server: Server, new_page: NewPage, seat: Seat, make_chat: MakeChat
) -> None:
    chat = make_chat(name="Ana Souza")
    desk = seat(chat, agent_named(server, "Marta"))
    user = new_page()
    open_chat(user, server.url, chat, chat["_id"])
    user.wait_for_load_state("networkidle")
    row = desk.page.locator(f"#chat-{chat['_id']}")
    typing = desk.page.locator("#typing")
    height = desk.page.locator("#history").evaluate("box => box.clientHeight")
    tall = row.evaluate("row => row.offsetHeight")

    composer(user).press_sequentially("It is")
    expect(typing).to_have_text("\u2068Ana Souza\u2069 is typing…", timeout=A_BLINK)
    hint = row.locator(".subject").evaluate("cell => getComputedStyle(cell, '::after').content")
    assert "Ana Souza\u2069 is typing…" in hint
    expect(row.locator(".preview")).to_be_hidden()
    assert row.evaluate("row => row.offsetHeight") == tall
    assert desk.page.locator("#history").evaluate("box => box.clientHeight") == height
    composer(user).press("Enter")
    expect(text_of(desk.page, "It is")).to_be_visible(timeout=A_BLINK)
    expect(typing).to_be_empty()
    expect(row.locator(".preview")).to_have_text("It is")

    desk.page.locator("#message").press_sequentially("Let me see")
    expect(user.locator(".typing")).to_have_text(
        f"{desk.agent['name']} is typing…", timeout=A_BLINK
    )
    expect(typing).to_be_empty()


def test_typing_ends_with_silence_and_is_told_now_and_then(
    server: Server, seat: Seat, make_chat: MakeChat, new_page: NewPage
) -> None:
    chat = make_chat(name="Ben Ito")
    page = new_page()
    page.clock.install()
    frames: list[dict[str, Any]] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda frame: frames.append(json.loads(frame))),
    )
    desk = sit(server, page, chat)
    typing = page.locator("#typing")
    type_in(server, desk.agent, chat["_id"])
    type_in(server, chat, chat["_id"])
    expect(typing).to_have_text(re.compile("Ben Ito.* is typing…"), timeout=A_BLINK)
    page.clock.run_for(4_500)
    expect(typing).not_to_be_empty()
    page.clock.run_for(2_000)
    expect(typing).to_be_empty()
    expect(page.locator("#rows [data-typing]")).to_have_count(0)

    def told() -> int:
        return sum(frame["type"] == "typing" and frame["chatId"] == chat["_id"] for frame in frames)

    page.locator("#message").press_sequentially("Good morn", delay=10)
    until(lambda: told() == 1, page, 1)
    page.clock.run_for(3_000)
    page.locator("#message").press_sequentially("ing")
    until(lambda: told() == 2, page, 1)


def test_two_agents_in_a_chat_see_each_other(
    server: Server, seat: Seat, make_chat: MakeChat
) -> None:
    chat, other = make_chat(subject="Shared chat"), make_chat()
    tomas, eva = agent_named(server, "Tomás"), agent_named(server, "Eva")
    ours, theirs = seat(chat, eva), seat(agent=tomas)
    expect(ours.page.locator("#lookers")).to_be_empty()
    theirs.open(chat)
    sees = f"\u2068{tomas['name']}\u2069 is looking at this chat too"
    expect(ours.page.locator("#lookers")).to_have_text(sees, timeout=3_000)
    expect(theirs.page.locator("#lookers")).to_have_text(re.compile(eva["name"]), timeout=3_000)
    ours.page.click("#team summary")
    expect(ours.page.locator("#team-list li", has_text=tomas["name"])).to_contain_text(
        "Shared chat"
    )
    option = ours.page.locator(f"#set-adminId option[value='{tomas['_id']}']")
    expect(option).to_have_attribute("label", f"{tomas['name']} · online")

    # He writes: the other one knows, and the user's side does not confuse them.
    theirs.page.locator("#message").press_sequentially("On it")
    expect(ours.page.locator("#typing")).to_have_text(re.compile(tomas["name"]), timeout=A_BLINK)
    theirs.page.press("#message", "Enter")
    expect(text_of(ours.page, "On it")).to_be_visible(timeout=A_BLINK)
    expect(ours.page.locator("#typing")).to_be_empty()

    theirs.open(other)
    expect(ours.page.locator("#lookers")).to_be_empty(timeout=GONE_WITHIN)
    expect(theirs.page.locator("#lookers")).to_be_empty()
    theirs.open(chat)
    expect(ours.page.locator("#lookers")).to_have_text(sees, timeout=3_000)
    hide(theirs.page)
    expect(ours.page.locator("#lookers")).to_be_empty(timeout=GONE_WITHIN)
    theirs.page.context.close()
    expect(ours.page.locator("#team-list li", has_text=tomas["name"])).to_have_count(
        0, timeout=GONE_WITHIN + 3_000
    )
    expect(option).not_to_have_attribute("label", re.compile("online"))


# Alerts


LISTEN = """
window.told = []; window.tones = 0;
window.Notification = class {
  static permission = "default";
  static requestPermission() { this.permission = "granted"; return Promise.resolve("granted"); }
  constructor(title, options) { told.push([title, options.body]); }
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (at) { tones += 1; start.call(this, at); };
"""


def test_alerts_are_off_until_somebody_wants_them(
    server: Server, new_page: NewPage, make_chat: MakeChat
) -> None:
    chat = make_chat(name="Ana Souza", subject="Parcel")
    page = new_page()
    page.add_init_script(LISTEN)
    desk = sit(server, page, chat)

    def wait_for_the_message(text: str) -> None:
        expect(page.locator(f"#chat-{chat['_id']} .preview")).to_contain_text(text)
        page.wait_for_timeout(700)

    hide(page)
    desk.say(chat, "Unheard")
    wait_for_the_message("Unheard")
    assert page.evaluate("[told, tones]") == [[], 0]

    hide(page, hidden=False)
    page.click("[data-help]")
    expect(page.locator("[data-alert='alert-sound']")).not_to_be_checked()
    page.check("[data-alert='alert-sound']")
    page.check("[data-alert='alert-desktop']")
    until(lambda: bool(page.evaluate("tones === 2")), page)
    page.keyboard.press("Escape")
    desk.say(chat, "Seen anyway")
    wait_for_the_message("Seen anyway")
    assert page.evaluate("[told, tones]") == [[], 2]

    hide(page)
    desk.say(chat, "Look here")
    wait_for_the_message("Look here")
    assert page.evaluate("[told, tones]") == [[["Ana Souza: Parcel", "Look here"]], 4]
    desk.answer(chat, "I did")
    wait_for_the_message("I did")
    server.request("PATCH", f"/api/chat/{chat['_id']}", desk.agent["token"], {"priority": "low"})
    page.wait_for_timeout(500)
    assert page.evaluate("[told.length, tones]") == [1, 4]
    page.reload()
    page.click("[data-help]")
    expect(page.locator("[data-alert='alert-desktop']")).to_be_checked()


def listening_tabs(desk: Desk, count: int = 2) -> list[Page]:
    """Return a desk's page and others of its browser, all hidden and wanting notifications."""
    first = desk.page
    first.context.add_init_script(LISTEN)
    first.evaluate("localStorage.setItem('alert-desktop', 'on')")
    tabs = [first, *(first.context.new_page() for _ in range(count - 1))]
    for tab in tabs:
        tab.goto(first.url)
    for tab in tabs:
        expect(tab.locator("#rows")).to_be_attached()
        let_settle(tab)
        hide(tab)
    return tabs


def told(tabs: list[Page]) -> list[list[str]]:
    """Return the notifications of all tabs."""
    return [note for tab in tabs for note in tab.evaluate("told")]


def unread_of(page: Page) -> int:
    """Return the number in a page's title."""
    found = re.match(r"^\((\d+)\)", page.title())
    return int(found[1]) if found else 0


@pytest.mark.parametrize("seen", [False, True], ids=["hidden", "seen in another tab"])
def test_message_of_a_cut_is_alerted_once(
    proxied: Proxy,
    server: Server,
    new_page: NewPage,
    make_chat: MakeChat,
    page_errors: PageErrors,
    seen: bool,
) -> None:
    page_errors.allow(CUT)
    chat = make_chat(name="Ana Souza", subject="Parcel")
    desk = sit(server, new_page(), url=proxied.url)
    tabs = listening_tabs(desk)
    if seen:
        hide(tabs[1], hidden=False)
    before = unread_of(tabs[0])
    proxied.cut()
    for tab in tabs:
        expect(tab.locator("#link")).to_have_attribute("data-state", "reconnecting")
    desk.say(chat, "Missed")
    proxied.restore()
    for tab in tabs:
        expect_live(tab)
        until(lambda tab=tab: unread_of(tab) == before + 1, tab)  # type: ignore[misc]
    desk.page.wait_for_timeout(700)
    missed = [] if seen else [["New messages", f"{before + 1} unread"]]
    assert told(tabs) == missed

    # It is old by now, and what comes live is told of by its event alone.
    server.request("PATCH", f"/api/chat/{chat['_id']}", desk.agent["token"], {"priority": "low"})
    other = make_chat(name="Ben Ito", subject="Invoice", message="Heard")
    for tab in tabs:
        expect(tab.locator(f"#chat-{other['_id']}")).to_be_attached()
    # The next one not while it is undecided who tells of this one: it would stand for both.
    desk.page.wait_for_timeout(700)
    desk.say(other, "Heard as well")
    for tab in tabs:
        until(lambda tab=tab: unread_of(tab) == before + 3, tab)  # type: ignore[misc]
    desk.page.wait_for_timeout(700)
    live = [["Ben Ito: Invoice", text] for text in ("Heard", "Heard as well")]
    assert sorted(told(tabs)) == ([] if seen else live + missed)


def test_message_that_a_poll_brings_is_alerted_once(
    server: Server, new_page: NewPage, make_chat: MakeChat
) -> None:
    chat = make_chat()
    page = new_page()
    page.context.add_init_script("delete window.WebSocket")
    page.clock.install()
    tabs = listening_tabs(sit_down(server, page))
    desk = Desk(page, server, server.admin())
    before = unread_of(page)
    desk.say(chat, "Are you there?")
    for _ in range(3):
        page.clock.run_for(31_000)
        page.wait_for_timeout(700)
    assert told(tabs) == [["New messages", f"{before + 1} unread"]]

    # Somebody looks at a tab that does not know of the next one yet, but will.
    hold(tabs[1], "**/*")
    hide(tabs[1], hidden=False)
    desk.say(chat, "Hello?")
    page.clock.run_for(31_000)
    until(lambda: unread_of(page) == before + 2, page)
    page.clock.run_for(1_000)
    page.wait_for_timeout(700)
    assert len(told(tabs)) == 1


def test_two_chats_at_once_are_each_told_of_by_one_tab(
    server: Server, new_page: NewPage, make_chat: MakeChat
) -> None:
    chats = [make_chat(name=name, subject="Parcel") for name in ("Ana Souza", "Ben Ito")]
    desk = sit(server, new_page())
    tabs = listening_tabs(desk)
    for tab, late in zip(tabs, (0.1, 0.9), strict=True):
        expect_live(tab)
        tab.evaluate("late => { Math.random = () => late; }", late)
    for damaged in ("null", "{", "[1]", '"text"'):
        desk.page.evaluate("text => localStorage.setItem('alert-told', text)", damaged)
        for chat in chats:
            desk.say(chat, f"Look at {damaged}")
        desk.page.wait_for_timeout(900)
    texts = [f"Look at {damaged}" for damaged in ("null", "{", "[1]", '"text"')]
    wanted = [[f"{name}: Parcel", text] for name in ("Ana Souza", "Ben Ito") for text in texts]
    assert sorted(told(tabs)) == sorted(wanted)


# Connections that fail


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


# The server's last word


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


@pytest.mark.parametrize("code", ["restarting", "too_slow", "forbidden"])
def test_connection_that_the_server_ends_is_made_again(
    server: Server, new_page: NewPage, make_chat: MakeChat, code: str
) -> None:
    chat = make_chat()
    page = new_page()
    sockets: list[WebSocketRoute] = []

    def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket(re.compile("/api/ws$"), between)
    desk = sit(server, page, chat)
    sockets[0].send(json.dumps({"event": "end", "data": {"code": code, "retryAfter": 0.3}}))
    desk.say(chat, "Meanwhile")
    until(lambda: len(sockets) == 2, page, 4)
    expect_live(page)
    expect_history(desk, chat)
    let_settle(page)
    desk.say(chat, "Live again")
    expect(text_of(page, "Live again")).to_be_visible(timeout=A_BLINK)


# Many places at once


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
    # The same agent is nobody else.
    expect(tabs[3].locator("#lookers")).to_be_empty()


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
