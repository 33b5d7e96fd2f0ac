"""Checks of what an attacker would try, and of the settings that keep them out."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

from acceptance import chat as talk
from acceptance.instance import Answer
from acceptance.results import Failed, NotApplicable, expect
from acceptance.run import Run

STRANGE_ORIGIN = "https://strange-origin.invalid"


def hijacking(run: Run) -> str:
    """Try attacks on another user's session."""
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
        expect(answer.status in {401, 422}, f"{what} is answered {answer.summary}, not 401.")
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
        expect(answer.status == 401, f"A wrong password is answered {answer.summary}, not 401.")
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
        f"A change by cookie without a CSRF token is answered {answer.summary}, not 403.",
        "identity.required() must protect cookie requests.",
    )
    given = run.asked(200, "GET", "/api/auth/csrf", headers={"Cookie": cookie})
    pairs = [text.split(";")[0] for text in given.cookies]
    headers = {"Cookie": "; ".join([cookie, *pairs]), "X-CSRF-Token": given.data["csrfToken"]}
    answer = run.call("POST", path, json=body, headers=headers)
    expect(answer.status == 204, f"With the token it is answered {answer.summary}, not 204.")
    for extra in ({"Origin": STRANGE_ORIGIN}, {"Sec-Fetch-Site": "cross-site"}):
        answer = run.call("POST", path, json=body, headers=headers | extra)
        expect(answer.status == 403, f"With {extra} and a token it is answered {answer.summary}.")
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
            f"{method} {path} with {body} is answered {answer.summary}, not 422.",
            "Let the schema of this body take texts only.",
        )
    queries = ("status[$ne]=x", "assigned[$ne]=1", "q[$regex]=.", "assigned=%7B%22%24ne%22%3A1%7D")
    for query in (*queries, "cursor=%7B%22%24gt%22%3A%22%22%7D", "status=%24where"):
        answer = run.call("GET", f"/api/chat?{query}", agent)
        expect(
            answer.status == 422, f"GET /api/chat?{query} is answered {answer.summary}, not 422."
        )
    for text in ('{"$ne":null}', "[$ne]", "$where", "' || '1'=='1"):
        answer = run.call("GET", f"/api/chat/{quote(text, safe='')}", agent)
        expect(answer.status == 404, f"GET /api/chat/{text} is answered {answer.summary}, not 404.")
    after = run.asked(200, "GET", f"/api/chat/{chat_id}", agent).data
    expect(after["status"] == "active", "An injected operator has closed a chat.")
    return f"{len(bodies)} bodies, 6 queries and 4 paths with operators are refused"


def public_url(run: Run) -> str:
    """Compare PUBLIC_URL with what the running instance says it is."""
    run.setting("PUBLIC_URL")
    summary = [server.get("url") for server in run.document().get("servers", [])]
    if not run.config["PUBLIC_URL"]:
        raise NotApplicable("not in production: PUBLIC_URL is not set")
    if run.config["PUBLIC_URL"] not in summary:
        raise Failed(
            f"The instance says that it is {', '.join(map(str, summary))}, and PUBLIC_URL is "
            f"{run.config['PUBLIC_URL']}.",
            "Restart the instance with the same settings.",
        )
    return f"the instance is {run.config['PUBLIC_URL']}"


def secret_key(run: Run) -> str:
    """Judge SECRET_KEY as production does."""
    run.setting("SECRET_KEY")
    given = run.product.environment.get("SECRET_KEY", "")
    return f"{len(given)} characters, none of the known ones"
