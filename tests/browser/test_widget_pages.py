"""The widget in pages that change, style and script everything around it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.chat_ui_helpers import (
    HostSite,
    bubble,
    composer,
    history,
    widget_token,
    write_as_guest,
)
from tests.browser.conftest import HostPage, PageErrors, until
from tests.servers import AppServer

Embedded = tuple[AppServer, HostSite]

COMPOSING_ESCAPE = """(element) => element.dispatchEvent(new KeyboardEvent("keydown", {
  key: "Escape", keyCode: 229, isComposing: true, bubbles: true, composed: true, cancelable: true,
}))"""


def launcher(page: Page) -> Locator:
    """Return the widget's button."""
    return page.locator("live-chat-widget .launcher")


def panel(page: Page) -> Locator:
    """Return the widget's panel."""
    return page.locator("live-chat-widget .panel")


def enter_as_guest(page: Page, name: str = "Visitor") -> str:
    """Unfold the widget, send a guest's first message and return the token."""
    if panel(page).is_hidden():
        launcher(page).click()
    write_as_guest(page, "Is it waterproof?", name=name)
    return widget_token(page)


def first_chat(app: AppServer, token: str) -> str:
    """Return the id of the chat that the first message has begun."""
    _, _, chats = app.request("GET", "/api/chat", token)
    return str(chats[0]["_id"])


# A page that changes


@pytest.mark.parametrize(
    "change",
    [
        "document.documentElement.replaceChild(document.createElement('body'), document.body)",
        "document.body.innerHTML = '<h1>Next</h1>'",
        "document.documentElement.innerHTML = '<head></head><body>Next</body>'",
        "document.replaceChild(document.createElement('html'), document.documentElement)",
        "document.querySelector('live-chat-widget').remove()",
    ],
    ids=["body replaced", "body emptied", "root emptied", "root replaced", "widget removed"],
)
def test_widget_outlives_what_the_page_does_to_its_document(
    host_page: HostPage, change: str
) -> None:
    page = host_page()
    expect(launcher(page)).to_be_visible()
    page.evaluate(change)
    expect(launcher(page)).to_be_visible()
    page.evaluate("LiveChat.open()")
    expect(panel(page)).to_be_visible()
    expect(page.get_by_label("Your name")).to_be_visible()
    assert page.locator("live-chat-widget").count() == 1


def test_a_swapped_body_does_not_disturb_who_is_writing(
    embedded: Embedded, host_page: HostPage
) -> None:
    page = host_page()
    enter_as_guest(page)
    composer(page).press_sequentially("One more ")
    page.evaluate("document.body.replaceWith(document.createElement('body'))")
    page.keyboard.type("thing")
    expect(composer(page)).to_have_value("One more thing")
    expect(composer(page)).to_be_focused()


def test_a_second_copy_of_the_script_changes_nothing(
    embedded: Embedded, host_page: HostPage
) -> None:
    app, _ = embedded
    page = host_page()
    expect(launcher(page)).to_be_visible()
    page.evaluate(
        "url => { const s = document.createElement('script'); s.src = url;"
        " s.onload = () => (window.ran = true); document.body.append(s) }",
        f"{app.url}/widget.js",
    )
    page.wait_for_function("window.ran")
    page.evaluate("LiveChat.open()")
    expect(panel(page)).to_be_visible()
    assert page.locator("live-chat-widget").count() == 1


def test_a_page_that_keeps_removing_the_widget_wins_until_it_asks_for_it(
    host_page: HostPage,
) -> None:
    page = host_page(
        head="<script>window.removed = 0; new MutationObserver(() => {"
        " const widget = document.querySelector('live-chat-widget');"
        " if (widget && !window.wanted) { widget.remove(); window.removed += 1 }"
        "}).observe(document.documentElement, { childList: true })</script>"
    )
    page.wait_for_function("window.removed === 6")
    page.wait_for_timeout(300)
    assert page.evaluate("window.removed") == 6
    page.evaluate("window.wanted = true; LiveChat.open()")
    expect(panel(page)).to_be_visible()


# Names that are somebody else's


@pytest.mark.parametrize(
    "body",
    [
        '<a id="LiveChat" href="#">Chat</a>',
        '<form name="LiveChat"></form>',
        '<img name="currentScript" alt="">',
    ],
)
def test_an_element_with_a_name_of_ours_hides_nothing(
    embedded: Embedded, host_page: HostPage, body: str
) -> None:
    app, _ = embedded
    page = host_page(body=f'{body}<script src="{app.url}/widget.js"></script>', script="")
    if "currentScript" in body:
        # Then the script cannot be told from the picture: it says so, and imports nothing.
        assert page.evaluate("window.LiveChat") is None
        return
    expect(launcher(page)).to_be_visible()
    page.evaluate("LiveChat.open()")
    expect(panel(page)).to_be_visible()


def test_a_page_with_a_livechat_of_its_own_keeps_it(host_page: HostPage) -> None:
    page = host_page(head="<script>var LiveChat = { mine: true }</script>")
    expect(launcher(page)).to_be_visible()
    assert page.evaluate("LiveChat.mine") is True
    page.evaluate("window[Symbol.for('live-chat-widget')].open()")
    expect(panel(page)).to_be_visible()


# Other ways to load it


def test_widget_works_as_a_module_script(embedded: Embedded, host_page: HostPage) -> None:
    app, _ = embedded
    tag = f'<script type="module" src="{app.url}/widget.js" data-label="Need help?"></script>'
    page = host_page(script=tag)
    expect(launcher(page)).to_have_text("Need help?")
    launcher(page).click()
    expect(page.get_by_label("Your name")).to_be_visible()


def test_widget_that_is_run_as_text_says_what_is_missing(
    embedded: Embedded, host_page: HostPage
) -> None:
    app, _ = embedded
    page = host_page(script="")
    with page.expect_console_message(lambda message: "PUBLIC_URL" in message.text) as said:
        page.evaluate(
            "async (url) => (0, eval)(await (await fetch(url)).text())", f"{app.url}/widget.js"
        )
    assert '<script src="https://CHAT/widget.js" defer>' in said.value.text
    assert page.locator("live-chat-widget").count() == 0


# Styles


@pytest.mark.parametrize(
    "style",
    [
        "body { filter: grayscale(1) }",
        "body { transform: scale(1) }",
        "body { perspective: 100px; will-change: transform }",
        "body { position: relative; overflow: hidden; height: 100px; contain: strict }",
        "html { filter: invert(1) } body { display: grid; opacity: 0.99 }",
    ],
)
def test_the_button_stays_in_the_window_whatever_the_body_is(
    host_page: HostPage, style: str
) -> None:
    page = host_page(
        head=f"<style>{style}</style>",
        body='<div style="height: 3000px">A long page</div>',
        width=1000,
        height=700,
    )
    expect(launcher(page)).to_be_in_viewport(ratio=1)
    page.evaluate("scrollTo(0, 900)")
    expect(launcher(page)).to_be_in_viewport(ratio=1)
    launcher(page).click()
    expect(panel(page)).to_be_in_viewport(ratio=1)


def test_the_widget_is_not_printed(host_page: HostPage) -> None:
    page = host_page()
    launcher(page).click()
    expect(panel(page)).to_be_visible()
    page.emulate_media(media="print")
    expect(launcher(page)).to_be_hidden()
    expect(panel(page)).to_be_hidden()
    page.emulate_media(media="screen")
    expect(panel(page)).to_be_visible()


# Libraries

# What Prototype.js, MooTools and Datejs put in the place of built-ins, and what they add.
OLD_LIBRARIES = """<script>
Array.prototype.reduce = function () { return this.length > 1 ? this : this[0] }
Array.prototype.toJSON = function () {
  return "[" + this.map((value) => JSON.stringify(value)).join(", ") + "]";
}
String.prototype.toJSON = function () { return '"' + this + '"' }
Array.prototype.entries = function () { return this.slice() }
Array.from = (item) => (item == null ? [] : Array.isArray(item) ? item.slice() : [item])
Function.prototype.bind = function (self, list) { const f = this; return () => f.apply(self, list) }
HTMLElement.prototype.scrollTo = function () { window.scrollTo(0, this.offsetTop); return this }
Date.parse = (text) => new Date(text)
Object.prototype.extend = function () { return this }
Array.prototype.each = Array.prototype.forEach
Element.prototype.remove = function () { this.parentNode.removeChild(this); return this }
</script>"""


def test_widget_works_where_old_libraries_have_replaced_built_ins(
    embedded: Embedded, host_page: HostPage, page_errors: PageErrors
) -> None:
    page_errors.allow("ERR_FAILED")
    app, _ = embedded
    page = host_page(head=OLD_LIBRARIES)
    token = enter_as_guest(page)
    chat_id = first_chat(app, token)
    page.route(re.compile("/messages$"), lambda route: route.abort())
    page.evaluate("delete window.WebSocket")
    composer(page).fill("And this?")
    composer(page).press("Enter")
    expect(bubble(page, "And this?")).to_be_visible()
    page.unroute(re.compile("/messages$"))
    page.reload()
    until(lambda: history(app, {"token": token}, chat_id)[1:] == ["And this?"], page)
    expect(page.locator(".receipt")).to_have_text("Sent", timeout=15_000)
    assert page.evaluate("scrollY") == 0


def test_the_button_counts_what_is_unread_beside_prototype_js(host_page: HostPage) -> None:
    page = host_page(head=OLD_LIBRARIES)
    page.add_init_script("delete window.WebSocket")
    enter_as_guest(page)
    page.get_by_role("button", name="Fold the chat").last.click()

    def answered(route: Route) -> None:
        answer = route.fetch()
        chat = answer.json()[0] | {"messageCount": 9, "lastSeq": 9}
        other = chat | {"_id": "1" * 24, "unreadCount": 2}
        route.fulfill(response=answer, json=[chat | {"unreadCount": 1}, other])

    page.route(re.compile(r"/api/chat$"), answered)
    page.reload()
    expect(launcher(page).locator(".badge")).to_have_text("3 unread")
    page.unroute(re.compile(r"/api/chat$"))


# Keys

SHORTCUTS = """<input id="search"><script>
document.addEventListener("keydown", (event) => {
  if (/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  window.taken = (window.taken ?? "") + event.key;
  if (event.key !== "s" && event.key !== "/") return;
  event.preventDefault();
  document.getElementById("search").focus();
}, true)
document.addEventListener("focusin", (event) => {
  if (window.trap && event.target.id !== "search") document.getElementById("search").focus();
})
</script>"""


def test_shortcuts_of_the_page_take_nothing_that_is_typed_here(host_page: HostPage) -> None:
    page = host_page(body=SHORTCUTS)
    launcher(page).click()
    name = page.get_by_label("Your message")
    name.click()
    page.evaluate("window.taken = ''")
    page.keyboard.type("Jess/")
    expect(name).to_have_value("Jess/")
    page.keyboard.press("Tab")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    assert page.evaluate("window.taken") == ""
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("s")
    assert page.evaluate("window.taken") == "s"


def test_a_focus_trap_of_the_page_does_not_see_the_widget(host_page: HostPage) -> None:
    page = host_page(body=SHORTCUTS)
    page.evaluate("window.trap = true")
    launcher(page).click()
    page.get_by_label("Your name").click()
    page.keyboard.type("Ana")
    expect(page.get_by_label("Your name")).to_have_value("Ana")


def test_escape_of_an_input_method_closes_nothing(embedded: Embedded, host_page: HostPage) -> None:
    page = host_page()
    launcher(page).click()
    page.get_by_label("Your name").evaluate(COMPOSING_ESCAPE)
    expect(panel(page)).to_be_visible()
    enter_as_guest(page)
    page.get_by_role("button", name="Back to your chats").click()
    page.get_by_role("button", name="New chat").click()
    page.get_by_role("button", name="Open that chat").evaluate(COMPOSING_ESCAPE)
    expect(page.get_by_role("dialog", name="New chat")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="New chat")).to_be_hidden()
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Account of").evaluate(COMPOSING_ESCAPE)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(panel(page)).to_be_visible()


# What is remembered


def test_a_new_guest_is_not_shown_what_the_last_one_had_open(
    embedded: Embedded, host_page: HostPage, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 401")
    app, _ = embedded
    page = host_page()
    token = enter_as_guest(page)
    page.goto("about:blank")
    app.request("POST", "/api/auth/logout", token, {})
    page.go_back()
    enter_as_guest(page, "Other")
    page.wait_for_timeout(500)
    expect(bubble(page, "Is it waterproof?")).to_have_count(1)
    expect(page.get_by_text("no longer exists")).to_have_count(0)
