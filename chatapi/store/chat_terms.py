"""The `chat_terms` collection: by which words a chat is found, one document a chat.

They stand apart from the chat, which is written anew with every message: a chat has a term
for each beginning of each word, and some servers then write all its index entries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId

from chatapi.store.database import Document, chat_terms, chatrooms

_OLD_INDEX = "search"


def put(chat: Document, terms: Sequence[str]) -> None:
    """Let a chat be found by these terms alone."""
    document = of(chat, terms)
    chat_terms().replace_one({"_id": document["_id"]}, document, upsert=True)


def of(chat: Document, terms: Sequence[str]) -> Document:
    """Return what is stored for a chat."""
    return {"_id": chat["_id"], "userId": chat["userId"], "terms": list(terms)}


def add(chat_ids: Sequence[ObjectId], terms: Sequence[str]) -> None:
    """Let chats be found by these terms, too."""
    where = {"_id": {"$in": list(chat_ids)}}
    chat_terms().update_many(where, {"$addToSet": {"terms": {"$each": list(terms)}}})


def delete(chat_id: ObjectId) -> None:
    chat_terms().delete_one({"_id": chat_id})


def are_in_chats() -> bool:
    """Tell whether the chats of this database still carry their terms, as they once did."""
    return _OLD_INDEX in chatrooms().index_information()


def move() -> None:
    """Take the terms out of the chats that still carry them; after a crash, do it again."""
    carried = {"searchTerms": {"$exists": True}}
    for chat_id in [row["_id"] for row in chatrooms().find(carried, {"_id": 1})]:
        chat = chatrooms().find_one({"_id": chat_id}, {"userId": 1, "searchTerms": 1})
        if chat is not None and "searchTerms" in chat:
            put(chat, chat["searchTerms"])
            chatrooms().update_one({"_id": chat_id}, {"$unset": {"searchTerms": ""}})
    if are_in_chats():
        chatrooms().drop_index(_OLD_INDEX)


def matching(terms: Sequence[str], user_id: ObjectId | None) -> list[Document]:
    """Return the stages that find the documents with all these terms, of one user's chats or all.

    The longest term, mostly the rarest, is asked for alone: an equality on the index, which
    not every planner finds in a list of terms.
    """
    longest = max(terms, key=len)
    others = [term for term in terms if term != longest]
    first: Document = {"terms": longest}
    if user_id is not None:
        # The user's own are few.
        first = {"userId": user_id} | first
    return [{"$match": first}, *([{"$match": {"terms": {"$all": others}}}] if others else [])]


def found(
    terms: Sequence[str], user_id: ObjectId | None, limit: int | None = None
) -> list[ObjectId]:
    """Return the ids of chats with all these terms, in no order: all of them, or so many."""
    shown: list[dict[str, Any]] = [{"$project": {"_id": 1}}]
    cut: list[dict[str, Any]] = [{"$limit": limit}] if limit is not None else []
    stages = [*matching(terms, user_id), *cut, *shown]
    return [row["_id"] for row in chat_terms().aggregate(stages)]


def chats(terms: Sequence[str], user_id: ObjectId | None, rest: list[Document]) -> list[Document]:
    """Return the chats with all these terms after further stages."""
    looked_up: list[Document] = [
        {"$project": {"_id": 1}},
        {
            "$lookup": {
                "from": "chatrooms",
                "localField": "_id",
                "foreignField": "_id",
                "as": "chat",
            }
        },
        {"$unwind": "$chat"},
        {"$replaceRoot": {"newRoot": "$chat"}},
    ]
    return list(chat_terms().aggregate([*matching(terms, user_id), *looked_up, *rest]))
