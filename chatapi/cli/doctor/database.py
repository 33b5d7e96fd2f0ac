"""Checks of the database server, its collections and the consistency of its data."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from flask import current_app
from pymongo.errors import OperationFailure

from chatapi.cli import consistency
from chatapi.cli.doctor.application import is_production, require_settings
from chatapi.cli.doctor.results import Failed, NotApplicable, expect
from chatapi.store import chat_terms, chats, database, indexes, maintenance, migrations

CALLED = "(docs/troubleshooting.md says how a command is called)"
INIT_DB = f"Run init-db {CALLED}."
ASK = "Keep a copy of the database before anything is changed, and ask the developers."
MAX_COMPARED = 1000
MAX_SEARCHED = 50_000
MAX_SHOWN = 5


def server() -> str:
    """Check the server's kind and version."""
    found = maintenance.server()
    expect(found["writable"], "The server takes no writes: it is no primary.", "See rs.status().")
    require_settings("MONGO_URI")
    if is_production():
        expect(
            not found["embedded"],
            "MONGO_URI names the embedded database, which is meant for one machine.",
            "Set up MongoDB as a replica set: docs/deployment.md.",
        )
    return f"{found['name']} {found['version']}, {found['form']}, takes writes"


def connection_string() -> str:
    """Ask the database through this very connection, and how writes are made safe."""
    database.ping()
    expect(
        maintenance.acknowledged(),
        "MONGO_URI has w=0: a message could be lost without an error.",
        "Add w=majority to MONGO_URI.",
    )
    concern = maintenance.write_concern()
    safe = concern.get("w") == "majority" or concern.get("j") or concern.get("journal")
    expect(
        safe or not is_production() or "w" not in concern,
        f"MONGO_URI asks for {concern} only: an acknowledged message can be lost.",
        "Add w=majority to MONGO_URI.",
    )
    name = current_app.config["DATABASE_NAME"]
    return f"the database {name} answers; writes wait for {_described(concern)}"


def _described(concern: dict[str, Any]) -> str:
    if not concern:
        return "what the server's default says"
    return ", ".join(f"{name}={value}" for name, value in sorted(concern.items()))


def applied_migrations() -> str:
    """Compare the migrations that the database has with those of this release."""
    missing = migrations.missing(database.current())
    expect(not missing, f"The database lacks the migration {', '.join(missing)}.", INIT_DB)
    return f"all {len(migrations.names())} of this release"


def collections() -> str:
    """Look for all collections and their validators, in the server's own list."""
    there = maintenance.collections()
    missing = sorted(set(indexes.INDEXES) - set(there))
    expect(not missing, f"There is no collection {', '.join(missing)}.", INIT_DB)
    for name, wanted in indexes.VALIDATORS.items():
        found = there[name].get("validator")
        expect(found, f"{name} has no validator.", INIT_DB)
        expect(found == wanted, f"The validator of {name} is another than ours.", INIT_DB)
    require_migrated()
    left = maintenance.unfinished_restore()
    expect(not left, "A restore was cut off: the data is not all there.", "Restore again.")
    return f"{len(indexes.INDEXES)} collections, {len(indexes.VALIDATORS)} with a validator"


def require_migrated() -> None:
    """Fail the check while migrations are missing."""
    missing = ", ".join(migrations.missing(database.current()))
    expect(not missing, f"These migrations have not run: {missing}.", INIT_DB)


def all_indexes() -> str:
    """Compare the server's own list of indexes with what is declared."""
    for name, models in indexes.INDEXES.items():
        there = maintenance.indexes_of(name)
        for model in models:
            document = model.document
            index = str(document["name"])
            expect(index in there, f"{name} has no index {index}.", INIT_DB)
            same = there[index]["key"] == list(document["key"].items()) and all(
                there[index].get(option) == document.get(option)
                for option in ("unique", "partialFilterExpression", "expireAfterSeconds")
            )
            expect(
                same,
                f"The index {index} of {name} is another than the declared one.",
                f"Drop it, then {INIT_DB[0].lower()}{INIT_DB[1:]}",
            )
    total = sum(map(len, indexes.INDEXES.values()))
    return f"all {total} that are declared"


def pooling() -> str:
    """Read the pool of this client, and what the server has left for it."""
    size, wanted = maintenance.pool_size(), current_app.config["DATABASE_POOL_SIZE"]
    expect(size == wanted, f"The pool holds {size} connections, not DATABASE_POOL_SIZE={wanted}.")
    left = maintenance.server()["connections"]
    expect(
        left is None or left >= size,
        f"The server has {left} connections left, and a worker may want {size}.",
        "Lower DATABASE_POOL_SIZE or raise net.maxIncomingConnections.",
    )
    return f"up to {size} a worker" + (f"; the server has {left:,} left" if left else "")


def plans() -> str:
    """Let the server explain the queries that lists, chats and sessions make."""
    nobody = ObjectId()
    order = {"lastMessageAt": -1, "_id": -1}
    asked: list[tuple[str, str, dict[str, Any], dict[str, int] | None]] = [
        ("all chats", "chatrooms", chats.query(chats.Filter()), order),
        ("a user's chats", "chatrooms", chats.query(chats.Filter(user_id=nobody)), order),
        ("chats by status", "chatrooms", chats.query(chats.Filter(statuses=("active",))), order),
        ("an agent's chats", "chatrooms", chats.query(chats.Filter(admin_id=nobody)), order),
        ("search", "chat_terms", chat_terms.query("verify"), None),
        ("history", "messages", {"chatId": nobody, "seq": {"$gte": 1, "$lte": 50}}, {"seq": 1}),
        ("a session", "sessions", {"_id": "none"}, None),
        ("signing in", "users", {"loginKey": "none"}, None),
    ]
    for what, name, where, sort in asked:
        try:
            stages = maintenance.plan(name, where, sort)
        except OperationFailure as error:
            raise NotApplicable(f"this server explains no query ({error.code})") from None
        # An empty filter in the order of an index reads that index, page by page.
        by_index = "COLLSCAN" not in stages or not where
        expect(by_index, f"The query for {what} reads all of {name}.", INIT_DB)
    return f"the server answers {len(asked)} kinds of queries by an index"


def consistency_of_chats() -> str:
    """Compare chats with their histories, the newest if there are too many for now."""
    require_migrated()
    total = maintenance.estimate(["chatrooms"])
    newest = MAX_COMPARED if total > MAX_COMPARED else None
    compared, problems = 0, []
    for count, found in consistency.problems(newest):
        compared += count
        problems += found
    if problems:
        shown = "; ".join(problems[:MAX_SHOWN])
        raise Failed(
            f"{len(problems)} things do not agree: {shown}.",
            ASK,
        )
    expect(not maintenance.unfinished_restore(), "A restore was cut off.", "Restore again.")
    orphaned_messages, left_by_crashes = consistency.orphaned_messages(MAX_SEARCHED)
    expect(
        not orphaned_messages,
        f"{len(orphaned_messages)} messages belong to no chat, so no user sees them.",
        f"Run init-db --delete-orphans {CALLED}." if left_by_crashes else ASK,
    )
    which = "all" if newest is None else f"the newest {compared:,} of about {total:,}"
    return f"{which if newest else f'all {compared:,}'} chats agree with their histories"
