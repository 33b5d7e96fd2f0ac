"""The product as the tests in a browser use it: its address, and people put into it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bson import ObjectId
from pymongo import MongoClient

from tests.conftest import PASSWORD
from tests.servers import AppServer


class Server:
    """A running product, and ways to put people into it through its API."""

    def __init__(self, app: AppServer, mongo_uri: str) -> None:
        self.url = app.url
        self.request = app.request
        self._mongo_uri = mongo_uri
        self._numbers = itertools.count(1)

    def user(self, name: str | None = None) -> dict[str, Any]:
        """Register a user and return their email, password, token and _id."""
        number = next(self._numbers)
        who = {
            "name": name or f"Person {number}",
            "email": f"person{number}@example.org",
            "password": PASSWORD,
        }
        status, _, answer = self.request("POST", "/api/auth/register", json=who)
        assert status == 201, answer
        return {**who, "token": answer["token"], "_id": answer["user"]["_id"]}

    def admin(self, name: str | None = None) -> dict[str, Any]:
        """Register a user, make them an agent, and return the same as `user`."""
        who = self.user(name or "Agent")
        client: MongoClient[dict[str, Any]] = MongoClient(self._mongo_uri)
        with client:
            client.get_default_database()["users"].update_one(
                {"email": who["email"]}, {"$set": {"role": "admin"}}
            )
        credentials = {"email": who["email"], "password": PASSWORD}
        status, _, answer = self.request("POST", "/api/auth/login", json=credentials)
        assert status == 200, answer
        return {**who, "token": answer["token"]}

    @contextmanager
    def forged_image(self, user_id: str, image: str) -> Iterator[None]:
        """Give a user a picture's address that the API may refuse, and take it back."""
        self._store_image(ObjectId(user_id), image)
        try:
            yield
        finally:
            self._store_image(ObjectId(user_id), None)

    def _store_image(self, person: ObjectId, image: str | None) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(self._mongo_uri)
        with client:
            database = client.get_default_database()
            for collection, key, field in (
                ("users", "_id", "image"),
                ("chatrooms", "userId", "userImage"),
                ("chatrooms", "adminId", "adminImage"),
                ("messages", "senderId", "senderImage"),
            ):
                database[collection].update_many({key: person}, {"$set": {field: image}})
