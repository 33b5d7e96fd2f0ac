"""Limits of password attempts. `docs/limits.md` has the reasons and the bounds.

One network has a hard limit at one account. Over all networks an account has a growing delay
only, so that no stranger can lock its owner out; a device that has signed in before is exempt.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple, NoReturn

from flask import Flask, current_app
from limits import RateLimitItem
from limits.storage import Storage

from chatapi.domain.errors import InvalidInput, TooManyAttempts, WrongCredentials
from chatapi.domain.networks import Network
from chatapi.domain.runtime import PerApp
from chatapi.http.counters import (
    PREFIX,
    Counters,
    WorkerMemory,
    database_counters,
    network_limits,
    parsed,
)

HOUR = 3600
FREE_ATTEMPTS = 5  # at an account in an hour, before the delay begins
MAX_DELAY = 30
# A network that has not guessed at the account lately, and waits as long as it was asked to,
# comes before those that have: the owner on a new device must not race a crowd for each slot.
MAX_TICKET_DELAY = 20
TICKET_TTL = 30  # after that delay
MAX_EARLY = 3  # attempts before it is over; with more the ticket is void
TICKETS_PER_HOUR = 350
TICKETS_PER_NETWORK = 3  # one, once half of the hour's tickets are used


class Place(NamedTuple):
    """A named counter with its own length."""

    name: str
    seconds: int
    is_for_one: bool = False  # Only the first one that counts gets it.


class LoginAttempts:
    """Counts password attempts, exactly and across all worker processes.


    make -- returns the storage of the counters.
    """

    def __init__(self, make: Callable[[], Storage] = WorkerMemory) -> None:
        self._make = make
        self._made: Counters | None = None
        self._making = threading.Lock()

    @property
    def counters(self) -> Counters:
        """The counters, connected on first use, because most commands need none."""
        with self._making:
            if self._made is None:
                self._made = Counters(self._make())
            return self._made

    @contextmanager
    def sign_in(self, account: str, network: Network, device: str | None) -> Iterator[None]:
        """Count the sign-in in the block, unless the password was correct.

        account -- one spelling of the e-mail. device -- the id of a device that is known to
        belong to the account. Raises TooManyAttempts.
        """
        if not current_app.config["RATELIMIT_ENABLED"]:
            yield
            return
        limit = current_app.config["LIMIT_LOGIN_ACCOUNT"]
        counted: list[tuple[RateLimitItem, str]]
        shared: list[tuple[RateLimitItem, str]]
        turn: list[Place] = []
        if device is not None:
            counted = [(parsed(limit), f"device:{device}:{account}")]
            shared = []
        else:
            counted = [
                (item, f"login:{account}:{name}") for item, name in network_limits(limit, network)
            ]
            # Last, so that a rejected attempt at one account does not use up an office's shared
            # limit.
            shared = network_limits(current_app.config["LIMIT_LOGIN_ADDRESS"], network)
            for item, key in (*counted, *shared):
                if self.counters.count(item, "login", key) >= item.amount:
                    self._refuse(item, key)
            turn = self._take_turn(account, network)
        begun = monotonic()
        try:
            self._add([*counted, *shared])
            yield
        except WrongCredentials:
            raise
        except TooManyAttempts:
            # Other attempts of the network came in between: the password was not checked.
            self._give_back(turn, begun)
            raise
        except Exception:
            # The password was correct, or was not checked.
            self._undo_attempt([*counted, *shared], 1)
            self._give_back(turn, begun)
            raise
        self._reset_attempts(counted, account, device)

    @contextmanager
    def password_change(self, user_id: str) -> Iterator[None]:
        """Count a change of a password by the account's id. Raises TooManyAttempts."""
        if not current_app.config["RATELIMIT_ENABLED"]:
            yield
            return
        counted = [(parsed(current_app.config["LIMIT_LOGIN_ACCOUNT"]), f"password:{user_id}")]
        self._add(counted)
        try:
            yield
        except InvalidInput:
            raise
        except Exception:
            self.counters.add(counted[0][0], "login", counted[0][1], amount=-1)
            raise
        self.counters.clear(counted[0][0], "login", counted[0][1])

    def _add(self, counted: list[tuple[RateLimitItem, str]]) -> None:
        for item, key in counted:
            if self.counters.add(item, "login", key) > item.amount:
                self._refuse(item, key)

    def _refuse(self, item: RateLimitItem, key: str) -> NoReturn:
        raise TooManyAttempts(retryAfter=self.counters.seconds_left(item, "login", key))

    def _reset_attempts(
        self, counted: list[tuple[RateLimitItem, str]], account: str, device: str | None
    ) -> None:
        """Reset the attempts of this network or device at the account."""
        item, key = counted[0]
        tried = self.counters.count(item, "login", key)
        self._undo_attempt(counted, tried)
        if device is None:
            self._step(Place(f"tries:{account}", HOUR), -tried)

    def _undo_attempt(self, counted: list[tuple[RateLimitItem, str]], tried: int) -> None:
        for item, key in counted:
            self.counters.add(item, "login", key, amount=-tried)

    # The delay of an account over all networks

    def _take_turn(self, account: str, network: Network) -> list[Place]:
        """Admit one attempt. Raises TooManyAttempts with the time to wait.

        Return the places it was counted in, which `_give_back` takes.
        """
        tries = Place(f"tries:{account}", HOUR)
        number = self._step(tries)
        if number <= FREE_ATTEMPTS:
            return [tries]
        delay = min(MAX_DELAY, 2 ** min(number - FREE_ATTEMPTS - 1, 10))
        slot = Place(f"slot:{account}", delay, is_for_one=True)
        if self._step(slot) == 1:
            return [tries, slot]
        self._step(tries, -1)
        # The delay that the attempt before this one began.
        present = min(MAX_DELAY, 2 ** max(0, min(number - FREE_ATTEMPTS - 2, 10)))
        return self._use_ticket(account, network.site or network.name, Place(slot.name, present))

    def _give_back(self, turn: list[Place], begun: float) -> None:
        """Undo the counts of an admitted attempt whose windows have not ended."""
        waited = monotonic() - begun
        for place in turn:
            # A slot may be over, or another attempt's by now.
            count = self._count(place)
            if waited < place.seconds and count > 0:
                self._step(place, -count if place.is_for_one else -1)

    def _use_ticket(self, account: str, network: str, slot: Place) -> list[Place]:
        delay = min(slot.seconds, MAX_TICKET_DELAY)
        used = Place(f"used:{account}:{network}", HOUR)
        lane = Place(f"lane:{account}", HOUR)
        allowed = TICKETS_PER_NETWORK if self._count(lane) < TICKETS_PER_HOUR // 2 else 1
        if self._count(used) >= allowed:
            self._wait(slot)
        ticket = Place(f"ticket:{account}:{network}", delay + TICKET_TTL)
        pause = Place(f"pause:{account}:{network}", delay)
        number = self._step(ticket)
        if number == 1:
            self._step(pause)
            self._wait(pause)
        if self._count(pause):
            self._wait(pause)
        if number > 1 + MAX_EARLY:
            self._wait(ticket)
        # One ticket lets one attempt through, whichever of several comes first.
        taken = Place(f"taken:{account}:{network}", delay + TICKET_TTL, is_for_one=True)
        if (
            self._step(taken) > 1
            or self._step(used) > allowed
            or self._step(lane) > TICKETS_PER_HOUR
        ):
            self._wait(slot)
        return [ticket, taken, used, lane]

    def _wait(self, place: Place) -> NoReturn:
        left = self.counters.storage.get_expiry(_key(place)) - time.time()
        seconds = max(1, min(MAX_DELAY, math.ceil(left)))
        raise TooManyAttempts(retryAfter=seconds)

    def _step(self, place: Place, amount: int = 1) -> int:
        return int(self.counters.storage.incr(_key(place), place.seconds, amount))

    def _count(self, place: Place) -> int:
        return self.counters.storage.get(_key(place))


def _key(place: Place) -> str:
    return f"{PREFIX}/login/{place.name}"


def attempts_key(account: str) -> str:
    """Return the key of the counter for attempts at an account."""
    return _key(Place(f"tries:{account}", HOUR))


login_attempts = PerApp(LoginAttempts)


def init_app(app: Flask, shared: bool) -> None:
    """Count in the app's database, or in memory if the database is mongomock."""
    make = functools.partial(database_counters, app.config) if shared else WorkerMemory
    login_attempts.set(LoginAttempts(make))
