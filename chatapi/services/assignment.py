"""Assignment: which agent answers a chat.

An open chat is never assigned to an agent who cannot answer it. Two writes of two people meet
here, the assignment and the end of an agent's access, and neither waits for the other:

- The agent's access ends first, then their open chats are read and become unassigned.
- An assignment is written first, then the agent is read again (`confirm`).

So one of the two always sees the other. What a crash cuts off is finished by `init-db`.
"""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from chatapi.domain import errors
from chatapi.store import chats, unassignments, users
from chatapi.store.database import Document, object_id

UNASSIGNED: dict[str, Any] = {"adminId": None, "adminName": None, "adminImage": None}


def is_agent(user: Document | None) -> bool:
    """Tell whether a user is an agent who can sign in."""
    return bool(user and user["role"] == "admin" and not user["disabled"])


def fields_for(agent_id: object) -> dict[str, Any]:
    """Return the chat's fields that assign it to an agent, or to nobody where it is None.

    Raises InvalidInput on `adminId` for anybody who is not an active agent.
    """
    if agent_id is None:
        return dict(UNASSIGNED)
    key = object_id(agent_id)
    agent = users.by_id(key) if key else None
    if agent is None or not is_agent(agent):
        raise errors.InvalidInput.for_field("adminId", "Not the id of an active agent.")
    return {"adminId": key, "adminName": agent["name"], "adminImage": agent["image"]}


def fields_to_reopen(chat: Document) -> dict[str, Any]:
    """Return what unassigns a closed chat that is reopened, if its agent has left; else {}."""
    if chat["adminId"] is None or is_agent(users.by_id(chat["adminId"])):
        return {}
    return dict(UNASSIGNED)


def confirm(chat: Document) -> Document:
    """Read the agent of a chat again, after the assignment was written; return the chat.

    It is unassigned if that agent was disabled or demoted in between.
    """
    agent_id = chat["adminId"]
    if agent_id is None or is_agent(users.by_id(agent_id)):
        return chat
    chats.unassign(agent_id, [chat["_id"]])
    return chats.by_id(chat["_id"]) or chat


def unassign_all(agent_id: ObjectId) -> int:
    """Unassign all open chats of an agent who left, in batches; return how many there were."""
    unassigned = 0
    while ids := chats.open_chats_assigned_to(agent_id):
        unassigned += chats.unassign(agent_id, ids)
    unassignments.finish(agent_id)
    return unassigned


def finish_unassignments() -> int:
    """Unassign the open chats of agents who have left; return how many chats there were.

    For `init-db`: a crash may have cut this off, or an older version may have left them.
    """
    unassigned = 0
    for agent_id in {*unassignments.unfinished(), *users.disabled_admins()}:
        if is_agent(users.by_id(agent_id)):
            # Noted, but the crash came before the agent was disabled.
            unassignments.finish(agent_id)
        else:
            unassigned += unassign_all(agent_id)
    return unassigned
