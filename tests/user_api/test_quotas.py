"""How much may be written before an agent has answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from limits import parse
from pymongo.database import Database

from chatapi import clock, create_app, errors, quotas
from chatapi.networks import network_of
from chatapi.services import accounts, chats
from chatapi.store import expiry
from chatapi.store.database import Document
from config import Config, TestConfig
from tests.conftest import CLIENT, MakeSession, SignIn
from tests.user_api.callers import Caller, caller_on, refused

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(database: Database[Document]) -> MakeApp:
    """`make_app(**settings)` -> an app that limits, behind one proxy."""

    def make(**settings: Any) -> Flask:
        settings = {"TRUSTED_PROXIES": 1, "LIMIT_SEND": "9999 per minute", **settings}
        return create_app(TestConfig, database=database, RATELIMIT_ENABLED=True, **settings)

    return make


def guest_on(app: Flask, address: str) -> Caller:
    session, token = accounts.guest("Gil", "gil@example.org", CLIENT)
    caller = caller_on(app, {"_id": session.user_id, "email": "", "role": "guest"}, token)
    caller.headers["X-Forwarded-For"] = address
    return caller


def send(caller: Caller, chat: Any, text: str = "Hi", **more: str) -> Any:
    return caller.post(f"/api/chat/{chat['_id']}/messages", {"content": text, **more})


def test_a_guest_waits_for_an_answer_after_so_many_messages(
    make_app: MakeApp, sign_in: SignIn
) -> None:
    app = make_app(GUEST_MESSAGES_UNANSWERED=3)
    guest = guest_on(app, "192.0.2.1")
    chat = guest.open_chat()
    for number in range(3):
        assert send(guest, chat, clientMessageId=f"m-{number}").status_code == 201
    refused(send(guest, chat), 409, "answer_pending")
    # A repetition still finds what it has written.
    assert send(guest, chat, clientMessageId="m-1").status_code == 200
    agent = caller_on(app, None, None)
    agent.headers |= sign_in("admin")
    assert send(agent, chat).status_code == 201
    for _ in range(9):
        assert send(guest, chat).status_code == 201


@pytest.mark.parametrize(
    "setting",
    [{"LIMIT_UNANSWERED_MESSAGES": "3 per hour"}, {"LIMIT_UNANSWERED_BYTES": "1800 per hour"}],
)
def test_a_network_writes_so_much_whichever_guest_it_makes(
    setting: dict[str, str], make_app: MakeApp
) -> None:
    app = make_app(**setting)
    written = []
    for number in range(6):
        guest = guest_on(app, f"2001:db8:1:1::{number}")
        written.append(guest.post("/api/chat", {"subject": "Help"}).status_code)
    assert written == [201, 201, 201, 429, 429, 429]
    other = guest_on(app, "2001:db8:1:2::1")
    other.open_chat()


def test_all_networks_together_have_a_budget(make_app: MakeApp) -> None:
    app = make_app(LIMIT_UNANSWERED_BYTES_TOTAL="1800 per hour")
    written = [
        guest_on(app, f"192.0.2.{number}").post("/api/chat", {"subject": "Help"})
        for number in range(4)
    ]
    assert [answer.status_code for answer in written] == [201, 201, 201, 429]
    assert 1 <= int(written[3].headers["Retry-After"]) <= 3600


def test_new_guests_have_a_budget_over_all_networks(make_app: MakeApp) -> None:
    nobody = caller_on(make_app(LIMIT_GUESTS_TOTAL="2 per hour"), None, None)
    made = [
        nobody.post(
            "/api/auth/guest",
            {"name": "Gil", "email": "gil@example.org"},
            headers={"X-Forwarded-For": f"192.0.2.{number}"},
        ).status_code
        for number in range(3)
    ]
    assert made == [201, 201, 429]


def simulate(app: Flask, addresses: list[str], rounds: int) -> tuple[int, int]:
    """Write the largest messages from addresses in turn; return how many, and their bytes."""
    session = accounts.Session(
        "",
        None,
        None,
        "user",
        "",
        "",
        None,
        None,
        clock.now(),
        clock.now(),  # type: ignore[arg-type]
    )
    chat, text = {"counts": {"user": 0, "admin": 0}}, "😀" * 5000
    messages = 0
    with app.app_context():
        for number in range(rounds):
            try:
                with quotas.writing_from(network_of(addresses[number % len(addresses)])):
                    quotas.count_message(session, chat, text)
                messages += 1
            except errors.TooManyRequests:
                continue
    return messages, messages * len(text.encode())


def test_the_defaults_hold_what_the_documentation_says(make_app: MakeApp) -> None:
    # Two windows can meet in any sixty minutes: each holds half of what is promised.
    megabyte = 1_000_000
    messages, size = simulate(make_app(), ["192.0.2.1"], 1500)
    assert messages <= 500
    assert size <= 10 * megabyte
    messages, size = simulate(make_app(), [f"2001:db8:1:1::{n:x}" for n in range(500)], 1500)
    assert size <= 10 * megabyte
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
    messages, size = simulate(make_app(), addresses, 30_000)
    assert 300 * megabyte <= size <= 450 * megabyte
    guests = parse(Config.LIMIT_GUESTS_TOTAL).amount
    assert 2 * (size + guests * 2_000) <= 1_000 * megabyte


def test_a_guest_without_a_chat_expires_and_one_with_a_chat_stays(
    app: Flask, make_session: MakeSession, database: Database[Document]
) -> None:
    idle, busy, user = make_session("guest"), make_session("guest"), make_session()
    chats.create(busy, "Help")
    with clock.frozen(clock.now() + timedelta(days=2)):
        expiry._next_sweeps.clear()
        accounts.guest("Gil", "gil@example.org", CLIENT)
    left = {row["_id"] for row in database["users"].find()}
    assert idle.user_id not in left
    assert {busy.user_id, user.user_id} <= left
    with pytest.raises(errors.SessionExpired):
        chats.create(idle, "Help")


def test_a_guest_who_becomes_a_user_stays(
    app: Flask, make_session: MakeSession, database: Database[Document]
) -> None:
    guest = make_session("guest")
    accounts.upgrade_guest(guest, "a password of the tests")
    assert "expiresAt" not in database["users"].find_one({"_id": guest.user_id})  # type: ignore[operator]
