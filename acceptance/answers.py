"""Checks of how fast answers come and of what they say when something is wrong."""

from __future__ import annotations

import math
import secrets
import time
from typing import Any

from bson import ObjectId

from acceptance import chat as talk
from acceptance.access import filled, operations
from acceptance.people import Person
from acceptance.results import expect
from acceptance.run import Run

ROUNDS = 50
MAX_SAMPLE = 10.0  # seconds
# What would tell a client of the inside.
_INSIDE = ("Traceback", "pymongo", "ServerSelection", "127.0.0.1:1", 'File "')


def response_times(run: Run) -> str:
    """Time a small mix of requests, one after the other."""
    chat_id = talk.a_chat(run)
    agent, writer = run.people.agent, run.people.other
    own = talk.a_chat(run, writer)
    mix: tuple[tuple[str, str, Person, Any], ...] = (
        ("GET", "/api/chat", agent, None),
        ("GET", f"/api/chat/{chat_id}", agent, None),
        ("GET", f"/api/chat/{chat_id}/messages?after=0", run.people.user, None),
        ("GET", "/api/auth/me", run.people.user, None),
    )
    times: list[float] = []
    end = time.monotonic() + MAX_SAMPLE
    for number in range(ROUNDS):
        for method, path, who, body in mix:
            times.append(run.asked(200, method, path, who, body).seconds)
        if number % 3 == 0:
            body = {"content": f"Timed {number}"}
            path = f"/api/chat/{own}/messages"
            times.append(run.asked(201, "POST", path, writer, body).seconds)
        if time.monotonic() > end:
            break
    times.sort()
    p99 = times[math.ceil(len(times) * 0.99) - 1] * 1000
    median = times[len(times) // 2] * 1000
    expect(
        p99 < run.slow_ms,
        f"The 99th percentile of {len(times)} requests is {p99:.0f} ms (median {median:.0f} ms).",
        "Look at the load of the machine, the way to the database, and its indexes.",
    )
    return f"p99 {p99:.0f} ms, median {median:.0f} ms, {len(times)} requests"


def cheap_polls(run: Run) -> str:
    """Compare a poll with nothing new with the full answer."""
    chat_id = talk.a_chat(run)
    summary = []
    for path in (f"/api/chat/{chat_id}", "/api/chat"):
        full = run.asked(200, "GET", path, run.people.user)
        same = {"If-None-Match": full.headers.get("etag", "")}
        quiet = run.asked(304, "GET", path, run.people.user, headers=same)
        expect(not quiet.body, f"The 304 of {path} has a body.")
        summary.append(f"{path.replace(chat_id, 'ID')}: 0 instead of {len(full.body):,} bytes")
    return "nothing new is answered 304; " + ", ".join(summary)


def inputs_validated(run: Run) -> str:
    """Send a field that does not exist, holding an operator, wherever a body is taken."""
    chat_id, asked = talk.a_chat(run), 0
    for method, path, operation in operations(run):
        if "requestBody" not in operation:
            continue
        who: Person | None = run.people.agent
        if not operation.get("security"):
            who = None
        elif "For: users and guests" in operation.get("description", ""):
            who = run.people.user
        some_id = chat_id if "{chatId}" in path else run.people.user.id
        body = {"noSuchField": {"$gt": ""}}
        answer = run.call(method, filled(path, some_id), who, json=body)
        if answer.status == 429:
            continue  # An address may register so often only; it is refused in any case.
        expect(
            answer.status == 422 and "noSuchField" in answer.fields,
            f"{method} {path} answered {answer.summary} to an unknown field, not 422 naming it.",
            "Declare the body's schema with chatapi.http.endpoint.endpoint.",
        )
        asked += 1
    return f"{asked} operations with a body answer 422 and name the unknown field"


def wrong_ids(run: Run) -> str:
    """Use ids that are none and ids of nothing, wherever a path takes one."""
    asked = 0
    for method, path, operation in operations(run):
        if not {"{chatId}", "{userId}", "{sessionId}"} & set(path.split("/")):
            continue
        body = talk.BODIES.get((method, path), example_body(operation))
        for wrong in (str(ObjectId()), "not-an-id", "0"):
            answer = run.call(method, filled(path, wrong), run.people.agent, json=body)
            expect(
                answer.status == 404,
                f"{method} {path} answered {answer.summary} to the id {wrong!r}, not 404.",
            )
        asked += 1
    return f"{asked} operations answer 404 to unknown and malformed ids"


def example_body(operation: dict[str, Any]) -> Any:
    """Return the first example of an operation's body, None if it takes none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    for example in content.get("examples", {}).values():
        return example.get("value")
    return None


def helpful(run: Run) -> str:
    """Look at refusals of each kind."""
    user = run.people.user
    chat_id = talk.a_chat(run)
    tried = (
        run.asked(401, "GET", "/api/chat"),
        run.asked(403, "PATCH", f"/api/chat/{chat_id}", user, {"status": "closed"}),
        run.asked(404, "GET", "/api/chat/nothing", user),
        run.asked(409, "POST", "/api/chat", user, {"subject": talk.SUBJECT}),
        run.asked(422, "POST", f"/api/chat/{chat_id}/messages", user, {"content": ""}),
    )
    for answer in tried:
        kind = answer.headers.get("content-type", "")
        expect(kind.startswith("application/problem+json"), f"A refusal comes as {kind}.")
        missing = {"title", "detail", "status", "code", "requestId", "error"} - set(answer.data)
        expect(not missing, f"A {answer.status} lacks {', '.join(sorted(missing))}.")
        expect(answer.data["requestId"] == answer.headers.get("x-request-id"), "Another id.")
        expect(" " in answer.data["detail"], f"A {answer.status} explains nothing.")
    page = run.call("GET", "/chat/nothing-here", headers={"Accept": "text/html"})
    expect("text/html" in page.headers.get("content-type", ""), "A page's 404 is no page.")
    return "401, 403, 404, 409 and 422 come with title, detail, code and requestId"


# What is tried on instances of this run alone: the running one has its database and its log to
# itself.


def outage(run: Run) -> str:
    """Ask an instance whose database is gone."""
    own = run.own_instance(database=False)
    answers = [
        own.instance.call("GET", "/readyz"),
        own.instance.call("GET", "/api/chat", run.people.user),
    ]
    alive = own.instance.call("GET", "/healthz")
    for answer in answers:
        expect(answer.status == 503, f"It is answered {answer.summary}, not 503.")
        expect("retry-after" in answer.headers, "The 503 lacks Retry-After.")
        _tells_nothing(answer.text)
    expect(alive.status == 200, "/healthz needs the database.")
    known = {answer.headers["x-request-id"] for answer in answers}
    failed = {line["requestId"] for line in own.lines() if line.get("event") == "request_failed"}
    expect(known <= failed, "The log lacks the failure.")
    return "503 with Retry-After, the cause in the log; /healthz still answers"


def _tells_nothing(text: str) -> None:
    for inside in _INSIDE:
        expect(inside not in text, f"An answer tells of the inside: {inside!r}.")


def detailed_for_agents(run: Run) -> str:
    """Let the product fail under an agent's eyes, and under those of others."""
    return run.product.doctor("errors")


def nothing_exposed(run: Run) -> str:
    """Let the product fail under the eyes of others, and under an agent's."""
    return run.product.doctor("errors")


def failures_logged(run: Run) -> str:
    """Compare the ids of refusals and failures with the log."""
    own, cut_off = run.own_instance(), run.own_instance(database=False)
    refused = own.instance.call("GET", "/api/chat/nothing", run.people.user)
    failed = cut_off.instance.call("GET", "/api/chat", run.people.user)
    lines = own.lines() + cut_off.lines()
    for answer, event in ((refused, "request_rejected"), (failed, "request_failed")):
        key = answer.headers["x-request-id"]
        found = [line for line in lines if line.get("requestId") == key]
        expect(event in {line.get("event") for line in found}, f"The log lacks a {event}.")
    causes = [line for line in lines if line.get("event") == "request_failed"]
    expect(all(line.get("exception") for line in causes), "The log lacks the exception.")
    return "a refusal and a failure stand in the log under the id that the client got"


def nothing_secret_logged(run: Run) -> str:
    """Send secrets every way there is and look for them in the log."""
    own, cut_off = run.own_instance(), run.own_instance(database=False)
    user = run.people.user
    path = f"/api/chat/{talk.a_chat(run)}/messages"
    password, text = secrets.token_urlsafe(16), f"private {secrets.token_hex(12)}"
    ask = own.instance.call
    ask("POST", "/api/auth/login", json_body={"email": "a@b.invalid", "password": [password]})
    ask("POST", "/api/auth/password", user, {"current": password, "new": 1})
    ask("POST", path, user, {"content": text})
    ask("GET", f"/api/chat?q={password}", user)
    cut_off.instance.call("POST", path, user, {"content": text})
    logged = own.log() + cut_off.log()
    lines = own.lines() + cut_off.lines()
    requests = [line for line in lines if line.get("event") == "request_finished"]
    expect(len(requests) >= 5, "The log lacks the requests.")
    for what, value in (("a password", password), ("a token", user.token), ("a message", text)):
        expect(
            value not in logged,
            f"The log holds {what}.",
            "chatapi/http/log.py blanks what it names.",
        )
    return f"{len(lines)} lines hold no password, no token, no message and no query"
