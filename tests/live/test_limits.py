"""What has to hold across worker processes at once: the sign-in limit, and the end of sessions."""

from __future__ import annotations

import http.client
import itertools
import json
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.database import Database

from chatapi.domain import clock, runtime
from chatapi.http.counters import DatabaseCounters
from chatapi.http.login_limits import FREE_ATTEMPTS
from chatapi.store import expiry
from chatapi.store.database import Document
from tests.conftest import PASSWORD
from tests.live.clients import Answer, Client, at_once, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app

ACCOUNT_LIMIT = 10
ADDRESS_LIMIT = 30
_addresses = itertools.count(1)


@pytest.fixture(scope="module")
def limited(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    """gunicorn with two workers and limits. One proxy is trusted: a test chooses its address."""
    settings = {
        "RATELIMIT_ENABLED": "true",
        "TRUSTED_PROXIES": "1",
        "LIMIT_LOGIN_ACCOUNT": f"{ACCOUNT_LIMIT} per 5 minutes",
        "LIMIT_LOGIN_ADDRESS": f"{ADDRESS_LIMIT} per 5 minutes",
        "LIMIT_REGISTER": "1000 per minute",
    }
    with start_app(database_server.uri, 2, settings) as server:
        yield server


@pytest.fixture
def server(limited: AppServer, live_database: Database[Document]) -> AppServer:
    """The same on an empty database: nobody has tried to sign in yet."""
    return limited


def new_address() -> str:
    number = next(_addresses)
    return f"198.51.{number // 250}.{number % 250}"


def sign_in(server: AppServer, email: str, password: str, forwarded: str) -> Answer:
    return server.request(
        "POST",
        "/api/auth/login",
        json={"email": email, "password": password},
        headers={"X-Forwarded-For": forwarded},
    )


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(status for status, _, _ in answers)


def test_an_account_under_guesses_from_everywhere_only_makes_its_owner_wait(
    server: AppServer,
) -> None:
    email = register(server).call("GET", "/api/auth/me")[2]["email"]
    attempts = [partial(sign_in, server, email, "guess", new_address()) for _ in range(24)]
    answers = at_once(attempts)
    admitted = statuses(answers)[401]
    # Those that come together may find each other's turn taken; no more get one than may.
    assert 1 <= admitted <= FREE_ATTEMPTS + 4
    for status, headers, problem in answers:
        if status == 429:
            assert problem["code"] == "too_many_requests"
            assert 0 < int(headers["retry-after"]) <= 30
    begun, owner = time.monotonic(), new_address()
    while True:
        # However it is written, it is one account.
        status, headers, _ = sign_in(server, email.upper(), PASSWORD, owner)
        if status == 200:
            break
        assert status == 429
        time.sleep(int(headers["retry-after"]))
    assert time.monotonic() - begun <= 30


def test_forty_sign_ins_at_once_are_served_or_asked_to_wait(server: AppServer) -> None:
    email = register(server).call("GET", "/api/auth/me")[2]["email"]
    known = sign_in(server, email, PASSWORD, new_address())[2]["deviceToken"]
    others = [
        partial(sign_in, server, f"crowd{number}@example.org", "guess", new_address())
        for number in range(40)
    ]
    body = {"email": email, "password": PASSWORD, "deviceToken": known}
    owner = partial(server.request, "POST", "/api/auth/login", json=body)
    answers = at_once([*others, owner])
    assert answers[-1][0] == 200
    assert set(statuses(answers[:-1])) <= {401, 503}
    for status, headers, problem in answers[:-1]:
        if status == 503:
            assert problem["code"] == "service_busy"
            assert int(headers["retry-after"]) >= 1


def test_signing_in_forgets_the_failures_of_that_network(server: AppServer) -> None:
    email = register(server).call("GET", "/api/auth/me")[2]["email"]
    address = new_address()
    for _ in range(3):
        assert sign_in(server, email, "guess", address)[0] == 401
        assert sign_in(server, email, PASSWORD, address)[0] == 200


def test_an_address_takes_exactly_so_many_attempts_whatever_it_forwards(
    server: AppServer,
) -> None:
    # The proxy appends the address it sees; what stands before it is the client's invention.
    address = new_address()
    attempts = [
        partial(
            sign_in, server, f"user{number}@example.org", "guess", f"{new_address()}, {address}"
        )
        for number in range(48)
    ]
    assert statuses(at_once(attempts)) == {401: ADDRESS_LIMIT, 429: 48 - ADDRESS_LIMIT}
    assert sign_in(server, "somebody@example.org", "guess", new_address())[0] == 401


def test_changing_the_password_counts_as_an_attempt(server: AppServer) -> None:
    user = register(server)
    body = {"current": "guess", "new": "another password"}
    answers = at_once([lambda: user.call("POST", "/api/auth/password", body)] * 16)
    assert statuses(answers) == {422: ACCOUNT_LIMIT, 429: 16 - ACCOUNT_LIMIT}


def test_without_a_trusted_proxy_the_forwarded_address_counts_for_nothing(
    database_server: DatabaseServer, live_database: Database[Document]
) -> None:
    settings = {"RATELIMIT_ENABLED": "true", "LIMIT_LOGIN_ADDRESS": "5 per 5 minutes"}
    with start_app(database_server.uri, 1, settings) as server:
        answers = [
            sign_in(server, f"user{number}@example.org", "guess", new_address())
            for number in range(8)
        ]
    assert statuses(answers) == {401: 5, 429: 3}


# Networks, as a proxy passes them on


@pytest.fixture(scope="module")
def guarded(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    """gunicorn with one worker behind a proxy, with low limits for what is not signed in."""
    settings = {
        "TRUSTED_PROXIES": "1",
        "LIMIT_GUEST": "3 per hour",
        "LIMIT_GUESTS_TOTAL": "100000 per hour",
        "LIMIT_UNKNOWN_TOKENS": "5 per hour",
    }
    with start_app(database_server.uri, 1, settings) as server:
        yield server


def from_each(
    server: AppServer, method: str, path: str, addresses: list[str], body: object = None
) -> Counter[int]:
    """Send a request for each address over one connection; count the statuses."""
    found: Counter[int] = Counter()
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for address in addresses:
        headers = {
            "X-Forwarded-For": f"{new_address()}, {address}",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {secrets.token_urlsafe(32)}",
        }
        link.request(method, path, json.dumps(body) if body else None, headers)
        answer = link.getresponse()
        answer.read()
        found[answer.status] += 1
    link.close()
    return found


@pytest.mark.parametrize(
    "addresses",
    [
        ["203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7:4711"] * 4,
        [f"2001:db8:7:7:{number:x}::1" for number in range(12)],
    ],
    ids=["one address", "one /64"],
)
def test_one_network_is_one_however_many_addresses_it_has(
    guarded: AppServer, live_database: Database[Document], addresses: list[str]
) -> None:
    guest = {"name": "Guest", "email": "guest@example.org"}
    found = from_each(guarded, "POST", "/api/auth/guest", addresses, guest)
    assert found == {201: 3, 429: 9}
    assert from_each(guarded, "GET", "/api/auth/me", addresses) == {401: 5, 429: 7}


@pytest.mark.long
def test_a_thousand_networks_have_a_limit_each_and_others_are_served_meanwhile(
    guarded: AppServer, live_database: Database[Document]
) -> None:
    networks = [f"100.{64 + number // 250}.{number % 250}.9" for number in range(1000)]
    assert from_each(guarded, "GET", "/api/auth/me", networks) == {401: 1000}
    # What one of them uses up is not another's.
    again = from_each(guarded, "GET", "/api/auth/me", networks[:1] * 10)
    assert again == {401: 4, 429: 6}
    assert from_each(guarded, "GET", "/api/auth/me", networks[1:20]) == {401: 19}
    # The /48 around them has sixteen times the limit of one.
    site = [f"2001:db8:9:{number:x}::1" for number in range(100)]
    assert from_each(guarded, "GET", "/api/auth/me", site) == {401: 80, 429: 20}


# Sessions that end, on every worker within a moment


def works(client: Client, times: int = 12) -> set[int]:
    """Ask so often that every worker has answered; each request is a new connection."""
    return {client.call("GET", "/api/auth/me")[0] for _ in range(times)}


def soon(answers: Callable[[], set[int]], wanted: set[int]) -> bool:
    """Tell whether every worker answers so within a second: the database tells them."""
    end = time.monotonic() + 1
    while answers() != wanted:
        if time.monotonic() > end:
            return False
    return True


def login(server: AppServer, client: Client) -> Client:
    """Sign the same person in once more."""
    email = client.call("GET", "/api/auth/me")[2]["email"]
    status, _, answer = sign_in(server, email, PASSWORD, new_address())
    assert status == 200
    return Client(server, answer["token"], client.id)


def test_a_revoked_session_ends_on_every_worker(server: AppServer) -> None:
    first = register(server)
    second = login(server, first)
    assert works(first) == works(second) == {200}
    listed = first.call("GET", "/api/auth/sessions")[2]
    (other,) = [row["_id"] for row in listed if not row["current"]]
    assert first.call("DELETE", f"/api/auth/sessions/{other}")[0] == 204
    assert soon(lambda: works(second), {401})
    assert works(first) == {200}


def test_logging_out_ends_the_session_on_every_worker(server: AppServer) -> None:
    user = register(server)
    assert user.call("POST", "/api/auth/logout")[0] == 204
    assert soon(lambda: works(user), {401})


def test_a_new_password_ends_the_other_sessions_on_every_worker(
    server: AppServer,
) -> None:
    first = register(server)
    second = login(server, first)
    body = {"current": PASSWORD, "new": "another password"}
    assert first.call("POST", "/api/auth/password", body)[0] == 204
    assert soon(lambda: works(second), {401})
    assert works(first) == {200}


def test_a_disabled_user_is_out_on_every_worker(server: AppServer) -> None:
    user, agent = register(server), register_agent(server)
    chat_id = user.open_chat()
    assert agent.call("PATCH", f"/api/admin/users/{user.id}", {"disabled": True})[0] == 200
    assert soon(lambda: works(user), {401})
    assert {user.send(chat_id, "Hello")[0] for _ in range(8)} == {401}


def test_an_agent_who_is_demoted_sees_no_other_chats_on_every_worker(
    server: AppServer,
) -> None:
    one, two = register_agent(server), register_agent(server)
    chat_id = register(server).open_chat()
    assert two.call("GET", f"/api/chat/{chat_id}")[0] == 200
    assert one.call("PATCH", f"/api/admin/users/{two.id}", {"role": "user"})[0] == 200
    chat = f"/api/chat/{chat_id}"
    assert soon(lambda: {two.call("GET", chat)[0] for _ in range(12)}, {403})
    assert {two.call("GET", "/api/admin/stats")[0] for _ in range(8)} == {403}


def test_an_idle_session_ends_on_every_worker(
    database_server: DatabaseServer, live_database: Database[Document]
) -> None:
    settings = {"RATELIMIT_ENABLED": "false", "SESSION_IDLE_SECONDS": "1"}
    with start_app(database_server.uri, 2, settings) as server:
        user = register(server)
        assert works(user, 2) == {200}
        time.sleep(1.1)
        assert works(user) == {401}


def test_attempts_that_count_no_more_are_removed(
    live_database: Database[Document],
    database_server: DatabaseServer,
) -> None:
    past, attempts = clock.now() - timedelta(seconds=1), live_database["attempts"]
    attempts.insert_many([{"_id": str(count), "count": 7, "expireAt": past} for count in range(3)])
    with counting(database_server, live_database) as storage:
        assert storage.incr("new", 60) == 1
    assert [row["_id"] for row in attempts.find()] == ["new"]


def test_an_attempt_is_counted_whatever_is_swept_meanwhile(
    live_database: Database[Document],
    database_server: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past, attempts = clock.now() - timedelta(seconds=1), live_database["attempts"]
    write, swept = Collection.update_one, list[int]()

    def sweep_first(*given: Any, **options: Any) -> Any:
        expiry._next_purges.current.clear()
        expiry.purge_expired(attempts, "expireAt")
        swept.append(attempts.count_documents({"_id": "key"}))
        return write(*given, **options)

    monkeypatch.setattr(Collection, "update_one", sweep_first)
    # Not swept before: it is the one that is counted up.
    expiry._next_purges.set({attempts.full_name: math.inf})
    attempts.insert_one({"_id": "key", "count": 7, "expireAt": past})
    with counting(database_server, live_database) as storage:
        assert [storage.incr("key", 60) for _ in range(3)] == [1, 2, 3]
    # What had expired went between the read and the write; what counts stayed.
    assert swept == [0, 1, 1]


def test_hits_of_many_at_once_are_counted_one_by_one(
    live_database: Database[Document], database_server: DatabaseServer
) -> None:
    with counting(database_server, live_database) as storage:
        with ThreadPoolExecutor(16, initializer=runtime.current().enter) as pool:
            counts = list(pool.map(lambda _: storage.incr("key", 60), range(64)))
        assert sorted(counts) == list(range(1, 65))
        assert storage.incr("key", 60, -4) == 60


def test_a_window_that_began_under_a_clock_that_was_ahead_ends_in_time(
    live_database: Database[Document], database_server: DatabaseServer
) -> None:
    ahead = clock.now() + timedelta(days=31)
    live_database["attempts"].insert_many(
        [{"_id": key, "count": 7, "expireAt": ahead, "seconds": 60} for key in ("read", "hit")]
    )
    with counting(database_server, live_database) as storage:
        assert storage.incr("hit", 60) == 8
        assert storage.get("read") == 7
        for key in ("read", "hit"):
            assert storage.get_expiry(key) <= time.time() + 60
    for row in live_database["attempts"].find():
        assert row["expireAt"] <= clock.now() + timedelta(seconds=60)


@contextmanager
def counting(server: DatabaseServer, database: Database[Document]) -> Iterator[DatabaseCounters]:
    """Count attempts as the product does."""
    storage = DatabaseCounters(
        server.uri,
        database_name=database.name,
        counter_collection_name="attempts",
        window_collection_name="attemptWindows",
    )
    yield storage
    storage.storage.close()
