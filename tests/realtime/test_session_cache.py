"""Sessions that are known without asking: never one that the database tells has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask

from chatapi.domain import clock
from chatapi.domain.documents import StoredSession, User
from chatapi.realtime import followers
from chatapi.realtime import session_cache as module
from chatapi.realtime.session_cache import SessionCache, session_cache
from chatapi.services import accounts, credentials, users
from chatapi.services.sessions import (
    ClientInfo,
    Session,
    logout,
    open_session,
    revoke_session,
    revoke_token,
)
from chatapi.store import changes, sessions
from chatapi.store.database import Document
from tests.conftest import MakeSession

SignIn = Callable[[], tuple[Session, str]]


@pytest.fixture(autouse=True)
def delivered(app: Flask) -> Iterator[None]:
    """The database tells of every change, as far as the test says so."""
    hear()
    yield
    session_cache.current._last_event_at = None
    session_cache.current._forget_all()


def hear() -> None:
    session_cache.current._last_event_at = time.monotonic()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The session ids that the database was asked for."""
    asked: list[str] = []
    real = sessions.with_user

    def with_user(session_id: str) -> tuple[StoredSession, User] | None:
        asked.append(session_id)
        return real(session_id)

    monkeypatch.setattr(sessions, "with_user", with_user)
    return asked


@pytest.fixture
def sign_in(app: Flask) -> SignIn:
    return lambda: accounts.register(
        "Ada", f"ada-{time.monotonic_ns()}@example.com", "a long password", ClientInfo()
    )


def test_a_session_is_read_once_while_the_database_tells(sign_in: SignIn, reads: list[str]) -> None:
    session, token = sign_in()
    assert open_session(token) == open_session(token) == session
    assert len(reads) == 1


def test_without_news_from_the_database_each_request_reads(
    sign_in: SignIn, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = sign_in()
    open_session(token)
    monkeypatch.setattr(
        session_cache.current, "_last_event_at", time.monotonic() - module.FRESH_SECONDS
    )
    open_session(token)
    open_session(token)
    assert len(reads) == 3


def test_what_ends_elsewhere_is_forgotten_when_it_is_told(sign_in: SignIn) -> None:
    session, token = sign_in()
    open_session(token)
    sessions.delete(session.id)  # By another process.
    session_cache.current._dispatch(("access", {"_id": session.id}))
    assert open_session(token) is None
    assert not session_cache.current._of_user


def test_a_user_who_changed_is_read_anew(sign_in: SignIn, reads: list[str]) -> None:
    session, token = sign_in()
    _, other = sign_in()
    open_session(token)
    open_session(other)
    session_cache.current._dispatch(("access", {"_id": session.user_id}))
    open_session(token)
    open_session(other)
    assert len(reads) == 3


def test_collections_that_are_dropped_leave_nothing_known(sign_in: SignIn) -> None:
    session, token = sign_in()
    open_session(token)
    sessions.delete(session.id)
    session_cache.current._dispatch(("access", {}))
    assert open_session(token) is None


def test_what_this_process_ends_is_over_at_once(sign_in: SignIn, make_session: MakeSession) -> None:
    admin = make_session("admin")
    for end in (
        lambda session, _: logout(session),
        lambda _, token: revoke_token(token),
        lambda session, _: revoke_session(session, str(session.public_id)),
        lambda session, _: users.update_user(admin, session.user_id, {"disabled": True}),
    ):
        session, token = sign_in()
        assert open_session(token) == session
        end(session, token)
        assert open_session(token) is None


def test_a_new_password_ends_the_other_known_sessions(sign_in: SignIn) -> None:
    session, token = sign_in()
    _other, other_token = accounts.login(session.email, "a long password", ClientInfo())
    assert open_session(token)
    assert open_session(other_token)
    credentials.change_password(session, "a long password", "another password")
    assert open_session(token) == session
    assert open_session(other_token) is None


def test_a_new_role_holds_at_once(sign_in: SignIn, make_session: MakeSession) -> None:
    admin = make_session("admin")
    session, token = sign_in()
    open_session(token)
    users.update_user(admin, session.user_id, {"role": "admin", "name": "Grace"})
    changed = open_session(token)
    assert changed is not None
    assert (changed.role, changed.name) == ("admin", "Grace")


def test_an_end_during_the_reading_is_not_overlooked(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    _session, token = sign_in()
    real = sessions.with_user

    def with_user(session_id: str) -> tuple[StoredSession, User] | None:
        found = real(session_id)
        sessions.delete(session_id)
        session_cache.current._dispatch(("access", {"_id": session_id}))
        return found

    monkeypatch.setattr(sessions, "with_user", with_user)
    open_session(token)
    monkeypatch.setattr(sessions, "with_user", real)
    assert open_session(token) is None


def test_one_that_has_run_out_is_read_anew(sign_in: SignIn, reads: list[str]) -> None:
    session, token = sign_in()
    open_session(token)
    session_cache.current._known[session.id][0]["expiresAt"] = clock.now() - timedelta(seconds=1)
    # Another process has prolonged it.
    assert open_session(token) is not None
    assert len(reads) == 2


def test_a_known_session_is_touched_now_and_then(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, token = sign_in()
    open_session(token)
    session_cache.current._known[session.id][0]["lastSeenAt"] -= timedelta(minutes=6)
    touched: list[str] = []
    monkeypatch.setattr(sessions, "touch", lambda session_id, *_: touched.append(session_id))
    open_session(token)
    open_session(token)
    assert touched == [session.id]


def test_what_is_known_is_bounded_and_holds_no_password(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    for _ in range(5):
        _, token = sign_in()
        open_session(token)
        assert len(session_cache.current._known) <= 2
        assert set().union(*session_cache.current._of_user.values()) == set(
            session_cache.current._known
        )
    assert "passwordHash" not in str(session_cache.current._known)


def test_it_hears_of_changes_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop: an interruption forgets everything and begins again."""
    delivered: list[object] = []
    done = threading.Event()

    class Stream:
        has_more = False

        def __init__(self, watched: Document) -> None:
            assert watched is changes.ACCESS
            self.first = True

        def next(self) -> changes.Change | None:
            if len(delivered) == 2:
                done.set()
                time.sleep(60)
            if self.first:
                self.first = False
                return "access", {"_id": "a session"}
            raise ConnectionError

        def close(self) -> None:
            pass

    monkeypatch.setattr(changes, "Stream", Stream)
    monkeypatch.setattr(followers, "MAX_PAUSE", 0.01)
    fresh = SessionCache()
    fresh.on_change = delivered.append
    monkeypatch.setattr(sessions, "with_user", lambda _: None)
    fresh.may_follow = True
    for _ in range(3):  # It follows from the first one on, once.
        assert fresh.find("a session") is None
    assert done.wait(5)
    assert delivered == ["a session", "a session"]
    assert fresh.generation == 2
    assert fresh.is_fresh
