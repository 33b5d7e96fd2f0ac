"""The `chat_terms` collection: the search terms of chats, one document for each chat.

The terms are not in the chat's document, which is updated with every message: a chat has a term for
each prefix of each word, and an update costs more the more index entries a document has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bson import ObjectId

from chatapi.domain.documents import Chat, ChatTerms
from chatapi.store.database import Document, chat_terms
from chatapi.store.id_chunks import aggregate_by_ids


def upsert(chat: Chat, terms: Sequence[str]) -> None:
    """Store a chat's search terms, unless it has some already."""
    found_by = to_document(chat, terms)
    fields = {"userId": found_by["userId"], "terms": found_by["terms"]}
    chat_terms().update_one({"_id": found_by["_id"]}, {"$setOnInsert": fields}, upsert=True)


def to_document(chat: Chat, terms: Sequence[str]) -> ChatTerms:
    """Return the document to store for a chat."""
    return {"_id": chat["_id"], "userId": chat["userId"], "terms": list(terms)}


def add(chat_ids: Sequence[ObjectId], terms: Sequence[str]) -> None:
    """Add search terms to chats."""
    where = {"_id": {"$in": list(chat_ids)}}
    chat_terms().update_many(where, {"$addToSet": {"terms": {"$each": list(terms)}}})


def delete(chat_id: ObjectId) -> None:
    chat_terms().delete_one({"_id": chat_id})


def query(term: str, user_id: ObjectId | None = None) -> Document:
    """Return the MongoDB filter for a term, of one user's chats or of all."""
    # First the user, because a user has few chats.
    return ({} if user_id is None else {"userId": user_id}) | {"terms": term}


def search(terms: Sequence[str], user_id: ObjectId | None, most: int) -> set[ObjectId] | None:
    """Return the ids of the chats with all these terms, of one user's chats or of all.

    None if each term alone has more than `most` chats. Each term is an equality on the index. The
    longest one, usually the rarest, is queried first, the others only among its chats.
    """
    for term in sorted(terms, key=len, reverse=True):
        rows = chat_terms().find(query(term, user_id), {"_id": 1}).limit(most + 1)
        ids = {row["_id"] for row in rows}
        if len(ids) <= most:
            others = [each for each in terms if each != term]
            return filter_by_terms(ids, others) if others else ids
    return None


def filter_by_terms(ids: Iterable[ObjectId], terms: Sequence[str]) -> set[ObjectId]:
    """Return which of these chats have all the terms."""
    stages: list[Document] = [
        {"$match": {"terms": {"$all": list(terms)}}},
        {"$project": {"_id": 1}},
    ]
    return {row["_id"] for row in aggregate_by_ids(chat_terms(), ids, stages)}
