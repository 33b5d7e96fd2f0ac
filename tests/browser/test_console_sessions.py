"""The console when the session ends or no answer comes: nothing is lost, nothing sent twice."""

from __future__ import annotations

import re

from playwright.sync_api import Request, Route, expect

from tests.browser.conftest import PageErrors
from tests.browser.console_helpers import (
    Desk,
    MakeChat,
    let_settle,
)


def test_an_expired_session_asks_over_the_page_and_all_goes_on(
    polling_desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    desk = polling_desk
    page_errors.allow("status of 401")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    page.type("#message", "I was just writ")
    page.context.clear_cookies(name="chat_session")
    expect(page.locator("#sign-in")).to_be_visible(timeout=9000)
    expect(page.locator("#sign-in [name=email]")).to_have_value(desk.agent["email"])
    page.fill("#sign-in [name=password]", "wrong password")
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in .form-error")).to_contain_text("not right")
    page.fill("#sign-in [name=password]", desk.agent["password"])
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in")).to_have_count(0)
    expect(page.locator("#message")).to_have_value("I was just writ")
    page.type("#message", "ing")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("I was just writing")


def test_a_message_refused_for_the_session_can_be_sent_after_the_sign_in(
    desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 401")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    let_settle(page)
    page.context.clear_cookies(name="chat_session")
    page.type("#message", "Not lost")
    page.press("#message", "Enter")
    expect(page.locator("#sign-in")).to_have_count(1)
    page.fill("#sign-in [name=password]", desk.agent["password"])
    page.press("#sign-in [name=password]", "Enter")
    expect(page.locator("#sign-in")).to_have_count(0)
    expect(page.locator("#message")).to_have_value("Not lost")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Not lost")
    assert desk.chat(chat)["lastSeq"] == 2


def test_a_token_that_went_stale_is_renewed(
    desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 403")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    fields = "document.querySelectorAll('[name=csrf_token]')"
    page.evaluate(f"for (const field of {fields}) field.value = 'stale'")
    page.type("#message", "Twice")
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem")).to_contain_text("try again")
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Twice")


def test_an_outage_is_told_and_ends_by_itself(
    polling_desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    desk = polling_desk
    page_errors.allow("net::ERR_|Failed to fetch|status of 503")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    broken = re.compile(r"/admin")
    page.route(broken, lambda route: route.abort())
    expect(page.locator("#banner")).to_contain_text("Connection lost", timeout=9000)
    page.type("#message", "Kept")
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem")).to_contain_text("Your text is still here.")
    expect(page.locator("#message")).to_have_value("Kept")
    page.unroute(broken)

    def down(route: Route) -> None:
        headers = {"Retry-After": "1", "Content-Type": "text/html"}
        route.fulfill(status=503, headers=headers, body="<h1>proxy</h1>")

    page.route(broken, down)
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem").last).to_contain_text("cannot be reached")
    expect(page.locator("#message")).to_have_value("Kept")
    assert page.locator("text=proxy").count() == 0
    page.unroute(broken)
    expect(page.locator("#banner")).to_be_empty(timeout=20000)
    page.press("#message", "Enter")
    expect(page.locator("#m-2 .text")).to_have_text("Kept")
    assert desk.chat(chat)["lastSeq"] == 2


def test_a_lost_answer_does_not_send_twice(
    desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("net::ERR_|Failed to fetch")
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/messages?**", lose, times=1)
    page.type("#message", "Once")
    page.press("#message", "Enter")
    expect(page.locator(".toast.problem")).to_be_visible()
    page.press("#message", "Enter")
    expect(page.locator("#message")).to_have_value("")
    assert [each["content"] for each in desk.chat(chat)["messages"]] == ["Hello?", "Once"]


def test_who_is_no_agent_any_more_sees_nothing_more(
    desk: Desk, make_chat: MakeChat, page_errors: PageErrors
) -> None:
    page_errors.allow("status of 403")
    make_chat()
    server, boss = desk.server, desk.server.admin()
    me = server.request("GET", "/api/auth/me", token=desk.agent["token"])[2]
    path = f"/api/admin/users/{me['_id']}"
    server.request("PATCH", path, token=boss["token"], json={"role": "user"})
    expect(desk.page.locator("h1")).to_have_text("For support agents only", timeout=9000)
    assert desk.page.locator("#rows").count() == 0


def test_signing_out_leaves_no_draft_behind(desk: Desk, make_chat: MakeChat) -> None:
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    page.type("#message", "A secret")
    assert page.evaluate("localStorage.length") == 1
    page.click("[data-sign-out] button")
    expect(page.locator("dialog")).to_contain_text("1 unsent draft")
    page.click("dialog >> text=Stay")
    expect(page.locator("#message")).to_have_value("A secret")
    page.click("[data-sign-out] button")
    page.click("dialog [data-leave]")
    expect(page.locator("#password")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0


def test_nothing_is_asked_while_the_session_ends(desk: Desk, make_chat: MakeChat) -> None:
    page = desk.page
    chat = make_chat()
    page.reload()
    desk.open(chat)
    let_settle(page)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    def end_and_dawdle(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        page.on("request", note)
        # Meanwhile the live connection hears of the end.
        page.wait_for_timeout(1_500)
        page.remove_listener("request", note)
        route.fulfill(response=answer)

    page.route("**/admin/logout", end_and_dawdle)
    page.click("[data-sign-out] button", no_wait_after=True)
    expect(page.locator("#password")).to_be_visible()
    assert asked == []
