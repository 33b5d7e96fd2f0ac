"""The floor: bare Flask views, and one that makes the two writes of a send and nothing else."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from flask import Flask, jsonify, request
from pymongo import MongoClient

from chatapi.services import appending, chats, sessions, users

app = Flask(__name__)
database: Any = MongoClient(os.environ["MONGO_URI"], connect=False).get_default_database()


@app.get("/readyz")
def readyz() -> Any:
    """Tell that the process lives; the server harness waits for it."""
    return jsonify(status="ok")


@app.get("/bare")
def bare() -> Any:
    """Answer JSON without a database."""
    return jsonify(status="ok")


@app.post("/two-writes/<chat_id>")
def two_writes(chat_id: str) -> Any:
    """Insert the message and update the chat that a send inserts and updates."""
    content, seq = request.get_json()["content"], next(numbers)
    now = datetime.now(UTC)
    message = MESSAGE | {"_id": ObjectId(), "chatId": NOWHERE, "seq": seq, "content": content}
    message |= {"idempotencyKey": str(seq), "timestamp": now}
    database.messages.insert_one(message)
    database.chatrooms.update_one(
        {"_id": ObjectId(chat_id)},
        {"$set": CHANGES | {"lastMessageAt": now, "updatedAt": now}, "$inc": {"version": 1}},
    )
    return jsonify(seq=seq), 201


NOWHERE = ObjectId()
numbers = itertools.count(1)
MESSAGE: dict[str, Any] = {}
CHANGES: dict[str, Any] = {}


def _take_shape() -> None:
    """Make documents of the shape and size that a send makes."""
    user = users.new_user("Benchmark user", "bench@example.com", "user", None)
    session = sessions.session_for(user)
    chat = chats.new_chat(session, "A subject", "general", "medium")
    message = appending.new(session, chat, "A message of a usual length, no more.", "key")
    message["idempotencyKey"] = "floor"
    MESSAGE.update(message)
    CHANGES.update(appending.apply_message(chat, message))
    CHANGES.pop("lastSeq")


_take_shape()
