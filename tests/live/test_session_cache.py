"""Sessions that a worker knows without asking end at once everywhere, two gunicorns here."""

from __future__ import annotations

import time

import pytest

from chatapi.realtime.session_cache import FRESH_SECONDS
from tests.live.clients import Client, register, register_agent
from tests.servers import AppServer, DatabaseServer, start_app

END_WITHIN = 1.0


def elsewhere(who: Client, server: AppServer) -> Client:
    """Return the same token at another server, which knows it from then on."""
    there = Client(server, who.token, who.id)
    assert there.call("GET", "/api/auth/me")[0] == 200
    assert there.call("GET", "/api/auth/me")[0] == 200
    return there


def refused_within(who: Client, seconds: float) -> str:
    """Ask until refused and return the code; fail when that takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status, _, answer = who.call("GET", "/api/auth/me")
        if status == 401:
            return str(answer["code"])
        time.sleep(0.01)
    pytest.fail("The ended session is still believed.")


def test_a_session_that_ends_here_is_refused_there(
    live_server: AppServer, other_server: AppServer
) -> None:
    user, agent = register(live_server), register_agent(live_server)
    there = elsewhere(user, other_server)
    assert user.call("POST", "/api/auth/logout")[0] == 204
    assert user.call("GET", "/api/auth/me")[0] == 401
    assert refused_within(there, END_WITHIN) == "session_expired"
    disabled = register(live_server)
    there = elsewhere(disabled, other_server)
    path = f"/api/admin/users/{disabled.id}"
    assert agent.call("PATCH", path, {"disabled": True})[0] == 200
    assert disabled.call("GET", "/api/auth/me")[0] == 401
    assert refused_within(there, END_WITHIN) == "session_expired"


def test_a_demoted_agent_is_refused_there(live_server: AppServer, other_server: AppServer) -> None:
    agent, other = register_agent(live_server), register_agent(live_server)
    there = elsewhere(other, other_server)
    assert there.call("GET", "/api/admin/stats")[0] == 200
    path = f"/api/admin/users/{other.id}"
    assert agent.call("PATCH", path, {"role": "user"})[0] == 200
    end = time.monotonic() + END_WITHIN
    while there.call("GET", "/api/admin/stats")[0] != 403:
        assert time.monotonic() < end, "The former agent is still believed to be one."
        time.sleep(0.01)


@pytest.mark.long
def test_a_session_that_ended_while_the_database_was_away_is_refused(
    own_database: DatabaseServer,
) -> None:
    """What nobody could tell of is read anew."""
    with start_app(own_database.uri) as server, start_app(own_database.uri) as other:
        user = register(server)
        there = elsewhere(user, other)
        own_database.kill()
        own_database.start()
        user.insist(lambda: user.call("POST", "/api/auth/logout"))
        assert refused_within(there, FRESH_SECONDS + 1) == "session_expired"
