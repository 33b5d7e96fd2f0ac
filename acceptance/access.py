"""Checks of who may do what, made by trying it on the running instance."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

from bson import ObjectId

from acceptance import chat as talk
from acceptance.instance import Answer
from acceptance.results import expect
from acceptance.run import Check, Run

# Everything that answers without a session. A route that is not here has to refuse.
PUBLIC = frozenset(
    {
        ("POST", "/api/auth/register"),
        ("POST", "/api/auth/login"),
        ("POST", "/api/auth/guest"),
        # What opens these is the token of a link.
        ("POST", "/api/auth/password/link"),
        ("GET", "/admin/set-password"),
        ("POST", "/admin/set-password"),
        ("GET", "/api/auth/csrf"),
        ("GET", "/api/config"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/docs"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/admin/login"),
        ("POST", "/admin/login"),
        ("POST", "/admin/logout"),
        ("GET", "/"),
        ("GET", "/chat"),
        ("GET", "/widget.js"),
    }
)
_METHODS = frozenset({"get", "post", "patch", "put", "delete"})
CLOSE_DOOR = (
    "Give the route a session (chatapi.http.endpoint.endpoint or admin_ui.views.agents_only)."
)


def operations(run: Run) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of all that the instance says it answers to."""
    for path, found in run.document()["paths"].items():
        for method, operation in found.items():
            if method in _METHODS:
                yield method.upper(), path, operation


def filled(path: str, some_id: str | None = None) -> str:
    """Return a path with an id in each of its places, by default one that nothing has."""
    found = some_id or str(ObjectId())
    path = re.sub(r"\{seq\}|<int:\w+>", "1", path)
    return re.sub(r"\{\w+\}|<[^>]+>", found, path)


def _refuses(answer: Answer, path: str) -> bool:
    if path.startswith("/api/"):
        return answer.status == 401
    to_login = answer.status in {302, 303} and "/login" in answer.headers.get("location", "")
    return answer.status in {401, 403} or to_login


def documented_routes_refuse(run: Run) -> str:
    """Ask every route of the instance's own document without a session."""
    asked = 0
    for method, path, operation in operations(run):
        if (method, path) in PUBLIC:
            continue
        expect(
            operation.get("security"),
            f"{method} {path} is described as open to anyone.",
            CLOSE_DOOR,
        )
        answer = run.call(method, filled(path))
        expect(
            answer.status == 401,
            f"{method} {path} answered {answer.summary} without a session, not 401.",
            CLOSE_DOOR,
        )
        asked += 1
    return f"{asked} operations of /api/openapi.json answer 401 without a session"


def all_routes_refuse(run: Run) -> str:
    """Ask every route that the code has, described or not, with no token and a wrong one."""
    run.asked(401, "GET", "/api/chat")
    wrong = {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}
    asked = 0
    for route in run.product.routes:
        if route.is_static or (route.method, route.path) in PUBLIC:
            continue
        for headers in ({}, wrong):
            answer = run.call(route.method, filled(route.path), headers=headers)
            expect(
                _refuses(answer, route.path),
                f"{route.method} {route.path} answered {answer.summary} "
                f"{'to a wrong token' if headers else 'without a session'}.",
                CLOSE_DOOR if answer.status != 404 else "Is this the release that runs there?",
            )
        asked += 1
    return f"GET /api/chat and the {asked} other routes that are not public refuse"


def agents_only_refuse(run: Run) -> str:
    """Ask every route for agents as a user."""
    asked = 0
    for method, path, operation in operations(run):
        if "For: agents only" in operation.get("description", ""):
            answer = run.call(method, filled(path), run.people.user, json={})
            expect(
                answer.status == 403 and answer.code == "admin_only",
                f"{method} {path} answered {answer.summary} to a user, not 403 (admin_only).",
                'Declare the route with who="admin".',
            )
            asked += 1
    expect(asked, "/api/openapi.json describes no route for agents.")
    return f"{asked} routes for agents answer 403 to a user"


def roles(run: Run) -> str:
    """Sign in as each role, and use a session that has ended."""
    for person, role in ((run.people.user, "user"), (run.people.agent, "admin")):
        me = run.asked(200, "GET", "/api/auth/me", person).data
        expect(
            me["role"] == role and me["email"] == person.email,
            f"/api/auth/me does not say that {person.name} is {role}.",
        )
        ended = person.again()
        run.asked(204, "POST", "/api/auth/logout", ended)
        run.asked(401, "GET", "/api/auth/me", ended)
    return "user and admin are known by their sessions; a session that has ended opens nothing"


def others_chats(run: Run) -> str:
    """Try every route of a chat as another user."""
    chat_id = talk.a_chat(run)
    asked = 0
    for method, path, operation in operations(run):
        if "{chatId}" not in path or "For: agents only" in operation.get("description", ""):
            continue
        body = talk.BODIES.get((method, path))
        answer = run.call(method, filled(path, chat_id), run.people.other, json=body)
        expect(
            answer.status == 403 and talk.SECRET not in answer.text,
            f"{method} {path} answered {answer.summary} to another user, not 403.",
            "Find the chat through services.access.access_chat.",
        )
        asked += 1
    listed = run.asked(200, "GET", "/api/chat?limit=100", run.people.other).data
    expect(chat_id not in {row["_id"] for row in listed}, "Another user's list shows the chat.")
    found = run.asked(200, "GET", "/api/chat?q=verification", run.people.other).data
    expect(chat_id not in {row["_id"] for row in found}, "Another user's search finds the chat.")
    return f"{asked} routes of a chat answer 403 to another user; list and search do not show it"


def agents_see_all(run: Run) -> str:
    """Read chats of two users as an agent."""
    for owner in (run.people.user, run.people.other):
        chat_id = talk.a_chat(run, owner)
        run.asked(200, "GET", f"/api/chat/{chat_id}", run.people.agent)
        listed = run.asked(200, "GET", "/api/chat?q=verification&limit=100", run.people.agent).data
        expect(chat_id in {row["_id"] for row in listed}, "The agents' list lacks a chat.")
    return "an agent opens and lists the chats of two users"


def users_cannot_change(*names: str) -> Check:
    """Return a check that a chat's owner cannot set these fields."""
    tried = {
        "status": "closed",
        "priority": "urgent",
        "category": "billing",
        "adminId": None,
    }

    def check(run: Run) -> str:
        chat_id = talk.a_chat(run)
        before = run.asked(200, "GET", f"/api/chat/{chat_id}", run.people.agent).data
        for name in names:
            value = run.people.agent.id if name == "adminId" else tried[name]
            if name == "category" and value not in run.config["CHAT_CATEGORIES"]:
                value = run.config["CHAT_CATEGORIES"][-1]
            body = {name: value}
            answer = run.call("PATCH", f"/api/chat/{chat_id}", run.people.user, json=body)
            expect(
                answer.status == 403,
                f"A user who sets {name} is answered {answer.summary}, not 403.",
                "services.chats.update must ask for an agent.",
            )
        after = run.asked(200, "GET", f"/api/chat/{chat_id}", run.people.agent).data
        for name in names:
            expect(before[name] == after[name], f"A user has changed {name} all the same.")
        return f"a user who sets {', '.join(names)} gets 403, and nothing has changed"

    return check


def only_agents_assign(run: Run) -> str:
    """Assign as a user, and then as an agent."""
    users_cannot_change("adminId")(run)
    chat_id = talk.a_chat(run)
    body = {"adminId": run.people.agent.id}
    changed = run.asked(200, "PATCH", f"/api/chat/{chat_id}", run.people.agent, body).data
    expect(changed["adminId"] == run.people.agent.id, "The agent's assignment was not kept.")
    return "a user gets 403, an agent assigns"


def timeout(run: Run) -> str:
    """Use a session that has ended."""
    run.asked(200, "GET", "/api/auth/me", run.people.user)
    # One that the instance has not seen yet: what it has seen, it knows for a while.
    person = run.people.user.expired()
    answer = run.asked(401, "GET", "/api/chat", person)
    expect(answer.code == "session_expired", f"The refusal's code is {answer.code}.")
    page = run.call("GET", "/admin", person)
    expect(_refuses(page, "/admin"), f"The console answers {page.summary} to an ended session.")
    return "a session that has ended: 401 session_expired, and the console asks to sign in"
