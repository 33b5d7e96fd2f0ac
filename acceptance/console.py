"""Checks of the console as it comes over HTTP, as an agent with a cookie sees it."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from acceptance import chat as talk
from acceptance.instance import Answer
from acceptance.results import expect
from acceptance.run import Check, Run

_ADDRESS = re.compile(r'(?:src|href)="(/[^"#?]+\.(?:js|css|svg))"')
_HTMX = {"HX-Request": "true"}


def _page(run: Run, path: str, headers: dict[str, str] | None = None) -> Answer:
    cookie = f"{run.config['AUTH_COOKIE_NAME']}={run.people.agent.token}"
    return run.asked(200, "GET", path, headers={"Cookie": cookie, **(headers or {})})


def _post(run: Run, path: str, **form: str) -> Answer:
    """Send one of the console's forms as a browser does."""
    cookie = f"{run.config['AUTH_COOKIE_NAME']}={run.people.agent.token}"
    page = run.asked(200, "GET", "/api/auth/csrf", headers={"Cookie": cookie})
    pairs = [text.split(";")[0] for text in page.cookies]
    body = urlencode({**form, "csrf_token": page.data["csrfToken"]}).encode()
    return run.call(
        "POST", path, form=body, headers={"Cookie": "; ".join([cookie, *pairs]), **_HTMX}
    )


def all_chats(run: Run) -> str:
    """Find chats of two users in the table."""
    found = _page(run, "/admin?q=verification").text
    for owner in (run.people.user, run.people.other):
        chat_id = talk.a_chat(run, owner)
        if chat_id not in found:
            found = _page(run, "/admin?q=verification").text
        expect(f"/admin/chats/{chat_id}" in found, "The table lacks a chat.")
    return "the chats of two users stand in the table"


def filtered(name: str, with_it: str, without: str) -> Check:
    """Return a check that a filter of the table shows the chat, and hides it."""

    def check(run: Run) -> str:
        chat_id = talk.a_chat(run)
        body = {"status": "active", "priority": "medium", "category": "general"}
        run.asked(200, "PATCH", f"/api/chat/{chat_id}", run.people.agent, body)
        shown = _page(run, f"/admin?q=verification&{name}={with_it}").text
        expect(chat_id in shown, f"The table for {name} {with_it} lacks the chat.")
        hidden = _page(run, f"/admin?q=verification&{name}={without}").text
        expect(chat_id not in hidden, f"The table for {name} {without} shows the chat.")
        return f"{name} {with_it} shows the chat, {without} does not"

    return check


def category_filter(run: Run) -> str:
    """Filter by category, where there is more than one."""
    others = [name for name in run.config["CHAT_CATEGORIES"] if name != "general"]
    return filtered("category", "general", others[0])(run) if others else "there is one category"


def history(run: Run) -> str:
    """Open a conversation."""
    chat_id = talk.a_chat(run)
    path = f"/api/chat/{chat_id}/messages"
    run.asked(201, "POST", path, run.people.user, {"content": "Shown in the console"})
    page = _page(run, f"/admin/chats/{chat_id}")
    expect("Shown in the console" in page.text, "The conversation lacks its last message.")
    fragment = _page(run, f"/admin/chats/{chat_id}", _HTMX)
    expect("<html" not in fragment.text, "HTMX gets a whole page.")
    expect("Shown in the console" in fragment.text, "The fragment lacks the last message.")
    return "page and fragment hold the messages"


def status_menu(run: Run) -> str:
    """Send the status menu's form."""
    chat_id = talk.a_chat(run)
    for status in ("pending", "active"):
        answer = _post(run, f"/admin/chats/{chat_id}", status=status)
        expect(answer.status == 200, f"The status form is answered {answer.summary}.")
        chat = run.asked(200, "GET", f"/api/chat/{chat_id}", run.people.user).data
        expect(chat["status"] == status, f"The chat is {chat['status']}, not {status}.")
    return "the form sets pending and active"


def assign(run: Run) -> str:
    """Send the assignment form."""
    chat_id = talk.a_chat(run)
    for chosen in (run.people.agent.id, ""):
        answer = _post(run, f"/admin/chats/{chat_id}", adminId=chosen)
        expect(answer.status == 200, f"The assignment form is answered {answer.summary}.")
        chat = run.asked(200, "GET", f"/api/chat/{chat_id}", run.people.user).data
        expect((chat["adminId"] or "") == chosen, "The chat is not assigned as chosen.")
    return "the form assigns and takes back"


def unread(run: Run) -> str:
    """Send three messages and read the counts."""
    chat_id = talk.a_chat(run)
    path = f"/api/chat/{chat_id}"
    run.asked(200, "PATCH", path, run.people.agent, {"read": True})
    for number in range(3):
        body = {"content": f"Unread {number}"}
        run.asked(201, "POST", f"{path}/messages", run.people.user, body)
    rows = run.asked(200, "GET", "/api/chat?q=verification&limit=100", run.people.agent).data
    count = next(row["unreadCount"] for row in rows if row["_id"] == chat_id)
    expect(count == 3, f"The list counts {count} unread messages, not 3.")
    _page(run, f"/admin/chats/{chat_id}")
    after = run.asked(200, "GET", path, run.people.agent).data["unreadCount"]
    expect(after == 0, f"After opening the chat {after} are unread.")
    return "three sent, three counted; none after the chat was opened"


def polls(run: Run) -> str:
    """Poll the table and a conversation as the console's script does."""
    chat_id = talk.a_chat(run)
    agent = run.people.agent
    run.asked(200, "PATCH", f"/api/chat/{chat_id}", agent, {"read": True})
    for path in ("/admin?q=verification", f"/admin/chats/{chat_id}?first=1"):
        etag = _page(run, path, _HTMX).headers.get("etag", "")
        expect(etag, f"{path} has no ETag to poll with.")
        cookie = f"{run.config['AUTH_COOKIE_NAME']}={agent.token}"
        same = {"Cookie": cookie, "If-None-Match": etag, **_HTMX}
        run.asked(304, "GET", path, headers=same)
        body = {"content": "News for the console"}
        run.asked(201, "POST", f"/api/chat/{chat_id}/messages", run.people.user, body)
        news = run.asked(200, "GET", path, headers=same).text
        expect("News for the console" in news, f"{path} does not show the new message.")
    return "304 with nothing new, the new message with the next poll"


def first_load(run: Run) -> str:
    """Load the first pages with everything they name, from nothing."""
    summary = []
    for path in ("/chat", "/admin/login"):
        page = run.asked(200, "GET", path)
        seconds, size = page.seconds, len(page.body)
        for address in sorted(set(_ADDRESS.findall(page.text))):
            part = run.asked(200, "GET", address, headers={"Accept-Encoding": "gzip"})
            seconds, size = seconds + part.seconds, size + len(part.body)
            right = "javascript" if address.endswith(".js") else ""
            kind = part.headers.get("content-type", "")
            expect(right in kind, f"{address} is served as {kind}.")
        expect(
            seconds < 3,
            f"{path} took {seconds:.1f} s to load, one file after the other.",
            "Look at the network and at the machine's load.",
        )
        summary.append(f"{path} {seconds * 1000:.0f} ms, {size / 1000:.0f} kB")
    return "; ".join(summary)
