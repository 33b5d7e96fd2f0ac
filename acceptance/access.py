"""Checks of who may do what, made by trying it on the running instance."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bson import ObjectId

from acceptance import chat as talk
from acceptance.instance import Answer
from acceptance.results import Failed, NotApplicable, expect
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
STRANGE_ORIGIN = "https://strange-origin.invalid"
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
            f"{method} {path} answered {answer.told} without a session, not 401.",
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
                f"{route.method} {route.path} answered {answer.told} "
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
                f"{method} {path} answered {answer.told} to a user, not 403 (admin_only).",
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
            f"{method} {path} answered {answer.told} to another user, not 403.",
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
                f"A user who sets {name} is answered {answer.told}, not 403.",
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


def hijacking(run: Run) -> str:
    """Try what somebody would who wants another one's session."""
    person = run.people.user.again()
    turned = person.token[:-1] + ("A" if person.token[-1] != "A" else "B")
    attempts: list[tuple[str, str, dict[str, str]]] = [
        ("a token with one letter changed", "/api/auth/me", _bearer(turned)),
        ("the stored key of a session", "/api/auth/me", _bearer(person.session_key)),
        ("a token in the address", f"/api/auth/me?token={person.token}", {}),
        ("a user's id as token", "/api/auth/me", _bearer(person.id)),
        ("a token of another scheme", "/api/auth/me", {"Authorization": f"Basic {person.token}"}),
    ]
    for what, path, headers in attempts:
        answer = run.call("GET", path, headers=headers)
        expect(answer.status in {401, 422}, f"{what} is answered {answer.told}, not 401.")
    run.asked(200, "GET", "/api/auth/me", person)
    run.asked(204, "POST", "/api/auth/logout", person)
    run.asked(401, "GET", "/api/auth/me", person)
    cookies = _sign_in(run).cookies
    mine = [text for text in cookies if text.startswith(f"{run.config['AUTH_COOKIE_NAME']}=")]
    expect(mine, "Signing in with cookie: true sets no session cookie.")
    flags = {part.strip().lower() for part in mine[0].split(";")[1:]}
    wanted = {"httponly", "samesite=lax"} | ({"secure"} if run.production else set())
    expect(wanted <= flags, f"The session cookie lacks {', '.join(sorted(wanted - flags))}.")
    return f"{len(attempts)} made-up tokens are refused; the cookie is {', '.join(sorted(wanted))}"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _sign_in(run: Run) -> Answer:
    """Sign the user in by password, once a run, after one wrong attempt."""
    if "sign_in" not in run.found:
        user = run.people.user
        wrong = {"email": user.email, "password": secrets.token_urlsafe(12)}
        answer = run.call("POST", "/api/auth/login", json=wrong)
        if answer.status == 429:
            raise NotApplicable(
                "this address has signed in too often just now; wait "
                f"{answer.headers.get('retry-after', 'some')} s and run this again"
            )
        expect(answer.status == 401, f"A wrong password is answered {answer.told}, not 401.")
        counted = run.product.flask("temporary-accounts", "sign-in-attempts", user.email)
        run.found["attempts"] = int(counted)
        right = {"email": user.email, "password": user.password, "cookie": True}
        run.found["sign_in"] = run.asked(200, "POST", "/api/auth/login", json=right)
    found: Answer = run.found["sign_in"]
    return found


def csrf(run: Run) -> str:
    """Send a change with a cookie: without the token, with it, and from another site."""
    chat_id = talk.a_chat(run)
    path = f"/api/chat/{chat_id}/typing"
    body: dict[str, Any] = {}
    cookie = f"{run.config['AUTH_COOKIE_NAME']}={run.people.user.token}"
    answer = run.call("POST", path, json=body, headers={"Cookie": cookie})
    expect(
        answer.status == 403 and answer.code == "csrf_failed",
        f"A change by cookie without a CSRF token is answered {answer.told}, not 403.",
        "identity.required() must protect cookie requests.",
    )
    given = run.asked(200, "GET", "/api/auth/csrf", headers={"Cookie": cookie})
    pairs = [text.split(";")[0] for text in given.cookies]
    headers = {"Cookie": "; ".join([cookie, *pairs]), "X-CSRF-Token": given.data["csrfToken"]}
    answer = run.call("POST", path, json=body, headers=headers)
    expect(answer.status == 204, f"With the token it is answered {answer.told}, not 204.")
    for extra in ({"Origin": STRANGE_ORIGIN}, {"Sec-Fetch-Site": "cross-site"}):
        answer = run.call("POST", path, json=body, headers=headers | extra)
        expect(answer.status == 403, f"With {extra} and a token it is answered {answer.told}.")
    return "a change by cookie is refused without the token and from another site"


def cors(run: Run) -> str:
    """Ask as pages of other origins do."""
    run.setting("CORS_ORIGINS")
    asks = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    for origin in (STRANGE_ORIGIN, "null", f"{run.instance.origin}.invalid"):
        for method, headers in (("OPTIONS", asks), ("GET", {})):
            answer = run.call(method, "/api/config", headers={"Origin": origin, **headers})
            allowed = answer.headers.get("access-control-allow-origin")
            expect(
                allowed not in {"*", origin},
                f"A page of {origin} may read the API: Access-Control-Allow-Origin is {allowed}.",
                "Let CORS_ORIGINS list exactly the sites that show the widget.",
            )
    for origin in run.config["CORS_ORIGINS"]:
        answer = run.call("GET", "/api/config", headers={"Origin": origin})
        allowed = answer.headers.get("access-control-allow-origin")
        expect(allowed == origin, f"{origin} is in CORS_ORIGINS and is not let in ({allowed}).")
        expect(
            "access-control-allow-credentials" not in answer.headers,
            f"Pages of {origin} may use this site's cookies.",
        )
    listed = ", ".join(run.config["CORS_ORIGINS"]) or "no other origin"
    return f"{listed} may read answers, never with cookies; a strange origin may not"


def headers(run: Run) -> str:
    """Look at the headers of pages, and at markup in a message as the console shows it."""
    pages = ("/chat", "/admin/login", "/api/docs")
    for page in pages:
        answer = run.asked(200, "GET", page)
        policy = _policy(answer.headers.get("content-security-policy", ""))
        scripts = policy.get("script-src", policy.get("default-src", "*"))
        expect(
            scripts in {"'self'", "'none'"},
            f"{page} lets scripts of {scripts or 'any place'} run (Content-Security-Policy).",
            "chatapi/http/headers.py sets the policy; is a proxy replacing it?",
        )
        expect(policy.get("frame-ancestors") == "'none'", f"{page} may be framed by other sites.")
        nosniff = answer.headers.get("x-content-type-options")
        expect(nosniff == "nosniff", f"{page} lacks X-Content-Type-Options: nosniff.")
    chat_id = talk.a_chat(run)
    markup = f"<script>verify('{secrets.token_hex(4)}')</script>"
    sent = {"content": markup}
    answer = run.asked(201, "POST", f"/api/chat/{chat_id}/messages", run.people.user, sent)
    expect(answer.data["content"] == markup, "A message was changed on its way.")
    kind = answer.headers.get("content-type", "")
    expect(kind.startswith("application/json"), f"The API answers as {kind}.")
    page = f"/admin/chats/{chat_id}"
    expect(
        markup not in run.asked(200, "GET", page, run.people.agent).text,
        "The console shows markup of a message as markup.",
        "A template has |safe where it must not.",
    )
    return f"strict Content-Security-Policy on {', '.join(pages)}; markup in a message is text"


def _policy(text: str) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in text.split(";"))
    return {name: value.strip() for name, _, value in parts if name}


def rate_limits(run: Run) -> str:
    """Read that the instance counts: one wrong sign-in must stand in the database's counter."""
    run.setting("RATELIMIT_ENABLED")
    if not run.config["RATELIMIT_ENABLED"]:
        raise NotApplicable("not in production: RATELIMIT_ENABLED is off in this configuration")
    _ = run.instance
    _sign_in(run)
    expect(
        run.found["attempts"] >= 1,
        "The instance did not count a wrong sign-in.",
        "Is it running with RATELIMIT_ENABLED=false?",
    )
    names = ("LIMIT_LOGIN_ACCOUNT", "LIMIT_CREATE_CHAT", "LIMIT_SEND", "LIMIT_DEFAULT")
    return "; ".join(f"{name[6:].lower()}: {run.config[name]}" for name in names)


def injection(run: Run) -> str:
    """Send operators where texts belong, in bodies, queries and paths."""
    chat_id = talk.a_chat(run)
    ne = {"$ne": None}
    user, agent = run.people.user, run.people.agent
    bodies: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("POST", "/api/auth/login", None, {"email": {"$gt": ""}, "password": {"$gt": ""}}),
        ("POST", "/api/chat", user, {"subject": {"$gt": ""}}),
        ("PATCH", f"/api/chat/{chat_id}", agent, {"adminId": ne}),
        ("PATCH", f"/api/chat/{chat_id}", agent, {"status": {"$in": ["closed"]}}),
        ("PATCH", f"/api/chat/{chat_id}", agent, {"$set": {"status": "closed"}}),
        ("POST", f"/api/chat/{chat_id}/messages", user, {"content": ne}),
        ("POST", f"/api/chat/{chat_id}/messages", user, {"content": "a", "clientMessageId": ne}),
        ("POST", f"/api/chat/{chat_id}/read", user, {"seq": {"$gt": 0}}),
        ("POST", "/api/admin/chats/bulk", agent, {"ids": ne, "status": "closed"}),
    ]
    for method, path, who, body in bodies:
        answer = run.call(method, path, who, json=body)
        expect(
            answer.status in {422, 429},
            f"{method} {path} with {body} is answered {answer.told}, not 422.",
            "Let the schema of this body take texts only.",
        )
    queries = ("status[$ne]=x", "assigned[$ne]=1", "q[$regex]=.", "assigned=%7B%22%24ne%22%3A1%7D")
    for query in (*queries, "cursor=%7B%22%24gt%22%3A%22%22%7D", "status=%24where"):
        answer = run.call("GET", f"/api/chat?{query}", agent)
        expect(answer.status == 422, f"GET /api/chat?{query} is answered {answer.told}, not 422.")
    for text in ('{"$ne":null}', "[$ne]", "$where", "' || '1'=='1"):
        answer = run.call("GET", f"/api/chat/{quote(text, safe='')}", agent)
        expect(answer.status == 404, f"GET /api/chat/{text} is answered {answer.told}, not 404.")
    after = run.asked(200, "GET", f"/api/chat/{chat_id}", agent).data
    expect(after["status"] == "active", "An injected operator has closed a chat.")
    return f"{len(bodies)} bodies, 6 queries and 4 paths with operators are refused"


def timeout(run: Run) -> str:
    """Use a session that has ended."""
    run.asked(200, "GET", "/api/auth/me", run.people.user)
    # One that the instance has not seen yet: what it has seen, it knows for a while.
    person = run.people.user.expired()
    answer = run.asked(401, "GET", "/api/chat", person)
    expect(answer.code == "session_expired", f"The refusal's code is {answer.code}.")
    page = run.call("GET", "/admin", person)
    expect(_refuses(page, "/admin"), f"The console answers {page.told} to an ended session.")
    return "a session that has ended: 401 session_expired, and the console asks to sign in"


def public_url(run: Run) -> str:
    """Compare PUBLIC_URL with what the running instance says it is."""
    run.setting("PUBLIC_URL")
    told = [server.get("url") for server in run.document().get("servers", [])]
    if not run.config["PUBLIC_URL"]:
        raise NotApplicable("not in production: PUBLIC_URL is not set")
    if run.config["PUBLIC_URL"] not in told:
        raise Failed(
            f"The instance says that it is {', '.join(map(str, told))}, and PUBLIC_URL is "
            f"{run.config['PUBLIC_URL']}.",
            "Restart the instance with the same settings.",
        )
    return f"the instance is {run.config['PUBLIC_URL']}"


def secret_key(run: Run) -> str:
    """Judge SECRET_KEY as production does."""
    run.setting("SECRET_KEY")
    given = run.product.environment.get("SECRET_KEY", "")
    return f"{len(given)} characters, none of the known ones"
