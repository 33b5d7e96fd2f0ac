"""The `unassignments` collection: agents who lost access and whose open chats may still be assigned
to them, so that `init-db` can finish what a crash interrupted."""

from __future__ import annotations

from bson import ObjectId

from chatapi.store.database import unassignments


def begin(agent_id: ObjectId) -> None:
    """Record that this agent's open chats are about to become unassigned."""
    unassignments().replace_one({"_id": agent_id}, {"_id": agent_id}, upsert=True)


def finish(agent_id: ObjectId) -> None:
    unassignments().delete_one({"_id": agent_id})


def unfinished() -> list[ObjectId]:
    return [row["_id"] for row in unassignments().find()]
