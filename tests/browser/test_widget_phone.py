"""The widget over the whole of a small screen, and where the focus goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat_ui_helpers import HostSite, composer
from tests.browser.conftest import HostPage, PageErrors
from tests.browser.test_widget_pages import (
    enter_as_guest,
    launcher,
    panel,
)
from tests.servers import AppServer
from tests.tiers import representatives

Embedded = tuple[AppServer, HostSite]

LONG_PAGE = (
    '<button id="help" onclick="LiveChat.open()">Help</button>'
    '<input id="search"><div style="height: 3000px">A shop</div>'
)
# A router as a single-page application has it: it hears of each step in the history.
ROUTER = """<script>
history.replaceState({ page: 1 }, "");
window.heard = [];
addEventListener("popstate", (event) => heard.push(event.state));
for (const name of ["pushState", "replaceState"]) {
  const original = history[name];
  history[name] = function (...values) { heard.push(name); return original.apply(this, values) };
}
</script>"""
SIZES = [(375, 667), (844, 390)]


def focused(page: Page) -> str:
    """Return the page's own focused element: what stands around it, its name, or its id."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.localName"))


@pytest.mark.parametrize(("width", "height"), representatives(SIZES, (375, 667)))
def test_chat_on_a_small_screen_is_a_modal_dialog(
    host_page: HostPage, width: int, height: int
) -> None:
    page = host_page(body=LONG_PAGE, width=width, height=height)
    launcher(page).click()
    expect(page.get_by_role("dialog", name="Support chat")).to_be_visible()
    expect(page.get_by_label("Your name")).to_be_visible()
    assert panel(page).evaluate("panel => panel.matches(':modal')")
    panel(page).evaluate("p => Promise.all(p.getAnimations().map((a) => a.finished))")
    assert panel(page).bounding_box() == {"x": 0, "y": 0, "width": width, "height": height}
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(focused(page))
    assert reached <= {"live-chat-widget", "body"}, reached

    page.mouse.move(width / 2, height / 2)
    page.mouse.wheel(0, 800)
    page.wait_for_timeout(200)
    assert page.evaluate("scrollY") == 0
    page.get_by_role("button", name="Fold the chat").click()
    expect(panel(page)).to_be_hidden()
    assert page.evaluate("document.documentElement.style.overflow") == ""
    page.mouse.wheel(0, 800)
    page.wait_for_function("scrollY > 0")


def test_chat_beside_the_page_is_not_modal(host_page: HostPage) -> None:
    page = host_page(head=ROUTER, body=LONG_PAGE)
    launcher(page).click()
    expect(page.get_by_label("Your name")).to_be_visible()
    assert not panel(page).evaluate("panel => panel.matches(':modal')")
    page.locator("#search").click()
    expect(page.locator("#search")).to_be_focused()
    page.mouse.wheel(0, 800)
    page.wait_for_function("scrollY > 0")
    assert page.evaluate("[history.length, heard]") == [2, []]


@pytest.mark.parametrize("is_first", [True, False], ids=["widget first", "router first"])
def test_back_folds_the_chat_and_leaves_the_page_where_it_is(
    embedded: Embedded, host_page: HostPage, is_first: bool
) -> None:
    app, _ = embedded
    script = f'<script src="{app.url}/widget.js"></script>'
    head = script + ROUTER if is_first else ROUTER + script
    page = host_page(head=head, script="", body=LONG_PAGE, width=375, height=667)
    address = page.url
    launcher(page).click()
    expect(page.get_by_label("Your name")).to_be_visible()
    assert page.evaluate("history.state.page") == 1
    page.evaluate("history.back()")
    expect(panel(page)).to_be_hidden()
    expect(launcher(page)).to_be_focused()
    assert page.evaluate("history.state") == {"page": 1}

    page.evaluate("history.forward()")
    expect(panel(page)).to_be_visible()
    page.get_by_role("button", name="Fold the chat").click()
    expect(panel(page)).to_be_hidden()
    page.wait_for_function("history.state['live-chat-widget'] === undefined")
    assert page.url == address
    # A router that listens first hears of steps to the page that it shows.
    pages = [state["page"] for state in page.evaluate("heard")]
    assert pages == ([] if is_first else [1, 1, 1])

    page.evaluate("heard = []; history.pushState({ page: 2 }, '', '#two')")
    page.evaluate("history.back()")
    page.wait_for_function("heard.length === 2")
    assert page.evaluate("heard") == ["pushState", {"page": 1}]


def test_a_page_that_closes_the_chat_and_goes_on_is_not_called_back(host_page: HostPage) -> None:
    page = host_page(head=ROUTER, body=LONG_PAGE, width=375, height=667)
    launcher(page).click()
    expect(page.get_by_label("Your name")).to_be_visible()
    page.evaluate("LiveChat.close().then(() => history.pushState({ page: 2 }, '', '#two'))")
    expect(panel(page)).to_be_hidden()
    page.wait_for_timeout(200)
    assert page.evaluate("history.state") == {"page": 2}
    page.evaluate("history.back()")
    page.wait_for_function("heard.length === 2")
    assert page.evaluate("heard") == ["pushState", {"page": 1}]
    expect(panel(page)).to_be_hidden()


def test_a_reload_over_the_page_adds_no_second_step_to_the_history(host_page: HostPage) -> None:
    page = host_page(body=LONG_PAGE, width=375, height=667)
    launcher(page).click()
    expect(page.get_by_label("Your name")).to_be_visible()
    steps = page.evaluate("history.length")
    page.reload()
    expect(page.get_by_label("Your name")).to_be_visible()
    assert page.evaluate("history.length") == steps
    page.evaluate("history.back()")
    expect(panel(page)).to_be_hidden()


def test_a_window_that_becomes_small_makes_the_chat_modal(host_page: HostPage) -> None:
    page = host_page(body=LONG_PAGE)
    enter_as_guest(page)
    composer(page).fill("Half a ")
    page.set_viewport_size({"width": 375, "height": 667})
    page.wait_for_function(
        "document.querySelector('live-chat-widget').shadowRoot"
        ".querySelector('.panel').matches(':modal')"
    )
    page.keyboard.type("sentence")
    expect(composer(page)).to_have_value("Half a sentence")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function("document.documentElement.style.overflow === ''")
    page.locator("#search").click()
    expect(page.locator("#search")).to_be_focused()
    expect(panel(page)).to_be_visible()


def test_escape_closes_an_inner_dialog_before_the_chat(host_page: HostPage) -> None:
    page = host_page(body=LONG_PAGE, width=375, height=667)
    enter_as_guest(page)
    page.get_by_role("button", name="Back to your chats").click()
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("dialog", name="New chat")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="New chat")).to_be_hidden()
    expect(panel(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()


# The focus


@pytest.mark.parametrize(
    ("width", "height"), representatives([(375, 667), (1280, 800)], (375, 667))
)
def test_focus_returns_to_what_opened_the_chat(
    host_page: HostPage, width: int, height: int
) -> None:
    page = host_page(body=LONG_PAGE, width=width, height=height)
    page.locator("#help").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_focused()
    launcher(page).click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_focused()
    page.keyboard.press("Escape")
    expect(launcher(page)).to_be_focused()


@pytest.mark.parametrize(
    ("width", "height"), representatives([(375, 667), (1280, 800)], (375, 667))
)
def test_focus_stays_in_the_widget_through_signing_in_and_out(
    host_page: HostPage, width: int, height: int
) -> None:
    page = host_page(body=LONG_PAGE, width=width, height=height)
    enter_as_guest(page)
    expect(composer(page)).to_be_focused()
    page.get_by_role("button", name="Back to your chats").click()
    expect(page.locator(".chat-item")).to_be_focused()
    page.get_by_role("button", name="Account of").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign out and lose the chats").click()
    expect(page.get_by_role("heading", name="How can we help?")).to_be_focused()


def test_focus_goes_to_the_chat_of_a_list_that_comes_late(host_page: HostPage) -> None:
    page = host_page(body=LONG_PAGE, width=375, height=667)
    held: list[Route] = []
    is_late = True

    def hold(route: Route) -> None:
        if is_late and route.request.method == "GET":
            held.append(route)
        else:
            route.fallback()

    page.route(re.compile(r"/api/chat(\?|$)"), hold)
    enter_as_guest(page)
    expect(composer(page)).to_be_focused()
    page.get_by_role("button", name="Back to your chats").click()
    expect(page.locator(".chat-item")).to_be_hidden()
    assert held
    is_late = False
    for route in held:
        route.continue_()
    expect(page.locator(".chat-item")).to_be_focused()


def test_chat_that_cannot_be_loaded_says_so_and_can_be_folded(
    host_page: HostPage, page_errors: PageErrors
) -> None:
    page_errors.allow("ERR_FAILED")
    page = host_page(width=375, height=667)
    expect(launcher(page)).to_be_visible()
    scripts = re.compile(r"/chat/static/.*\.js")
    page.route(scripts, lambda route: route.abort())
    launcher(page).click()
    expect(panel(page).get_by_text("could not be loaded")).to_be_visible()
    page.unroute(scripts)
    page.get_by_role("button", name="Fold the chat").click()
    expect(launcher(page)).to_be_focused()
