"""The values that fields of chats, users and messages can have, each once: a type and a tuple."""

from __future__ import annotations

from typing import Final, Literal, get_args

OpenStatus = Literal["active", "pending"]
ClosedStatus = Literal["closed", "archived"]
Status = Literal[OpenStatus, ClosedStatus]
OPEN_STATUSES: Final[tuple[OpenStatus, ...]] = get_args(OpenStatus)
CLOSED_STATUSES: Final[tuple[ClosedStatus, ...]] = get_args(ClosedStatus)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)

Priority = Literal["low", "medium", "high", "urgent"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
DEFAULT_PRIORITY: Final = "medium"

DEFAULT_CATEGORY: Final = "general"

Role = Literal["user", "admin", "guest"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# The roles of users who open chats.
OWNER_ROLES: Final[tuple[Role, ...]] = ("user", "guest")
SenderRole = Literal[Role, "system"]
SENDER_ROLES: Final[tuple[SenderRole, ...]] = get_args(SenderRole)

# Why a stream of events ends; `closed`: its client has left.
EndCode = Literal["closed", "forbidden", "restarting", "session_ended", "too_slow"]

# Users and guests are on one side of a chat, agents on the other.
Side = Literal["user", "admin"]
SIDES: Final[tuple[Side, ...]] = get_args(Side)


def other_side(side: Side) -> Side:
    """Return the side of a chat that is not this one."""
    return "user" if side == "admin" else "admin"
