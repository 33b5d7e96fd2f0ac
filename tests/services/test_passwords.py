"""Password hashes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatapi.services import passwords


@pytest.fixture(autouse=True)
def _cheap() -> None:
    passwords.configure(1, 8)


@pytest.mark.parametrize("password", ["a password", " a password ", "пароль", "🔑" * 200, "\0\0\0"])
def test_a_password_matches_its_own_hash_and_no_other(password: str) -> None:
    made = passwords.make(password)
    assert made.startswith("$argon2id$")
    assert password not in made
    assert passwords.matches(made, password)
    assert not passwords.matches(made, password + "x")
    assert not passwords.matches(made, "")


def test_equal_passwords_have_different_hashes() -> None:
    assert passwords.make("a password") != passwords.make("a password")


@pytest.mark.parametrize("stored", [None, "", "plain text", "$argon2id$broken"])
def test_nothing_matches_what_is_no_hash(stored: str | None) -> None:
    for password in ("", "plain text", "no account has this password"):
        assert not passwords.matches(stored, password)


def test_a_hash_of_another_cost_still_matches_and_is_outdated() -> None:
    made = passwords.make("a password")
    assert not passwords.is_outdated(made)
    passwords.configure(2, 8)
    assert passwords.matches(made, "a password")
    assert passwords.is_outdated(made)


def test_a_wrong_password_raises_nothing_in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent would write the traceback of whatever its threads raise to stderr."""
    known = passwords.make("the right password")
    raised: list[BaseException] = []

    def apply(work: Callable[..., bool], *arguments: object, priority: int = 0) -> bool:
        try:
            return work(*arguments)
        except BaseException as error:
            raised.append(error)
            raise

    monkeypatch.setattr(passwords, "_run_in_pool", apply)
    assert passwords.matches(known, "the right password")
    assert not passwords.matches(known, "another")
    assert not passwords.matches("no hash at all", "another")
    assert not raised
