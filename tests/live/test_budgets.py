"""What networks may have written before an agent answers: counted in what the database holds.

The limits are a thousandth of the defaults or less; `tests/user_api/test_quotas.py` works out the
defaults. Each network is an address that a proxy in front passes on.
"""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

import bson
import pytest
from pymongo.database import Database

from chatapi.store.database import Document
from tests.live.clients import register_agent
from tests.servers import AppServer, DatabaseServer, start_app

OF_ONE, OF_ALL = 60_000, 600_000
TEXT = "山" * 1500  # three bytes each


@pytest.fixture(scope="module")
def until_end(
    database_server: DatabaseServer, _prepared_database: Database[Document]
) -> Iterator[AppServer]:
    settings = {
        "TRUSTED_PROXIES": "1",
        "LIMIT_UNANSWERED_BYTES": f"{OF_ONE} per hour",
        "LIMIT_UNANSWERED_BYTES_TOTAL": f"{OF_ALL} per hour",
    }
    with start_app(database_server.uri, 1, settings) as server:
        yield server


class Guests:
    """Guests of many networks, over one connection to the proxied server."""

    def __init__(self, server: AppServer) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        self.statuses: Counter[int] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def post(self, address: str, path: str, body: object, token: str | None = None) -> Any:
        headers = {"X-Forwarded-For": address, "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.link.request("POST", path, json.dumps(body), headers)
        answer = self.link.getresponse()
        found = json.loads(answer.read())
        self.statuses[answer.status] += 1
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) > 0
        return found

    def write(self, address: str, messages: int = 1) -> dict[str, Any]:
        """Make a guest, a chat and messages in it, as far as they are taken."""
        guest = {"name": "Guest", "email": "guest@example.org"}
        made = self.post(address, "/api/auth/guest", guest)
        token = made.get("token")
        if not token:
            return {}
        chat = self.post(address, "/api/chat", {"subject": "Help", "message": TEXT}, token)
        for _ in range(messages - 1):
            if "_id" in chat:
                path = f"/api/chat/{chat['_id']}/messages"
                self.post(address, path, {"content": TEXT}, token)
        return {"token": token, "chat": chat.get("_id")}


def stored(database: Database[Document]) -> int:
    """Return the bytes of all documents that guests can make."""
    names = ("users", "sessions", "chatrooms", "chat_terms", "messages")
    return sum(len(bson.encode(each)) for name in names for each in database[name].find())


@pytest.mark.parametrize(
    "addresses",
    [["203.0.113.7"] * 8, [f"2001:db8:5:5::{number:x}" for number in range(8)]],
    ids=["one address", "one /64"],
)
def test_one_network_has_so_many_bytes_written(
    until_end: AppServer, live_database: Database[Document], addresses: list[str]
) -> None:
    with Guests(until_end) as guests:
        for address in addresses:
            guests.write(address, messages=5)
    assert guests.statuses[201] >= 5
    assert guests.statuses[429] >= 5
    assert OF_ONE / 2 < stored(live_database) <= OF_ONE


@pytest.mark.long
def test_a_thousand_networks_have_so_many_bytes_written_together(
    until_end: AppServer, live_database: Database[Document]
) -> None:
    agent = register_agent(until_end)
    without = stored(live_database)
    with Guests(until_end) as guests:
        first = guests.write("100.64.0.1")
        path = f"/api/chat/{first['chat']}/messages"
        assert agent.call("POST", path, {"content": "How can I help?"})[0] == 201
        for number in range(2, 1001):
            guests.write(f"100.{64 + number // 250}.{number % 250}.9")
        assert guests.statuses[429] > 800
        assert OF_ALL / 2 < stored(live_database) - without <= OF_ALL
        # Where an agent has answered, the conversation goes on.
        assert guests.post("100.64.0.1", path, {"content": TEXT}, first["token"])["seq"] == 3
