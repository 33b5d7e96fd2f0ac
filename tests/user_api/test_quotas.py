"""How much may be written before an agent has answered."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import bson
import pytest
from flask import Flask
from limits import parse
from pymongo.database import Database

from chatapi.domain import clock, errors
from chatapi.domain.enums import Role
from chatapi.domain.networks import network_of
from chatapi.http import limits, quotas
from chatapi.http.counters import Counters
from chatapi.services import accounts, chats, sessions, users
from chatapi.store import expiry
from chatapi.store.database import Document
from config import Config
from tests.conftest import CLIENT, MakeApp, MakeSession, SignIn
from tests.documents import chat_document
from tests.user_api.callers import Caller, caller_on, refused


@pytest.fixture
def make_limited_app(make_app: MakeApp) -> MakeApp:
    """`make_limited_app(**settings)` -> an app that limits, behind one proxy."""
    given = {"TRUSTED_PROXIES": 1, "LIMIT_SEND": "9999 per minute", "RATELIMIT_ENABLED": True}
    return functools.partial(make_app, **given)


def guest_on(app: Flask, address: str) -> Caller:
    session, token = accounts.guest("Gil", "gil@example.org", CLIENT)
    caller = caller_on(app, {"_id": session.user_id, "email": "", "role": "guest"}, token)
    caller.headers["X-Forwarded-For"] = address
    return caller


def send(caller: Caller, chat: Any, text: str = "Hi", **more: str) -> Any:
    return caller.post(f"/api/chat/{chat['_id']}/messages", {"content": text, **more})


def test_a_guest_waits_for_an_answer_after_so_many_messages(
    make_limited_app: MakeApp, sign_in: SignIn
) -> None:
    app = make_limited_app(GUEST_MESSAGES_UNANSWERED=3)
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
    [{"LIMIT_UNANSWERED_MESSAGES": "3 per hour"}, {"LIMIT_UNANSWERED_BYTES": "9000 per hour"}],
)
def test_a_network_writes_so_much_whichever_guest_it_makes(
    setting: dict[str, str], make_limited_app: MakeApp
) -> None:
    app = make_limited_app(**setting)
    written = []
    for number in range(6):
        guest = guest_on(app, f"2001:db8:1:1::{number}")
        written.append(guest.post("/api/chat", {"subject": "Help"}).status_code)
    assert written == [201, 201, 201, 429, 429, 429]
    other = guest_on(app, "2001:db8:1:2::1")
    other.open_chat()


def test_all_networks_together_have_a_budget(make_limited_app: MakeApp) -> None:
    app = make_limited_app(LIMIT_UNANSWERED_BYTES_TOTAL="9000 per hour")
    written = [
        guest_on(app, f"192.0.2.{number}").post("/api/chat", {"subject": "Help"})
        for number in range(4)
    ]
    assert [answer.status_code for answer in written] == [201, 201, 201, 429]
    assert 1 <= int(written[3].headers["Retry-After"]) <= 3600


def test_new_guests_have_a_budget_over_all_networks(make_limited_app: MakeApp) -> None:
    anonymous = caller_on(make_limited_app(LIMIT_GUESTS_TOTAL="2 per hour"), None, None)
    made = [
        anonymous.post(
            "/api/auth/guest",
            {"name": "Gil", "email": "gil@example.org"},
            headers={"X-Forwarded-For": f"192.0.2.{number}"},
        ).status_code
        for number in range(3)
    ]
    assert made == [201, 201, 429]


LONG_MAIL = f"{'m' * 64}@{'d' * 60}.{'e' * 60}.{'f' * 60}.org"
WORST = {
    "of many search terms": ("山" * 60 + "田川" * 20, "漢字" * 100, "字" * 5000, "鍵" * 100),
    "of four bytes a letter": ("𠀀" * 100, "😀" * 200, "😀" * 5000, "😀" * 100),
    "of different letters": (
        "".join(map(chr, range(0x4E00, 0x4E64))),
        "".join(map(chr, range(0x5000, 0x50C8))),
        "".join(map(chr, range(0x20000, 0x21388))),
        "".join(map(chr, range(0x20000, 0x20064))),
    ),
    "of one letter": ("a", "b", "c", "d"),
}


def charged(app: Flask) -> int:
    """Return what all networks have been charged with."""
    limit = parse(app.config["LIMIT_UNANSWERED_BYTES_TOTAL"])
    return Counters(limits.storage.current).count(limit, "unanswered_bytes_total", "all networks")


def stored(database: Database[Document]) -> int:
    """Return how many bytes the documents take that strangers write."""
    written = ("users", "sessions", "chatrooms", "chat_terms", "messages")
    return sum(len(bson.encode(row)) for name in written for row in database[name].find())


@pytest.mark.parametrize("texts", WORST.values(), ids=WORST)
@pytest.mark.parametrize("role", ["guest", "user"])
def test_no_less_is_charged_than_is_stored(
    role: Role, texts: tuple[str, ...], make_limited_app: MakeApp, database: Database[Document]
) -> None:
    app = make_limited_app()
    name, subject, text, key = texts
    caller = caller_on(app, None, None)
    caller.headers["User-Agent"] = "é" * 300
    body = {"name": name, "email": LONG_MAIL if len(name) > 1 else "a@b.de"}
    if role == "user":
        body["password"] = "a password of the tests"
    path = "/api/auth/guest" if role == "guest" else "/api/auth/register"
    answer = caller.post(path, body)
    assert answer.status_code == 201
    user_size = stored(database)
    assert user_size <= charged(app) <= user_size + 2_000

    caller.headers["Authorization"] = f"Bearer {answer.json['token']}"
    chat = caller.post("/api/chat", {"subject": subject, "clientMessageId": key}).json
    chat_size = stored(database)
    assert chat_size <= charged(app) <= chat_size + 4_000
    # The longest preview, and the shortest text.
    for number, content in enumerate((text, "x")):
        mine = f"{key[:-1]}{number}"
        assert send(caller, chat, content, clientMessageId=mine).status_code == 201
        assert stored(database) <= charged(app) <= stored(database) + 5_000
    if role == "guest":
        upgraded = caller.post("/api/auth/upgrade", {"password": "a password of the tests"})
        assert upgraded.status_code == 200
        assert stored(database) <= charged(app)


def test_a_chat_with_its_first_message_is_charged_with_both(
    make_limited_app: MakeApp, database: Database[Document]
) -> None:
    app = make_limited_app()
    name, subject, text, key = WORST["of different letters"]
    caller = caller_on(app, None, None)
    token = caller.post("/api/auth/guest", {"name": name, "email": LONG_MAIL}).json["token"]
    caller.headers["Authorization"] = f"Bearer {token}"
    body = {"subject": subject, "message": text, "clientMessageId": key}
    assert caller.post("/api/chat", body).status_code == 201
    assert stored(database) <= charged(app) <= stored(database) + 5_000


def test_new_guests_use_up_the_bytes_of_their_network(
    make_limited_app: MakeApp, database: Database[Document]
) -> None:
    anonymous = caller_on(make_limited_app(LIMIT_UNANSWERED_BYTES="50000 per hour"), None, None)
    body = {"name": WORST["of different letters"][0], "email": LONG_MAIL}
    made = [anonymous.post("/api/auth/guest", body).status_code for _ in range(5)]
    assert made == [201, 201, 201, 429, 429]
    assert stored(database) <= 50_000


def simulate(app: Flask, addresses: list[str], sizes: list[int]) -> int:
    """Write so many bytes each from addresses in turn; return how many were let through."""
    written = 0
    with app.app_context():
        for number, size in enumerate(sizes):
            try:
                quotas.count_bytes(network_of(addresses[number % len(addresses)]), size)
                written += size
            except errors.TooManyRequests:
                continue
    return written


def test_the_defaults_hold_what_the_documentation_says(make_limited_app: MakeApp) -> None:
    # Two windows can meet in any sixty minutes: each holds half of what is promised.
    # What is charged is never less than what is stored: the test above.
    megabyte = 1_000_000
    guest, message = 20_000, 21_500
    one = simulate(make_limited_app(), ["192.0.2.1"], [guest] * 60 + [message] * 500)
    assert 9 * megabyte <= one <= 10 * megabyte
    network = [f"2001:db8:1:1::{n:x}" for n in range(500)]
    assert simulate(make_limited_app(), network, [message] * 600) <= 10 * megabyte
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
    guests = parse(Config.LIMIT_GUESTS_TOTAL).amount
    worst = [guest] * guests + [message] * 5_000
    size = simulate(make_limited_app(), addresses, worst)
    assert 400 * megabyte <= size <= 450 * megabyte
    assert 2 * size <= 900 * megabyte


def test_a_network_writes_so_many_messages_whatever_their_size(make_limited_app: MakeApp) -> None:
    app = make_limited_app()
    session = sessions.session_for(users.new_user("Uma", "uma@example.org", "user", None))
    chat, written = chat_document(), 0
    with app.app_context(), quotas.writing_from(network_of("192.0.2.1")):
        for _ in range(600):
            try:
                quotas.count_message(session, chat, "Hi")
                written += 1
            except errors.TooManyRequests:
                continue
    assert written == 500


def test_a_guest_without_a_chat_expires_and_one_with_a_chat_stays(
    app: Flask, make_session: MakeSession, database: Database[Document]
) -> None:
    idle, busy, user = make_session("guest"), make_session("guest"), make_session()
    chats.create(busy, "Help")
    with clock.frozen(clock.now() + timedelta(days=2)):
        expiry._next_purges.current.clear()
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
