"""Typing and presence in the console."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import expect

from tests.browser.chat_ui_helpers import composer, open_chat, type_in
from tests.browser.conftest import NewPage, until
from tests.browser.console_helpers import MakeChat
from tests.browser.live_console import A_BLINK, GONE_WITHIN, Seat, agent_named, hide, sit, text_of
from tests.browser.server import Server


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

    def delivered() -> int:
        return sum(frame["type"] == "typing" and frame["chatId"] == chat["_id"] for frame in frames)

    page.locator("#message").press_sequentially("Good morn", delay=10)
    until(lambda: delivered() == 1, page, 1)
    page.clock.run_for(3_000)
    page.locator("#message").press_sequentially("ing")
    until(lambda: delivered() == 2, page, 1)


def test_two_agents_in_a_chat_see_each_other(
    server: Server, seat: Seat, make_chat: MakeChat
) -> None:
    chat, other = make_chat(subject="Shared chat"), make_chat()
    tomas, eva = agent_named(server, "Tomás"), agent_named(server, "Eva")
    ours, theirs = seat(chat, eva), seat(agent=tomas)
    expect(ours.page.locator("#viewers")).to_be_empty()
    theirs.open(chat)
    sees = f"\u2068{tomas['name']}\u2069 is looking at this chat too"
    expect(ours.page.locator("#viewers")).to_have_text(sees, timeout=3_000)
    expect(theirs.page.locator("#viewers")).to_have_text(re.compile(eva["name"]), timeout=3_000)
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
    expect(ours.page.locator("#viewers")).to_be_empty(timeout=GONE_WITHIN)
    expect(theirs.page.locator("#viewers")).to_be_empty()
    theirs.open(chat)
    expect(ours.page.locator("#viewers")).to_have_text(sees, timeout=3_000)
    hide(theirs.page)
    expect(ours.page.locator("#viewers")).to_be_empty(timeout=GONE_WITHIN)
    theirs.page.context.close()
    expect(ours.page.locator("#team-list li", has_text=tomas["name"])).to_have_count(
        0, timeout=GONE_WITHIN + 3_000
    )
    expect(option).not_to_have_attribute("label", re.compile("online"))
