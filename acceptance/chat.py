"""Checks of the chat itself: real chats of the accounts made for this run."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from bson import ObjectId

from acceptance.instance import Answer
from acceptance.people import Person
from acceptance.results import expect
from acceptance.run import Check, Run

# Every subject begins so: an agent who sees the chat in these seconds knows what it is.
SUBJECT = "Verification of the deployment"
SECRET = f"verify-{secrets.token_hex(8)}"
# What each route of a chat takes, so that it is the door that refuses and not the schema.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", "/api/chat/{chatId}"): {"message": "Not mine"},
    ("POST", "/api/chat/{chatId}/messages"): {"content": "Not mine"},
    ("POST", "/api/chat/{chatId}/read"): {"seq": 0},
    ("POST", "/api/chat/{chatId}/typing"): {},
}


def a_chat(run: Run, owner: Person | None = None) -> str:
    """Return an open chat of the user, or of another one, creating one if there is none."""
    owner = owner or run.people.user
    known = run.found.setdefault("chats", {})
    if owner.email in known:
        chat = run.call("GET", f"/api/chat/{known[owner.email]}?messages=0", owner)
        if chat.status == 200 and chat.data["status"] in {"active", "pending"}:
            return str(known[owner.email])
    body = {"subject": SUBJECT, "message": SECRET}
    known[owner.email] = run.asked(201, "POST", "/api/chat", owner, body).data["_id"]
    return str(known[owner.email])


def _new_chat(run: Run, **body: Any) -> Any:
    """Close the user's chat if there is one, open another, and return it."""
    known = run.found.setdefault("chats", {})
    if (old := known.pop(run.people.user.email, None)) is not None:
        path = f"/api/chat/{old}"
        run.asked(200, "PATCH", path, run.people.agent, {"status": "closed"})
    sent = {"subject": SUBJECT, **body}
    chat = run.asked(201, "POST", "/api/chat", run.people.user, sent).data
    known[run.people.user.email] = chat["_id"]
    return chat


def _patch(run: Run, who: Person, **body: Any) -> Answer:
    return run.asked(200, "PATCH", f"/api/chat/{a_chat(run)}", who, body)


def _get(run: Run, who: Person) -> Any:
    return run.asked(200, "GET", f"/api/chat/{a_chat(run)}", who).data


def user_creates(run: Run) -> str:
    """Open a chat as a user."""
    chat = _new_chat(run, message="Hello")
    expect(ObjectId.is_valid(chat["_id"]), "The new chat has no id.")
    expect(chat["userId"] == run.people.user.id, "The chat is not its creator's.")
    return "201, and the chat is the user's"


def defaults(run: Run) -> str:
    """Open a chat with nothing but a subject."""
    chat = _new_chat(run)
    wanted = {
        "status": "active",
        "priority": "medium",
        "category": "general",
        "adminId": None,
        "messageCount": 0,
        "unreadCount": 0,
        "lastMessage": None,
    }
    for name, value in wanted.items():
        expect(chat[name] == value, f"A new chat's {name} is {chat[name]!r}, not {value!r}.")
    return "active, medium, general, not assigned"


def no_second_chat(run: Run) -> str:
    """Open a second chat while the first is open."""
    first = a_chat(run)
    answer = run.asked(409, "POST", "/api/chat", run.people.user, {"subject": SUBJECT})
    expect(
        answer.code == "chat_open" and answer.data.get("chatId") == first,
        "The refusal does not name the open chat.",
    )
    return "409 chat_open, naming the open one"


def required_fields(run: Run) -> str:
    """Leave out what is required, everywhere that something is."""
    chat_id = a_chat(run)
    for path, name in (
        ("/api/chat", "subject"),
        (f"/api/chat/{chat_id}/messages", "content"),
        (f"/api/chat/{chat_id}/read", "seq"),
    ):
        for body in ({}, {name: None}, {name: ""}, {name: "   "}):
            answer = run.asked(422, "POST", path, run.people.user, body)
            expect(name in answer.fields, f"{path} does not say that {name} is missing.")
    return "422 naming subject, content and seq"


def agent_gets_all(run: Run) -> str:
    """List as an agent."""
    mine, other = a_chat(run), a_chat(run, run.people.other)
    listed = run.asked(200, "GET", "/api/chat?limit=100", run.people.agent).data
    there = {row["_id"] for row in listed}
    expect({mine, other} <= there or len(listed) == 100, "The list lacks a chat.")
    narrowed = run.asked(200, "GET", "/api/chat?q=verification&limit=100", run.people.agent).data
    expect({mine, other} <= {row["_id"] for row in narrowed}, "A search lacks a chat.")
    return f"{len(listed)} chats on the first page, those of two users among them"


def user_gets_own(run: Run) -> str:
    """List as a user."""
    mine, other = a_chat(run), a_chat(run, run.people.other)
    listed = run.asked(200, "GET", "/api/chat?limit=100", run.people.user).data
    there = {row["_id"] for row in listed}
    owners = {row["userId"] for row in listed}
    expect(mine in there and other not in there, "A user's list is not that user's.")
    expect(owners == {run.people.user.id}, "A user's list shows another user's chats.")
    return f"{len(listed)} chats, all of them the user's"


def sorted_by_last_message(run: Run) -> str:
    """Write to two chats in turn and compare the order of the list."""
    agent = run.people.agent
    a_chat(run)
    for owner in (run.people.other, run.people.user):
        path = f"/api/chat/{a_chat(run, owner)}/messages"
        run.asked(201, "POST", path, owner, {"content": "In order"})
        times = [
            datetime.fromisoformat(row["lastMessageAt"])
            for row in run.asked(200, "GET", "/api/chat?limit=100", agent).data
        ]
        expect(times == sorted(times, reverse=True), "The list is not sorted by lastMessageAt.")
        first = run.asked(200, "GET", "/api/chat?q=verification&limit=1", agent).data
        expect(first[0]["_id"] == a_chat(run, owner), "The chat just written to is not first.")
    return "the chat with the latest message first"


def pagination(run: Run) -> str:
    """Walk through pages of one chat each."""
    a_chat(run), a_chat(run, run.people.other)
    path = "/api/chat?q=verification&limit=1"
    seen: list[str] = []
    for _ in range(4):
        answer = run.asked(200, "GET", path, run.people.agent)
        seen += [row["_id"] for row in answer.data]
        cursor = answer.headers.get("x-next-cursor")
        if cursor is None:
            break
        expect('rel="next"' in answer.headers.get("link", ""), "A page lacks the Link header.")
        path = f"/api/chat?q=verification&limit=1&cursor={cursor}"
    expect(len(seen) >= 2, "There is no second page.")
    expect(len(set(seen)) == len(seen), "A chat stands on two pages.")
    return "cursors and Link headers; no chat stands on two pages"


def message_added(run: Run) -> str:
    """Add a message by PATCH and read it back."""
    before = _get(run, run.people.user)
    added = _patch(run, run.people.user, message="Added").data["messages"]
    expect([row["content"] for row in added] == ["Added"], "PATCH does not return the message.")
    after = _get(run, run.people.user)
    expect(after["messageCount"] == before["messageCount"] + 1, "messageCount has not moved.")
    expect(after["messages"][-1]["_id"] == added[0]["_id"], "The message is not the last one.")
    return f"message {added[0]['seq']} is the last of the chat"


def sender_of(who: str) -> Check:
    """Return a check of what a message says of its sender, "user" or "agent"."""

    def check(run: Run) -> str:
        person = run.people.user if who == "user" else run.people.agent
        role = person.role
        forged = {"message": "Mine", "senderRole": "system"}
        path = f"/api/chat/{a_chat(run)}"
        answer = run.call("PATCH", path, person, json=forged)
        expect(answer.status == 422, f"A made-up senderRole is answered {answer.summary}.")
        (message,) = _patch(run, person, message="Mine").data["messages"]
        wanted = {"senderId": person.id, "senderName": person.name, "senderRole": role}
        for name, value in wanted.items():
            expect(message[name] == value, f"{name} is {message[name]!r}, not {value!r}.")
        return f"{role}, with name and id of the session; made-up ones are refused"

    return check


def last_message_at(run: Run) -> str:
    """Compare lastMessageAt before and after a message and after a change without one."""
    before = _get(run, run.people.agent)
    (message,) = _patch(run, run.people.user, message="The time moves").data["messages"]
    after = _get(run, run.people.agent)
    expect(after["lastMessageAt"] == message["timestamp"], "lastMessageAt is not its time.")
    expect(after["lastMessageAt"] >= before["lastMessageAt"], "lastMessageAt has moved back.")
    _patch(run, run.people.agent, priority="high")
    same = _get(run, run.people.agent)["lastMessageAt"]
    expect(same == after["lastMessageAt"], "lastMessageAt moves without a message.")
    return "it is the time of the last message, and moves with nothing else"


def is_read(run: Run) -> str:
    """Send, and let the other side read."""
    (sent,) = _patch(run, run.people.user, message="Read me").data["messages"]
    expect(sent["isRead"] is False, "A new message is read already.")
    unread = _get(run, run.people.agent)["unreadCount"]
    expect(unread >= 1, "The agent's unread count does not count it.")
    _patch(run, run.people.agent, read=True)
    expect(_get(run, run.people.agent)["unreadCount"] == 0, "Reading leaves something unread.")
    last = _get(run, run.people.user)["messages"][-1]
    expect(last["isRead"] is True, "The message the agent has read is not marked.")
    return "false when sent, true once the other side has read that far"


def valid_statuses_only(run: Run) -> str:
    """Set every status, and some that are none."""
    for status in ("pending", "closed", "archived", "active"):
        expect(_patch(run, run.people.agent, status=status).data["status"] == status, status)
    for wrong in ("open", "CLOSED", "", None, 1, ["closed"]):
        path = f"/api/chat/{a_chat(run)}"
        answer = run.asked(422, "PATCH", path, run.people.agent, {"status": wrong})
        expect("status" in answer.fields, "The refusal does not name the status.")
    return "active, pending, closed, archived; anything else is 422"


def closed_is_readonly(run: Run) -> str:
    """Close a chat and write to it, as both sides."""
    chat_id = a_chat(run)
    path = f"/api/chat/{chat_id}"
    before = _patch(run, run.people.agent, status="closed").data["messageCount"]
    for person in (run.people.user, run.people.agent):
        by_patch = run.asked(409, "PATCH", path, person, {"message": "Too late"})
        by_post = run.asked(409, "POST", f"{path}/messages", person, {"content": "Too late"})
        expect({by_patch.code, by_post.code} == {"chat_closed"}, "It is not called chat_closed.")
    after = run.asked(200, "GET", path, run.people.user).data
    expect(after["messageCount"] == before, "A message was added to a closed chat.")
    run.asked(200, "PATCH", path, run.people.agent, {"status": "active"})
    return "409 chat_closed to both sides, and the history is as it was"


def assignment(run: Run) -> str:
    """Assign a chat to an agent, and to a user who is no agent."""
    agent = run.people.agent
    chat = _patch(run, agent, adminId=agent.id).data
    expect(chat["adminId"] == agent.id, "The chat is not assigned.")
    path = f"/api/chat/{chat['_id']}"
    for wrong in (run.people.user.id, str(ObjectId()), "nobody"):
        answer = run.asked(422, "PATCH", path, agent, {"adminId": wrong})
        expect("adminId" in answer.fields, "The refusal does not name adminId.")
    return "an agent is assigned; users and unknown ids are refused"


def assigned_name(run: Run) -> str:
    """Look at what an assignment shows."""
    agent = run.people.agent
    chat = _patch(run, agent, adminId=agent.id).data
    expect(chat["adminName"] == agent.name, f"adminName is {chat['adminName']!r}.")
    expect("adminImage" in chat, "The chat has no adminImage.")
    return "name and image are the agent's"


def assignment_visible(run: Run) -> str:
    """Read an assigned chat as both sides."""
    agent = run.people.agent
    _patch(run, agent, adminId=agent.id)
    for person in (run.people.user, agent):
        expect(_get(run, person)["adminName"] == agent.name, f"{person.name} does not see it.")
    return "both sides see who is in charge"


def smoke_create(run: Run) -> str:
    """Make the checklist's first call."""
    chat = _new_chat(run, category="general")
    return f"201, chat {chat['_id']}"


def smoke_list(run: Run) -> str:
    """Make the checklist's second call."""
    answer = run.asked(200, "GET", "/api/chat", run.people.agent)
    expect(isinstance(answer.data, list), "The list is no array.")
    return "200"


def smoke_send(run: Run) -> str:
    """Make the checklist's third call."""
    answer = _patch(run, run.people.user, message="Test message")
    expect(len(answer.data["messages"]) == 1, "The message is not in the answer.")
    return "200"


def persists(run: Run) -> str:
    """Send a message of every kind of character and find it in the database itself."""
    text = "«Zażółć» 🌱\n文字 <b>&amp;</b> \\ \" ' %s ${x}"
    path = f"/api/chat/{a_chat(run)}/messages"
    key = secrets.token_hex(8)
    body = {"content": text, "clientMessageId": key}
    first = run.asked(201, "POST", path, run.people.user, body).data
    again = run.asked(200, "POST", path, run.people.user, body).data
    expect(first["_id"] == again["_id"], "A retry made a second message.")
    where = {"chatId": ObjectId(first["chatId"]), "seq": first["seq"]}
    row = run.product.database["messages"].find_one(where)
    expect(row is not None and row["content"] == text, "The database has another text.")
    return "the database has the same text; a retry with the same clientMessageId added nothing"


def status_at_once(run: Run) -> str:
    """Change a status and read it as the other side."""
    for status in ("pending", "active"):
        _patch(run, run.people.agent, status=status)
        expect(_get(run, run.people.user)["status"] == status, f"The user does not see {status}.")
    return "the user reads the new status with the next request"


def filtering(run: Run) -> str:
    """Ask for a chat by each filter that it matches, and by some that it does not."""
    agent = run.people.agent
    chat_id = a_chat(run)
    _patch(run, agent, status="pending", priority="high", adminId=agent.id)
    run.asked(201, "POST", f"/api/chat/{chat_id}/messages", run.people.user, {"content": "Unread"})
    common = "/api/chat?q=verification&limit=100&"
    with_it = ("status=pending", "priority=high", "category=general", "assigned=me", "unread=true")
    without = ("status=active", "priority=low", "category=other", "assigned=none", "unread=false")
    categories = run.config["CHAT_CATEGORIES"]
    for queries, there in ((with_it, True), (without, False)):
        for query in queries:
            if query == "category=other" and "other" not in categories:
                continue
            rows = run.asked(200, "GET", common + query, agent).data
            found = chat_id in {row["_id"] for row in rows}
            expect(found == there, f"{query} {'misses' if there else 'shows'} the chat.")
    _patch(run, agent, status="active")
    return "status, priority, category, assignee, unread and search, each both ways"


def polling(run: Run) -> str:
    """Poll with nothing new, then with something, and hear it on the stream."""
    chat_id = a_chat(run)
    path = f"/api/chat/{chat_id}"
    for address in (path, "/api/chat"):
        etag = run.asked(200, "GET", address, run.people.user).headers.get("etag", "")
        same = {"If-None-Match": etag}
        expect(etag, f"{address} has no ETag.")
        quiet = run.asked(304, "GET", address, run.people.user, headers=same)
        expect(not quiet.body, "A 304 has a body.")
        sent = {"content": f"News of {address}"}
        run.asked(201, "POST", f"{path}/messages", run.people.agent, sent)
        news = run.asked(200, "GET", address, run.people.user, headers=same)
        expect(news.headers.get("etag") != etag, "The ETag has not changed.")
    last = run.asked(200, "GET", f"{path}?messages=0", run.people.user).data["messageCount"]
    late = f"{path}/messages?after={last}&wait=1"
    expect(run.asked(200, "GET", late, run.people.user).data == [], "A wait is not quiet.")
    _hear(run, chat_id)
    return "304 with nothing new, 200 with news; long-poll and event stream work"


def _hear(run: Run, chat_id: str) -> None:
    heard = False
    for name, data in run.instance.events(f"/api/chat/{chat_id}/events", run.people.user):
        if name == "chat":
            # The first event: from here on the stream listens.
            body = {"content": "Heard live"}
            path = f"/api/chat/{chat_id}/messages"
            if not heard:
                run.asked(201, "POST", path, run.people.agent, body)
            heard = True
        elif name == "message" and data.get("content") == "Heard live":
            return
    expect(False, "A message sent does not arrive on the event stream.", "Is a proxy buffering?")


def separation(run: Run) -> str:
    """Let each side try what is the other's."""
    run.asked(403, "POST", "/api/chat", run.people.agent, {"subject": SUBJECT})
    for path in ("/api/admin/users", "/api/admin/stats"):
        run.asked(403, "GET", path, run.people.user)
        run.asked(200, "GET", path, run.people.agent)
    page = run.call("GET", "/admin", run.people.user)
    expect(page.status == 403, f"The console answers {page.summary} to a user.")
    for row in _get(run, run.people.agent)["messages"]:
        expected = "admin" if row["senderId"] == run.people.agent.id else "user"
        expect(row["senderRole"] == expected, "A message stands under the wrong role.")
    return "users do not reach the console or /api/admin; agents open no chats"
