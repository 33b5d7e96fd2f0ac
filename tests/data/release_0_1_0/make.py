"""Write the database of these tests, by the code of release 0.1.0 itself.

    git worktree add /tmp/release-0.1.0 bacbf8e
    cd /tmp/release-0.1.0 && make .venv/.runtime
    PYTHONPATH=. .venv/bin/python THIS_FILE

It starts the embedded database on an empty directory and leaves beside this file:

- `database.json.gz`: all collections with their options and indexes, as extended JSON. It has also
  what a backup leaves out: a message that was never committed, a chat that is half deleted.
- `livechat.backup`: the same, as `flask backup --sessions` of that release writes it.
- `answers.json.gz`: the tokens of those who are signed in, what the API of that release answered
  each, and the requests whose repetition must store nothing.
"""

# mypy: ignore-errors
from __future__ import annotations

import gzip
import json
import os
import tempfile
from datetime import timedelta
from pathlib import Path

from bson import json_util

from chatapi import create_app
from chatapi.services import accounts, messages
from chatapi.store import chats as stored_chats
from chatapi.store import database, deletions
from chatapi.store import messages as stored_messages
from config import DevelopmentConfig
from tests.servers import DatabaseServer

HERE = Path(__file__).parent
SETTINGS = {
    "SECRET_KEY": "only-for-the-tests-0123456789-0123456789",
    "PASSWORD_TIME_COST": "1",
    "PASSWORD_MEMORY_KIB": "8",
    "RATELIMIT_ENABLED": "false",
    "LOG_LEVEL": "ERROR",
}
FILTERS = ("status=active", "status=closed&status=archived", "category=billing", "unread=true")
PASSWORD = "a password of release 0.1.0"
IMPORTED = {
    "id": "ticket-1",
    "subject": "Imported from another system",
    "messages": [{"role": "user", "text": "Is this kept?"}, {"role": "admin", "text": "It is."}],
}


class Product:
    """The application, its people, and what its API answers them."""

    def __init__(self, app) -> None:
        self.app, self.client = app, app.test_client()
        self.tokens, self.ids = {}, {}
        self.answers, self.retries = [], []

    def person(self, name: str, role: str = "user") -> None:
        email = f"{name.lower()}@example.org"
        if role == "admin":
            accounts.create_admin(name, email, PASSWORD)
        where, body = "/api/auth/login", {"email": email, "password": PASSWORD}
        if role == "user":
            where, body = "/api/auth/register", body | {"name": name}
        if role == "guest":
            where, body = "/api/auth/guest", {"email": email, "name": name}
        answer = self.client.post(where, json=body)
        assert answer.status_code in {200, 201}, answer.text
        self.tokens[name], self.ids[name] = answer.json["token"], answer.json["user"]["_id"]

    def ask(self, name: str, method: str, path: str, body=None):
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        answer = self.client.open(path, method=method, json=body, headers=headers)
        assert answer.status_code < 300, (method, path, answer.text)
        return answer.json

    def retried(self, name: str, path: str, body) -> dict:
        """Send something and note it as one that is to be sent again."""
        answer = self.ask(name, "POST", path, body)
        self.retries.append({"as": name, "path": path, "body": body, "answer": answer})
        return answer

    def record(self, name: str, path: str):
        answer = self.ask(name, "GET", path)
        self.answers.append({"as": name, "path": path, "answer": answer})
        return answer

    def session(self, name: str):
        return accounts.open_session(self.tokens[name])


def fill(product: Product) -> None:
    """Let people use the product."""
    for name in ("Agnes", "Bert"):
        product.person(name, "admin")
    for name in ("Ute", "Vera", "Willem", "Xenia", "Yann"):
        product.person(name)
    for name in ("Gerd", "Hilde"):
        product.person(name, "guest")
    ask, retried, ids = product.ask, product.retried, product.ids

    def open_chat(name: str, subject: str, text: str, **more) -> str:
        body = {"subject": subject, "message": text, "clientMessageId": f"{name}-{subject}"}
        return retried(name, "/api/chat", body | more)["_id"]

    # Ute: archived, closed, closed and reopened; now active, assigned, partly read.
    for status in ("archived", "closed"):
        chat = open_chat("Ute", f"It was {status}", "Please look.", category="billing")
        retried("Ute", f"/api/chat/{chat}/messages", {"content": "Two", "clientMessageId": "u2"})
        ask("Agnes", "POST", f"/api/chat/{chat}/messages", {"content": "Done."})
        ask("Agnes", "PATCH", f"/api/chat/{chat}", {"status": status})
    chat = open_chat("Ute", "Still open", "Hello?", priority="urgent")
    ask("Agnes", "PATCH", f"/api/chat/{chat}", {"adminId": ids["Agnes"], "priority": "high"})
    for number in range(3):
        ask("Agnes", "POST", f"/api/chat/{chat}/messages", {"content": f"Answer {number}"})
    ask("Ute", "POST", f"/api/chat/{chat}/read", {"seq": 2})
    ask("Agnes", "PATCH", f"/api/chat/{chat}", {"status": "closed"})
    ask("Agnes", "PATCH", f"/api/chat/{chat}", {"status": "active"})

    # Vera: pending, a message deleted for good, another one being deleted.
    chat = open_chat("Vera", "A secret", "My card is 4111 1111.")
    ask("Vera", "POST", f"/api/chat/{chat}/messages", {"content": "And the code is 123."})
    ask("Bert", "PATCH", f"/api/chat/{chat}", {"adminId": ids["Bert"], "status": "pending"})
    ask("Bert", "DELETE", f"/api/chat/{chat}/messages/1")
    begin_deletion(chat, 2)

    # Willem: unassigned; an agent's message with a status was written and not committed.
    chat = open_chat("Willem", "Nobody's yet", "Anybody there?")
    body = {"content": "Closed for you.", "clientMessageId": "agent-1"}
    leave_uncommitted(product.session("Agnes"), chat, body, {"status": "closed", "isOpen": False})
    product.retries.append(
        {"as": "Agnes", "path": f"/api/chat/{chat}/messages", "body": body, "answer": None}
    )

    # Xenia: a user's message that was not committed, and a chat that is half deleted.
    chat = open_chat("Xenia", "To be deleted", "Forget this.")
    deletions.begin(database.object_id(chat), userId=database.object_id(ids["Xenia"]))
    stored_chats.delete(database.object_id(chat))
    product.retries.pop()
    chat = open_chat("Xenia", "Lost connection", "One")
    body = {"content": "Two", "clientMessageId": "x2"}
    leave_uncommitted(product.session("Xenia"), chat, body, {})
    product.retries.append(
        {"as": "Xenia", "path": f"/api/chat/{chat}/messages", "body": body, "answer": None}
    )

    # Yann has none. Gerd is a guest with a chat, Hilde one without.
    open_chat("Gerd", "As a guest", "No account.", category="technical")
    product.client.post("/api/auth/login", json={"email": "ute@example.org", "password": PASSWORD})
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "tickets.jsonl")
        file.write_text(json.dumps(IMPORTED))
        result = product.app.test_cli_runner().invoke(args=["import-conversations", str(file)])
        assert result.exit_code == 0, result.output


def begin_deletion(chat_id: str, seq: int) -> None:
    """Delete a message as a process does that is killed before it overwrites the text."""
    begun = deletions.begin(database.object_id(chat_id), seq)
    chat = stored_chats.by_id(begun["chatId"])
    fields = messages._with_burying(chat, seq)
    assert stored_chats.replace(chat["_id"], chat["version"], fields)


def leave_uncommitted(session, chat_id: str, body, also) -> None:
    """Send a message as a process does that is killed between its two writes."""
    chat = stored_chats.by_id(database.object_id(chat_id))
    message = messages.new(session, chat, body["content"], body["clientMessageId"])
    if also:
        message |= {"also": also, "hasRead": True}
    stored_messages.insert(message)


def record(product: Product) -> None:
    """Ask everybody's questions and keep the answers."""
    for name in product.tokens:
        product.record(name, "/api/auth/me")
        product.record(name, "/api/auth/sessions")
        listed = product.record(name, "/api/chat?limit=100")
        for chat in listed:
            product.record(name, f"/api/chat/{chat['_id']}")
            product.record(name, f"/api/chat/{chat['_id']}/messages?after=0&limit=100")
        for query in (
            "status=active",
            "status=closed&status=archived",
            "category=billing",
            "unread=true",
        ):
            product.record(name, f"/api/chat?{query}")
    product.record("Agnes", "/api/chat?limit=2")
    product.record("Agnes", "/api/chat?assigned=none&priority=medium")
    product.record("Agnes", "/api/chat?q=secr")
    product.record("Agnes", "/api/admin/users?limit=100")
    product.record("Agnes", "/api/admin/users?q=ve")
    product.record("Agnes", "/api/admin/stats")


def dump(stored) -> dict:
    """Return all that the database holds."""
    found = {}
    for row in stored.list_collections():
        collection = stored[row["name"]]
        found[row["name"]] = {
            "options": row["options"],
            "indexes": collection.index_information(),
            "documents": list(collection.find()),
        }
    return found


def write(name: str, text: str) -> None:
    """Write a compressed file."""
    with gzip.GzipFile(HERE / name, "wb", mtime=0) as file:
        file.write(text.encode())


def main() -> None:
    """Make the three files."""
    with tempfile.TemporaryDirectory() as directory:
        server = DatabaseServer(Path(directory) / "db")
        with server:
            server.start()
            os.environ |= SETTINGS | {"MONGO_URI": server.uri, "DATA_DIR": directory}
            app = create_app(DevelopmentConfig)
            accounts.lifetimes.idle = accounts.lifetimes.absolute = timedelta(days=36_500)
            product = Product(app)
            runner = app.test_cli_runner()
            assert runner.invoke(args=["init-db"]).exit_code == 0
            fill(product)
            record(product)
            everything = json_util.dumps(
                dump(database.current()), json_options=json_util.CANONICAL_JSON_OPTIONS
            )
            write("database.json.gz", everything)
            file = HERE / "livechat.backup"
            made = runner.invoke(args=["backup", "--sessions", "--overwrite", str(file)])
            assert made.exit_code == 0, made.output
            answered = {"answers": product.answers, "retries": product.retries}
            write("answers.json.gz", json.dumps({"tokens": product.tokens, **answered}, indent=1))


if __name__ == "__main__":
    main()
