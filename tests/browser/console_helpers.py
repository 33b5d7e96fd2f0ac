"""What the tests of the console share: agents at their desks, and chats to answer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, Request, expect

from tests.browser import in_flight
from tests.browser.server import Server

numbers = itertools.count(1)

MakeChat = Callable[..., dict[str, Any]]
SignIn = Callable[..., "Desk"]


@dataclass
class Desk:
    """An agent's browser and what stands behind it."""

    page: Page
    server: Server
    agent: dict[str, Any]

    def open(self, chat: dict[str, Any]) -> None:
        """Click a chat in the list."""
        link = self.page.locator(f"#open-{chat['_id']}")
        # While a pointer moves over the list, its rows stay where they are.
        link.hover()
        link.click()
        expect(self.page.locator("#chat")).to_have_attribute("data-chat", chat["_id"])

    def say(self, chat: dict[str, Any], text: str) -> None:
        """Let the user of a chat write, through the API."""
        path = f"/api/chat/{chat['_id']}/messages"
        status, _, answer = self.server.request(
            "POST", path, token=chat["token"], json={"content": text}
        )
        assert status == 201, answer

    def answer(self, chat: dict[str, Any], text: str) -> None:
        """Let another agent write, through the API."""
        path = f"/api/chat/{chat['_id']}/messages"
        self.server.request("POST", path, token=self.agent["token"], json={"content": text})

    def chat(self, chat: dict[str, Any]) -> dict[str, Any]:
        """Return a chat as it is stored."""
        path = f"/api/chat/{chat['_id']}?messages=200"
        found: dict[str, Any] = self.server.request("GET", path, token=self.agent["token"])[2]
        return found


def sit_down(
    server: Server,
    page: Page,
    agent: dict[str, Any] | None = None,
    path: str = "/admin",
    url: str | None = None,
) -> Desk:
    """Sign an agent in, by default a new one.

    url -- of the proxy to go through.
    """
    agent = agent or server.admin(f"Ada {next(numbers)}")
    page.goto((url or server.url) + path)
    page.fill("#email", agent["email"])
    page.fill("#password", agent["password"])
    page.click("button.primary")
    page.wait_for_selector("#rows, #people")
    return Desk(page, server, agent)


def new_chat(server: Server, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """Open a chat of a new user through the API; return it with its user's token."""
    user = server.user(name)
    body = {"subject": f"Question {next(numbers)}", "message": "Hello?", **fields}
    status, _, answer = server.request("POST", "/api/chat", token=user["token"], json=body)
    assert status == 201, answer
    return {**answer, **user, "_id": answer["_id"]}


def let_settle(page: Page, milliseconds: int = 500) -> None:
    """Wait until the page has had its answers and asked nothing for a while."""
    asked_at = time.monotonic()

    def asked(_: Request) -> None:
        nonlocal asked_at
        asked_at = time.monotonic()

    page.on("request", asked)
    page.on("requestfinished", asked)
    while in_flight.is_asking(page) or time.monotonic() - asked_at < milliseconds / 1000:
        page.wait_for_timeout(50)
    page.remove_listener("request", asked)
    page.remove_listener("requestfinished", asked)


def polled(page: Page, path: str = "/admin") -> int:
    """Wait for the next poll of a path and return its status."""
    with page.expect_response(lambda r: r.url.split("?")[0].endswith(path), timeout=9000) as answer:
        pass
    return answer.value.status
