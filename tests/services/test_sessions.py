"""Sessions: their life, their list and their end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from bson import ObjectId
from pymongo.database import Database

from chatapi.domain import clock, errors
from chatapi.services import accounts, sessions, users
from chatapi.services.sessions import ClientInfo
from chatapi.store import sessions as stored_sessions
from chatapi.store.database import Document
from tests.conftest import CLIENT, PASSWORD, MakeSession
from tests.services.conftest import Meanwhile, registered


@pytest.fixture(autouse=True)
def _app(app: Any) -> None:
    """Cheap password hashes: the application sets their cost."""


@pytest.mark.parametrize("token", ["", "x", "None", "0" * 64, "a" * 5000, "\0", "😀"])
def test_a_made_up_token_opens_nothing(token: str) -> None:
    registered()
    assert sessions.open_session(token) is None


def test_what_is_stored_of_a_session_opens_nothing(database: Database[Document]) -> None:
    session, _ = registered()
    (row,) = database["sessions"].find()
    for value in (row["_id"], str(row["publicId"]), session.id):
        assert sessions.open_session(value) is None


def test_a_session_ends_when_it_is_not_used() -> None:
    _, token = registered()
    idle = sessions.lifetimes.current.idle
    with time_machine.travel(clock.now() + idle - timedelta(seconds=2), tick=False):
        assert sessions.open_session(token) is not None
    _, unused = accounts.login("ana@example.org", PASSWORD, CLIENT)
    with time_machine.travel(clock.now() + idle, tick=False):
        assert sessions.open_session(unused) is None


def test_use_keeps_a_session_alive_but_not_for_ever() -> None:
    start = clock.now()
    with time_machine.travel(start, tick=False) as time:
        _, token = registered()
        step = sessions.lifetimes.current.idle - timedelta(seconds=1)
        uses = 0
        while sessions.open_session(token) is not None:
            uses += 1
            time.shift(step)
        assert clock.now() - start >= sessions.lifetimes.current.absolute
        assert uses > 2


def test_a_session_is_touched_every_five_minutes_at_most(database: Database[Document]) -> None:
    with time_machine.travel(clock.now(), tick=False) as time:
        _, token = registered()
        begun = clock.now()
        time.shift(299)
        sessions.open_session(token)
        assert database["sessions"].find_one()["lastSeenAt"] == begun  # type: ignore[index]
        time.shift(1)
        sessions.open_session(token)
        assert database["sessions"].find_one()["lastSeenAt"] == clock.now()  # type: ignore[index]


def test_a_session_that_is_used_goes_on_however_short_its_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions.lifetimes.current, "idle", timedelta(seconds=30))
    with time_machine.travel(clock.now(), tick=False) as time:
        _, token = registered()
        for _ in range(10):
            time.shift(20)
            assert sessions.open_session(token) is not None
        time.shift(30)
        assert sessions.open_session(token) is None


def test_a_session_tells_what_the_user_is_now(make_session: MakeSession) -> None:
    session, token = registered()
    users.update_user(make_session("admin"), session.user_id, {"role": "admin", "name": "Ada"})
    now = sessions.open_session(token)
    assert now is not None
    assert (now.role, now.name) == ("admin", "Ada")


def test_a_session_without_its_user_opens_nothing(database: Database[Document]) -> None:
    session, token = registered()
    database["users"].delete_one({"_id": session.user_id})
    assert sessions.open_session(token) is None


def test_logging_out_ends_this_session_only() -> None:
    first, token = registered()
    _, other = accounts.login("ana@example.org", PASSWORD, CLIENT)
    sessions.logout(first)
    assert sessions.open_session(token) is None
    assert sessions.open_session(other) is not None
    sessions.revoke_token(other)
    assert sessions.open_session(other) is None


def test_one_lists_ones_own_live_sessions() -> None:
    accounts.register("Bob", "bob@example.org", PASSWORD, CLIENT)
    first, _ = registered()
    client = ClientInfo("x" * 1000, "192.0.2.1")
    second, _ = accounts.login("ana@example.org", PASSWORD, client)
    listed = sessions.list_sessions(second)
    assert {row["_id"] for row in listed} == {first.public_id, second.public_id}
    assert [row["_id"] for row in listed if row["current"]] == [second.public_id]
    (current,) = [row for row in listed if row["current"]]
    assert (len(current["userAgent"]), current["address"]) == (300, "192.0.2.1")
    with time_machine.travel(clock.now() + sessions.lifetimes.current.idle, tick=False):
        assert sessions.list_sessions(second) == []


def test_one_ends_ones_own_session_by_its_public_id() -> None:
    first, token = registered()
    second, _ = accounts.login("ana@example.org", PASSWORD, CLIENT)
    sessions.revoke_session(second, str(first.public_id))
    assert sessions.open_session(token) is None
    assert len(sessions.list_sessions(second)) == 1


@pytest.mark.parametrize("which", ["another's", "unknown", "secret", "zz", None])
def test_one_ends_no_other_session(which: str | None) -> None:
    mine, _ = registered()
    theirs, token = accounts.register("Bob", "bob@example.org", PASSWORD, CLIENT)
    public_id = {
        "another's": str(theirs.public_id),
        "unknown": str(ObjectId()),
        "secret": mine.id,
    }.get(which or "", which)
    with pytest.raises(errors.SessionNotFound):
        sessions.revoke_session(mine, public_id)
    assert sessions.open_session(token) is not None


def test_a_session_begun_while_its_user_is_disabled_opens_nothing(
    make_session: MakeSession, meanwhile: Meanwhile
) -> None:
    agent = make_session("admin")
    session, _ = registered()
    meanwhile(
        stored_sessions,
        "insert",
        before=lambda: users.update_user(agent, session.user_id, {"disabled": True}),
    )
    _, token = accounts.login("ana@example.org", PASSWORD, CLIENT)
    assert sessions.open_session(token) is None
