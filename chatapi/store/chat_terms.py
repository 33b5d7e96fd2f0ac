"""The `chat_terms` collection: by which words a chat is found, one document a chat.

They stand apart from the chat, which is written anew with every message: a chat has a term
for each beginning of each word, and some servers then write all its index entries again.
"""

from __future__ import annotations

from collections.abc import Sequence

from bson import ObjectId

from chatapi.store.database import Document, among, chat_terms, chatrooms

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


def query(term: str, user_id: ObjectId | None = None) -> Document:
    """Return the MongoDB filter for a term, of one user's chats or of all."""
    # The user's own are few: they come first.
    return ({} if user_id is None else {"userId": user_id}) | {"terms": term}


def found(terms: Sequence[str], user_id: ObjectId | None, few: int) -> set[ObjectId]:
    """Return the ids of the chats with all these terms, of one user's chats or of all.

    Each term is an equality on the index, the longest, mostly the rarest, first. When only
    a few chats are left, these alone are looked at for the other terms.
    """
    left = sorted(terms, key=len, reverse=True)
    ids = _with(left.pop(0), user_id)
    while left and len(ids) > few:
        ids &= _with(left.pop(0), user_id)
    if not left:
        return ids
    having: list[Document] = [{"$match": {"terms": {"$all": left}}}, {"$project": {"_id": 1}}]
    return {row["_id"] for row in among(chat_terms(), ids, having)}


def _with(term: str, user_id: ObjectId | None) -> set[ObjectId]:
    return {row["_id"] for row in chat_terms().find(query(term, user_id), {"_id": 1})}
