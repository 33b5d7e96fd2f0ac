"""A password that is refused changes nothing: the link, the old password, the sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from chatapi.domain import errors
from chatapi.domain.enums import Role
from chatapi.realtime.hashing_pool import FIRST, LAST, SECOND
from chatapi.services import accounts, credentials, passwords, sessions
from chatapi.store import users
from chatapi.store.disk import FreeSpace, StorageFull, free_space
from tests.conftest import CLIENT, PASSWORD, MakeSession, MakeUser

NEW = "a quite new password"
Refuse = Callable[[pytest.MonkeyPatch], type[Exception]]


def hash_queue_full(patch: pytest.MonkeyPatch) -> type[Exception]:
    """Let the next hash be refused; comparing a password with a hash goes on."""

    def make(*_: object) -> str:
        raise errors.ServiceBusy(retryAfter=2)

    patch.setattr(passwords, "make", make)
    return errors.ServiceBusy


def disk_full(patch: pytest.MonkeyPatch) -> type[Exception]:
    """Let writes be refused, and deletions not, as between half of the reserve and all of it."""
    update = users.update

    def guarded(*arguments: Any) -> Any:
        free_space.current.require()
        return update(*arguments)

    patch.setattr(FreeSpace, "is_low", True)
    patch.setattr(users, "update", guarded)
    return StorageFull


REFUSALS = pytest.mark.parametrize("refuse", [hash_queue_full, disk_full])


@REFUSALS
def test_a_link_still_works_after_a_refusal(
    make_user: MakeUser, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    user = make_user()
    _, session = accounts.login(user["email"], PASSWORD, CLIENT)
    link, _ = credentials.make_link(make_session("admin"), user["_id"])
    with monkeypatch.context() as patch, pytest.raises(refuse(patch)):
        credentials.use_link(link, NEW)
    assert sessions.open_session(session) is not None
    accounts.login(user["email"], PASSWORD, CLIENT)
    credentials.use_link(link, NEW)
    assert sessions.open_session(session) is None
    accounts.login(user["email"], NEW, CLIENT)


@REFUSALS
def test_a_refused_change_ends_no_session_and_no_link(
    make_user: MakeUser, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    user = make_user()
    session, _ = accounts.login(user["email"], PASSWORD, CLIENT)
    _, other = accounts.login(user["email"], PASSWORD, CLIENT)
    link, _ = credentials.make_link(make_session("admin"), user["_id"])
    with monkeypatch.context() as patch, pytest.raises(refuse(patch)):
        credentials.change_password(session, PASSWORD, NEW)
    assert sessions.open_session(other) is not None
    assert credentials.link_user(link) is not None
    accounts.login(user["email"], PASSWORD, CLIENT)


@REFUSALS
def test_a_refused_command_ends_no_session_and_no_link(
    app: Flask, make_user: MakeUser, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch,
    refuse: Refuse,
) -> None:  # fmt: skip
    user = make_user()
    _, session = accounts.login(user["email"], PASSWORD, CLIENT)
    link, _ = credentials.make_link(make_session("admin"), user["_id"])
    with monkeypatch.context() as patch:
        refuse(patch)
        arguments = ["set-password", user["email"], "--password", NEW]
        assert app.test_cli_runner().invoke(args=arguments).exit_code == 1
    assert sessions.open_session(session) is not None
    assert credentials.link_user(link) is not None
    accounts.login(user["email"], PASSWORD, CLIENT)


def test_a_refused_upgrade_leaves_a_guest(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    guest, token = accounts.guest("Ana", "ana@example.org", CLIENT)
    with monkeypatch.context() as patch, pytest.raises(hash_queue_full(patch)):
        accounts.upgrade_guest(guest, NEW)
    now = sessions.open_session(token)
    assert now is not None
    assert now.role == "guest"
    accounts.upgrade_guest(now, NEW)


def test_a_sign_in_that_is_refused_at_its_end_leaves_no_session(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user()
    session, _ = accounts.login(user["email"], PASSWORD, CLIENT)

    def busy(*_: object) -> bool:
        raise errors.ServiceBusy(retryAfter=2)

    monkeypatch.setattr(passwords, "matches_now", busy)
    with pytest.raises(errors.ServiceBusy):
        accounts.login(user["email"], PASSWORD, CLIENT)
    assert [row["current"] for row in sessions.list_sessions(session)] == [True]


@pytest.mark.parametrize(("role", "expected"), [("admin", SECOND), ("user", LAST)])
def test_all_hashes_of_an_agent_come_before_those_of_others(
    make_user: MakeUser, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch,
    role: Role, expected: int,
) -> None:  # fmt: skip
    agent, user = make_session("admin"), make_user(role=role)
    run, priorities = passwords.pool.current.run, []

    def noted(priority: int, *work: Any) -> Any:
        priorities.append(priority)
        return run(priority, *work)

    monkeypatch.setattr(passwords.pool.current, "run", noted)
    monkeypatch.setattr(passwords, "is_outdated", lambda _: True)
    session, _ = accounts.login(user["email"], PASSWORD, CLIENT)
    credentials.change_password(session, PASSWORD, NEW)
    credentials.use_link(credentials.make_link(agent, user["_id"])[0], PASSWORD)
    assert len(priorities) == 6
    assert set(priorities) == {expected}
    priorities.clear()
    accounts.login(user["email"], PASSWORD, CLIENT, is_known_device=True)
    assert set(priorities) == {FIRST}
