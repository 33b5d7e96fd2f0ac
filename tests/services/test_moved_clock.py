"""A clock that jumped ahead and was set back: no stored time of the future is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from bson import ObjectId

from chatapi.domain import clock
from chatapi.domain.documents import Person
from chatapi.services import accounts, credentials
from chatapi.services.sessions import open_session
from chatapi.store import maintenance, presence, sessions
from tests.conftest import CLIENT, MakeSession, MakeUser
from tests.documents import session_document

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
AHEAD = NOON + timedelta(days=31)
IDLE, ABSOLUTE = timedelta(days=7), timedelta(days=30)


def beat(process: str) -> None:
    person: Person = {"userId": ObjectId(), "name": process, "role": "admin", "chatId": None}
    presence.heartbeat(process, [person])


def test_a_process_that_was_there_in_the_future_is_not_there() -> None:
    with time_machine.travel(AHEAD, tick=False):
        beat("dead")
    with time_machine.travel(NOON, tick=False):
        beat("alive")
        since = NOON - timedelta(seconds=9)
        assert [person["name"] for person in presence.online_since(since)] == ["alive"]
    # Other hosts' clocks are a little ahead at times.
    with time_machine.travel(NOON - clock.TOLERANCE, tick=False):
        assert [person["name"] for person in presence.online_since(since)] == ["alive"]


def test_a_database_that_was_in_use_in_the_future_is_not_in_use() -> None:
    with time_machine.travel(AHEAD, tick=False):
        beat("dead")
        presence.emit("typing")
    with time_machine.travel(NOON, tick=False):
        assert not maintenance.in_use(NOON - timedelta(minutes=1))
        presence.emit("typing")
        assert maintenance.in_use(NOON - timedelta(minutes=1))


def test_a_session_of_the_future_lives_as_long_as_one_of_now() -> None:
    with time_machine.travel(AHEAD, tick=False):
        session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    with time_machine.travel(NOON, tick=False):
        found = open_session(token)
        assert found is not None
        assert found.expires_at == NOON + IDLE
        (row,) = sessions.of_user(session.user_id)
        assert row["lastSeenAt"] == NOON
        assert row["expiresAt"] == NOON + IDLE
        assert row["absoluteExpiresAt"] == NOON + ABSOLUTE
    with time_machine.travel(NOON + IDLE, tick=False):
        assert open_session(token) is None


def test_a_session_of_now_keeps_its_end_while_it_is_used() -> None:
    with time_machine.travel(NOON, tick=False):
        session, token = accounts.guest("Guest", "guest@example.org", CLIENT)
    with time_machine.travel(NOON + timedelta(days=6), tick=False):
        open_session(token)
        (row,) = sessions.of_user(session.user_id)
    assert row["absoluteExpiresAt"] == NOON + ABSOLUTE
    assert row["lastSeenAt"] == NOON + timedelta(days=6)


def test_a_use_in_the_future_keeps_no_session_before_one_of_now(make_session: MakeSession) -> None:
    user_id = make_session().user_id
    sessions.delete_of_user(user_id)
    with time_machine.travel(NOON + IDLE, tick=False):
        for name, created, seen in [("ahead", NOON, AHEAD), ("now", NOON + IDLE, NOON + IDLE)]:
            times = {"createdAt": created, "lastSeenAt": seen, "expiresAt": AHEAD}
            sessions.insert(session_document(_id=name, userId=user_id, **times))
        assert sessions.delete_least_recent(user_id, 1, keep="") == ["ahead"]


@pytest.mark.parametrize("made_at", [AHEAD, NOON])
def test_a_link_of_the_future_opens_nothing(
    make_session: MakeSession, make_user: MakeUser, made_at: datetime
) -> None:
    agent, user = make_session("admin"), make_user()
    with time_machine.travel(made_at, tick=False):
        token, _ = credentials.make_link(agent, user["_id"])
    with time_machine.travel(NOON, tick=False):
        assert (credentials.link_user(token) is None) == (made_at > NOON)
