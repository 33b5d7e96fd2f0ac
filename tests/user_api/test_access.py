"""Who may come in: one rule over all routes, so that none is forgotten."""

from __future__ import annotations

import pytest
from pymongo.database import Database

from chatapi.domain.enums import Role
from chatapi.store.database import Document
from tests.user_api.callers import (
    BODIES,
    MALFORMED_IDS,
    ROUTES,
    UNKNOWN_ID,
    Caller,
    MakeCaller,
    Route,
    refused,
    stored,
)

PUBLIC = {
    "GET /api/auth/csrf",
    "GET /api/config",
    "GET /api/docs",
    "GET /api/docs/static/<path:filename>",
    "GET /api/docs/static/v/<version>/<path:filename>",
    "GET /api/openapi.json",
    "GET /healthz",
    "GET /readyz",
    "POST /api/auth/guest",
    "POST /api/auth/login",
    "POST /api/auth/password/link",
    "POST /api/auth/register",
}
# What only agents may do with a chat; for the others it is not a question of whose chat.
AGENTS_ONLY = {"DELETE /api/chat/<chat_id>", "DELETE /api/chat/<chat_id>/messages/<int:seq>"}
CHAT_ROUTES = [route for route in ROUTES if "<chat_id>" in route.rule]
ADMIN_ROUTES = [
    route for route in ROUTES if str(route) in AGENTS_ONLY or route.rule.startswith("/api/admin/")
]
PRIVATE = [route for route in ROUTES if str(route) not in PUBLIC]


def test_the_public_routes_are_those_that_say_so() -> None:
    assert {str(route) for route in ROUTES} >= PUBLIC
    for route in ROUTES:
        if route.contract is not None:
            assert (route.contract.auth == "anyone") == (str(route) in PUBLIC), route
        else:
            assert str(route) in PUBLIC, route


@pytest.mark.parametrize("route", PRIVATE, ids=str)
def test_every_private_route_answers_401_without_a_session(route: Route, anonymous: Caller) -> None:
    answer = anonymous.call(route.method, route.path(), BODIES.get(str(route)))
    refused(answer, 401, "not_signed_in")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", PRIVATE, ids=str)
def test_every_private_route_answers_401_to_a_bad_token(route: Route, anonymous: Caller) -> None:
    body = BODIES.get(str(route))
    for header, code in (
        ("Bearer nonsense", "session_expired"),
        ("Bearer " + "x" * 5000, "session_expired"),
        ("Bearer \xe9\xff", "session_expired"),
        ("Bearer ", "not_signed_in"),
        ("Basic dXNlcjpwYXNz", "not_signed_in"),
    ):
        answer = anonymous.call(route.method, route.path(), body, headers={"Authorization": header})
        refused(answer, 401, code)


def test_a_401_comes_before_any_look_at_the_body(anonymous: Caller) -> None:
    refused(anonymous.send_raw("POST", "/api/chat", b"{"), 401, "not_signed_in")


@pytest.mark.parametrize("path", sorted({route.rule for route in ROUTES}))
def test_a_method_that_a_route_does_not_know_is_405_and_names_those_it_knows(
    path: str, admin: Caller
) -> None:
    known = {route.method for route in ROUTES if route.rule == path}
    (route, *_) = (route for route in ROUTES if route.rule == path)
    answer = admin.call("PUT", route.path())
    refused(answer, 405, "method_not_allowed")
    assert known <= set(answer.headers["Allow"].split(", "))


def test_an_unknown_address_is_404(user: Caller, anonymous: Caller) -> None:
    for path in ("/api/nothing", "/api", "/api/", "/api/chat/", "/api/chat/a/b/c"):
        refused(user.get(path), 404, "not_found")
        refused(anonymous.get(path), 404, "not_found")


@pytest.mark.parametrize("route", CHAT_ROUTES, ids=str)
@pytest.mark.parametrize("stranger", ["other", "guest"])
def test_nobody_reaches_somebody_elses_chat(
    route: Route,
    stranger: str,
    user: Caller,
    request: pytest.FixtureRequest,
    database: Database[Document],
) -> None:
    chat = user.open_chat(message="Private")
    person: Caller = request.getfixturevalue(stranger)
    before = stored(database)
    path = route.path(chat_id=chat["_id"])
    code = "admin_only" if route in ADMIN_ROUTES else "not_your_chat"
    answer = person.call(route.method, path, BODIES.get(str(route)))
    refused(answer, 403, code)
    assert "Private" not in answer.text
    assert stored(database) == before


@pytest.mark.parametrize("route", CHAT_ROUTES, ids=str)
def test_the_owner_or_an_agent_reaches_the_chat(route: Route, user: Caller, admin: Caller) -> None:
    chat = user.open_chat(message="Private")
    person = admin if route in ADMIN_ROUTES else user
    path = route.path(chat_id=chat["_id"])
    answer = person.call(route.method, path, BODIES.get(str(route)))
    assert answer.status_code in {200, 201, 204}, answer.text


@pytest.mark.parametrize("route", [route for route in PRIVATE if "<" in route.rule], ids=str)
def test_an_unknown_and_a_malformed_id_are_404(
    route: Route, admin: Caller, user: Caller, database: Database[Document]
) -> None:
    before = stored(database)
    agents_only = route in ADMIN_ROUTES
    for bad_id in (UNKNOWN_ID, *MALFORMED_IDS):
        path = route.path(chat_id=bad_id, user_id=bad_id, session_id=bad_id)
        for person in (admin,) if agents_only else (admin, user):
            answer = person.call(route.method, path, BODIES.get(str(route)))
            refused(answer, 404, "not_found")
    assert stored(database) == before


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=str)
@pytest.mark.parametrize("role", ["user", "guest"])
def test_a_route_for_agents_is_403_for_others_even_on_their_own(
    route: Route, role: Role, request: pytest.FixtureRequest, database: Database[Document]
) -> None:
    person: Caller = request.getfixturevalue(role)
    chat = person.open_chat(message="Mine")
    before = stored(database)
    path = route.path(chat_id=chat["_id"], user_id=person.id)
    answer = person.call(route.method, path, BODIES.get(str(route)))
    refused(answer, 403, "admin_only")
    assert stored(database) == before


def test_a_guests_token_opens_only_that_guests_chats(
    guest: Caller, make_caller: MakeCaller, user: Caller
) -> None:
    namesake = make_caller("guest")
    assert namesake.email == guest.email
    chat = guest.open_chat(message="Mine")
    user.open_chat(message="Not mine")
    assert [row["_id"] for row in guest.get("/api/chat").json] == [chat["_id"]]
    assert guest.get(f"/api/chat/{chat['_id']}").status_code == 200
    assert namesake.get("/api/chat").json == []
    refused(namesake.get(f"/api/chat/{chat['_id']}"), 403, "not_your_chat")


def test_options_and_head_give_nothing_away(anonymous: Caller, user: Caller) -> None:
    chat = user.open_chat(message="Private")
    path = f"/api/chat/{chat['_id']}"
    assert anonymous.call("HEAD", path).status_code == 401
    answer = user.call("HEAD", path)
    assert answer.status_code == 200
    assert answer.data == b""
    assert anonymous.call("OPTIONS", path).data == b""


def test_a_doubled_slash_is_not_found_and_sends_nobody_elsewhere(user: Caller) -> None:
    for path in ("/api//chat", "/api/chat//messages", "/admin//users"):
        answer = user.client.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 404
        assert "Location" not in answer.headers
