"""The assignment of chats to agents.

An open chat is never assigned to an agent without access. An assignment and the removal of an
agent's access can happen concurrently, without a lock:

- The removal changes the account first, then unassigns the agent's open chats.
- The assignment is written first, then the agent is read again (`confirm`).

So one of the two always sees the other. `init-db` finishes what a crash interrupted.
"""

from __future__ import annotations

from bson import ObjectId

from chatapi.domain import errors
from chatapi.domain.documents import Chat, ChatChanges, User
from chatapi.store import chats, unassignments, users
from chatapi.store.database import object_id

UNASSIGNED: ChatChanges = {"adminId": None, "adminName": None, "adminImage": None}


def is_agent(user: User | None) -> bool:
    """Return whether a user is an agent who can sign in."""
    return bool(user and user["role"] == "admin" and not user["disabled"])


def fields_for(agent_id: object) -> ChatChanges:
    """Return the chat's fields that assign it to an agent; None unassigns it.

    Raises InvalidInput on `adminId` for an id that is not an active agent's.
    """
    if agent_id is None:
        return UNASSIGNED.copy()
    key = object_id(agent_id)
    agent = users.by_id(key) if key else None
    if agent is None or not is_agent(agent):
        raise errors.InvalidInput.for_field("adminId", "Not the id of an active agent.")
    return {"adminId": key, "adminName": agent["name"], "adminImage": agent["image"]}


def fields_to_reopen(chat: Chat) -> ChatChanges:
    """Return the fields that unassign a reopened chat if its agent has no access; else {}."""
    if chat["adminId"] is None or is_agent(users.by_id(chat["adminId"])):
        return {}
    return UNASSIGNED.copy()


def confirm(chat: Chat) -> Chat:
    """Read the agent of a chat again after its assignment; return the chat.

    Unassign it if the agent was disabled or demoted in between.
    """
    agent_id = chat["adminId"]
    if agent_id is None or is_agent(users.by_id(agent_id)):
        return chat
    chats.unassign(agent_id, [chat["_id"]])
    return chats.by_id(chat["_id"]) or chat


def unassign_all(agent_id: ObjectId) -> int:
    """Unassign all open chats of an agent without access, in batches; return their number."""
    unassigned = 0
    while ids := chats.open_chats_assigned_to(agent_id):
        unassigned += chats.unassign(agent_id, ids)
    unassignments.finish(agent_id)
    return unassigned


def finish_unassignments() -> int:
    """Unassign the open chats of agents without access; return the number of chats.

    For `init-db`, because a crash or an older release may have left some.
    """
    unassigned = 0
    for agent_id in {*unassignments.unfinished(), *users.disabled_admins()}:
        if is_agent(users.by_id(agent_id)):
            # The crash came before the agent was disabled.
            unassignments.finish(agent_id)
        else:
            unassigned += unassign_all(agent_id)
    return unassigned
