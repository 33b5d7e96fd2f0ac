"""The `unassignments` collection: agents who left and whose open chats may still be theirs, so
that a crash cannot leave chats with an agent who does not answer."""

from __future__ import annotations

from bson import ObjectId

from chatapi.store.database import unassignments


def begin(agent_id: ObjectId) -> None:
    """Note that this agent's open chats are about to become unassigned."""
    unassignments().replace_one({"_id": agent_id}, {"_id": agent_id}, upsert=True)


def finish(agent_id: ObjectId) -> None:
    unassignments().delete_one({"_id": agent_id})


def unfinished() -> list[ObjectId]:
    return [row["_id"] for row in unassignments().find()]
