"""The format version of all search terms, and how `init-db` and `restore` recompute them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from bson import ObjectId

from chatapi.domain.documents import Chat, User
from chatapi.store import scan
from chatapi.store.database import chat_terms, chatrooms, forms, users
from chatapi.store.id_chunks import aggregate_by_ids

_BATCH = 500
_CHAT_FIELDS = {"userId": 1, "subject": 1, "userName": 1, "userEmail": 1}

Change = tuple[ObjectId, list[str], list[str]]


def format_version() -> int:
    """Return the format version of all stored terms; 1 is that of release 0.1.0."""
    found = forms().find_one({"_id": "searchTerms"})
    return int(found["form"]) if found else 1


def set_format_version(number: int) -> None:
    """Store the format version of all terms."""
    forms().replace_one({"_id": "searchTerms"}, {"form": number}, upsert=True)


def chat_batches() -> Iterator[list[tuple[Chat, list[str] | None]]]:
    """Yield all chats in batches, each with its terms, or None if it has no terms document."""
    rows = scan.newest_first(chatrooms(), "userId", _CHAT_FIELDS)
    while batch := list(itertools.islice(rows, _BATCH)):
        found = aggregate_by_ids(
            chat_terms(), [chat["_id"] for chat in batch], [{"$project": {"terms": 1}}]
        )
        terms = {row["_id"]: row["terms"] for row in found}
        yield [(chat, terms.get(chat["_id"])) for chat in batch]


def change_chat_terms(changes: Iterable[Change]) -> None:
    """Remove and add terms of chats: (id, removed, added).

    Terms that are added meanwhile, such as for its owner's new name, stay.
    """
    for chat_id, removed, added in changes:
        where = {"_id": chat_id}
        if added:
            chat_terms().update_one(where, {"$addToSet": {"terms": {"$each": added}}})
        if removed:
            chat_terms().update_one(where, {"$pull": {"terms": {"$in": removed}}})


def user_batches() -> Iterator[list[User]]:
    """Yield all users and guests in batches: id, name, e-mail and terms."""
    shown = {"name": 1, "email": 1, "searchTerms": 1}
    rows = scan.latest_first(users(), "createdAt", shown)
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch


def set_user_terms(person: User, terms: list[str]) -> None:
    """Store a user's terms, unless the name was changed meanwhile."""
    where = {"_id": person["_id"], "name": person["name"]}
    users().update_one(where, {"$set": {"searchTerms": terms}})
