"""Sound and notifications of the console: each message once, by one tab."""

from __future__ import annotations

import re
from functools import partial

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, PageErrors, hold, until
from tests.browser.console_helpers import Desk, MakeChat, let_settle, sit_down
from tests.browser.live_console import CUT, expect_live, hide, sit
from tests.browser.proxy import Proxy
from tests.browser.server import Server

LISTEN = """
window.notified = []; window.tones = 0;
window.Notification = class {
  static permission = "default";
  static requestPermission() { this.permission = "granted"; return Promise.resolve("granted"); }
  constructor(title, options) { notified.push([title, options.body]); }
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
    assert page.evaluate("[notified, tones]") == [[], 0]

    hide(page, hidden=False)
    page.click("[data-help]")
    expect(page.locator("[data-alert='alert-sound']")).not_to_be_checked()
    page.check("[data-alert='alert-sound']")
    page.check("[data-alert='alert-desktop']")
    until(lambda: bool(page.evaluate("tones === 2")), page)
    page.keyboard.press("Escape")
    desk.say(chat, "Seen anyway")
    wait_for_the_message("Seen anyway")
    assert page.evaluate("[notified, tones]") == [[], 2]

    hide(page)
    desk.say(chat, "Look here")
    wait_for_the_message("Look here")
    assert page.evaluate("[notified, tones]") == [[["Ana Souza: Parcel", "Look here"]], 4]
    desk.answer(chat, "I did")
    wait_for_the_message("I did")
    server.request("PATCH", f"/api/chat/{chat['_id']}", desk.agent["token"], {"priority": "low"})
    page.wait_for_timeout(500)
    assert page.evaluate("[notified.length, tones]") == [1, 4]
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


def notifications(tabs: list[Page]) -> list[list[str]]:
    """Return the notifications of all tabs."""
    return [note for tab in tabs for note in tab.evaluate("notified")]


def unread_of(page: Page) -> int:
    """Return the number in a page's title."""
    found = re.match(r"^\((\d+)\)", page.title())
    return int(found[1]) if found else 0


def shows_unread(page: Page, number: int) -> bool:
    return unread_of(page) == number


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
        until(partial(shows_unread, tab, before + 1), tab)
    desk.page.wait_for_timeout(700)
    missed = [] if seen else [["New messages", f"{before + 1} unread"]]
    assert notifications(tabs) == missed

    # It is old by now, and what comes live is notified by its event alone.
    server.request("PATCH", f"/api/chat/{chat['_id']}", desk.agent["token"], {"priority": "low"})
    other = make_chat(name="Ben Ito", subject="Invoice", message="Heard")
    for tab in tabs:
        expect(tab.locator(f"#chat-{other['_id']}")).to_be_attached()
    # The next one not while it is undecided who tells of this one: it would stand for both.
    desk.page.wait_for_timeout(700)
    desk.say(other, "Heard as well")
    for tab in tabs:
        until(partial(shows_unread, tab, before + 3), tab)
    desk.page.wait_for_timeout(700)
    live = [["Ben Ito: Invoice", text] for text in ("Heard", "Heard as well")]
    assert sorted(notifications(tabs)) == ([] if seen else live + missed)


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
    assert notifications(tabs) == [["New messages", f"{before + 1} unread"]]

    # Somebody looks at a tab that does not know of the next one yet, but will.
    hold(tabs[1], "**/*")
    hide(tabs[1], hidden=False)
    desk.say(chat, "Hello?")
    page.clock.run_for(31_000)
    until(lambda: unread_of(page) == before + 2, page)
    page.clock.run_for(1_000)
    page.wait_for_timeout(700)
    assert len(notifications(tabs)) == 1


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
    assert sorted(notifications(tabs)) == sorted(wanted)
