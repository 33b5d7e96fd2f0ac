"""Checks of how fast answers come and of what they say when something is wrong."""

from __future__ import annotations

import contextlib
import contextvars
import io
import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import structlog
from bson import ObjectId
from pymongo import MongoClient
from werkzeug.test import TestResponse

from chatapi.cli.checks import chat as talk
from chatapi.cli.checks.access import filled, operations
from chatapi.cli.checks.people import Person
from chatapi.cli.checks.run import Run, expect
from chatapi.http import identity, problems
from chatapi.store import database
from chatapi.store.database import Document

ROUNDS = 50
MAX_SAMPLE = 10.0  # seconds
NOWHERE = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200&connectTimeoutMS=200"
# What would tell a client of the inside.
_INSIDE = ("Traceback", "pymongo", "ServerSelection", "127.0.0.1:1", 'File "')

Result = TypeVar("Result")


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
    told = []
    for path in (f"/api/chat/{chat_id}", "/api/chat"):
        full = run.asked(200, "GET", path, run.people.user)
        same = {"If-None-Match": full.headers.get("etag", "")}
        quiet = run.asked(304, "GET", path, run.people.user, headers=same)
        expect(not quiet.body, f"The 304 of {path} has a body.")
        told.append(f"{path.replace(chat_id, 'ID')}: 0 instead of {len(full.body):,} bytes")
    return "nothing new is answered 304; " + ", ".join(told)


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
            f"{method} {path} answered {answer.told} to an unknown field, not 422 naming it.",
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
                f"{method} {path} answered {answer.told} to the id {wrong!r}, not 404.",
            )
        asked += 1
    return f"{asked} operations answer 404 to unknown and malformed ids"


def example_body(operation: Document) -> Any:
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


# What is tried in this process, with the same code and settings: the running instance has
# its database and its log to itself.


def _apart(act: Callable[[], Result]) -> Result:
    """Do something outside this command's application context, as a server does."""
    return contextvars.Context().run(act)


def _ask(run: Run, method: str, path: str, who: Person | None = None, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {who.token}"} if who else {}
    client = run.here

    def send() -> TestResponse:
        return client.open(path, method=method, headers=headers, json=body)

    return _apart(send)


@contextlib.contextmanager
def _no_database() -> Iterator[None]:
    """Let this process's database be gone inside the block."""
    before = database.current()
    with MongoClient[Document](NOWHERE) as client:
        database.bind(client["nowhere"])
        try:
            yield
        finally:
            database.bind(before)


@contextlib.contextmanager
def _log() -> Iterator[io.StringIO]:
    """Catch everything that is logged inside the block, at every level."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    caught = io.StringIO()
    try:
        with contextlib.redirect_stdout(caught), contextlib.redirect_stderr(caught):
            yield caught
    finally:
        structlog.configure(wrapper_class=before)


def _lines(log: io.StringIO) -> list[Document]:
    found = []
    for line in log.getvalue().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def outage(run: Run) -> str:
    """Ask while the database is gone."""
    with _log() as log, _no_database():
        answers = [
            _ask(run, "GET", "/readyz"),
            _ask(run, "GET", "/api/chat", run.people.user),
        ]
        alive = _ask(run, "GET", "/healthz")
    for answer in answers:
        expect(answer.status_code == 503, f"It is answered {answer.status_code}, not 503.")
        expect("Retry-After" in answer.headers, "The 503 lacks Retry-After.")
        _tells_nothing(answer.get_data(as_text=True))
    expect(alive.status_code == 200, "/healthz needs the database.")
    failed = [line for line in _lines(log) if line.get("event") == "request_failed"]
    expect(len(failed) == len(answers), "The log lacks the failure.")
    return "503 with Retry-After, the cause in the log; /healthz still answers"


def _tells_nothing(text: str) -> None:
    for inside in _INSIDE:
        expect(inside not in text, f"An answer tells of the inside: {inside!r}.")


def _failing(run: Run, who: Person | None) -> Any:
    """Return what a failure that nobody expected looks like to somebody."""
    headers = {"Authorization": f"Bearer {who.token}"} if who else {}

    def answer() -> Any:
        with run.app.test_request_context("/api/chat", headers=headers):
            identity.optional()  # As every view does: who asks is known when it fails.
            error = problems.from_exception(RuntimeError("verify: the inside"))
            return problems.as_json(error).get_json()

    return _apart(answer)


def detailed_for_agents(run: Run) -> str:
    """Let something fail under an agent's eyes."""
    seen = _failing(run, run.people.agent)
    expect(
        seen.get("debug") == {"exception": "RuntimeError", "message": "verify: the inside"},
        "An agent is not told the exception.",
    )
    return "an agent's 500 names the exception under debug"


def nothing_exposed(run: Run) -> str:
    """Let the same fail for others."""
    for person in (run.people.user, None):
        seen = _failing(run, person)
        text = json.dumps(seen)
        expect("debug" not in seen and "inside" not in text, "A user is told the exception.")
        expect("RuntimeError" not in text, "A user is told the exception's class.")
        expect(seen["requestId"], "The answer has no requestId to ask about.")
    return "users and strangers get the requestId and nothing of the cause"


def failures_logged(run: Run) -> str:
    """Compare the ids of refusals and failures with the log."""
    with _log() as log:
        refused = _ask(run, "GET", "/api/chat/nothing", run.people.user)
        with _no_database():
            failed = _ask(run, "GET", "/api/chat", run.people.user)
    lines = _lines(log)
    for answer, event in ((refused, "request_rejected"), (failed, "request_failed")):
        key = answer.headers["X-Request-Id"]
        found = [line for line in lines if line.get("requestId") == key]
        expect(event in {line.get("event") for line in found}, f"The log lacks a {event}.")
    causes = [line for line in lines if line.get("event") == "request_failed"]
    expect(all(line.get("exception") for line in causes), "The log lacks the exception.")
    return "a refusal and a failure stand in the log under the id that the client got"


def nothing_secret_logged(run: Run) -> str:
    """Send secrets every way there is and look for them in the log."""
    user = run.people.user
    chat_id = talk.a_chat(run)
    password, text = secrets.token_urlsafe(16), f"private {secrets.token_hex(12)}"
    with _log() as log:
        _ask(run, "POST", "/api/auth/login", None, {"email": "a@b.invalid", "password": [password]})
        _ask(run, "POST", "/api/auth/password", user, {"current": password, "new": 1})
        _ask(run, "POST", f"/api/chat/{chat_id}/messages", user, {"content": text})
        _ask(run, "GET", f"/api/chat?q={password}", user)
        with _no_database():
            _ask(run, "POST", f"/api/chat/{chat_id}/messages", user, {"content": text})
    logged = log.getvalue()
    requests = [line for line in _lines(log) if line.get("event") == "request_finished"]
    expect(len(requests) >= 5, "The log lacks the requests.")
    for what, value in (("a password", password), ("a token", user.token), ("a message", text)):
        expect(
            value not in logged,
            f"The log holds {what}.",
            "chatapi/http/log.py blanks what it names.",
        )
    return f"{len(_lines(log))} lines hold no password, no token, no message and no query"
