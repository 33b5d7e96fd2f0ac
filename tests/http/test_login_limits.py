"""Guesses at one account from one network, one /64 and 1,000 networks, with a moved clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from pymongo.database import Database

from chatapi import create_app
from chatapi.domain import errors
from chatapi.domain.networks import network_of
from chatapi.http.counters import Counters, WorkerMemory
from chatapi.http.login_limits import LoginAttempts
from chatapi.store.database import Document
from config import TestConfig
from tests.http.test_counters import Clock

ACCOUNT = "ana@example.org"


class Simulation:
    """Sign-in attempts at one account, at moments that a test chooses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        memory = WorkerMemory()
        memory.monotonic = self.clock
        monkeypatch.setattr("chatapi.http.counters.time.time", self.clock)
        monkeypatch.setattr("chatapi.http.login_limits.monotonic", self.clock)
        self.attempts = LoginAttempts()
        self.attempts._made = Counters(memory)

    def guess(self, address: str) -> int:
        """Try a wrong password; return the seconds to wait, or 0 if it was looked at."""
        try:
            with self.attempts.sign_in(ACCOUNT, network_of(address), None):
                raise errors.WrongCredentials
        except errors.TooManyAttempts as error:
            return error.retry_after or 0
        except errors.WrongCredentials:
            return 0

    def owner(self, address: str) -> int:
        """Try the right password; return the seconds to wait, or 0 if it was looked at."""
        try:
            with self.attempts.sign_in(ACCOUNT, network_of(address), None):
                return 0
        except errors.TooManyAttempts as error:
            return error.retry_after or 0

    def refused(self, address: str, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Find the queue of hashes full; return what `guess` returns."""
        try:
            with self.attempts.sign_in(ACCOUNT, network_of(address), None):
                meanwhile()
                raise errors.ServiceBusy(retryAfter=2)
        except errors.TooManyAttempts as error:
            return error.retry_after or 0
        except errors.ServiceBusy:
            return 0

    def counts(self) -> dict[str, int]:
        """Return all counts that are not 0 in a window that is not over."""
        storage = self.attempts.counters.storage
        assert isinstance(storage, WorkerMemory)
        found = {key: storage.get(key) for key in list(storage.storage)}
        return {key: count for key, count in found.items() if count}


@pytest.fixture
def simulation(
    monkeypatch: pytest.MonkeyPatch, database: Database[Document]
) -> Iterator[Simulation]:
    app: Flask = create_app(TestConfig, database=database, RATELIMIT_ENABLED=True)
    with app.app_context():
        yield Simulation(monkeypatch)


def test_the_delay_grows_to_half_a_minute(simulation: Simulation) -> None:
    waits = []
    for number in range(40):
        simulation.clock.now += 0.001
        wait = simulation.guess(f"192.0.2.{number}")
        if wait:
            waits.append(wait)
            simulation.clock.now += wait
            assert simulation.guess(f"192.0.2.{number}") == 0
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert max(waits) <= 30


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:1:2::{:x}"])
def test_one_network_guesses_at_most_130_times_an_hour(
    simulation: Simulation, address: str
) -> None:
    end, guesses, number = simulation.clock.now + 3600, 0, 0
    while simulation.clock.now < end:
        number += 1
        wait = simulation.guess(address.format(number))
        guesses += wait == 0
        simulation.clock.now += max(1, wait)
    assert 10 <= guesses <= 130


@pytest.mark.parametrize("patient", [False, True])
def test_a_thousand_networks_guess_at_most_a_thousand_times_an_hour(
    simulation: Simulation, patient: bool
) -> None:
    # Patient: each network comes again when it was asked to. Else ten come each second.
    start = simulation.clock.now
    due = dict.fromkeys(range(1000), start)
    guesses, number = 0, 0
    for _ in range(1200):
        simulation.clock.now += 3
        now = simulation.clock.now
        for _ in range(10):
            network = min(due, key=due.__getitem__) if patient else number % 1000
            number += 1
            if due[network] > now:
                break
            wait = simulation.guess(f"10.0.{network // 250}.{network % 250}")
            guesses += wait == 0
            due[network] = now + max(3, wait) if patient else now
    assert simulation.clock.now - start == 3600
    assert 100 <= guesses <= 1000


def test_the_owner_signs_in_within_thirty_seconds_at_a_new_device_meanwhile(
    simulation: Simulation,
) -> None:
    for second in range(900):
        for number in range(20):
            network = (second * 20 + number) % 1000
            simulation.guess(f"10.0.{network // 250}.{network % 250}")
        simulation.clock.now += 1
    waited, due = 0, 0
    while True:
        for number in range(20):
            network = (waited * 20 + number) % 1000
            simulation.guess(f"10.0.{network // 250}.{network % 250}")
        if waited >= due:
            wait = simulation.owner("203.0.113.7")
            if wait == 0:
                break
            due = waited + wait
        waited += 1
        simulation.clock.now += 1
    assert waited <= 30


def test_an_attempt_that_was_not_looked_at_counts_nowhere(simulation: Simulation) -> None:
    assert simulation.refused("192.0.2.1") == 0
    assert simulation.counts() == {}
    for number in range(6):
        assert simulation.guess(f"192.0.2.{number}") == 0
    simulation.clock.now += 1
    before = simulation.counts()
    # It had the slot of the delay, which another finds taken meanwhile and has at once then.
    assert simulation.refused("192.0.2.9") == 0
    assert simulation.counts() == before

    def another_finds_it_taken() -> None:
        assert simulation.guess("192.0.2.11") > 0

    assert simulation.refused("192.0.2.9", another_finds_it_taken) == 0
    assert simulation.guess("192.0.2.9") == 0
    assert simulation.guess("192.0.2.10") > 0


def test_a_ticket_is_good_again_after_an_attempt_that_was_not_looked_at(
    simulation: Simulation,
) -> None:
    for number in range(11):
        simulation.clock.now += 30
        assert simulation.guess(f"192.0.2.{number}") == 0
    wait = simulation.guess("203.0.113.7")
    simulation.clock.now += wait
    before = simulation.counts()
    for _ in range(10):
        assert simulation.refused("203.0.113.7") == 0
    # Each found the slot taken first, which counts for nothing.
    slot = "chat/login/slot:ana@example.org"
    assert simulation.counts() | {slot: 0} == before | {slot: 0}
    assert simulation.guess("203.0.113.7") == 0
    assert simulation.guess("203.0.113.7") > 0


def test_a_slot_that_is_anothers_by_now_is_not_given_back(simulation: Simulation) -> None:
    for number in range(6):
        assert simulation.guess(f"192.0.2.{number}") == 0
    simulation.clock.now += 1

    def another_has_the_next() -> None:
        simulation.clock.now += 5
        assert simulation.guess("192.0.2.9") == 0

    assert simulation.refused("192.0.2.8", another_has_the_next) == 0
    assert simulation.guess("192.0.2.10") > 0


def test_a_slot_is_given_back_where_the_network_had_no_attempts_left(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        assert simulation.guess(f"192.0.2.{number}") == 0
    simulation.clock.now += 1
    with monkeypatch.context() as patch:
        # As when others of the network were counted since the first look.
        patch.setattr(
            simulation.attempts, "_add", lambda counted: simulation.attempts._refuse(*counted[0])
        )
        assert simulation.guess("192.0.2.9") > 0
    assert simulation.guess("192.0.2.10") == 0
